"""The suite's lines on a cloud in memory: all pass on a healthy one, and a function that is broken is seen by the line that is about it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.acceptance.lines import test_integrations, test_machines, test_networks, test_storage, test_users
from parallel_build.acceptance.suite import Bench, Probe
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud as Api
from parallel_build.errors import ParallelBuildError, StepFailed
from parallel_build.workload.choices import choose
from parallel_build.workload.profile import Profile
from parallel_build.workload.run import Workload
from tests.fast.workload.test_workload import AccountsByName, passwords

PROFILE = Profile(
    accounts=2, spare_accounts=1, users=1, subdomains=1, networks=3, shared_vlans=[7], vpcs=1, vms=5, disks=2, snapshots=2
)  # fmt: skip
MODULES = (test_users, test_machines, test_networks, test_storage, test_integrations)
FUNCTIONS: dict[str, Callable[..., None]] = {
    name: function for module in MODULES for name, function in vars(module).items() if name.startswith("test_") and callable(function)
}
BY_KIND = "test_a_network_from_before_is_deleted"
LINES = [*(name for name in FUNCTIONS if name != BY_KIND), f"{BY_KIND}[Isolated]", f"{BY_KIND}[Shared]"]
Mutation = Callable[["Healthy"], None]


class Healthy(AccountsByName):
    """A cloud in memory that also starts and stops VMs, has cards, ranges of addresses and sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.objects["listNetworkOfferings"] += [{"id": "sh", "name": "Shared", "guestiptype": "Shared", "specifyvlan": True}]
        self.endpoint = SimpleNamespace(session=self._session)
        self.passwords: dict[str, str] = {}
        self.broken: set[str] = set()
        self.made_as: dict[str, dict[str, Any]] = {}
        self.sessions_are_taken = True

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        found = super().list(command, **parameters)
        kind = parameters.get("guestiptype")
        if command == "listNetworkOfferings" and kind:
            found = [item for item in found if item.get("guestiptype", "Isolated") == kind]
        if (vm := parameters.get("virtualmachineid")) is not None:
            found = [item for item in found if item.get("virtualmachineid") == vm]
        if (network := parameters.get("networkid")) is not None:
            found = [item for item in found if any(nic["networkid"] == network for nic in item["nic"])]
        return found

    def _do(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        if command in self.broken:
            return {"success": True, "nothing": {"id": given.get("id", "x"), "nic": []}}
        if command in ("startVirtualMachine", "stopVirtualMachine"):
            self._vm(given["id"])["state"] = "Running" if command.startswith("start") else "Stopped"
            return {"success": True}
        if command in ("addNicToVirtualMachine", "removeNicFromVirtualMachine"):
            vm = self._vm(given["virtualmachineid"])
            if command.startswith("add"):
                vm["nic"] = [*vm["nic"], self._nic(given["networkid"])]
            else:
                vm["nic"] = [nic for nic in vm["nic"] if nic["id"] != given["nicid"]]
            return {"virtualmachine": vm}
        if command == "createUser":
            self.passwords[given["username"]] = given["password"]
        reply = super()._do(command, given)
        if command.startswith("delete"):
            there = {str(user["username"]) for user in self.objects["listUsers"]}
            self.passwords = {name: text for name, text in self.passwords.items() if name in there}
        return reply

    def _nic(self, network: str) -> dict[str, Any]:
        of = next(item for item in self.objects["listNetworks"] if item["id"] == network)
        return {"id": f"nic-{len(self.calls)}", "networkid": network, "ipaddress": of["cidr"].replace(".0/24", ".10")}

    def _made(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        if command == "createAccount":
            self.passwords[given["username"]] = given["password"]
            given = {**given, "name": given["account"]}
        if command == "createNetwork":
            shared = given["networkofferingid"] == "sh"
            given = {
                **given, "type": "Shared" if shared else "Isolated", "state": "Setup" if shared else "Implemented",
                "cidr": f"{given.get('gateway', '10.1.1.1').rpartition('.')[0]}.0/24",
            }  # fmt: skip
        if command == "deployVirtualMachine":
            given = {**given, "state": "Running", "nic": [self._nic(given["networkids"])]}
        if command == "createVolume":
            given = {**given, "size": int(given.get("size", 1)) << 30}
        states = {"createVPC": "Enabled", "createSnapshot": "BackedUp"}
        if command in states:
            given = {**given, "state": states[command]}
        return super()._made(command, {**given, **self.made_as.get(command, {})})

    def _vm(self, identity: str) -> dict[str, Any]:
        return next(vm for vm in self.objects["listVirtualMachines"] if vm["id"] == identity)

    def _session(self) -> Any:
        def post(url: str, data: dict[str, str], timeout: float) -> Any:
            if data["command"] == "login":
                fits = self.passwords.get(data["username"]) == data["password"]
                reply: dict[str, Any] = {"loginresponse": {"sessionkey": "k"} if fits else {"errorcode": 531}}
            else:
                users = self.objects["listUsers"] if self.sessions_are_taken else []
                reply = {"listusersresponse": {"user": users}}
            return SimpleNamespace(json=lambda: reply)

        class Session:
            def __enter__(self) -> Any:
                return SimpleNamespace(post=post)

            def __exit__(self, *_: object) -> None:
                """Nothing is open."""

        return Session()


def outcome(line: str, mutate: Mutation | None = None, **options: Any) -> str:
    """Run one line on a new cloud; what became of it."""
    cloud = Healthy()
    workload = Workload(cloud, CancelToken(), lambda _: None)
    workload.create(PROFILE, passwords(PROFILE))
    domain = workload.domain()
    assert domain is not None
    if mutate:
        mutate(cloud)
    bench = Bench(cast(Api, cloud), workload, domain, choose(cloud, Profile(vms=1, disks=1, networks=1)), patience=0)
    given = {"vlan": "99", "command-timeout": 60.0, **options}
    config = SimpleNamespace(getoption=lambda name: given.get(name.removeprefix("--cloud-"), ""))
    name, _, kind = line.rstrip("]").partition("[")
    known = {"bench": bench, "cloud": cloud, "passwords": passwords(PROFILE), "pytestconfig": config, "kind": kind,
             "probe": Probe(str(given.get("probe", "")), 60.0)}  # fmt: skip
    function = FUNCTIONS[name]
    before = cloud.owned()
    try:
        function(**{name: known[name] for name in function.__annotations__ if name != "return"})
    except pytest.skip.Exception:
        return "skipped"
    except (AssertionError, ParallelBuildError, StopIteration, KeyError):
        return "failed"
    finally:
        bench.clear()
    assert mutate is not None or "from_before" in line or cloud.owned() == before, "nothing of a test's own is left"
    return "passed"


NEEDS = {"test_vms_answer_on_every_kind_of_network", "test_every_integrated_system_works"}


@pytest.mark.parametrize("line", LINES)
def test_every_line_passes_on_a_healthy_cloud(line: str) -> None:
    assert outcome(line) == ("skipped" if line in NEEDS else "passed")


def _break(*commands: str) -> Mutation:
    """These commands succeed and do nothing."""
    return lambda cloud: cloud.broken.update(commands)


def _fail(command: str) -> Mutation:
    def mutate(cloud: Healthy) -> None:
        real = cloud._do

        def refuse(called: str, given: dict[str, Any]) -> dict[str, Any]:
            if called == command:
                raise StepFailed("unhandled exception", "a test", "none")
            return real(called, given)

        setattr(cloud, "_do", refuse)  # noqa: B010 - a method of one object

    return mutate


def _set(command: str, **fields: Any) -> Mutation:
    def mutate(cloud: Healthy) -> None:
        for item in cloud.objects[command]:
            item.update(fields)

    return mutate


def _made_as(command: str, **fields: Any) -> Mutation:
    """What is made has other fields than asked for."""
    return lambda cloud: cloud.made_as.update({command: fields})


PEOPLE, NEW_VM = "test_domains_accounts_and_users_are_made_and_deleted", "test_a_new_vm_is_made_stopped_started_and_deleted"
ISOLATED, SHARED, VPC = (
    f"test_{kind}_is_made_and_deleted" for kind in ("an_isolated_network", "a_shared_network", "a_vpc_with_a_tier")
)  # fmt: skip
BROKEN: dict[str, tuple[Mutation, str]] = {
    "a login is refused": (lambda cloud: cloud.passwords.clear(), "test_users_log_in_with_passwords_from_before"),
    "a session is not taken": (lambda cloud: setattr(cloud, "sessions_are_taken", False), "test_users_log_in_with_passwords_from_before"),
    "every password is taken": (
        lambda cloud: cloud.passwords.update({name: f"{text}x" for name, text in passwords(PROFILE).items()}), "test_a_wrong_password_is_refused"
    ),
    "domains are not made": (_fail("createDomain"), PEOPLE),
    "domains stay": (_break("deleteDomain"), PEOPLE),
    "domains from before stay": (_break("deleteDomain"), "test_a_domain_from_before_is_deleted"),
    "accounts are not made": (_fail("createAccount"), PEOPLE),
    "accounts are made elsewhere": (_made_as("createAccount", domainid="root"), PEOPLE),
    "accounts stay": (_break("deleteAccount"), PEOPLE),
    "accounts from before stay": (_break("deleteAccount"), "test_an_account_from_before_is_deleted"),
    "users belong to others": (_made_as("createUser", account="admin"), PEOPLE),
    "users stay": (_break("deleteUser"), "test_a_user_from_before_is_deleted"),
    "VMs are not made": (_fail("deployVirtualMachine"), NEW_VM),
    "VMs have no card": (_made_as("deployVirtualMachine", nic=[]), NEW_VM),
    "VMs are made stopped": (_made_as("deployVirtualMachine", state="Stopped"), NEW_VM),
    "VMs belong to others": (_made_as("deployVirtualMachine", account="admin"), NEW_VM),
    "VMs don't stop": (_break("stopVirtualMachine"), "test_a_vm_from_before_is_stopped_and_started"),
    "VMs don't start": (_break("startVirtualMachine"), "test_a_vm_from_before_is_stopped_and_started"),
    "VMs stay": (_break("destroyVirtualMachine"), "test_a_vm_from_before_is_deleted"),
    "disks are not attached": (_break("attachVolume"), "test_a_disk_is_added_to_a_vm_and_removed"),
    "disks stay attached": (_break("detachVolume"), "test_a_disk_is_added_to_a_vm_and_removed"),
    "cards are not added": (_break("addNicToVirtualMachine"), "test_a_network_is_added_to_a_vm_and_removed"),
    "cards stay": (_break("removeNicFromVirtualMachine"), "test_a_network_is_added_to_a_vm_and_removed"),
    "networks are not made": (_fail("createNetwork"), ISOLATED),
    "networks have another range": (_made_as("createNetwork", cidr="10.9.9.0/24"), ISOLATED),
    "networks belong to others": (_made_as("createNetwork", account="admin"), ISOLATED),
    "shared networks are isolated": (_made_as("createNetwork", type="Isolated"), SHARED),
    "shared networks lose their VLAN": (_made_as("createNetwork", vlan="1"), SHARED),
    "shared networks stay": (_break("deleteNetwork"), SHARED),
    "networks from before stay": (_break("deleteNetwork"), f"{BY_KIND}[Isolated]"),
    "shared networks from before stay": (_break("deleteNetwork"), f"{BY_KIND}[Shared]"),
    "VPCs are not enabled": (_made_as("createVPC", state="Inactive"), VPC),
    "VPCs have another range": (_made_as("createVPC", cidr="10.9.0.0/16"), VPC),
    "tiers are made outside": (_made_as("createNetwork", vpcid=None), VPC),
    "VPCs stay": (_break("deleteVPC"), VPC),
    "VPCs from before stay": (_break("deleteVPC"), "test_a_vpc_from_before_is_deleted"),
    "networks are broken": (_set("listNetworks", state="Shutdown"), "test_networks_and_vpcs_from_before_are_whole"),
    "VPCs are broken": (_set("listVPCs", state="Inactive"), "test_networks_and_vpcs_from_before_are_whole"),
    "disks stay": (_break("deleteVolume"), "test_a_disk_from_before_is_detached_and_deleted"),
    "disks are not made": (_fail("createVolume"), "test_a_disk_is_made_and_deleted"),
    "disks are too small": (_made_as("createVolume", size=1 << 30), "test_a_disk_is_made_and_deleted"),
    "disks are smaller than their offering": (
        lambda cloud: cloud.objects.update(listDiskOfferings=[{"id": "do", "name": "Small", "iscustomized": False, "disksize": 5}]),
        "test_a_disk_is_made_and_deleted",
    ),
    "disks belong to others": (_made_as("createVolume", account="admin"), "test_a_disk_is_made_and_deleted"),
    "snapshots stay": (_break("deleteSnapshot"), "test_a_snapshot_is_made_and_deleted_and_those_from_before_are_whole"),
    "snapshots are broken": (_set("listSnapshots", state="Error"), "test_a_snapshot_is_made_and_deleted_and_those_from_before_are_whole"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_seen(what: str) -> None:
    mutate, line = BROKEN[what]
    assert outcome(line, mutate) == "failed"


def test_a_network_with_somebody_elses_vm_is_left_alone() -> None:
    def mutate(cloud: Healthy) -> None:
        network = next(item["id"] for item in cloud.objects["listNetworks"] if item["name"] == "wl-network-2")
        cloud.objects["listVirtualMachines"].append({"id": "theirs", "name": "theirs", "domainid": "root", "nic": [{"networkid": network}]})

    assert outcome(f"{BY_KIND}[Isolated]", mutate) == "skipped"


@pytest.mark.processes
@pytest.mark.parametrize(("code", "wanted"), [(0, "passed"), (1, "failed")])
def test_commands_of_the_operators_decide(code: int, wanted: str) -> None:
    command = shlex.join([sys.executable, "-c", f"raise SystemExit({code})"])
    assert outcome("test_vms_answer_on_every_kind_of_network", probe=command + " {address}") == wanted
    assert outcome("test_every_integrated_system_works", integration=[command]) == wanted


def test_a_cloud_without_a_command_skips_its_line() -> None:
    assert outcome("test_a_network_is_added_to_a_vm_and_removed", lambda cloud: cloud.without.add("addNicToVirtualMachine")) == "skipped"


def test_an_empty_cloud_proves_nothing() -> None:
    assert outcome("test_a_vm_from_before_is_stopped_and_started", lambda cloud: cloud.objects["listVirtualMachines"].clear()) == "failed"
    assert json.dumps(sorted(LINES))
