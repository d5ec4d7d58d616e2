"""System VMs renewed side by side: all requests go out at once, and CloudStack itself makes one successor of a kind after the other, zone after zone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.patience import Patience, hosts_away
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import prove_appliances
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import OpenSession
from parallel_build.remote.parallel import Workers

AT_ONCE = 16  # requests; each is a call that CloudStack puts behind others of its kind
Group = tuple[str, str]  # zone and kind


def asked_for(configuration: StackConfiguration, zone: str) -> bool:
    """Whether the system VMs of a zone must be renewed before users are in."""
    zones = configuration.window.accept_zones
    return zones == "all" or zone in zones


def renew(context: Context, cloud: Cloud, vms: Collection[dict[str, Any]], *, timeout: float) -> list[str]:
    """Destroy system VMs and wait until CloudStack has made another of each kind in each zone.

    Returns:
        names of those that were replaced.
    Raises:
        StepFailed: names every zone and kind that got no successor, and why; the others have theirs.
    """
    groups: dict[Group, list[dict[str, Any]]] = {}
    for vm in vms:
        groups.setdefault((str(vm.get("zonename") or vm.get("zoneid")), str(vm["systemvmtype"])), []).append(vm)
    if not groups:
        return []
    patience = Patience(context.cancel, context.progress, hosts_away(cloud))
    before = {each["id"] for each in systemvms.system_vms(cloud)}
    failed: list[str] = []
    with Workers(AT_ONCE, context.cancel) as pool:
        work = {group: pool.submit(_successor, context, cloud, members, before, patience, timeout) for group, members in groups.items()}
    for (zone, kind), future in work.items():
        try:
            future.result()
        except StepFailed as error:
            failed.append(f"{kind} in zone {zone}: {error.reason}")
    if failed:
        raise StepFailed(
            f"{len(failed)} of {len(groups)} system VMs got no successor: {'; '.join(failed[:6])}",
            "CloudStack makes it when the zone has its template, storage and a host with room, one zone after the other for each kind",
            "see the alerts and the management server's log; then `pulumi up` renews only those. "
            "Zones that users can do without for now may be left out of window.acceptZones",
        )
    return [vm["name"] for members in groups.values() for vm in members]


def _successor(
    context: Context, cloud: Cloud, vms: Sequence[dict[str, Any]], before: Collection[str], patience: Patience, timeout: float
) -> dict[str, Any]:
    return systemvms.renew_system_vms(cloud, vms, before, patience, timeout=timeout, cancel=context.cancel, progress=context.progress)


def expected(cloud: Cloud) -> list[list[str]]:
    """Zone and kind of every system VM that gets a successor when it is gone."""
    found = {(str(vm.get("zonename")), str(vm["systemvmtype"])) for vm in systemvms.renewable(cloud)[0]}
    return [list(each) for each in sorted(found)]


def await_kinds(context: Context, cloud: Cloud, groups: Collection[Sequence[str]], *, timeout: float) -> None:
    """Wait until a system VM of each kind runs in each zone: a run that was cut off may have destroyed one whose successor has not come.

    Raises:
        TimedOut: one does not come in time.
    """
    missing: list[str] = []

    def all_run() -> bool:
        there = {(str(vm.get("zonename")), str(vm["systemvmtype"])) for vm in systemvms.system_vms(cloud) if systemvms.running(vm)}
        missing[:] = [f"{kind} in zone {zone}" for zone, kind in groups if (zone, kind) not in there]
        return not missing

    wait_for(
        "a system VM of each kind in each zone",
        all_run,
        timeout=timeout,
        cancel=context.cancel,
        interval=1,
        progress=lambda text: context.progress(f"{text}; missing: {', '.join(missing)}"),
        remedy="see the alerts and the management server's log: template Ready in that zone, storage, capacity",
    )


def old_ones(
    context: Context, cloud: Cloud, release: str, database: OpenSession, zones: Collection[str] | None = None
) -> tuple[list[dict[str, Any]], list[systemvms.Proof], list[str]]:
    """System VMs that have to be renewed, the proofs of all that were looked at, and those that are left alone, with their zone.

    Args:
        zones: names; None for every zone in which CloudStack keeps system VMs.
    """
    found, alone = systemvms.renewable(cloud)
    found = [vm for vm in found if zones is None or str(vm.get("zonename")) in zones]
    proved = prove_appliances.proofs(context, found, release, database)
    return [vm for vm, proof in zip(found, proved, strict=True) if proof.problems or not systemvms.running(vm)], proved, alone
