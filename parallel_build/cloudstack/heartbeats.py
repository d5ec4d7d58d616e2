"""Management servers' rows in `cloud.mshost`, and which of them are written right now.

A row's age is the difference of two servers' clocks, and either may have jumped; a row that changes while it is watched is written by a server that runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from parallel_build.remote.sql import Row, Session

THRESHOLD = 150  # seconds [cluster.heartbeat.threshold]
INTERVAL = 1.5  # seconds [cluster.heartbeat.interval]
BEATS = 4  # intervals within which a server that runs has written its row
LOOK_EVERY = 0.5

# A server that runs and whose row was removed takes it back with its next heartbeat, so removed rows are watched as well.
ROWS = (
    "SELECT id, msid, name, service_ip, state, version, removed IS NOT NULL AS gone, "
    "TIMESTAMPDIFF(SECOND, last_update, UTC_TIMESTAMP()) AS age, CAST(last_update AS CHAR) AS beat FROM cloud.mshost"
)


def watch(database: Session, wait: Callable[[float], Any] = time.sleep) -> list[Row]:
    """Every row that is not removed, with `beats`: whether its server wrote it in this database while it was watched.

    Args:
        wait: lets that many seconds pass.
    """
    first = {row["id"]: row["beat"] for row in database.rows(ROWS)}
    beating: set[int] = set()
    end = time.monotonic() + BEATS * max(_interval(database), INTERVAL)
    while True:
        rows = database.rows(ROWS)
        beating |= {row["id"] for row in rows if row["id"] not in first or row["beat"] != first[row["id"]]}
        if time.monotonic() >= end or len(beating) == len(rows):
            break
        wait(LOOK_EVERY)
    return [{**row, "beats": row["id"] in beating} for row in rows if not row["gone"]]


def beats(row: Row) -> bool:
    """Whether a row is written now; where it was not watched, by its age."""
    if "beats" in row:
        return bool(row["beats"])
    return row["age"] is not None and row["age"] < THRESHOLD


def _interval(database: Session) -> float:
    """Seconds between two heartbeats, as the cloud is set."""
    value = database.value("SELECT value FROM cloud.configuration WHERE name = 'cluster.heartbeat.interval'")
    try:
        return int(str(value)) / 1000
    except ValueError:
        return INTERVAL
