"""The release that CloudStack demands of routers, lowered between users-in and the last wave (`routers.untilRenewed: allow`), and put back as found.

CloudStack gives no command to a router below `minreq.sysvmtemplate.version`. The first start sets the global value itself, with the new template,
so what is written into the copy is a value of each zone's own: a zone's wins, it takes effect without a restart, and the global one still says
which release routers have to reach.
"""

from __future__ import annotations

from typing import Any

from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.systemvms import numbers
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.records.waves import ROUTERS, WaveState, wave_change
from parallel_build.remote.sql import Session, session

SETTING = "minreq.sysvmtemplate.version"
GLOBAL = "SELECT value FROM cloud.configuration WHERE name = %s"
OWN = "SELECT dc_id, value FROM cloud.data_center_details WHERE name = %s"


def is_lowered(configuration: StackConfiguration) -> bool:
    """Whether the configuration asks for it; a move renews no router."""
    return configuration.routers.until_renewed == "allow" and not configuration.move


def lower(context: Context, database: Session) -> dict[str, str]:
    """Write the lowest release of a zone's running routers as the zone's own minimum, before the first start.

    Returns:
        what was written, by zone number; empty where the configuration does not ask for it.
    """
    if not is_lowered(context.configuration):
        return {}
    lowest = lowest_releases(database)
    found = {int(row["dc_id"]): str(row["value"]) for row in database.rows(OWN, [SETTING])}
    records = store(context)
    known = WaveState.of(records.facts(ROUTERS)).minimum or {}
    records.note(wave_change(minimum={str(zone): known.get(str(zone), found.get(zone, "")) for zone in lowest}))
    for zone, release in lowest.items():
        context.intend(f"lower {SETTING} in the copy", zone=zone, was=found.get(zone, ""), becomes=release)
        database.execute("DELETE FROM cloud.data_center_details WHERE dc_id = %s AND name = %s", [zone, SETTING])
        database.execute("INSERT INTO cloud.data_center_details (dc_id, name, value) VALUES (%s, %s, %s)", [zone, SETTING, release])
    return {str(zone): release for zone, release in lowest.items()}


def lowest_releases(database: Session) -> dict[int, str]:
    """The lowest release that routers of a zone report, by zone number."""
    found: dict[int, str] = {}
    rows = database.rows(
        "SELECT DISTINCT v.data_center_id AS zone, r.template_version AS version FROM cloud.domain_router r "
        "JOIN cloud.vm_instance v ON v.id = r.id WHERE v.removed IS NULL AND v.state = 'Running' AND r.template_version IS NOT NULL"
    )
    for row in rows:
        release, zone = ".".join(str(part) for part in numbers(str(row["version"]))), int(row["zone"])
        if release and (zone not in found or numbers(release) < numbers(found[zone])):
            found[zone] = release
    return found


def put_back(context: Context) -> bool:
    """Put the zones' minimum back as it was found; whether there was anything to put back.

    Raises:
        StepFailed: the database shows another value afterwards.
    """
    records = store(context)
    lowered = WaveState.of(records.facts(ROUTERS)).minimum
    if lowered is None:
        return False
    cloud = asked(context, Cloud.new(context.site))
    with session(new_database(context)) as database:
        ids = {str(row["id"]): str(row["uuid"]) for row in database.rows("SELECT id, uuid FROM cloud.data_center WHERE removed IS NULL")}
        for zone, value in lowered.items():
            if zone not in ids:
                continue  # removed since: nothing of it demands anything
            context.intend(f"put {SETTING} back", zone=zone, value=value)
            if value:
                cloud.call("updateConfiguration", name=SETTING, zoneid=ids[zone], value=value)
            else:
                cloud.call("resetConfiguration", name=SETTING, zoneid=ids[zone])
        now = {str(row["dc_id"]): str(row["value"]) for row in database.rows(OWN, [SETTING])}
        usual = str(database.value(GLOBAL, [SETTING]) or "")
    wrong = _wrong({zone: value for zone, value in lowered.items() if zone in ids}, now, usual)
    if wrong:
        raise StepFailed(
            f"{SETTING} is not as it was found: {wrong}",
            "the API took the change, and the database shows another value",
            f"set it by hand (updateConfiguration or resetConfiguration with zoneid), then: parallel-build routers {context.site.stack}",
        )
    records.note(wave_change(minimum=None))
    context.progress(f"{SETTING} is as it was found again")
    return True


def _wrong(lowered: dict[str, Any], now: dict[str, str], usual: str) -> str:
    """Zones whose value is another than before; what CloudStack itself leaves after a reset may be the global one, which demands the same as none."""
    return ", ".join(
        f"zone {zone}: {now.get(zone, 'none')} instead of {value or 'none'}"
        for zone, value in lowered.items()
        if now.get(zone, "") != value and not (not value and now.get(zone) == usual)
    )
