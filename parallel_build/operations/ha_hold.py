"""High availability held still while agents are stopped and started: CloudStack would start their VMs elsewhere, or power-cycle their hosts.

It is held by values of each zone's own, which win over the global ones and count at once: `vm.ha.enabled` (VM HA, since 4.20.1) and
`resourceHAEnabled` (host HA, what disableHAForZone writes). Forward they are written into the copy before the first start; in a rollback into the
original's database before its management starts. Put back as found once the hosts are connected.
"""

from __future__ import annotations

from typing import Literal

from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import Cancelled, Fenced, ParallelBuildError, StepFailed
from parallel_build.operations import original_management
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database, store
from parallel_build.remote.sql import Session, session
from parallel_build.versions import CloudStackVersion

STEP = "HighAvailability"  # under this name the window's record has what was found
AGENTS = "Agents"  # the step that it is held for
VM_HA, HOST_HA = "vm.ha.enabled", "resourceHAEnabled"
SINCE = {VM_HA: CloudStackVersion("4.20.1.0"), HOST_HA: CloudStackVersion("4.11.0.0")}
OFF = "false"
Side = Literal["new", "original"]
Found = dict[str, dict[str, str]]  # by zone number: name -> value of its own, empty where it has none


def hold(context: Context, database: Session, side: Side) -> None:
    """Hold it in a side's database; what was found is on record first. Nothing happens where it is held already."""
    version = context.configuration.new.version if side == "new" else context.configuration.original.version
    names = [name for name, since in SINCE.items() if version >= since]
    if VM_HA not in names:
        context.progress(f"CloudStack {version} has no setting {VM_HA}: VM HA can't be held still while agents restart")
    zones = [str(row["id"]) for row in database.rows("SELECT id FROM cloud.data_center WHERE removed IS NULL ORDER BY id")]
    now = _own(database)
    known: Found = store(context).facts(STEP).get(side) or {}
    if fresh := [zone for zone in zones if zone not in known]:
        known = {**known, **{zone: {name: now.get(zone, {}).get(name, "") for name in names} for zone in fresh}}
        store(context).remember(STEP, **{side: known})
    for zone in zones:
        for name in names:
            if now.get(zone, {}).get(name) == OFF:
                continue
            context.intend(f"hold {name} off", side=side, zone=zone, was=now.get(zone, {}).get(name, ""))
            _write(database, zone, name, OFF, there=name in now.get(zone, {}))


def hold_on_original(context: Context) -> None:
    """Before the original's management starts in a rollback: where agents have been touched. A failure is reported; no user waits for it."""
    record = store(context).look()
    if record is None or record.closed or not record.facts.get(AGENTS, {}).get("begun"):
        return
    try:
        with session(original_database(context)) as database:
            hold(context, database, "original")
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        context.progress(f"high availability can't be held still on the original while agents are put back: {error}")
        context.run.record("not held", step=context.step, error=str(error))


def put_back(context: Context, side: Side) -> bool:
    """Put it back as it was found; whether anything was held.

    Raises:
        StepFailed: the database shows other values afterwards.
    """
    records = store(context)
    held: Found | None = records.facts(STEP).get(side)
    if not held:
        return False
    cloud = asked(context, Cloud.new(context.site)) if side == "new" else original_management.answering(context)
    with session(new_database(context) if side == "new" else original_database(context)) as database:
        ids = {str(row["id"]): str(row["uuid"]) for row in database.rows("SELECT id, uuid FROM cloud.data_center WHERE removed IS NULL")}
        now = _own(database)
        for zone, found in held.items():
            for name, value in found.items() if zone in ids else ():
                if now.get(zone, {}).get(name, "") == value:
                    continue
                context.intend(f"put {name} back", side=side, zone=zone, value=value)
                if name == VM_HA and value:
                    cloud.call("updateConfiguration", name=name, zoneid=ids[zone], value=value)
                elif name == VM_HA:
                    cloud.call("resetConfiguration", name=name, zoneid=ids[zone])
                else:  # no call takes the value away again; CloudStack reads the row whenever it asks
                    _write(database, zone, name, value, there=name in now.get(zone, {}))
        after = _own(database)
    wrong = [
        f"{name} of zone {zone} is {after.get(zone, {}).get(name) or 'not set'} instead of {value or 'not set'}"
        for zone, found in held.items()
        for name, value in found.items()
        if zone in ids and not _as_found(after.get(zone, {}).get(name, ""), name, value)
    ]
    if wrong:
        raise StepFailed(
            f"high availability is not as it was found: {'; '.join(wrong[:6])}",
            "the change was taken, and the database shows another value",
            "set it by hand (updateConfiguration with zoneid; enableHAForZone), then run the same command again",
        )
    records.remember(STEP, **{side: None})
    context.progress("high availability is as it was found again")
    return True


def _as_found(now: str, name: str, value: str) -> bool:
    """Whether a zone's value is as it was; what CloudStack itself leaves after a reset may be its default."""
    return now == value or (name == VM_HA and not value and now != OFF)


def _own(database: Session) -> Found:
    rows = database.rows("SELECT dc_id, name, value FROM cloud.data_center_details WHERE name IN (%s, %s)", [VM_HA, HOST_HA])
    found: Found = {}
    for row in rows:
        found.setdefault(str(row["dc_id"]), {})[str(row["name"])] = str(row["value"])
    return found


def _write(database: Session, zone: str, name: str, value: str, *, there: bool) -> None:
    if not value:
        database.execute("DELETE FROM cloud.data_center_details WHERE dc_id = %s AND name = %s", [zone, name])
    elif there:
        database.execute("UPDATE cloud.data_center_details SET value = %s WHERE dc_id = %s AND name = %s", [value, zone, name])
    else:
        database.execute("INSERT INTO cloud.data_center_details (dc_id, name, value) VALUES (%s, %s, %s)", [zone, name, value])
