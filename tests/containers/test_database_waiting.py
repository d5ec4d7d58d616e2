"""Users of a running original do not wait behind a seed or a comparison: definitions are changed under it, long statements run next to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.compare import snapshot_side
from parallel_build.database.copy import copy
from parallel_build.database.replicate import channel, seed
from parallel_build.database.schema.definitions import Table
from parallel_build.database.server import snapshot
from parallel_build.database.server.dialects import identify
from parallel_build.errors import StepFailed
from parallel_build.remote.sql import session
from tests.containers.conftest import tell
from tests.containers.database_disturbance import ORIGINAL, SCHEMAS, TABLE, Disturbance, dumped
from tests.containers.database_stand import Combination, combination, roots, sql

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1800)]
ROWS = {"cloud_usage.cloud_usage": 160_000, "cloud.event": 60_000, "cloud.vm_stats": 40_000}
LIMIT = 4_000_000  # bytes a second: the seed lasts long enough for several changes
LONGEST = 1.0  # seconds that a user may wait for us


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def pair(request: pytest.FixtureRequest) -> Iterator[Combination]:
    """An original with users' tables, and a new server."""
    family = request.param
    if family not in roots():
        pytest.skip(f"no root file system with {family}")
    with combination(family, family) as made:
        sql(made.source, ORIGINAL)
        deep = "SET SESSION cte_max_recursion_depth = 100000;" if family == "mysql" else ""
        for table, rows in ROWS.items():
            sql(made.source, deep + TABLE.format(table=table, thousands=rows // 1000))
        sql(made.source, f"ANALYZE TABLE {', '.join(ROWS)}")
        yield made


@pytest.fixture
def empty(pair: Combination) -> Iterator[Combination]:
    """The pair, with nothing of a seed before and after."""
    seed.remove(pair.source, pair.target)
    copy.empty(pair.target, SCHEMAS)
    yield pair
    seed.remove(pair.source, pair.target)
    copy.empty(pair.target, SCHEMAS)


def begin(pair: Combination, limit: int | None = LIMIT) -> copy.CopyReport:
    """What DatabaseSeed calls."""
    report = seed.seed(pair.source, pair.target, SCHEMAS, threads=3, cancel=CancelToken(), progress=tell, bytes_per_second=limit)
    assert report is not None
    return report


def compared(pair: Combination) -> seed.Baseline:
    """Everything at one position."""
    return seed.compare_at_position(pair.source, pair.target, SCHEMAS, threads=3, cancel=CancelToken(), progress=lambda text: None)


def test_a_snapshot_under_a_lock_is_one_snapshot(pair: Combination, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where commits come without a pause: all sessions see the same rows, and nobody waits for long."""
    monkeypatch.setattr(snapshot, "QUIET", {pair.old: 0.0})
    with Disturbance(pair.source, every=3600, report=0.05) as users:
        wait_for("users", lambda: "statements of users" in users.slowest, timeout=60, cancel=CancelToken())
        with snapshot_side.open_snapshot(pair.source, 3, SCHEMAS, CancelToken()) as (side, taken):
            counts = {side.ask(lambda opened: opened.value("SELECT COUNT(*) FROM cloud.event")).result() for _ in range(9)}
    tell(f"{pair}: {taken.way}, {taken.seconds} s; {users.lines()[0]}")
    assert taken.way.startswith("a lock")
    assert len(counts) == 1
    assert taken.seconds < LONGEST
    assert users.waited[0] < LONGEST


def test_no_lock_is_asked_for_while_a_long_statement_runs(pair: Combination, monkeypatch: pytest.MonkeyPatch) -> None:
    """On MySQL it is waited for, and named at the end; MariaDB's lock waits for no such statement."""
    monkeypatch.setattr(snapshot, "QUIET", {pair.old: 0.0})
    monkeypatch.setattr(snapshot, "LOCKING", 3.0)
    report = threading.Thread(target=sql, args=(pair.source, "SELECT COUNT(*) FROM cloud.reported WHERE SLEEP(0.015) = 0 AND v <> 4711"))
    report.start()
    time.sleep(2)
    started = time.monotonic()
    if pair.old == "mysql":
        with pytest.raises(
            StepFailed, match=r"a statement has run for \d+ s there: SELECT COUNT\(\*\) FROM cloud\.reported WHERE SLEEP\(\?\)"
        ):
            snapshot_side.open_snapshot(pair.source, 2, SCHEMAS, CancelToken()).__enter__()
    else:
        with snapshot_side.open_snapshot(pair.source, 2, SCHEMAS, CancelToken()) as (_, taken):
            assert taken.seconds < LONGEST
    assert time.monotonic() - started < 10
    started = time.monotonic()
    sql(pair.source, "SELECT COUNT(*) FROM cloud.reported; UPDATE cloud.reported SET v = v + 1 WHERE id = 1")
    assert time.monotonic() - started < 5, "nobody waits behind a lock that was given up"
    report.join()


def test_nobody_waits_for_a_seed(empty: Combination) -> None:
    """Definitions change, a report and a long change run all the while; the seed comes to its end, and holds what the original holds."""
    with Disturbance(empty.source, every=3, report=20) as users:
        report = begin(empty)
        baseline = compared(empty)
    for line in users.lines():
        tell(f"{empty}: {line}")
    tell(f"{empty}: {report.seconds:.0f} s; {report.waits}; the comparison: {baseline.waited_seconds:.1f} s")
    assert users.altered >= 4
    assert users.waited[0] < LONGEST, users.waited
    assert report.waited_seconds < LONGEST
    assert baseline.comparison.same, [str(found) for found in baseline.comparison.differences]
    with session(empty.source) as old, session(empty.target) as new:
        last = channel.log_position(old, identify(old))
        channel.wait_applied(new, identify(new), last, timeout=60, cancel=CancelToken(), progress=tell)
    assert dumped(empty.source, empty.old) == dumped(empty.target, empty.new), "the servers' own dump programs see the same"


def test_a_table_altered_while_it_is_read_is_read_again(empty: Combination) -> None:
    """The largest one, once: its part is read again, the others stay."""
    altered: list[float] = []

    def alter() -> None:
        with session(empty.source) as opened:
            while not opened.value(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'cutover_copy' AND INFO LIKE '%cloud_usage%'"
            ):
                time.sleep(0.05)
            started = time.monotonic()
            opened.execute("ALTER TABLE cloud_usage.cloud_usage ADD COLUMN noted INT, ALGORITHM=COPY")
            altered.append(time.monotonic() - started)

    thread = threading.Thread(target=alter)
    thread.start()
    report = begin(empty)
    thread.join()
    tell(f"{empty}: ALTER took {altered[0]:.2f} s; {report.waits}")
    assert report.snapshots > 1
    assert "cloud.event" in report.kept, "what was whole stays"
    assert compared(empty).comparison.same
    sql(empty.source, "ALTER TABLE cloud_usage.cloud_usage DROP COLUMN noted")


def test_a_table_altered_under_a_comparison_is_compared_at_a_later_position(empty: Combination, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuilt before its rows are read: the snapshot can't give them any more."""
    begin(empty, None)
    ask, seconds = snapshot_side.SnapshotSide.ask, list[float]()

    def altering(side: snapshot_side.SnapshotSide, work: Any, table: Table | None = None) -> Any:
        if table and table.name == "event" and not seconds:
            started = time.monotonic()
            sql(empty.source, "ALTER TABLE cloud.event FORCE")
            seconds.append(time.monotonic() - started)
        return ask(side, work, table)

    monkeypatch.setattr(snapshot_side.SnapshotSide, "ask", altering)
    printed: list[str] = []
    found = seed.compare_at_position(empty.source, empty.target, SCHEMAS, threads=3, cancel=CancelToken(), progress=printed.append)
    tell(f"{empty}: the ALTER took {seconds[0]:.2f} s; longest wait behind the comparison {found.waited_seconds:.2f} s")
    assert found.comparison.same, [str(difference) for difference in found.comparison.differences]
    assert any("comparing them at a later position" in text for text in printed)
    assert found.comparison.tables == 7, "each table once"
