"""What a workload is made of in this cloud: zone, offerings and templates; and whether the cloud has room for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused
from parallel_build.errors import GuardFailed
from parallel_build.workload.profile import Profile
from parallel_build.workload.things import counted

Item = dict[str, Any]
UNKNOWN_COMMAND = 432
MEMORY, ADDRESSES = 0, 4  # types of capacity [Capacity.java]
RESERVE = 0.9  # of what is free: system VMs and routers need some
MIB, GIB = 1 << 20, 1 << 30
# What limits count [Resource.java]: type -> kind of thing.
LIMITS = {"0": "VM", "2": "disk", "6": "network", "7": "VPC"}
TIER_SERVICES = "forvpc"


class Calls(Protocol):
    """A cloud's API."""

    url: str

    def call(self, command: str, **parameters: Any) -> Item:
        """Make one call."""

    def list(self, command: str, **parameters: Any) -> list[Item]:
        """Every item of a list command."""

    def job(
        self, command: str, *, timeout: float, cancel: CancelToken, progress: Callable[[str], None] | None = None, **parameters: Any
    ) -> Item:
        """Make an asynchronous call and wait for its result."""


@dataclass(frozen=True)
class Choices:
    """What is used.

    Attributes:
        zone, service, disk, network, vpc, tier, shared: ids; "" where the cloud has none and the profile needs none.
        templates: ids, used in turn.
        shared_vlan: the offering for shared networks wants a VLAN of the operator's.
        custom_disk: the disk offering leaves the size open.
        unchecked: what could not be asked about room, and why.
    """

    zone: str
    service: str = ""
    disk: str = ""
    network: str = ""
    vpc: str = ""
    tier: str = ""
    shared: str = ""
    shared_vlan: bool = False
    templates: tuple[str, ...] = ()
    custom_disk: bool = False
    unchecked: tuple[str, ...] = ()


def choose(cloud: Calls, profile: Profile, zone: str = "") -> Choices:
    """What is used of what the cloud offers.

    Args:
        zone: its name; "" for the first that is enabled.
    Raises:
        GuardFailed: the cloud lacks something that the profile needs, or has no room for it.
    """
    zones = [each for each in cloud.list("listZones") if each.get("allocationstate", "Enabled") == "Enabled" and zone in ("", each["name"])]
    if not zones:
        raise GuardFailed(f"{cloud.url} has no enabled zone {zone}".rstrip(), "a workload is made in one zone", "name another with --zone")
    here = zones[0]
    service = _offering(cloud, "listServiceOfferings", profile.service_offering, "VMs", needed=profile.vms > 0)
    disk = _offering(cloud, "listDiskOfferings", profile.disk_offering, "disks", needed=profile.disks > 0)
    networks = cloud.list("listNetworkOfferings", state="Enabled", guestiptype="Isolated") if profile.networks or profile.vpcs else []
    plain = _named(
        [each for each in networks if not _true(each.get(TIER_SERVICES)) and not _true(each.get("specifyvlan"))], profile.network_offering
    )
    tiers = _named([each for each in networks if _true(each.get(TIER_SERVICES))], profile.tier_offering)
    vpcs = _named(_maybe(cloud, "listVPCOfferings", state="Enabled"), profile.vpc_offering)
    shared = [
        each
        for each in _named(cloud.list("listNetworkOfferings", state="Enabled", guestiptype="Shared"), profile.shared_offering)
        if _true(here.get("securitygroupsenabled")) or not _has(each, "SecurityGroup")
    ]
    shared.sort(key=lambda each: not _true(each.get("specifyvlan")) if profile.shared_vlans else _true(each.get("specifyvlan")))
    for wanted, offered, name, what in (
        (profile.networks, plain, profile.network_offering, "network offering for isolated networks"),
        (len(profile.shared_vlans), shared, profile.shared_offering, "network offering for shared networks"),
    ):
        if wanted and not offered:
            raise GuardFailed(
                f"{cloud.url} has no {what} {name}".rstrip(),
                "the profile asks for such networks",
                "name in the profile one that the cloud has, or take these networks out of it",
            )
    found = Choices(
        str(here["id"]), str(service.get("id", "")), str(disk.get("id", "")), _id(plain), _id(vpcs), _id(tiers),
        _id(shared), bool(shared) and _true(shared[0].get("specifyvlan")), _templates(cloud, profile, str(here["id"])), _true(disk.get("iscustomized")),
    )  # fmt: skip
    return Choices(**{**vars(found), "unchecked": tuple(_room(cloud, profile, str(here["id"]), service))})


def _offering(cloud: Calls, command: str, name: str, what: str, *, needed: bool) -> Item:
    if not needed:
        return {}
    found = _named(cloud.list(command), name)
    if not found:
        raise GuardFailed(
            f"{cloud.url} has no offering {name} for {what}".replace("  ", " "),
            "the profile needs one",
            "name in the profile one that the cloud has, or make it in the cloud",
        )
    return found[0]


def _named(items: list[Item], name: str) -> list[Item]:
    return [item for item in items if name in ("", item.get("name"))]


def _id(items: list[Item]) -> str:
    return str(items[0]["id"]) if items else ""


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _has(offering: Item, service: str) -> bool:
    return any(each.get("name") == service for each in offering.get("service") or [])


def _maybe(cloud: Calls, command: str, **parameters: Any) -> list[Item]:
    """Items of a list that this cloud may not have."""
    try:
        return cloud.list(command, **parameters)
    except ApiRefused as error:
        if error.code != UNKNOWN_COMMAND:
            raise
        return []


def _templates(cloud: Calls, profile: Profile, zone: str) -> tuple[str, ...]:
    if not profile.vms:
        return ()
    ready = [
        item
        for item in cloud.list("listTemplates", templatefilter="all", zoneid=zone, listall="true")
        if item.get("isready") and item.get("templatetype") not in ("SYSTEM", "ROUTING")
    ]
    names = {str(item["name"]): str(item["id"]) for item in ready}
    if missing := [name for name in profile.templates if name not in names]:
        raise GuardFailed(
            f"templates are not ready in that zone: {', '.join(missing)}", "the profile names them", "register them first, or name others"
        )
    chosen = tuple(names[name] for name in profile.templates) or tuple(dict.fromkeys(names.values()))[:3]
    if not chosen:
        raise GuardFailed(f"{cloud.url} has no template that is ready", "VMs are made of one", "register one first")
    return chosen


def _room(cloud: Calls, profile: Profile, zone: str, service: Mapping[str, Any]) -> list[str]:
    """Refuse a profile that capacity or limits can't hold; what could not be asked is returned.

    Raises:
        GuardFailed: there is no room.
    """
    unchecked, wanted = list[str](), counted(profile)
    try:
        capacities = {int(item["type"]): item for item in cloud.list("listCapacity", zoneid=zone)}
    except ApiRefused as error:
        capacities = {}
        unchecked.append(f"capacity: {error.reason}")
    needs = {MEMORY: ("memory", profile.vms * int(service.get("memory") or 0) * MIB), ADDRESSES: ("public addresses", _addresses(profile))}
    for kind, (what, need) in needs.items():
        if kind not in capacities:
            continue
        free = float(capacities[kind].get("capacitytotal") or 0) - float(capacities[kind].get("capacityused") or 0)
        if need > free * RESERVE:
            raise GuardFailed(
                f"the profile needs {_amount(kind, need)} of {what}, and {_amount(kind, free)} are free",
                "production would have no room left for its own VMs, routers and system VMs",
                "take a smaller profile, or another zone with --zone",
            )
    try:
        limits = cloud.list("listResourceLimits", domainid=_root(cloud))
    except ApiRefused as error:
        return [*unchecked, f"limits: {error.reason}"]
    for limit in limits:
        kind_name, most = LIMITS.get(str(limit.get("resourcetype"))), int(limit.get("max", -1))
        if kind_name and 0 <= most < wanted.get(kind_name, 0):
            raise GuardFailed(
                f"the profile wants {wanted[kind_name]} of kind {kind_name}, and the limit of the domain ROOT is {most}",
                "the workload's domain is below it",
                "take a smaller profile, or raise the limit (updateResourceLimit)",
            )
    return unchecked


def _addresses(profile: Profile) -> int:
    return profile.networks + profile.vpcs + profile.addresses


def _amount(kind: int, number: float) -> str:
    return f"{number / GIB:.1f} GB" if kind == MEMORY else f"{number:.0f}"


def _root(cloud: Calls) -> str:
    return str(next(item["id"] for item in cloud.list("listDomains", listall="true") if item.get("level") == 0 or item["name"] == "ROOT"))
