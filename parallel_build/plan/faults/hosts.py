"""Faults that hit by hypervisor hosts and clusters, their systems and agents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from parallel_build.plan.faults.fault import Fault, Item, Lists, Row, Span
from parallel_build.rules import Severity, Unanswered

BLOCKS, WARNS, NOTES = Severity.BLOCKS, Severity.WARNS, Severity.NOTES
KVM = "h.removed IS NULL AND h.type = 'Routing' AND h.hypervisor_type = 'KVM'"
SYSTEM = (
    "SELECT CONCAT(h.name, ': ', o.value, ' ', v.value) AS what, o.value AS system, v.value AS version FROM cloud.host h "
    "JOIN cloud.host_details o ON o.host_id = h.id AND o.name = 'Host.OS' "
    f"JOIN cloud.host_details v ON v.host_id = h.id AND v.name = 'Host.OS.Version' WHERE {KVM}"
)
HYPERVISOR = (
    "SELECT CONCAT(h.name, ': ', h.hypervisor_type, ' ', COALESCE(h.hypervisor_version, '?')) AS what, h.hypervisor_type AS system, "
    "h.hypervisor_version AS version FROM cloud.host h WHERE h.removed IS NULL AND h.type = 'Routing'"
)
ENTERPRISE = re.compile(r"CentOS|Red ?Hat|Rocky|Alma|Oracle|Scientific", re.IGNORECASE)
UBUNTU = re.compile(r"Ubuntu", re.IGNORECASE)
LOWEST = {"XenServer": (8, 2), "VMware": (7,)}  # since 4.20 [compatibility page]
LOWEST_BEFORE = {"XenServer": (8,)}  # 7.x fails from 4.15 on [issue 4502]
PACKED = (("KVM", "x86_64"), ("VMware", "x86_64"), ("XenServer", "x86_64"))  # images that the packages of 4.22 bring
WITHOUT_IMAGE = ("Hyperv", "LXC", "Ovm3")
Keep = Callable[[Row], bool]


def numbers(text: object) -> tuple[int, ...]:
    """The first three numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", str(text or ""))[:3])


def _runs(*systems: tuple[re.Pattern[str], tuple[int, ...]]) -> Keep:
    """Rows of hosts that run one of these systems."""

    def keep(row: Row) -> bool:
        return any(name.search(str(row["system"])) and numbers(row["version"])[: len(first)] == first for name, first in systems)

    return keep


def _older_than(lowest: Mapping[str, tuple[int, ...]]) -> Keep:
    def keep(row: Row) -> bool:
        found = numbers(row["version"])
        return bool(found) and found < lowest.get(str(row["system"]), ())

    return keep


def _systems(keep: Keep) -> Callable[[Lists], Iterable[str]]:
    """The API's hosts whose system is kept; it shows a host's details where it has them."""

    def ask(cloud: Lists) -> Iterator[str]:
        for host in cloud.list("listHosts", type="Routing"):
            if host.get("hypervisor") != "KVM":
                continue
            details = host.get("details") or {}
            if "Host.OS" not in details:
                raise Unanswered(f"the API does not show the operating system of host {host.get('name')}")
            if keep({"system": details["Host.OS"], "version": details.get("Host.OS.Version", "")}):
                yield f"{host['name']}: {details['Host.OS']} {details.get('Host.OS.Version', '')}"

    return ask


def _hypervisors(keep: Keep) -> Callable[[Lists], Iterable[str]]:
    def ask(cloud: Lists) -> Iterator[str]:
        for host in cloud.list("listHosts", type="Routing"):
            if keep({"system": host.get("hypervisor"), "version": host.get("hypervisorversion")}):
                yield f"{host['name']}: {host.get('hypervisor')} {host.get('hypervisorversion')}"

    return ask


def _hosts(test: Callable[[Item], bool]) -> Callable[[Lists], Iterable[str]]:
    return lambda cloud: [str(host["name"]) for host in cloud.list("listHosts", type="Routing") if test(host)]


def _overcommitted(cloud: Lists) -> Iterator[str]:
    for cluster in cloud.list("listClusters"):
        for ratio in ("cpuovercommitratio", "memoryovercommitratio"):
            if float(cluster.get(ratio) or 1) > 1:
                yield f"cluster {cluster['name']}: {ratio} {cluster[ratio]}"


def _without_image(cloud: Lists) -> Iterator[str]:
    for cluster in cloud.list("listClusters"):
        kind, arch = str(cluster.get("hypervisortype")), str(cluster.get("arch") or "x86_64")
        if kind in WITHOUT_IMAGE or (kind == "KVM" and arch != "x86_64"):
            yield f"cluster {cluster['name']}: {kind} {arch}"


REBUILD_FIRST = _runs((ENTERPRISE, (7,)), (UBUNTU, (16,)), (UBUNTU, (18,)))
NEW_UBUNTU = _runs((UBUNTU, (22,)), (UBUNTU, (24,)))
EL_10 = _runs((ENTERPRISE, (10,)))
MOVED_CATEGORIES = ("Novel", "None", "Unix", "Mac")

FAULTS = (
    Fault(
        "vnc_password_too_long", "CloudStack issue 7062", Span(before="4.17.1.0"), "VMs don't start on hosts with Ubuntu 22.04: VNC password too long",
        "take a target of 4.17.1 or later", BLOCKS, sql=SYSTEM, keep=NEW_UBUNTU, api=_systems(NEW_UBUNTU),
    ),
    Fault(
        "hosts_without_java_17", "compatibility page of 4.20", Span(crosses="4.20.0.0"),
        "agents of 4.20 and later can't run: these systems have no Java 17 and no packages",
        "rebuild these hosts with a supported system before the upgrade", BLOCKS, sql=SYSTEM, keep=REBUILD_FIRST, api=_systems(REBUILD_FIRST),
    ),
    Fault(
        "agents_on_el10", "CloudStack issue 13265", Span(only=("4.22.1.0",)),
        "cloudstack-agent-upgrade ends in a traceback on EL 10: distutils is gone", "take a later patch release, or ignore that traceback: the agent runs",
        NOTES, sql=SYSTEM, keep=EL_10, api=_systems(EL_10),
    ),
    Fault(
        "hypervisors_too_old", "compatibility page of 4.20", Span(since="4.20.0.0"), "these hypervisors are not supported any more",
        "upgrade XenServer or XCP-ng to 8.2, ESXi to 7.0 first", BLOCKS, sql=HYPERVISOR, keep=_older_than(LOWEST), api=_hypervisors(_older_than(LOWEST)),
    ),
    Fault(
        "xenserver_7", "CloudStack issue 4502", Span(since="4.15.0.0", before="4.20.0.0"), "XenServer 7.x fails from 4.15 on", "upgrade it first", BLOCKS,
        sql=HYPERVISOR, keep=_older_than(LOWEST_BEFORE), api=_hypervisors(_older_than(LOWEST_BEFORE)),
    ),
    Fault(
        "kvm_agents_of_4_21_0", "CloudStack issues 11552 and 11917", Span(only=("4.21.0.0",)), "KVM agents of 4.21.0.0 fail",
        "take another target", WARNS, sql=f"SELECT h.name AS what FROM cloud.host h WHERE {KVM}",
        api=_hosts(lambda host: host.get("hypervisor") == "KVM"),
    ),
    Fault(
        "overcommit_panics", "CloudStack issue 7430", Span(only=("4.18.0",)), "routers panic at boot where memory or CPU is overcommitted",
        "take 4.18.1 or later", BLOCKS,
        sql="SELECT CONCAT('cluster ', c.name, ': ', d.name, ' ', d.value) AS what FROM cloud.cluster_details d JOIN cloud.cluster c "
        "ON c.id = d.cluster_id WHERE c.removed IS NULL AND d.name IN ('cpuOvercommitRatio', 'memoryOvercommitRatio') AND d.value + 0 > 1",
        api=_overcommitted,
    ),
    Fault(
        "preferences_for_moved_systems", "CloudStack documentation pull request 500", Span(crosses="4.21.0.0"),
        "the preference of hosts for an operating system is lost: its category moved", "set it again on these hosts after the upgrade", NOTES,
        sql="SELECT CONCAT(h.name, ' prefers ', c.name) AS what FROM cloud.host_details d JOIN cloud.host h ON h.id = d.host_id "
        "JOIN cloud.guest_os_category c ON c.id = CAST(d.value AS UNSIGNED) WHERE h.removed IS NULL AND d.name = 'guest.os.category.id' "
        f"AND c.name IN {MOVED_CATEGORIES}",
        api=_hosts(lambda host: host.get("oscategoryname") in MOVED_CATEGORIES),
    ),
    Fault(
        "no_image_in_the_package", "CloudStack issue 12077", Span(since="4.22.0.0"),
        "one hypervisor or architecture whose image the package lacks stops the registration of all templates",
        "register its template under the exact name first, or place its file in the package's folder", BLOCKS,
        sql="SELECT CONCAT('cluster ', name, ': ', hypervisor_type, ' ', arch) AS what FROM cloud.cluster WHERE removed IS NULL "
        f"AND (hypervisor_type IN {WITHOUT_IMAGE} OR (hypervisor_type = 'KVM' AND arch <> 'x86_64'))",
        api=_without_image,
    ),
    Fault(
        "disabled_hosts_not_told", "CloudStack issue 3581, pull request 3617", Span(source_before="4.13.1.0"),
        "disabled hosts are not given the new management servers' addresses", "enable them, or use agents.method file", WARNS,
        sql="SELECT CONCAT(h.name, ' (', h.resource_state, ')') AS what FROM cloud.host h "
        f"WHERE {KVM} AND h.resource_state <> 'Enabled'",
        api=_hosts(lambda host: host.get("hypervisor") == "KVM" and host.get("resourcestate") != "Enabled"),
    ),
    Fault(
        "no_ha_for_dead_hosts", "CloudStack issue 13371, pull request 13373", Span(only=("4.22.1.0",)),
        "a dead host stays Disconnected or Alert, and its VMs are not started elsewhere", "take a later release, or switch VMs with HA by hand", WARNS,
        sql="SELECT CONCAT('VM ', instance_name) AS what FROM cloud.vm_instance WHERE removed IS NULL AND type = 'User' AND ha_enabled = 1",
        api=lambda cloud: [
            f"VM {vm.get('instancename') or vm['name']}"
            for vm in cloud.list("listVirtualMachines", listall="true")
            if str(vm.get("haenable")).lower() == "true"
        ],
    ),
)  # fmt: skip
