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
from parallel_build.acceptance.suite import Bench
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud as Api
from parallel_build.errors import StepFailed
from parallel_build.workload.choices import choose
from parallel_build.workload.profile import Profile
from parallel_build.workload.run import Workload
from tests.fast.workload.test_workload import AccountsByName, passwords

PROFILE = Profile(accounts=2, users=1, networks=3, vpcs=1, vms=4, disks=2, snapshots=2)
MODULES = (test_users, test_machines, test_networks, test_storage, test_integrations)
LINES: dict[str, Callable[..., None]] = {
    name: function for module in MODULES for name, function in vars(module).items() if name.startswith("test_") and callable(function)
}
Mutation = Callable[["Healthy"], None]


class Healthy(AccountsByName):
    """A cloud in memory that also starts and stops VMs, has cards and sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.objects["listNetworkOfferings"] += [{"id": "sh", "name": "Shared", "guestiptype": "Shared"}]
        self.endpoint = SimpleNamespace(session=self._session)
        self.passwords: dict[str, str] = {}
        self.broken: set[str] = set()

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        found = super().list(command, **parameters)
        kind = parameters.get("guestiptype")
        if command == "listNetworkOfferings" and kind:
            found = [item for item in found if item.get("guestiptype", "Isolated") == kind]
        if (vm := parameters.get("virtualmachineid")) is not None:
            found = [item for item in found if item.get("virtualmachineid") == vm]
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
                vm["nic"] = [*vm["nic"], {"id": f"nic-{len(self.calls)}", "networkid": given["networkid"]}]
            else:
                vm["nic"] = [nic for nic in vm["nic"] if nic["id"] != given["nicid"]]
            return {"virtualmachine": vm}
        if command == "createUser":
            self.passwords[given["username"]] = given["password"]
        return super()._do(command, given)

    def _made(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        owner = {"domainid": "root", "account": "admin"} if command != "createSnapshot" else {}
        states: dict[str, dict[str, Any]] = {
            "deployVirtualMachine": {
                "state": "Running",
                "nic": [{"id": "n0", "networkid": given.get("networkids"), "ipaddress": "10.0.0.7"}],
            },
            "createNetwork": {"state": "Implemented"},
            "createVPC": {"state": "Enabled"},
            "createSnapshot": {"state": "BackedUp"},
        }
        if command == "createAccount":
            self.passwords[given["username"]] = given["password"]
            owner["name"] = given["account"]
        return super()._made(command, {**owner, **given, **states.get(command, {})})

    def _vm(self, identity: str) -> dict[str, Any]:
        return next(vm for vm in self.objects["listVirtualMachines"] if vm["id"] == identity)

    def _session(self) -> Any:
        def post(url: str, data: dict[str, str], timeout: float) -> Any:
            fits = self.passwords.get(data["username"]) == data["password"]
            return SimpleNamespace(json=lambda: {"loginresponse": {"sessionkey": "k"} if fits else {"errorcode": 531}})

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
    bench = Bench(cast(Api, cloud), workload, domain, choose(cloud, Profile(vms=1, disks=1, networks=1)))
    config = SimpleNamespace(getoption=lambda name: options.get(name.removeprefix("--cloud-"), ""))
    known = {"bench": bench, "cloud": cloud, "passwords": passwords(PROFILE), "pytestconfig": config}
    function = LINES[line]
    before = {kind: number for kind, number in cloud.owned().items() if kind in ("network", "VPC", "account")}
    try:
        function(**{name: known[name] for name in function.__annotations__ if name != "return"})
    except pytest.skip.Exception:
        return "skipped"
    except (AssertionError, StepFailed, StopIteration, KeyError):
        return "failed"
    finally:
        for undo in reversed(bench.undo):
            undo()
    after = {kind: number for kind, number in cloud.owned().items() if kind in before}
    assert mutate is not None or line == "test_an_empty_network_from_before_is_deleted" or after == before, (
        "nothing of a test's own is left"
    )
    return "passed"


NEEDS = {"test_vms_answer_on_every_kind_of_network", "test_every_integrated_system_works", "test_an_empty_network_from_before_is_deleted"}


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


BROKEN: dict[str, tuple[Mutation, str]] = {
    "a login is refused": (lambda cloud: cloud.passwords.clear(), "test_users_log_in_with_passwords_from_before"),
    "every password is taken": (
        lambda cloud: cloud.passwords.update({name: f"{text}x" for name, text in passwords(PROFILE).items()}), "test_a_wrong_password_is_refused"
    ),
    "domains are not made": (_fail("createDomain"), "test_domains_accounts_and_users_are_made_and_deleted"),
    "accounts are not made": (_fail("createAccount"), "test_domains_accounts_and_users_are_made_and_deleted"),
    "accounts stay": (_break("deleteAccount"), "test_domains_accounts_and_users_are_made_and_deleted"),
    "users stay": (_break("deleteUser"), "test_a_user_from_before_is_deleted"),
    "VMs are not made": (_fail("deployVirtualMachine"), "test_a_new_vm_is_made_stopped_started_and_deleted"),
    "VMs don't stop": (_break("stopVirtualMachine"), "test_a_vm_from_before_is_stopped_and_started"),
    "VMs don't start": (_break("startVirtualMachine"), "test_a_vm_from_before_is_stopped_and_started"),
    "VMs stay": (_break("destroyVirtualMachine"), "test_a_vm_from_before_is_deleted"),
    "disks are not attached": (_break("attachVolume"), "test_a_disk_is_added_to_a_vm_and_removed"),
    "disks stay attached": (_break("detachVolume"), "test_a_disk_is_added_to_a_vm_and_removed"),
    "cards are not added": (_break("addNicToVirtualMachine"), "test_a_network_is_added_to_a_vm_and_removed"),
    "cards stay": (_break("removeNicFromVirtualMachine"), "test_a_network_is_added_to_a_vm_and_removed"),
    "networks are not made": (_fail("createNetwork"), "test_an_isolated_network_is_made_and_deleted"),
    "shared networks stay": (_break("deleteNetwork"), "test_a_shared_network_is_made_and_deleted"),
    "VPCs stay": (_break("deleteVPC"), "test_a_vpc_with_a_tier_is_made_and_deleted"),
    "networks are broken": (_set("listNetworks", state="Shutdown"), "test_networks_and_vpcs_from_before_are_whole"),
    "VPCs are broken": (_set("listVPCs", state="Inactive"), "test_networks_and_vpcs_from_before_are_whole"),
    "disks stay": (_break("deleteVolume"), "test_a_disk_from_before_is_detached_and_deleted"),
    "disks are not made": (_fail("createVolume"), "test_a_disk_is_made_and_deleted"),
    "snapshots stay": (_break("deleteSnapshot"), "test_a_snapshot_is_made_and_deleted_and_those_from_before_are_whole"),
    "snapshots are broken": (_set("listSnapshots", state="Error"), "test_a_snapshot_is_made_and_deleted_and_those_from_before_are_whole"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_seen(what: str) -> None:
    mutate, line = BROKEN[what]
    assert outcome(line, mutate) == "failed"


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
