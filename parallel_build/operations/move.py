"""A move: the same version on new servers. What the first start must leave as it is, and system VMs that have to come over by themselves.

Nothing is upgraded, so nothing has to be renewed: system VMs and routers run on. A system VM counts as moved once its own agent is connected to one of the
new management servers; one that does not come over is renewed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import StepFailed, TimedOut
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.operations.renew_system_vms import renew
from parallel_build.operations.start_management import present_fingerprint
from parallel_build.remote.sql import Row, Session, session

STEP = "Move"  # under this name the window's record has it
COME_OVER = 120.0  # seconds for agents that dial their list in turn; one pause of theirs is 5 s
SIMULATED = "Simulator"  # its console proxies have no agent
VERSIONS = "SELECT version, step FROM cloud.version ORDER BY id"
CONNECTED = (
    "SELECT h.name AS vm, m.service_ip AS address FROM cloud.host h JOIN cloud.mshost m ON m.msid = h.mgmt_server_id "
    "WHERE h.removed IS NULL AND h.status = 'Up' AND h.type IN ('SecondaryStorageVM', 'ConsoleProxy') AND m.removed IS NULL AND m.state = 'Up'"
)


@dataclass(frozen=True)
class Stand:
    """Where the system VMs are.

    Attributes:
        over: name of a VM -> address of the new server that its agent is connected to.
        silent: names of those that have no agent: only that they run is known.
        away: those that are not connected to a new server, as the API lists them.
        alone: those that are left alone, with their zone.
    """

    over: dict[str, str]
    silent: list[str]
    away: list[dict[str, Any]]
    alone: list[str]


def before_start(context: Context) -> str:
    """Note the version rows, views and procedures of the copy before the first start; the fingerprint of the latter."""
    known = store(context).facts(STEP)
    if "definitions" not in known:
        with session(new_database(context)) as database:
            versions = version_rows(database)
        known = {"definitions": present_fingerprint(context), "versions": versions}
        store(context).remember(STEP, **known)
    return str(known["definitions"])


def prove_version_unchanged(context: Context) -> list[str]:
    """The version rows as they are after the start.

    Raises:
        StepFailed: they are others than before it.
    """
    with session(new_database(context)) as database:
        now = version_rows(database)
    before = store(context).facts(STEP).get("versions")
    if now != before:
        raise StepFailed(
            f"cloud.version has changed in a move: {', '.join(now)} instead of {', '.join(before or [])}",
            "the first new management server has upgraded the schema: its packages are of another version",
            f"roll back (parallel-build back {context.site.stack}), install the packages of new.version there, then switch again",
        )
    return now


def version_rows(database: Session) -> list[str]:
    """Each row of `cloud.version`, in order."""
    return [f"{row['version']} {row['step']}" for row in database.rows(VERSIONS)]


def look(context: Context, cloud: Cloud, zones: Collection[str]) -> Stand:
    """Where the system VMs of these zones are now."""
    with session(new_database(context)) as database:
        rows = database.rows(CONNECTED)
    return judge(cloud, rows, {machine.address for machine in context.configuration.new.management}, zones)


def judge(cloud: Cloud, rows: Collection[Row], addresses: Collection[str], zones: Collection[str]) -> Stand:
    """What the API and the database say together.

    Args:
        rows: `CONNECTED`.
        addresses: of the new management servers.
    """
    found, alone = systemvms.renewable(cloud)
    connected = {str(row["vm"]): str(row["address"]) for row in rows if str(row["address"]) in addresses}
    stand = Stand({}, [], [], alone)
    for vm in found:
        name = str(vm["name"])
        if str(vm.get("zonename")) not in zones:
            continue
        if systemvms.running(vm) and name in connected:
            stand.over[name] = connected[name]
        elif systemvms.running(vm) and vm.get("hypervisor") == SIMULATED:
            stand.silent.append(name)
        else:
            stand.away.append(vm)
    return stand


def await_over(context: Context, cloud: Cloud, zones: Collection[str], *, timeout: float) -> Stand:
    """Wait until all have come over, or the time is up; how they stand then."""
    last: list[Stand] = []

    def all_over() -> bool:
        last[:] = [look(context, cloud, zones)]
        return not last[0].away

    def progress(text: str) -> None:
        context.progress(f"{text}; not there yet: {', '.join(str(vm['name']) for vm in last[0].away)}")

    with contextlib.suppress(TimedOut):
        wait_for(
            "system VMs to connect to the new servers", all_over, timeout=timeout, cancel=context.cancel, interval=1, progress=progress
        )
    return last[0]


def bring_over(context: Context, cloud: Cloud, zones: Collection[str]) -> tuple[Stand, list[str]]:
    """Wait for the system VMs of these zones, and renew those that do not come; how they stand, and the names of those that were renewed.

    Raises:
        StepFailed: one has neither come over nor got a successor that is connected to a new server.
    """
    timeout = context.configuration.window.system_vm_timeout.total_seconds()
    stand = await_over(context, cloud, zones, timeout=min(COME_OVER, timeout))
    if stand.alone:
        context.progress(f"left alone, since CloudStack makes no system VMs in their zones: {', '.join(stand.alone)}")
    if not stand.away:
        return stand, []
    names = [str(vm["name"]) for vm in stand.away]
    context.progress(f"not connected to a new server, so they are renewed: {', '.join(names)}")
    # From here on a rollback must renew them on the original, whatever else is known by then.
    store(context).remember("SystemVms", renewed=True)
    context.intend("renew system VMs", names=names)
    renewed = renew(context, cloud, stand.away, timeout=timeout)
    stand = await_over(context, cloud, zones, timeout=timeout)
    prove(stand)
    return stand, renewed


def prove(stand: Stand) -> None:
    """Raises StepFailed unless every system VM is connected to a new server."""
    if stand.away:
        raise StepFailed(
            f"system VMs are not connected to a new management server: {', '.join(str(vm['name']) for vm in stand.away)}",
            "their agents dial other addresses, can't reach port 8250 of the new servers, or they do not run",
            "see `host=` in their agent.properties and the network's firewalls; then `pulumi up` renews only those",
        )
