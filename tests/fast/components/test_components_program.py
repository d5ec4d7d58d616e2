"""The stack program, run against pretended providers: what is declared, in which order, and what stays secret."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_root_resource
from pulumi.runtime.stack import Stack

from parallel_build.components.cutover import ORDER
from parallel_build.components.machines.libvirt import FIXED, kernel_arguments
from parallel_build.components.program import declare
from parallel_build.components.settings import Settings
from parallel_build.components.steps import LONGEST, lines
from parallel_build.configuration import load, load_secrets
from tests.fast.sites import SECRETS, values

SECRET_MARK = "4dabf18193072939515e22adb298388d"
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nplanted\n-----END OPENSSH PRIVATE KEY-----\n"
BUILT = ["ReplicationPair", "CloudDatabases", "ManagementInstalled"]
PLATFORMS = {
    "container": {"root": "/images/root", "folder": "/lab/new", "namespace": "cslab-test", "bridge": "lab0"},
    "libvirt": {
        "image": "/images/disk.qcow2",
        "kernel": "/images/vmlinuz",
        "initrd": "/images/initrd",
        "poolPath": "/pool",
        "bridge": "lab0",
    },
}


COMPONENTS = ("preparation-rehearsal-server-", "cloud-", "database-", "management-", "preparation-", "cutover-")


def label(name: str, custom: bool = True) -> str:
    """A resource's name without its component's."""
    return next((name.removeprefix(each) for each in COMPONENTS if custom and name.startswith(each)), name)


class Declared:
    """One resource as the engine was asked for it; `name` is its name without the component's."""

    def __init__(self, request: Any, inputs: dict[str, Any]) -> None:
        self.kind, self.name, self.inputs = request.type.rpartition(":")[2], label(request.name, request.custom), inputs
        self.full, self.parent = request.name, request.parent
        self.aliases = [(each.spec.name, each.spec.noParent) for each in request.aliases]
        self.dependencies = [
            label(urn.rpartition("::")[2], "cutover:components:" not in urn.split("::")[2].split("$")[-1]) for urn in request.dependencies
        ]
        self.protect: bool = request.protect
        self.ignored = list(request.ignoreChanges)
        self.secret_outputs = list(request.additionalSecretOutputs)
        self.custom: bool = request.custom


class Providers(pulumi.runtime.Mocks):
    """Answers as the providers would."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Make up a resource's outputs."""
        outputs: dict[str, Any] = {}
        if args.typ.endswith(":SshHostKey"):
            outputs = {"privateKey": PRIVATE_KEY, "publicKey": f"ssh-ed25519 AAAA{args.name} {args.name}"}
        if args.typ.endswith(":StackIdentity"):
            outputs = {"identities": ["0123456789abcdef01234567", str(args.inputs.get("former"))]}
        if args.typ.endswith(":Stash"):
            outputs = {"output": args.inputs["input"]}
        if args.typ.endswith(":DomainType"):
            outputs = {"type": "qemu", "cpuMode": "maximum"}
        return f"{args.name}-id", {**args.inputs, **outputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        """No program of ours calls a function."""
        raise AssertionError(args.token)


class Recorder(MockMonitor):
    """Keeps every request for a resource."""

    def __init__(self) -> None:
        super().__init__(Providers())
        self.seen: list[Declared] = []

    def RegisterResource(self, request: Any) -> Any:
        """Keep it, then answer."""
        if request.type != "pulumi:pulumi:Stack":
            self.seen.append(Declared(request, rpc.deserialize_properties(request.object, True)))
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def settings(**changes: Any) -> Settings:
    """Settings with sections changed."""
    changes.setdefault("new", {})
    changes["new"].setdefault("platform", "container")
    changes.setdefault("platforms", PLATFORMS)
    return Settings("test", load(values(**changes), "test"), load_secrets(SECRETS, "test"), "ssh-ed25519 AAAAoperator operator@here")


def run(what: Settings) -> tuple[list[Declared], dict[str, Any]]:
    """What the program declares, and its outputs; it is run once for the same settings."""
    known = what.configuration.model_dump_json()
    if known not in _RUN:
        _RUN[known] = _declared(what)
    return _RUN[known]


_RUN: dict[str, tuple[list[Declared], dict[str, Any]]] = {}


def _declared(what: Settings) -> tuple[list[Declared], dict[str, Any]]:
    recorder = Recorder()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(Providers(), project="cloudstack-parallel-build", stack="test", preview=False, monitor=recorder)
    outputs: dict[str, Any] = {}

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> pulumi.Output[None]:
        declare(what)
        stack = get_root_resource()
        assert isinstance(stack, Stack)
        return pulumi.Output.all(**stack.outputs).apply(outputs.update)

    try:
        program()
    finally:
        loop.close()
    return recorder.seen, outputs


def of_kind(declared: list[Declared], kind: str) -> list[Declared]:
    """The resources of a type."""
    return [each for each in declared if each.kind == kind]


def before(declared: list[Declared], name: str) -> set[str]:
    """Everything that is made before `name`, through all dependencies."""
    direct = {each.name: set(each.dependencies) for each in declared}
    found: set[str] = set()
    todo = [name]
    while todo:
        for other in direct.get(todo.pop(), set()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def test_built_declares_machines_databases_and_servers() -> None:
    declared, _ = run(settings(phase="built"))
    assert {each.name for each in of_kind(declared, "ContainerMachine")} == {"newdb1", "newdb2", "newms1", "newms2"}
    assert len(of_kind(declared, "MachineReady")) == 4
    assert {kind for kind in BUILT if of_kind(declared, kind)} == set(BUILT)
    assert not of_kind(declared, "Window")
    assert not of_kind(declared, "SystemVmTemplate")


def test_children_are_named_after_their_component_and_keep_their_earlier_name_as_an_alias() -> None:
    changes = {"enabled": True, "machine": {"name": "rehearse", "address": "10.91.0.51"}}
    declared, _ = run(settings(phase="retired", transfer={"method": "replicate"}, rehearsal=changes))
    declared += run(settings(phase="prepared", rehearsal=changes))[0]
    children = [each for each in declared if each.parent.split("::")[2] != "pulumi:pulumi:Stack"]
    assert {"window", "database-seed", "newdb1", "newms2-installed", "identity", "newms1-host-key", "rehearse-ready"} <= {
        each.name for each in children
    }
    for each in children:
        assert each.full.startswith(each.parent.rpartition("::")[2] + "-"), each.full
        no_parent = each.parent.endswith("::cloud") or each.kind == "Retirement"
        assert (each.name, no_parent) in each.aliases or each.kind == "RehearsalServer", each.full


def test_retirement_waits_for_everything() -> None:
    declared, _ = run(settings(phase="retired"))
    (last,) = of_kind(declared, "Retirement")
    assert {name for name, _ in ORDER} | {"ready", "cloud-databases", "newms1-installed"} <= before(declared, last.name)
    assert not of_kind(run(settings(phase="switched"))[0], "Retirement")


def test_prepared_waits_for_everything_built() -> None:
    declared, _ = run(settings(phase="prepared"))
    assert not of_kind(declared, "Window")
    (template,) = of_kind(declared, "SystemVmTemplate")
    assert {"cloud-databases", "newms1-installed", "newms2-installed"} <= before(declared, template.name)
    assert template.inputs["parameters"]["name"] == "systemvm-kvm-4.22.0-x86_64"
    assert not of_kind(declared, "DatabaseSeed")


@pytest.mark.parametrize(
    ("method", "words"), [("setting", "updateConfiguration"), ("file", "can be written"), ("none", "names 10.91.0.41")]
)
def test_whichever_way_agents_find_the_new_servers_it_is_proved_before_the_window(method: str, words: str) -> None:
    declared, _ = run(settings(phase="switched", agents={"method": method}))
    (step,) = of_kind(declared, "AgentAddresses")
    assert words in step.inputs["plan"][0] and step.name in before(declared, "ready")
    assert step.inputs["undo"][0].startswith("nothing") == (method != "setting")


def test_the_window_is_a_chain_in_order() -> None:
    declared, _ = run(settings(phase="switched"))
    names = [name for name, _ in ORDER]
    assert [each.name for each in declared if each.name in names] == names
    for name, previous in zip(names[1:], names, strict=False):
        (each,) = [one for one in declared if one.name == name]
        assert [other for other in each.dependencies if other in names] == [previous]
    everything = {each.name for each in declared if each.custom and each.kind not in ("SshHostKey",)}
    assert everything - before(declared, "window") - set(names) == set()


def test_the_agents_wave_runs_next_to_the_chain_from_the_original_down_to_the_hosts() -> None:
    declared, _ = run(settings(phase="switched", agents={"upgrade": {}}))
    (wave,), (packages,) = of_kind(declared, "Agents"), of_kind(declared, "AgentPackages")
    names = [name for name, _ in ORDER]
    assert [other for other in wave.dependencies if other in names] == ["original-management"]
    assert wave.inputs["parameters"] == packages.inputs["parameters"] and wave.inputs["parameters"]["hosts"] == ["kvm1", "kvm2"]
    assert packages.name in before(declared, "ready")
    for name, waits in (("database-transfer", False), ("first-management", False), ("hypervisors", True), ("system-vms", True)):
        assert (wave.name in before(declared, name)) is waits, name
    assert not of_kind(run(settings(phase="switched"))[0], "Agents")


@pytest.mark.parametrize(("held", "there"), [("Agents", False), ("DatabaseTransfer", True), ("Drain", False), ("Hypervisors", True)])
def test_a_hold_point_and_the_agents_wave(held: str, there: bool) -> None:
    access = {"method": "firewall", "administrators": ["10.91.0.1/32"]}
    declared, _ = run(settings(phase="switched", agents={"upgrade": {}}, window={"stopBefore": held, "userAccess": access}))
    assert bool(of_kind(declared, "Agents")) is there
    assert not (held == "Agents" and of_kind(declared, "DatabaseTransfer"))


def test_nothing_of_the_window_waits_for_the_cold_copy() -> None:
    place = {"server": {"name": "backup1", "address": "10.91.0.60"}, "folder": "/srv/dumps"}
    access = {"method": "firewall", "administrators": ["10.91.0.1/32"]}
    window = {"dumpFile": place, "userAccess": access}
    declared, _ = run(settings(phase="retired", window=window))
    (copy,) = of_kind(declared, "DumpFile")
    names = [name for name, _ in ORDER]
    assert [other for other in copy.dependencies if other in names] == ["original-database"]
    assert [each.name for each in declared if copy.name in each.dependencies] == [of_kind(declared, "Retirement")[0].name]
    assert copy.inputs["parameters"] == {"server": "backup1", "folder": "/srv/dumps", "readBack": False}
    held, _ = run(settings(phase="switched", window={**window, "stopBefore": "DumpFile"}))
    assert not of_kind(held, "DumpFile") and of_kind(held, "OriginalDatabase") and not of_kind(held, "HostSetting")


def test_a_hold_point_ends_the_chain_before_it() -> None:
    access = {"method": "firewall", "administrators": ["10.91.0.1/32"]}
    declared, _ = run(settings(phase="switched", window={"stopBefore": "DatabaseTransfer", "userAccess": access}))
    names = [name for name, _ in ORDER]
    assert [each.name for each in declared if each.name in names] == ["window", "user-access", "drain", "original-management"]


def test_every_step_says_what_it_will_do_and_how_it_is_undone() -> None:
    declared, _ = run(settings(phase="switched"))
    steps = [each for each in declared if "plan" in each.inputs]
    assert {step.STEP for _, step in ORDER} <= {each.kind for each in steps}
    for each in steps:
        assert each.inputs["plan"], each.name
        assert each.inputs["undo"], each.name
        printed = [*each.inputs["plan"], *each.inputs["undo"]]
        # Longer ones are cut off in a preview; a single long word (an address) can't be divided.
        assert [line for line in printed if "\n" in line or (len(line) > LONGEST and " " in line.strip())] == []


@pytest.mark.parametrize("platform", ["container", "libvirt"])
def test_secrets_are_secret_inputs_and_nowhere_else(platform: str) -> None:
    declared, outputs = run(settings(phase="switched", new={"platform": platform}))

    def without_secrets(value: Any) -> Any:
        if isinstance(value, dict):
            return {} if SECRET_MARK in value else {key: without_secrets(item) for key, item in value.items()}
        return [without_secrets(item) for item in value] if isinstance(value, list) else value

    for each in declared:
        plain = str(without_secrets(each.inputs))
        for secret in [*SECRETS.values(), "planted"]:
            assert secret not in plain, each.name
        if "plan" in each.inputs:
            assert SECRET_MARK in each.inputs["site"]
            assert "site" in each.secret_outputs
    keys = of_kind(declared, "SshHostKey")
    assert all(each.secret_outputs == ["privateKey"] for each in keys)
    assert "planted" not in str(outputs)


def test_a_machine_is_made_with_its_own_key_and_the_operators() -> None:
    declared, _ = run(settings(phase="built"))
    (machine,) = [each for each in of_kind(declared, "ContainerMachine") if each.name == "newms1"]
    text = machine.inputs["provisioning"]["value"]
    assert "planted" in text
    assert "AAAAoperator" in text
    assert "cloudstack-management.service" in text
    assert machine.inputs["memory"] == 4096


def test_a_database_server_has_its_option_file_before_it_starts() -> None:
    declared, _ = run(settings(phase="built"))
    texts = {each.name: each.inputs["provisioning"]["value"] for each in of_kind(declared, "ContainerMachine")}
    assert "innodb_buffer_pool_size" in texts["newdb1"]
    assert "read_only = ON" in texts["newdb2"]
    assert "read_only = OFF" in texts["newdb1"]
    assert "mariadb.service" in texts["newdb1"]


@pytest.mark.parametrize(
    ("repository", "engine", "path", "unit"),
    [
        ("https://packages.example/centos/9/4.22/", "mariadb", "/etc/my.cnf.d/zz-parallel-build.cnf", "mariadb.service"),
        ("https://packages.example/centos/9/4.22/", "mysql", "/etc/my.cnf.d/zz-parallel-build.cnf", "mysqld.service"),
        ("deb https://packages.example/apt jammy 4.22", "mysql", "/etc/mysql/mysql.conf.d/zz-parallel-build.cnf", "mysql.service"),
    ],
)
def test_paths_and_units_are_those_of_the_repositorys_family(repository: str, engine: str, path: str, unit: str) -> None:
    database = {**values()["new"]["database"], "engine": engine}
    declared, _ = run(settings(phase="built", new={"packages": {"repository": repository}, "database": database}))
    (text,) = [each.inputs["provisioning"]["value"] for each in of_kind(declared, "ContainerMachine") if each.name == "newdb1"]
    assert path in text and f'"enabled_units": ["{unit}"]' in text


def test_libvirt_shares_a_pool_and_an_image_and_never_replaces() -> None:
    declared, _ = run(settings(phase="built", new={"platform": "libvirt"}))
    assert len(of_kind(declared, "Pool")) == 1
    assert len(of_kind(declared, "DomainType")) == 1
    assert {each.name for each in of_kind(declared, "Volume")} == {
        "base-image",
        *(f"{name}-disk" for name in ("newdb1", "newdb2", "newms1", "newms2")),
    }
    for domain in of_kind(declared, "Domain"):
        assert set(FIXED) <= set(domain.ignored)
        assert domain.inputs["cpu"] == {"mode": "maximum"}
        assert domain.inputs["type"] == "qemu"
        assert domain.inputs["networkInterfaces"][0]["bridge"] == "lab0"
    macs = {domain.inputs["networkInterfaces"][0]["mac"] for domain in of_kind(declared, "Domain")}
    assert len(macs) == 4


def test_guests_follow_the_time_servers_and_containers_have_a_clock_already() -> None:
    new = {**values()["new"], "platform": "libvirt", "network": {"timeServers": ["192.0.2.3"]}}
    new["management"][0]["platform"] = "container"
    declared, _ = run(settings(phase="built", new=new))
    (container,) = of_kind(declared, "ContainerMachine")
    assert "chrony" not in container.inputs["provisioning"]["value"]
    seeds = {each.name: each.inputs["userData"]["value"] for each in of_kind(declared, "CloudInitDisk")}
    assert len(seeds) == 3
    assert all("server 192.0.2.3 iburst" in text and "chronyc -n waitsync" in text for text in seeds.values())


def test_platforms_can_be_mixed() -> None:
    new = values()["new"]
    new["platform"] = "libvirt"
    new["management"][0]["platform"] = "container"
    declared, _ = run(settings(phase="built", new=new))
    assert [each.name for each in of_kind(declared, "ContainerMachine")] == ["newms1"]
    assert len(of_kind(declared, "Domain")) == 3


@pytest.mark.parametrize(("phase", "force", "protected"), [("switched", False, False), ("retired", False, True), ("retired", True, False)])
def test_machines_of_a_retired_stack_are_protected(phase: str, force: bool, protected: bool) -> None:
    declared, _ = run(settings(phase=phase, window={"forceRollback": force}))
    assert {each.protect for each in of_kind(declared, "ContainerMachine")} == {protected}
    assert of_kind(declared, "Window")


def test_long_lines_continue_in_a_further_one() -> None:
    words = "prove: " + "word " * 60
    found = lines(["short", words])
    assert found[0] == "short"
    assert all(len(line) <= LONGEST for line in found)
    assert all(line.startswith("    ") for line in found[2:])
    assert " ".join(" ".join(found[1:]).split()) == words.strip()


def test_a_step_of_each_kind_only_where_the_configuration_asks() -> None:
    declared, _ = run(settings(phase="prepared", templates=[]))
    assert not of_kind(declared, "SystemVmTemplate")


def test_a_seed_belongs_to_its_machines_and_is_looked_at_again_on_demand() -> None:
    declared, _ = run(settings(phase="prepared", transfer={"method": "replicate", "renew": "monday"}))
    [seed] = of_kind(declared, "DatabaseSeed")
    assert sorted(seed.inputs["machines"]) == ["newdb1", "newdb2"]
    assert seed.inputs["parameters"] == {"renew": "monday"}
    assert not of_kind(run(settings(phase="prepared"))[0], "DatabaseSeed")


def test_the_outputs_name_addresses_and_host_keys() -> None:
    _, outputs = run(settings(phase="built"))
    assert outputs["addresses"]["newms1"] == "10.91.0.41"
    assert outputs["host"] == "10.91.0.41,10.91.0.42"
    assert set(outputs["hostKeys"]) == {"newdb1", "newdb2", "newms1", "newms2"}


def test_kernel_arguments_take_the_form_that_keeps_a_domain() -> None:
    words = ["console=ttyS0", "root=/dev/vda", "rw", "quiet", "console=tty0"]
    assert kernel_arguments(words) == [
        {"console": "ttyS0", "root": "/dev/vda"},
        {"_": "rw"},
        {"_": "quiet"},
        {"console": "tty0"},
    ]
    assert kernel_arguments([]) == []


def test_the_project_file_names_the_provider_and_the_stacks_folder() -> None:
    text = (Path(__file__).resolve().parents[3] / "Pulumi.yaml").read_text()
    assert "stackConfigDir: stacks" in text
    assert "path: ./provider" in text


def test_a_machine_with_both_roles_is_made_once_with_what_both_need_and_never_worked_on_by_two_at_a_time() -> None:
    one = {"name": "new-1", "address": "10.91.0.41"}
    new = {"allInOne": True, "management": [one], "database": {"source": one}, "usageOn": None}
    declared, outputs = run(settings(phase="prepared", transfer={"method": "replicate"}, new=new))
    (machine,) = of_kind(declared, "ContainerMachine")
    assert machine.name == "new-1" and len(of_kind(declared, "MachineReady")) == 1
    made = str(machine.inputs)
    assert "zz-parallel-build.cnf" in made and "mariadb-server" in made
    assert "cloudstack-management.service" in made and "mysqld.service" not in made
    assert "cloud-databases" in before(declared, "new-1-installed")
    (pair,) = of_kind(declared, "ReplicationPair")
    assert list(pair.inputs["machines"]) == ["new-1"]
    assert any(line.startswith("warning: new.database.replica is not set") for line in pair.inputs["plan"])
    assert outputs["addresses"] == {"new-1": "10.91.0.41"}
