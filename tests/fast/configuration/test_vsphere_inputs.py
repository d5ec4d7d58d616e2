"""What is asked of the vSphere plugin, seen by mocks: also the inputs that only the current plugin knows, which the simulated vCenter can't show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime import mocks

from parallel_build.components.machines import vsphere
from parallel_build.components.machines.machine import MachineRequest
from parallel_build.components.program import declare as declare_stack_program
from parallel_build.components.settings import Settings
from parallel_build.configuration import NewMachine, StackConfiguration, load, load_secrets
from parallel_build.errors import ConfigurationError
from parallel_build.machines.provisioning import Provisioning
from parallel_build.secret import Secret
from tests.fast.provider_idle_plugin import TEMPLATE
from tests.fast.sites import SECRETS

VM = "vsphere:index/virtualMachine:VirtualMachine"
RULE = "vsphere:index/computeClusterVmAntiAffinityRule:ComputeClusterVmAntiAffinityRule"
PASSWORD = "for the test"
# Unknown to the plugin that the tests against the simulator use (Terraform provider 1.26): an input of these is an error there.
NEWER = {
    "evcMode", "extraConfigRebootRequired", "memoryReservationLockedToMax", "numCoresPerNumaNode", "nvmeControllerCount", "replaceTrigger",
    "syncTimeWithHostPeriodically", "toolsUpgradePolicy", "vbsEnabled", "videoCards", "vtpm", "vvtdEnabled",
}  # fmt: skip


class Center(mocks.Mocks):
    """Answers look-ups and remembers what is registered."""

    def __init__(self, template: dict[str, Any]) -> None:
        self.template = template
        self.resources: dict[str, tuple[str, dict[str, Any]]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """A look-up."""
        self.calls.append((args.token.split("/")[-1].split(":")[-1], args.args))
        if args.token.endswith(":getVirtualMachine"):
            return self.template, []
        return {"id": f"id-of-{args.args.get('name') or args.args.get('path')}", "resourcePoolId": "pool-of-cluster"}, []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """A registration; a Stash gives back its input, as the engine's does when it is new."""
        self.resources[args.name] = (args.typ, args.inputs)
        outputs = dict(args.inputs)
        if args.typ == "pulumi:index:Stash":
            outputs["output"] = args.inputs["input"]
        if args.typ.endswith(":SshHostKey"):
            outputs |= {"privateKey": "PRIVATE", "publicKey": f"ssh-ed25519 AAAA{args.name}"}
        if args.typ.endswith(":StackIdentity"):
            outputs |= {"identities": ["0123456789abcdef01234567"]}
        return f"{args.name}-id", outputs


def configuration(**platform: Any) -> StackConfiguration:
    """Two database servers on vSphere, one management server on vSphere and one elsewhere."""
    values: dict[str, Any] = {
        "original": {
            "version": "4.20.3.0",
            "management": [{"name": "oldms1", "address": "192.0.2.11"}],
            "database": {"source": {"name": "olddb1", "address": "192.0.2.13"}},
            "api": {"url": "http://192.0.2.11:8080/client/api"},
        },
        "new": {
            "version": "4.22.1.0",
            "platform": "vsphere",
            "management": [{"name": "newms1", "address": "192.0.2.41"}, {"name": "metal", "address": "192.0.2.42", "platform": "existing"}],
            "database": {
                "source": {
                    "name": "newdb1",
                    "address": "192.0.2.31",
                    "memory": 65536,
                    "vsphere": {
                        "dataDisk": 500,
                        "datastore": "fast",
                        "folder": "db",
                        "network": "data",
                        "resourcePool": "gold",
                        "template": "db-12",
                    },
                },
                "replica": {"name": "newdb2", "address": "192.0.2.32"},
            },
        },
        "platforms": {
            "vsphere": {
                "server": "vcenter.example",
                "user": "pulumi",
                "datacenter": "DC",
                "cluster": "CL",
                "datastore": "store",
                "network": "net",
                "folder": "cloud",
                "template": "debian-12",
                **platform,
            }
        },
        "window": {"userAccess": {"administrators": ["192.0.2.0/24"]}},
    }
    return load(values, "prod")


class Callbacks:
    """Takes the hooks that the engine would call; mocks have no engine."""

    def register_resource_hook(self, hook: object) -> None:
        """Nothing calls it."""

    def register_error_hook(self, hook: object) -> None:
        """Nothing calls it."""


@pytest.fixture(autouse=True)
def _hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def callbacks() -> Callbacks:
        return Callbacks()

    monkeypatch.setattr("pulumi.runtime.resource._get_callbacks", callbacks)


def declare(template: dict[str, Any] | None = None, *, password: str | None = PASSWORD, **platform: Any) -> Center:
    """Run the platform as a program would; return what it asked for."""
    center = Center(template or TEMPLATE)
    stack = configuration(**platform)

    def provisioning(machine: NewMachine) -> Provisioning:
        return Provisioning(machine.name, machine.address, Secret("key"), "ssh-ed25519 AAAA", ("ssh-ed25519 BBBB",))

    def program() -> None:
        foundation = vsphere.foundation("prod", stack)
        for machine in stack.new_machines():
            if stack.platform_of(machine) == "vsphere":
                parent = pulumi.ComponentResource("test:index:Machine", f"{machine.name}-parent")
                vsphere.build(
                    MachineRequest(
                        stack="prod",
                        configuration=stack,
                        machine=machine,
                        provisioning=pulumi.Output.secret(provisioning(machine)),
                        site=pulumi.Output.secret("{}"),
                        foundation=foundation,
                        parent=parent,
                    )
                )

    run(center, program, password)
    return center


def run(center: Center, program: Callable[[], None], password: str | None = PASSWORD) -> None:
    """Run a program against mocks."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mocks.set_mocks(center, project="cloudstack-parallel-build", stack="prod", preview=False)
    pulumi.runtime.set_all_config({"cloudstack-parallel-build:vspherePassword": password} if password else {})
    try:
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    finally:
        loop.close()


def test_nothing_that_only_the_current_plugin_knows_is_asked_for_unless_configured() -> None:
    center = declare({**TEMPLATE, "efiSecureBootEnabled": False})
    for typ, inputs in center.resources.values():
        if typ == VM:
            assert not NEWER & set(inputs)
            assert "customizationSpec" not in inputs["clone"]


def test_a_virtual_tpm_where_wanted() -> None:
    assert declare(vtpm=True).resources["newms1"][1]["vtpm"] == {"version": "2.0"}


def test_reserved_memory_is_all_of_it_and_follows_its_size() -> None:
    _, inputs = declare(reserveMemory=True).resources["newdb1"]
    assert (inputs["memory"], inputs["memoryReservation"], inputs["memoryReservationLockedToMax"]) == (65536, 65536, True)


def test_secure_boot_of_the_template_is_kept() -> None:
    _, inputs = declare().resources["newms1"]
    assert (inputs["firmware"], inputs["efiSecureBootEnabled"]) == ("efi", True)


def test_a_machine_goes_where_its_own_settings_say() -> None:
    center = declare()
    own, common = center.resources["newdb1"][1], center.resources["newms1"][1]
    assert (own["resourcePoolId"], own["datastoreId"], own["folder"]) == ("id-of-gold", "id-of-fast", "db")
    assert own["networkInterfaces"][0]["networkId"] == "id-of-data"
    assert (common["resourcePoolId"], common["datastoreId"], common["folder"]) == ("pool-of-cluster", "id-of-store", "cloud")
    assert [(disk["label"], disk["size"], disk["unitNumber"]) for disk in own["disks"]] == [("system", 40, 0), ("data", 500, 1)]
    assert len(common["disks"]) == 1
    assert "db-12" in [arguments.get("name") for name, arguments in center.calls if name == "getVirtualMachine"]


def test_each_object_is_looked_up_once() -> None:
    calls = [(name, str(sorted(arguments.items()))) for name, arguments in declare().calls]
    assert len(calls) == len(set(calls))


def test_an_address_counts_as_routable_only_where_there_is_a_gateway() -> None:
    assert declare().resources["newms1"][1]["waitForGuestNetRoutable"] is False


def test_the_rule_keeps_the_databases_apart_and_needs_two() -> None:
    rules = {name: inputs for name, (typ, inputs) in declare().resources.items() if typ == RULE}
    assert set(rules) == {"databases-apart"}, "one management server on vSphere has nobody to be kept apart from"
    assert rules["databases-apart"]["virtualMachineIds"] == ["newdb1-id", "newdb2-id"]
    assert rules["databases-apart"]["name"] == "prod-databases-apart"
    assert not [name for name, (typ, _) in declare(antiAffinity=False).resources.items() if typ == RULE]


def test_tags_name_the_stack_and_can_be_left_out() -> None:
    center = declare()
    assert center.resources["stack-tag"][1]["name"] == "prod"
    assert center.resources["newms1"][1]["tags"] == ["stack-tag-id"]
    assert "prod" in center.resources["newms1"][1]["annotation"]
    without = declare(tags=False)
    assert "stack-tag" not in without.resources
    assert "tags" not in without.resources["newms1"][1]


def test_the_certificate_is_checked_and_that_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSPHERE_ALLOW_UNVERIFIED_SSL", "true")
    assert declare().resources["vsphere"][1]["allowUnverifiedSsl"] in (False, "false")


def test_a_linked_clone_where_wanted() -> None:
    assert declare(linkedClone=True).resources["newms1"][1]["clone"]["linkedClone"] is True
    assert "linkedClone" not in declare().resources["newms1"][1]["clone"]


def test_without_a_password_nothing_is_declared() -> None:
    with pytest.raises(ConfigurationError, match="the secret vspherePassword is missing"):
        declare(password=None)


def test_platforms_mix_databases_existing_and_management_on_vsphere() -> None:
    """The whole program: what follows the machines is the same whatever they are made on."""
    values = configuration().model_dump(mode="json", by_alias=True)
    new = values["new"]
    for server in (new["database"]["source"], new["database"]["replica"]):
        server["platform"] = "existing"
    new["management"][1]["platform"] = "vsphere"
    center = Center(TEMPLATE)
    settings = Settings("prod", load(values, "prod"), load_secrets(SECRETS, "prod"), "ssh-ed25519 AAAAoperator")
    run(center, lambda: declare_stack_program(settings))
    kinds = {name: typ.rpartition(":")[2] for name, (typ, _) in center.resources.items()}
    assert {name for name, kind in kinds.items() if kind == "ExistingMachine"} == {"database-newdb1-existing", "database-newdb2-existing"}
    assert {name for name, kind in kinds.items() if kind == "VirtualMachine"} == {"management-newms1", "management-metal"}
    assert {name for name, kind in kinds.items() if kind == "ComputeClusterVmAntiAffinityRule"} == {"management-management-apart"}
    assert {name for name, kind in kinds.items() if kind == "SshHostKey"} == {"cloud-newms1-host-key", "cloud-metal-host-key"}
    assert {
        "database-newdb1-ready",
        "management-newms1-ready",
        "database-replication-pair",
        "management-newms1-installed",
        "management-metal-installed",
    } <= set(kinds)


def test_the_example_of_a_stack_can_be_loaded() -> None:
    text = (Path(__file__).parents[3] / "stacks/Pulumi.vsphere.yaml.example").read_text()
    found = load({key.partition(":")[2]: value for key, value in yaml.safe_load(text)["config"].items()}, "prod")
    assert {found.platform_of(machine) for machine in found.new_machines()} == {"vsphere", "existing"}


def test_a_template_with_two_disks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has 2 disks"):
        declare({**TEMPLATE, "disks": TEMPLATE["disks"] * 2})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"server": "https://vcenter.example/"}, "without https://"),
        ({"cluster": None}, "name a cluster or a resourcePool"),
        ({"cluster": None, "resourcePool": "gold"}, "antiAffinity needs the cluster"),
        ({"addressTimeout": "90s"}, "whole minutes"),
        ({"datastor": "x"}, "platforms.vsphere.datastor"),
    ],
)
def test_the_section_is_checked_before_anything(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        configuration(**change)


def test_the_section_is_needed_by_machines_on_vsphere() -> None:
    values = configuration().model_dump(mode="json", by_alias=True)
    values["platforms"] = {}
    with pytest.raises(ConfigurationError, match=r"platforms\.vsphere: missing although newdb1"):
        load(values, "prod")
