"""Facts for `parity` as far as the API shows them, in the document's own form: what it does not show is left out and compared with nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from parallel_build.health.facts import changed
from parallel_build.parity.facts import FORM
from parallel_build.plan.cloud.rows import everything
from parallel_build.plan.faults import Lists
from parallel_build.rules import Unanswered

Item = dict[str, Any]
COUNTS: dict[str, Callable[[Lists], list[Item]]] = {
    "zones": lambda cloud: cloud.list("listZones"),
    "pods": lambda cloud: cloud.list("listPods"),
    "clusters": lambda cloud: cloud.list("listClusters"),
    "hosts": lambda cloud: cloud.list("listHosts", type="Routing"),
    "virtual machines": lambda cloud: everything(cloud, "listVirtualMachines"),
    "virtual routers": lambda cloud: everything(cloud, "listRouters"),
    "networks": lambda cloud: _guest(everything(cloud, "listNetworks")),
    "VPCs": lambda cloud: everything(cloud, "listVPCs"),
    "management servers": lambda cloud: cloud.list("listManagementServers"),
}


def _guest(networks: Iterable[Item]) -> list[Item]:
    return [network for network in networks if network.get("traffictype") == "Guest"]


def _providers(networks: Iterable[Item]) -> list[str]:
    return [
        str(each.get("name")) for network in networks for service in network.get("service") or [] for each in service.get("provider") or []
    ]


def _network(network: Item) -> str:
    return (
        f"{network.get('type') or '?'}, {network.get('broadcastdomaintype')}"
        + (", in a VPC" if network.get("vpcid") else "")
        + (", redundant" if network.get("redundantrouter") else "")
    )


KINDS: dict[str, Callable[[Lists], Iterable[str]]] = {
    "hypervisors": lambda cloud: (str(each.get("hypervisortype")) for each in cloud.list("listClusters")),
    "hypervisor versions": lambda cloud: (
        f"{each.get('hypervisor')} {each.get('hypervisorversion') or '?'}" for each in cloud.list("listHosts", type="Routing")
    ),
    "architectures": lambda cloud: (str(each["arch"]) for each in cloud.list("listClusters") if each.get("arch")),
    "primary storage": lambda cloud: (
        f"{each.get('type')}, {str(each.get('scope') or '?').lower()}, {each.get('provider') or '?'}"
        for each in cloud.list("listStoragePools")
    ),
    "secondary storage": lambda cloud: (str(each.get("protocol")).lower() for each in cloud.list("listImageStores")),
    "zone types": lambda cloud: (
        f"{each.get('networktype')}{' with security groups' if each.get('securitygroupsenabled') else ''}"
        for each in cloud.list("listZones")
    ),
    "guest networks": lambda cloud: (_network(each) for each in _guest(everything(cloud, "listNetworks"))),
    "network providers": lambda cloud: _providers(everything(cloud, "listNetworks")),
}


def facts(cloud: Lists, url: str, version: str, settings: list[Item] | None) -> dict[str, Any]:
    """The document.

    Args:
        settings: rows of settings as the health check has them; None where they could not be read.
    """
    problems, counts, kinds = list[str](), dict[str, int](), dict[str, list[str]]()
    for name, count in COUNTS.items():
        try:
            counts[name] = len(count(cloud))
        except Unanswered as error:
            problems.append(f"number of {name}: {error}")
    for name, kind in KINDS.items():
        try:
            kinds[name] = sorted(set(kind(cloud)))
        except Unanswered as error:
            problems.append(f"{name}: {error}")
    found: dict[str, Any] = {
        "form": FORM, "stack": url, "time": datetime.now(UTC).isoformat(timespec="seconds"), "version": version, "machines": {},
        "counts": counts, "kinds": kinds, "problems": problems,
    }  # fmt: skip
    if settings is None:
        problems.append("changed settings: not answered")
    else:
        names = set(changed(settings))
        found["settings"] = {str(row["name"]): str(row["value"]) for row in settings if row["name"] in names}
    return found
