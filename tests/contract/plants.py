"""Functions of a cloud that are broken on purpose: three in each of sixteen areas of an upgrade's tests.

They were chosen by the article's list of what to test and by CloudStack's API alone, before whoever chose them had seen a line of the acceptance suite.
Each takes the place of a command of the stand-in's API, which answers as a healthy one does, but for the one thing that is broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab.standin.management.api.core import INTERNAL_ERROR, ApiError, Call, Handler, Response, success
from lab.standin.management.jobs import JobFailed
from lab.standin.shared.database import Row

PARTS = (("test_users", 0, 3), ("test_machines", 3, 8), ("test_networks", 8, 13), ("test_storage", 13, 15), ("test_integrations", 15, 16))
Broken = Callable[[Handler, Call], Response]
Work = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Plant:
    """One broken function.

    Attributes:
        area: the article's line that it belongs to.
        says: what is wrong, as a user would say it.
        commands: of the API; `login` and `verify` are the server's own, `probe` is what a machine of a user reaches.
        broken: answers in place of each of these commands; None where the name alone decides.
    """

    area: str
    says: str
    commands: tuple[str, ...]
    broken: Broken | None = None

    @property
    def part(self) -> str:
        """The module of the suite that is about the area."""
        areas = list(dict.fromkeys(each.area for each in PLANTS.values()))
        return next(name for name, first, last in PARTS if first <= areas.index(self.area) < last)


class Jobs:
    """The jobs of a server, with each job's work changed."""

    def __init__(self, real: Any, change: Callable[[Work], Work]) -> None:
        self._real = real
        self._change = change

    def submit(
        self, command: str, parameters: dict[str, str], user: int, account: int, kind: str | None, row: int | None, work: Work, *more: Any
    ) -> str:
        """Enter a job whose work is the changed one."""
        return str(self._real.submit(command, parameters, user, account, kind, row, self._change(work), *more))


#: Set before each run: what was made before is from before the upgrade.
UPGRADED = [datetime(1970, 1, 1)]  # noqa: DTZ001 - as the database holds times


def changed(call: Call, change: Callable[[Work], Work]) -> Call:
    """Have the call's job work otherwise."""
    call.jobs = Jobs(call.jobs, change)  # type: ignore[assignment]
    return call


def then(call: Call, do: Callable[[dict[str, Any]], None]) -> Call:
    """Have something happen when the call's job is done, before it says so."""

    def change(work: Work) -> Work:
        def both() -> dict[str, Any]:
            result = work()
            do(result)
            return result

        return both

    return changed(call, change)


def failing(call: Call, text: str) -> Call:
    """Have the call's job fail."""

    def fail() -> dict[str, Any]:
        raise JobFailed(text)

    return changed(call, lambda _work: fail)


def idle(table: str, kind: str, parameter: str = "id") -> Broken:
    """A job that succeeds and does nothing."""

    def broken(_handler: Handler, call: Call) -> Response:
        row = call.find(table, parameter)
        return {"id": row["uuid"], "jobid": call.job(kind, row["id"], lambda: {"null": success()})}

    return broken


def is_old(row: Row) -> bool:
    """Tell whether something was made before the upgrade."""
    return row["created"] is not None and row["created"] < UPGRADED[0]


def old_fails(table: str, text: str) -> Broken:
    """What was made before the upgrade can't be worked on."""

    def broken(handler: Handler, call: Call) -> Response:
        if is_old(call.find(table, "id")):
            raise ApiError(INTERNAL_ERROR, text)
        return handler(call)

    return broken


def without(parameter: str, instead: str | None = None) -> Broken:
    """A parameter is not looked at, or taken for another value."""

    def broken(handler: Handler, call: Call) -> Response:
        if parameter in call.parameters:
            call.parameters.pop(parameter)
            if instead is not None:
                call.parameters[parameter] = instead
        return handler(call)

    return broken


def afterwards(sql: str, answer: str) -> Broken:
    """A command that answers at once has its row changed afterwards: the answer is right, what is there is not."""

    def broken(handler: Handler, call: Call) -> Response:
        response = handler(call)
        call.cloud.execute(sql, response[answer]["id"])
        return response

    return broken


def after_job(sql: str, table: str, parameter: str = "id") -> Broken:
    """A job's own object has its row changed when the job is done: the answer is right, what is there is not."""

    def broken(handler: Handler, call: Call) -> Response:
        row = call.find(table, parameter)
        return handler(then(call, lambda _result: _execute(call, sql, row["id"])))

    return broken


def after_result(sql: str, answer: str) -> Broken:
    """What a job has made is changed when it is done."""

    def broken(handler: Handler, call: Call) -> Response:
        return handler(then(call, lambda result: _execute(call, sql, result[answer]["id"])))

    return broken


def _execute(call: Call, sql: str, *values: object) -> None:
    call.cloud.execute(sql, *values)


def network_of(kind: str, broken: Broken) -> Broken:
    """Break the making of one kind of network, outside of VPCs."""

    def chosen(handler: Handler, call: Call) -> Response:
        offering = call.find("network_offerings", "networkofferingid")
        return broken(handler, call) if offering["guest_type"] == kind and not call.text("vpcid") else handler(call)

    return chosen


def _refuse(text: str) -> Broken:
    def broken(_handler: Handler, _call: Call) -> Response:
        raise ApiError(INTERNAL_ERROR, text)

    return broken


def _fail(text: str) -> Broken:
    return lambda handler, call: handler(failing(call, text))


def _users_stay(handler: Handler, call: Call) -> Response:
    account = call.find("account", "id")
    users = [row["id"] for row in call.cloud.rows("SELECT id FROM user WHERE account_id = %s AND removed IS NULL", account["id"])]

    def again(_result: dict[str, Any]) -> None:
        for user in users:
            call.cloud.execute("UPDATE user SET removed = NULL WHERE id = %s", user)

    return handler(then(call, again))


def _lying_start(handler: Handler, call: Call) -> Response:
    """A machine that was stopped says that it runs, and is stopped."""
    return after_job("UPDATE vm_instance SET state = 'Stopped', host_id = NULL WHERE id = %s", "vm_instance")(handler, call)


def _no_root_gone(handler: Handler, call: Call) -> Response:
    return after_job("UPDATE volumes SET removed = NULL, state = 'Ready' WHERE instance_id = %s AND volume_type = 'ROOT'", "vm_instance")(
        handler, call
    )


def _attach_elsewhere(handler: Handler, call: Call) -> Response:
    """The disk goes to the account's other machine."""
    row, vm = call.find("volumes", "id"), call.find("vm_instance", "virtualmachineid")
    other = call.cloud.value(
        "SELECT id FROM vm_instance WHERE type = 'User' AND removed IS NULL AND id <> %s ORDER BY id LIMIT 1", vm["id"]
    )
    return handler(then(call, lambda _result: _execute(call, "UPDATE volumes SET instance_id = %s WHERE id = %s", other, row["id"])))


def _no_address(handler: Handler, call: Call) -> Response:
    return after_job("UPDATE nics SET ip4_address = NULL WHERE instance_id = %s AND default_nic = 0", "vm_instance", "virtualmachineid")(
        handler, call
    )


def _other_range(handler: Handler, call: Call) -> Response:
    """An isolated network gets another range than the one that was asked for."""
    call.parameters |= {"gateway": "10.99.99.1", "netmask": "255.255.255.0"}
    return handler(call)


def _half(handler: Handler, call: Call) -> Response:
    return after_result("UPDATE volumes SET size = size DIV 2 WHERE uuid = %s", "volume")(handler, call)


def _not_once_attached(handler: Handler, call: Call) -> Response:
    row = call.find("volumes", "id")
    if call.cloud.value("SELECT COUNT(*) FROM event WHERE resource_id = %s AND type = 'VOLUME.DETACH'", row["id"]):
        raise ApiError(INTERNAL_ERROR, f"Unable to delete volume {row['uuid']}: it is in use by a VM")
    return handler(call)


def _hang(handler: Handler, call: Call) -> Response:
    time.sleep(600)
    return handler(call)


LOGIN, MAKE, UNMAKE = "logins with passwords from before", "domains, accounts and users made", "domains, accounts and users deleted"
DEPLOY, EXPUNGE, POWER = "virtual machines made", "virtual machines deleted", "virtual machines started and stopped"
DISKS, CARDS = "disks added to machines and removed", "networks added to machines and removed"
ISOLATED, SHARED, VPC = "isolated networks made", "shared networks made", "VPCs and tiers made"
NETWORKS_GONE, REACH = "networks of each kind deleted", "what machines reach in each kind of network"
VOLUMES, VOLUMES_GONE, PORTALS = "disks made", "disks deleted", "integrated systems"

PLANTS: dict[str, Plant] = {
    # The server's own part of these is in `planted_server`.
    "login-old-refused": Plant(LOGIN, "a password from before the upgrade is refused", ("login",)),
    "login-any-password": Plant(LOGIN, "any password lets a user in", ("login",)),
    "login-useless": Plant(LOGIN, "a login is answered, and its session is not taken", ("verify",)),
    "domain-not-there": Plant(MAKE, "a domain is made by the answer, and is not there",
        ("createDomain",), afterwards("UPDATE domain SET removed = NOW() WHERE uuid = %s", "domain")),
    "account-in-root": Plant(MAKE, "an account is made in ROOT instead of its domain", ("createAccount",), without("domainid")),
    "user-other-password": Plant(MAKE, "a user is made with a password that nobody knows",
        ("createUser", "createAccount"), without("password", "planted-other-password")),
    "domain-stays": Plant(UNMAKE, "a domain's deletion succeeds, and it stays", ("deleteDomain",), idle("domain", "Domain")),
    "account-users-stay": Plant(UNMAKE, "an account's users stay when it is deleted", ("deleteAccount",), _users_stay),
    "user-old-stays": Plant(UNMAKE, "a user from before can't be deleted", ("deleteUser",), old_fails("user", "Unable to delete the user")),
    "deploy-fails": Plant(DEPLOY, "a new machine can't be deployed",
        ("deployVirtualMachine",), _fail("Unable to create a deployment for VM instance")),
    "deploy-stopped": Plant(DEPLOY, "a new machine is stopped when it is said to run",
        ("deployVirtualMachine",), after_result("UPDATE vm_instance SET state = 'Stopped', host_id = NULL WHERE uuid = %s", "virtualmachine")),
    "deploy-no-network": Plant(DEPLOY, "a new machine has no network card", ("deployVirtualMachine",), without("networkids")),
    "expunge-destroyed": Plant(EXPUNGE, "a machine is destroyed, and not expunged", ("destroyVirtualMachine",), without("expunge")),
    "expunge-old-fails": Plant(EXPUNGE, "a machine from before can't be destroyed",
        ("destroyVirtualMachine",), old_fails("vm_instance", "Failed to destroy the VM")),
    "expunge-disk-stays": Plant(EXPUNGE, "a machine's root disk stays when it is expunged", ("destroyVirtualMachine",), _no_root_gone),
    "stop-runs-on": Plant(POWER, "a machine's stop succeeds, and it runs on", ("stopVirtualMachine",), idle("vm_instance", "VirtualMachine")),
    "start-old-fails": Plant(POWER, "a machine from before can't be started",
        ("startVirtualMachine",), old_fails("vm_instance", "Unable to start a VM due to insufficient capacity")),
    "start-lies": Plant(POWER, "a machine that was started is stopped", ("startVirtualMachine",), _lying_start),
    "attach-nowhere": Plant(DISKS, "a disk is attached by the answer, and by nothing else",
        ("attachVolume",), after_job("UPDATE volumes SET instance_id = NULL, device_id = NULL WHERE id = %s", "volumes")),
    "detach-stays": Plant(DISKS, "a disk is detached by the answer, and stays attached", ("detachVolume",), idle("volumes", "Volume")),
    "attach-elsewhere": Plant(DISKS, "a disk is attached to another machine", ("attachVolume",), _attach_elsewhere),
    "card-not-there": Plant(CARDS, "a network is added to a machine by the answer, and no card is there",
        ("addNicToVirtualMachine",), idle("vm_instance", "VirtualMachine", "virtualmachineid")),
    "card-stays": Plant(CARDS, "a network is removed from a machine by the answer, and its card stays",
        ("removeNicFromVirtualMachine",), idle("vm_instance", "VirtualMachine", "virtualmachineid")),
    "card-no-address": Plant(CARDS, "a card that was added has no address", ("addNicToVirtualMachine",), _no_address),
    "isolated-fails": Plant(ISOLATED, "an isolated network can't be made",
        ("createNetwork",), network_of("Isolated", _refuse("Failed to create network"))),
    "isolated-other-range": Plant(ISOLATED, "an isolated network has another range than asked for",
        ("createNetwork",), network_of("Isolated", _other_range)),
    "isolated-other-owner": Plant(ISOLATED, "an isolated network belongs to the caller instead of the account",
        ("createNetwork",), network_of("Isolated", without("account"))),
    "shared-becomes-isolated": Plant(SHARED, "a shared network is an isolated one",
        ("createNetwork",), network_of("Shared", afterwards("UPDATE networks SET guest_type = 'Isolated' WHERE uuid = %s", "network"))),
    "shared-not-there": Plant(SHARED, "a shared network is made by the answer, and is not there",
        ("createNetwork",), network_of("Shared", afterwards("UPDATE networks SET removed = NOW() WHERE uuid = %s", "network"))),
    "shared-no-vlan": Plant(SHARED, "a shared network has lost its VLAN",
        ("createNetwork",), network_of("Shared", afterwards("UPDATE networks SET broadcast_uri = NULL WHERE uuid = %s", "network"))),
    "vpc-disabled": Plant(VPC, "a new VPC is not enabled", ("createVPC",), after_result("UPDATE vpc SET state = 'Inactive' WHERE uuid = %s", "vpc")),
    "vpc-tier-outside": Plant(VPC, "a tier is made outside of its VPC", ("createNetwork",), without("vpcid")),
    "vpc-other-range": Plant(VPC, "a new VPC has another range than asked for",
        ("createVPC",), after_result("UPDATE vpc SET cidr = '10.99.0.0/16' WHERE uuid = %s", "vpc")),
    "network-stays": Plant(NETWORKS_GONE, "a network's deletion succeeds, and it stays", ("deleteNetwork",), idle("networks", "Network")),
    "network-old-fails": Plant(NETWORKS_GONE, "a network from before can't be deleted",
        ("deleteNetwork",), old_fails("networks", "Failed to delete network")),
    "vpc-stays": Plant(NETWORKS_GONE, "a VPC's deletion succeeds, and it stays", ("deleteVPC",), idle("vpc", "Vpc")),
    "reach-isolated": Plant(REACH, "a machine in an isolated network reaches nothing", ("probe",)),
    "reach-shared": Plant(REACH, "a machine in a shared network reaches nothing", ("probe",)),
    "reach-vpc": Plant(REACH, "a machine in a VPC's tier reaches nothing", ("probe",)),
    "volume-not-there": Plant(VOLUMES, "a disk is made by the answer, and is not there",
        ("createVolume",), after_result("UPDATE volumes SET removed = NOW() WHERE uuid = %s", "volume")),
    "volume-half": Plant(VOLUMES, "a disk has half of the size asked for", ("createVolume",), _half),
    "volume-other-owner": Plant(VOLUMES, "a disk belongs to the caller instead of the account", ("createVolume",), without("account")),
    "volume-stays": Plant(VOLUMES_GONE, "a disk's deletion succeeds, and it stays", ("deleteVolume",), lambda _handler, _call: success()),
    "volume-old-fails": Plant(VOLUMES_GONE, "a disk from before can't be deleted",
        ("deleteVolume",), old_fails("volumes", "Failed to delete volume")),
    "volume-once-attached": Plant(VOLUMES_GONE, "a disk that was attached once can't be deleted", ("deleteVolume",), _not_once_attached),
    "portal-keys-refused": Plant(PORTALS, "users' own API keys are refused", ("verify",)),
    "portal-events-fail": Plant(PORTALS, "the list of events that a billing portal reads fails",
        ("listEvents",), _refuse("Internal error executing command")),
    "portal-hangs": Plant(PORTALS, "the list of events that a billing portal reads never answers", ("listEvents",), _hang),
}  # fmt: skip
