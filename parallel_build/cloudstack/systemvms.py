"""System VMs and virtual routers: renewed through the API, and their version proved three ways.

The database alone proves nothing: right after the schema upgrade `vm_instance.vm_template_id` names the new template for system VMs that still run the old
one [CloudStack SystemVmTemplateRegistration.java; issue 8406]. So the API's word, the database's row of a *new* VM, and the file on the appliance must agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack import zones
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.patience import Patience, Progress
from parallel_build.cloudstack.states import GONE
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.openssh import Result
from parallel_build.remote.sql import Row, Session
from parallel_build.versions import CloudStackVersion

SCRIPTS = "/usr/share/cloudstack-common/vms/cloud-scripts.tgz"  # of routers, since 4.17 [CloudStack NetworkHelperImpl]
SHA512_SINCE = CloudStackVersion("4.22.0.0")
SYSTEM_VM_PORT = 3922  # sshd of system VMs on KVM [CloudStack agent, scripts/vm/systemvm]
SYSTEM_VM_KEY = "/root/.ssh/id_rsa.cloud"
RELEASE_FILE = "/etc/cloudstack-release"
AT_A_TIME = 500  # uuids in one question
NUMBERS = re.compile(r"\d+(?:\.\d+){1,3}")


def numbers(text: str | None) -> tuple[int, ...]:
    """The first version in a text (`Cloudstack Release 4.22.0 Tue ...`) as numbers; empty when there is none."""
    found = NUMBERS.search(text or "")
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def same_release(text: str | None, wanted: str) -> bool:
    """Whether a text names release `wanted` (`4.22.0` fits `4.22.0` and `4.22.0.0`)."""
    one, other = numbers(text), numbers(wanted)
    width = max(len(one), len(other))
    return bool(one) and one + (0,) * (width - len(one)) == other + (0,) * (width - len(other))


def required_release(database: Session) -> str:
    """The release system VMs must have: the schema upgrade sets it with the template [`minreq.sysvmtemplate.version`]."""
    value = database.value("SELECT value FROM cloud.configuration WHERE name = 'minreq.sysvmtemplate.version'")
    if not numbers(str(value or "")):
        raise StepFailed(
            f"{database.host.name}: minreq.sysvmtemplate.version is {value!r}",
            "the schema upgrade has not set it",
            "see what the first new management server's log reports of system VM templates; set this setting on the new side "
            "(updateConfiguration) to the release of the template that is registered, such as 4.22.0, then run `pulumi up`",
        )
    return str(value)


def system_vms(cloud: Cloud) -> list[dict[str, Any]]:
    """Secondary storage VMs and console proxies that exist, secondary storage first."""
    found = [vm for vm in cloud.list("listSystemVms") if vm.get("state") not in GONE]
    return sorted(found, key=lambda vm: (str(vm.get("systemvmtype")) != "secondarystoragevm", str(vm.get("name"))))


def renewable(cloud: Cloud) -> tuple[list[dict[str, Any]], list[str]]:
    """System VMs that get a successor when they are destroyed, and the names of those that would not, with their zone: these are left alone."""
    elsewhere = zones.left_alone(cloud.list("listZones"))
    found = system_vms(cloud)
    alone = [f"{vm['name']} ({vm['zonename']}: {elsewhere[vm['zonename']]})" for vm in found if vm.get("zonename") in elsewhere]
    return [vm for vm in found if vm.get("zonename") not in elsewhere], alone


def routers(cloud: Cloud, **where: str) -> list[dict[str, Any]]:
    """Virtual routers of accounts and of projects.

    Args:
        where: what narrows them down, such as `networkid`.
    """
    found = {}
    for projects in ({}, {"projectid": "-1"}):
        for router in cloud.list("listRouters", listall="true", **where, **projects):
            if router.get("state") not in GONE:
                found[router["id"]] = router
    return list(found.values())


def renew_system_vms(
    cloud: Cloud,
    vms: Sequence[dict[str, Any]],
    before: Collection[str],
    patience: Patience,
    *,
    timeout: float,
    cancel: CancelToken,
    progress: Progress,
) -> dict[str, Any]:
    """Destroy the system VMs of one kind in one zone, and wait until the cloud has made another, with its agent Up.

    Args:
        before: ids of all system VMs that were there before the first was destroyed.
    Raises:
        StepFailed: no replacement came in time.
    """
    kind, zone, names = vms[0]["systemvmtype"], vms[0].get("zoneid"), ", ".join(str(vm["name"]) for vm in vms)
    progress(f"destroying {names}, waiting for another {kind}")
    for vm in vms:

        def destroyed(identity: str = vm["id"]) -> None:
            if identity in {each["id"] for each in system_vms(cloud)}:
                cloud.job("destroySystemVm", id=identity, timeout=timeout, cancel=cancel)

        patience.run(destroyed)

    def replaced() -> dict[str, Any] | None:
        for each in system_vms(cloud):
            if each["systemvmtype"] == kind and each.get("zoneid") == zone and each["id"] not in before and running(each):
                return each
        return None

    return wait_for(
        f"another {kind} in place of {names}",
        replaced,
        timeout=timeout,
        cancel=cancel,
        interval=1,
        progress=progress,
        remedy="see the alerts and the management server's log: template Ready in that zone, storage, capacity",
    )


def running(vm: dict[str, Any]) -> bool:
    """Running, with its agent connected where it has one."""
    return vm.get("state") == "Running" and vm.get("agentstate", "Up") == "Up"


@dataclass(frozen=True)
class Proof:
    """What the three witnesses say of one appliance; None where a witness can't be asked."""

    name: str
    api: str | None
    database: str | None
    appliance: str | None
    problems: tuple[str, ...]

    @property
    def witnessed(self) -> bool:
        """Whether anyone but the database has reported which release runs."""
        return self.api is not None or self.appliance is not None


class Rows(Protocol):
    """What can be asked for rows."""

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Run a statement."""


def recorded_releases(database: Rows, ids: Sequence[str]) -> dict[str, str]:
    """The release, or the template's name, that the database has for each of the VMs that it knows, by uuid."""
    found: dict[str, str] = {}
    for begin in range(0, len(ids), AT_A_TIME):
        some = list(ids[begin : begin + AT_A_TIME])
        marks = ", ".join(["%s"] * len(some))
        for row in database.rows(
            "SELECT v.uuid, t.name AS template, r.template_version FROM cloud.vm_instance v LEFT JOIN cloud.vm_template t "
            f"ON t.id = v.vm_template_id LEFT JOIN cloud.domain_router r ON r.id = v.id WHERE v.uuid IN ({marks})",
            some,
        ):
            found[str(row["uuid"])] = str(row["template_version"] or row["template"] or "")
    return found


def prove(
    vm: dict[str, Any],
    release: str,
    code: CloudStackVersion,
    recorded_of: Mapping[str, str],
    hypervisor: Access | None,
    read: Callable[[dict[str, Any], Access | None], str | None] | None = None,
) -> Proof:
    """Ask the API, the database and the appliance itself for the version of a system VM or router.

    Args:
        vm: an item of listSystemVms or listRouters, fresh.
        release: what the template's release must be.
        code: version of the new management servers, which system VMs' agents report.
        recorded_of: what the database has, by uuid (`recorded_releases`).
        hypervisor: session to its KVM host, when the stack may log in there.
        read: what gives the release that the appliance itself says; by default it is asked now.
    """
    name, problems = str(vm["name"]), []
    router = "requiresupgrade" in vm
    reported = str(vm.get("version") or "")
    if router:
        if not same_release(reported, release):
            problems.append(f"the API says {reported or 'nothing'} instead of {release}")
        if vm.get("requiresupgrade"):
            problems.append("the API says that it requires an upgrade")
    elif vm.get("version") is not None and not same_release(reported, str(code)):
        problems.append(f"its agent reports {reported} instead of {code}; KVM hosts with old agent packages hand out the old one")
    recorded = recorded_of.get(str(vm["id"]), "")
    if not recorded or (vm.get("hypervisor") != "Simulator" and not same_release(recorded, release)):
        problems.append(f"the database has {recorded or 'no row'} instead of {release}")
    appliance = (read or appliance_release)(vm, hypervisor)
    if appliance is not None and not same_release(appliance, release):
        problems.append(f"{RELEASE_FILE} on it says {appliance or 'nothing'} instead of {release}")
    return Proof(name, reported or None, recorded or None, appliance, tuple(problems))


def appliance_release(vm: dict[str, Any], hypervisor: Access | None) -> str | None:
    """The release that an appliance itself says, read through its KVM host; None where the stack may not log in there."""
    address = vm.get("linklocalip")
    if hypervisor is None or not address:
        return None
    try:
        found = read_on_system_vm(hypervisor, address, RELEASE_FILE)
    except CommandFailed as error:
        return f"unreadable ({error.cause or error.fact})"
    return found.stdout.strip()


def own_scripts(host: Access, version: CloudStackVersion) -> str:
    """The checksum of a management server's scripts for routers, as routers report theirs; empty where it can't be had."""
    tool = "sha512sum" if version >= SHA512_SINCE else "md5sum"
    try:
        done = host.run([tool, SCRIPTS], ok=None)
    except ConnectionFailed:
        return ""
    return done.stdout.split()[0] if done.ok and done.stdout.strip() else ""


def read_on_system_vm(hypervisor: Access, address: str, path: str) -> Result:
    """Read a file of a system VM through its KVM host.

    Raises:
        CommandFailed: the system VM lets nobody in, or there is no such file.
        ConnectionFailed: the KVM host itself can't be reached.
    """
    inner = ["ssh", "-i", SYSTEM_VM_KEY, "-p", str(SYSTEM_VM_PORT), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", f"root@{address}", "cat", path]  # fmt: skip
    # The inner ssh ends with 255 where it can't connect. From the outer one that code would mean the KVM host.
    return hypervisor.run(["sh", "-c", '"$@" || exit 1', "sh", *inner])
