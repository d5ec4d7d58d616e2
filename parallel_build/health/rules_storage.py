"""Rules over primary and secondary storage."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.cloudstack import zones
from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import rule
from parallel_build.rules import RuleFinding, Severity, listed

NEARLY_ALL = 0.95


@rule(Severity.WARNS, "storage_pool.status")
def pools_are_up(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every primary storage pool is Up."""
    for row in facts.rows("pools"):
        if row["status"] != "Up":
            yield RuleFinding(
                f"primary storage {row['name']} is {row['status']}",
                "VMs and routers on it can't be started",
                "end its maintenance, or enable it",
                Severity.NOTES if row["status"] == "Disabled" else None,
            )


@rule(Severity.WARNS, "storage_pool.used_bytes")
def pools_have_room(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No primary storage pool is nearly full."""
    for row in facts.rows("pools"):
        size, used = float(row["capacity_bytes"] or 0), float(row["used_bytes"] or 0)
        if size and used / size >= NEARLY_ALL:
            yield RuleFinding(
                f"primary storage {row['name']} is {used / size:.0%} full", "new system VMs and routers need disks", "make room"
            )


@rule(Severity.BLOCKS, "image_store; templates are downloaded to it")
def zones_have_secondary_storage(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every zone in which CloudStack keeps system VMs has secondary storage that can be written."""
    stores = facts.rows("image_stores")
    for zone in filter(zones.kept, facts.rows("zones")):
        fitting = [store for store in stores if store["zone"] in (None, zone["id"])]
        if not fitting:
            yield RuleFinding(
                f"zone {zone['name']} has no secondary storage", "no system VM template can be registered in it", "add secondary storage"
            )
        elif all(store["readonly"] for store in fitting):
            yield RuleFinding(
                f"secondary storage of zone {zone['name']} is read only: {listed([str(store['name']) for store in fitting])}",
                "no system VM template can be downloaded to it",
                "updateImageStore readonly=false, or add another",
            )


@rule(Severity.NOTES, "CloudStack SystemVmTemplateRegistration.java: only NFS stores count")
def zones_have_nfs(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports zones without NFS secondary storage."""
    stores = facts.rows("image_stores")
    for zone in filter(zones.kept, facts.rows("zones")):
        fitting = [store for store in stores if store["zone"] in (None, zone["id"])]
        if fitting and not any(str(store["protocol"]).lower() == "nfs" for store in fitting):
            yield RuleFinding(
                f"zone {zone['name']} has no NFS secondary storage",
                "a template that is not registered before the upgrade can't be registered by it there",
                "list every template in the stack's `templates`",
            )


@rule(Severity.NOTES, "CloudStack SystemVmLoadScanner.java: enabled zones that are no Edge zones; pull request 3600")
def zones_keep_system_vms(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports zones in which CloudStack makes no system VMs: disabled ones, and Edge zones."""
    found = [f"{name} ({why})" for name, why in sorted(zones.left_alone(facts.rows("zones")).items())]
    if found:
        yield RuleFinding(
            f"CloudStack makes no system VMs in {listed(found)}",
            "a system VM that runs there keeps the original's release: it gets no successor, so the window leaves it alone, and asks for no template there; "
            "in a disabled zone it leaves routers alone as well",
            "enable a disabled zone before the window to have its system VMs and routers renewed; an Edge zone needs no system VMs",
        )
