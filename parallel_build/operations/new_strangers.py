"""Management servers that work on the new database and that nobody knows: neither the configuration nor the window's record names them.

Somebody may have added one by hand. It can't be fenced by a rollback, which has no key to it: it is named, before anything is changed.
"""

from __future__ import annotations

import threading
import time
from typing import TypeVar

from parallel_build.errors import ParallelBuildError
from parallel_build.operations import known_servers
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database
from parallel_build.records.states import COPY, CopyState
from parallel_build.records.window import WindowRecord
from parallel_build.remote.sql import Row, Session, session

E = TypeVar("E", bound=ParallelBuildError)
ASKED_FOR = 5.0  # seconds that a rollback waits for the new side's database
BEATS_WITHIN = 6.0  # seconds; a management server writes its row every 1.5 s [cluster.heartbeat.interval]
LOOK_AGAIN = 1.0  # seconds
ROWS = "SELECT id, name, service_ip, CAST(last_update AS CHAR) AS beat FROM cloud.mshost WHERE removed IS NULL AND state = 'Up'"


def at_work(context: Context, record: WindowRecord | None) -> list[str]:
    """Those whose rows are written now, in words; empty where the new database can't be asked: what works on it then has nothing to work with.

    A row that is left by a crash stands still.
    """
    if record is None or record.closed or not (record.servers or record.facts.get(COPY)):
        return []
    known = {machine.address for machine in known_servers.new_management(context.configuration, record)}
    if context.configuration.transfer.method == "replicate":
        if not CopyState.of(record.facts.get(COPY, {})).brought:
            return []  # it still follows the original and takes writes from nobody else: the rows that move there are the original's own
        known |= {server.address for server in known_servers.original_management(context.configuration, record)}
    found: list[str] = []
    failed: list[ParallelBuildError] = []

    def ask() -> None:
        try:
            with session(new_database(context), timeout=ASKED_FOR) as database:
                found.extend(_beating(context, database, known))
        except ParallelBuildError as error:
            failed.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(2 * ASKED_FOR + BEATS_WITHIN)
    if failed or asking.is_alive():
        why = str(failed[0]) if failed else "it does not answer in time"
        context.progress(f"the new database can't be asked for management servers that nobody knows: {why}")
        context.run.record("strangers not asked for", step=context.step, error=why)
    return found


def refused(context: Context, found: list[str], kind: type[E]) -> E:
    """The error that names them."""
    return kind(
        f"management servers that this stack does not know work on {context.configuration.new.database.source.name}: {', '.join(found)}",
        "they can't be fenced from here, and would manage the hypervisors next to the original",
        "on each of them: systemctl mask --now cloudstack-usage cloudstack-management; or add it to new.management; then run the same command again",
    )


def _beating(context: Context, database: Session, known: set[str]) -> list[str]:
    def strange() -> list[Row]:
        return [row for row in database.rows(ROWS) if str(row["service_ip"]) not in known]

    rows = strange()
    first = {row["id"]: str(row["beat"]) for row in rows}
    names = ", ".join(sorted(str(row["service_ip"]) for row in rows))
    end = time.monotonic() + BEATS_WITHIN
    while first and time.monotonic() < end:
        context.progress(f"watching whether {names} write to the new database")
        context.cancel.wait(LOOK_AGAIN)
        written = [row for row in strange() if first.get(row["id"]) != str(row["beat"])]
        if written:
            return [f"{row['name']} ({row['service_ip']})" for row in written]
    return []
