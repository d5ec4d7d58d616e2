"""The components as a library: options that reach the children, own machines, outputs as arguments, what is registered."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from parallel_build import components as c
from parallel_build.errors import ConfigurationError
from tests.fast.components.test_components_program import SECRET_MARK, Declared, Providers, Recorder
from tests.fast.sites import SECRETS, values

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq5sD0mC8v0l0l1l2l3l4l5l6l7l8l9l0l1l2l3"


class Watching(Recorder):
    """Also keeps what components register as outputs, and which provider is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, dict[str, Any]] = {}
        self.providers: dict[str, str] = {}

    def RegisterResource(self, request: Any) -> Any:
        """Keep the provider."""
        self.providers[request.name] = request.provider
        return super().RegisterResource(request)

    def RegisterResourceOutputs(self, request: Any) -> Any:
        """Keep the outputs."""
        self.outputs[request.urn.rpartition("::")[2]] = rpc.deserialize_properties(request.outputs, True)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def run(program: Callable[[], object], preview: bool = False) -> Watching:
    """Run a program of one's own."""
    recorder = Watching()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(Providers(), project="mine", stack="prod", preview=preview, monitor=recorder)
    try:
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    finally:
        loop.close()
    return recorder


class Server(pulumi.CustomResource):
    """A machine that the program makes itself."""

    address: pulumi.Output[str]

    def __init__(self, name: str, address: Any) -> None:
        super().__init__("mine:index:Server", name, {"address": address})


def args(**changes: Any) -> c.CloudArgs:
    """A cloud's arguments, with sections changed."""
    sections = values(phase="switched")
    names = {"hypervisorSteps": "hypervisor_steps"}
    given = {names.get(key, key): value for key, value in sections.items()} | changes
    secrets = given.pop("secrets", c.CloudSecrets(*SECRETS.values()))
    return c.CloudArgs(**given, secrets=secrets)


def everything(cloud: c.Cloud, prefix: str = "", opts: pulumi.ResourceOptions | None = None) -> c.Cutover:
    """All components of a cloud."""
    database = c.ReplicatedDatabase(f"{prefix}db", c.ReplicatedDatabaseArgs(cloud), opts)
    management = c.ManagementServers(f"{prefix}ms", c.ManagementServersArgs(cloud), opts)
    preparation = c.Preparation(f"{prefix}prep", c.PreparationArgs(cloud, database, management), opts)
    return c.Cutover(f"{prefix}cut", c.CutoverArgs(cloud, preparation), opts)


def named(seen: list[Declared], name: str) -> Declared:
    """The resource of a full name."""
    (found,) = [each for each in seen if each.full == name]
    return found


def test_options_reach_the_children() -> None:
    def program() -> None:
        first = Server("first", "192.0.2.1")
        provider = pulumi.ProviderResource("cutover", "explicit", {})
        opts = pulumi.ResourceOptions(depends_on=[first], protect=True, providers=[provider])
        everything(c.Cloud("one", args()), opts=opts)

    watched = run(program)
    children = [each for each in watched.seen if each.full.startswith(("db-", "ms-", "prep-", "cut-"))]
    assert len(children) > 20
    for each in children:
        assert each.protect, each.full
        assert "first" in each.dependencies, each.full
        assert "explicit" in watched.providers[each.full], each.full
        assert each.aliases == [], "only the stack program's own names had an older one"


def test_outputs_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    results(monkeypatch, "Window", {})
    watched = run(lambda: everything(c.Cloud("one", args())))
    one = watched.outputs["one"]
    assert one["addresses"]["newms2"] == "10.91.0.42" and one["host"] == "10.91.0.41,10.91.0.42"
    assert one["versions"] == {"original": "4.20.3.0", "new": "4.22.1.0"} and one["phase"] == "switched"
    assert one["record"] == "olddb1:/var/lib/cloudstack-parallel-build/window.json"
    assert watched.outputs["db"]["addresses"] == {"newdb1": "10.91.0.31", "newdb2": "10.91.0.32"} and watched.outputs["db"]["port"] == 3306
    assert watched.outputs["ms"]["host"] == "10.91.0.41,10.91.0.42" and watched.outputs["ms"]["version"] == "4.22.1.0"
    assert watched.outputs["cut"]["record"] == one["record"] and watched.outputs["cut"]["leftToTidy"] == {}
    assert set(watched.outputs["cut"]["status"]) >= {"cut-window", "cut-acceptance"}


def results(monkeypatch: pytest.MonkeyPatch, step: str, result: dict[str, Any]) -> None:
    """Have the provider give steps a status, and one of them a result."""
    original = Providers.new_resource

    def with_results(self: Providers, args: Any) -> Any:
        identity, outputs = original(self, args)
        if "plan" in args.inputs:
            outputs |= {"status": "done", "result": result if args.typ.endswith(f":{step}") else {}}
        return identity, outputs

    monkeypatch.setattr(Providers, "new_resource", with_results)


def test_what_steps_leave_for_an_operator_is_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    results(monkeypatch, "SystemVms", {"left running": ["r-4-VM"], "failed": [], "release": "4.22.0"})
    watched = run(lambda: everything(c.Cloud("one", args())))
    assert watched.outputs["cut"]["leftToTidy"] == {"SystemVms": {"left running": ["r-4-VM"]}}


@dataclass
class Metal:
    """Anything with a name, an address and a host key."""

    name: str
    address: Any
    host_key: Any


def own(address: Any, **changes: Any) -> c.CloudArgs:
    """One management server that is the program's own."""
    new = values()["new"]
    new["management"] = [c.OwnMachine("newms1", address, pulumi.Output.from_input(KEY), **changes)]
    new["database"] = {"source": Metal("newdb1", "10.91.0.31", KEY), "replica": Metal("newdb2", "10.91.0.32", KEY)}
    return args(new=new)


def test_a_machine_of_the_programs_own_is_a_machine() -> None:
    def program() -> None:
        server = Server("vm", "10.91.0.41")
        everything(c.Cloud("one", own(server.address, made_by=server)))

    seen = run(program).seen
    existing = named(seen, "ms-newms1-existing")
    assert "vm" in existing.dependencies
    assert "vm-id" in named(seen, "ms-newms1-ready").inputs["machines"]["newms1"]
    site = json.loads(existing.inputs["site"]["value"])
    assert site["configuration"]["new"]["management"][0]["address"] == "10.91.0.41"
    assert site["hostKeys"] == {"newms1": KEY}
    assert site["configuration"]["new"]["database"]["source"]["hostKey"] == KEY
    plans = [line for each in seen for line in [*each.inputs.get("plan", []), *each.inputs.get("undo", [])]]
    assert any("the address of newms1" in line or "newms1 (its address)" in line for line in plans)
    assert not [line for line in plans if "240." in line]


def test_an_address_that_does_not_fit_is_refused_when_it_is_known() -> None:
    with pytest.raises(c.ArgumentsRefused, match=r"Cloud 'one'.*\n.*args\.new\.management\.0\.address"):
        run(lambda: everything(c.Cloud("one", own(Server("vm", "nowhere").address))))


def test_plans_are_shown_before_anything_is_known() -> None:
    access = {"method": "command", "close": ["curl", "-H", SECRETS["cloudPassword"]], "open": ["true"]}

    def program() -> None:
        nothing: pulumi.Output[Any] = pulumi.Output(set(), _later(None), _later(False))
        given = [pulumi.Output.secret(value) if name == "cloudPassword" else nothing for name, value in SECRETS.items()]
        arguments = own(nothing)
        arguments.secrets, arguments.window = c.CloudSecrets(*given), {"userAccess": access}
        everything(c.Cloud("one", arguments))

    seen = run(program, preview=True).seen
    window = named(seen, "cut-window")
    assert any("guards" in line for line in window.inputs["plan"]) and window.inputs["undo"]
    plan = named(seen, "cut-user-access").inputs["plan"]
    assert any("curl" in line for line in plan) and SECRETS["cloudPassword"] not in str(plan), "one that is known is hidden at once"


async def _later(value: Any) -> Any:
    return value


def test_a_secret_that_is_an_output_stays_one_and_is_in_no_plan() -> None:
    access = {"method": "command", "close": ["curl", "-H", SECRETS["cloudPassword"]], "open": ["true"]}

    def program() -> None:
        secrets = c.CloudSecrets(*(pulumi.Output.secret(value) for value in SECRETS.values()))
        everything(c.Cloud("one", args(secrets=secrets, window={"userAccess": access})))

    seen = run(program).seen
    step = named(seen, "cut-user-access")
    assert SECRET_MARK in step.inputs["site"] and SECRETS["cloudPassword"] in step.inputs["site"]["value"]
    assert any("[secret]" in line for line in step.inputs["plan"])
    for each in seen:
        assert SECRETS["cloudPassword"] not in str([each.inputs.get("plan"), each.inputs.get("undo"), each.inputs.get("former")])


def test_a_secret_that_can_not_be_used_is_named_without_its_value() -> None:
    given = [*list(SECRETS.values())[:2], "a b", *list(SECRETS.values())[3:]]

    def program() -> None:
        everything(c.Cloud("one", args(secrets=c.CloudSecrets(*(pulumi.Output.secret(value) for value in given)))))

    with pytest.raises(c.ArgumentsRefused, match=r"args\.secrets\.cloud_password") as refused:
        run(program)
    assert "a b" not in str(refused.value)


def test_an_address_is_known_where_machines_are_built() -> None:
    def program() -> None:
        new = values()["new"] | {"platform": "container"}
        new["management"] = [c.OwnMachine("newms1", Server("vm", "10.91.0.41").address, KEY)]
        container = {"root": "/r", "folder": "/f", "namespace": "n", "bridge": "b"}
        c.Cloud("one", args(new=new, platforms={"container": container}, operator_key="ssh-ed25519 AAAA me"))

    with pytest.raises(c.ArgumentsRefused, match=r"the address of newms1 is an Output.*newdb1, newdb2 would be built"):
        run(program)


def test_two_clouds_are_apart() -> None:
    def program() -> None:
        for name in ("east", "west"):
            everything(c.Cloud(name, args()), f"{name}-")

    seen = run(program).seen
    assert len({each.full for each in seen}) == len(seen)
    stacks = {json.loads(named(seen, f"{name}-cut-window").inputs["site"]["value"])["stack"] for name in ("east", "west")}
    assert stacks == {"prod-east", "prod-west"}


def test_a_stack_file_that_can_not_be_used_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unusable() -> None:
        raise ConfigurationError("window is missing", "every value is checked", "set it")

    monkeypatch.setattr("parallel_build.components.cloud_args.read_settings", unusable)
    with pytest.raises(pulumi.RunError, match=r"window is missing.*Cause: every value.*Remedy: set it"):
        c.CloudArgs.from_config()


def test_a_platform_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str) -> ModuleType:
        if name.endswith("machines.libvirt"):
            raise ModuleNotFoundError("No module", name="pulumi_libvirt")
        return real(name)

    monkeypatch.setattr("parallel_build.components.machines.platforms.importlib.import_module", missing)
    libvirt = {"image": "/i", "poolPath": "/p", "bridge": "b"}
    arguments = args(new=values()["new"] | {"platform": "libvirt"}, platforms={"libvirt": libvirt}, operator_key="ssh-ed25519 AAAA me")
    with pytest.raises(pulumi.RunError, match=r"cloudstack-parallel-build\[libvirt\]"):
        run(lambda: everything(c.Cloud("one", arguments)))
