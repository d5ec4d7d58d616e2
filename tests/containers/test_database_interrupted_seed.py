"""A seed that is interrupted on real servers: what was copied is not copied again; the limit is kept to; a user of the original hardly feels it."""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration.preparation import Transfer
from parallel_build.database.copy import account, cleanup, clients, copy, pace
from parallel_build.database.replicate import seed as seeding
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.remote.host import Host
from parallel_build.remote.sql import Refused, session
from tests.containers.conftest import tell
from tests.containers.database_stand import Stand, combination, roots, sql
from tests.containers.database_tool import describe
from tests.containers.database_users import Users

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1800)]
SCHEMAS = ["cloud", "cloud_usage"]
ROWS = {"cloud_usage.cloud_usage": 256_000, "cloud.event": 96_000, "cloud.vm_stats": 64_000}
LARGE = list(ROWS)
HELD_UP = 10.0  # seconds: a copy that locked a table would hold a statement up to its end
STREAMS = 4  # each may have read so much before it first waits: clients.READ_SIZE
ORIGINAL = """
CREATE USER cloud@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON *.* TO cloud@localhost;
CREATE DATABASE cloud DEFAULT CHARACTER SET utf8mb3; CREATE DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb3;
USE cloud;
CREATE TABLE cloud.host (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255), last_ping bigint, KEY i_name (name));
CREATE TABLE cloud.nics (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, host_id bigint unsigned NOT NULL,
  CONSTRAINT fk_host FOREIGN KEY (host_id) REFERENCES host (id) ON DELETE CASCADE);
INSERT INTO cloud.host (name, last_ping) VALUES ('kvm1', 1), ('kvm2', 1);
CREATE DEFINER=cloud@localhost VIEW cloud.host_view AS SELECT id, name FROM cloud.host;
CREATE DEFINER=cloud@localhost PROCEDURE cloud.add_host (IN given varchar(255)) INSERT INTO cloud.host (name) VALUES (given);
"""
# About 240 bytes a row.
TABLE = """
USE cloud;
CREATE TABLE {table} (id bigint unsigned NOT NULL AUTO_INCREMENT, uuid varchar(40) NOT NULL, description varchar(1024) CHARACTER SET utf8mb4 NOT NULL,
  created datetime NOT NULL, amount double, PRIMARY KEY (id), KEY i_created (created), KEY i_uuid (uuid));
INSERT INTO {table} (uuid, description, created, amount)
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT UUID(), CONCAT('row ', a.i, ' of ', b.i, ' ü😀', SHA2(a.i, 512)),
  '2026-01-01' + INTERVAL a.i * b.i SECOND, a.i / b.i FROM n a, n b WHERE b.i <= {thousands};
"""
# What a round of the users writes: to tables that are kept, to one that never is, and with a cascade that no log names.
WRITES = (
    "INSERT INTO cloud_usage.cloud_usage (uuid, description, created, amount) VALUES (UUID(), 'used {n}', NOW(), {n})",
    "UPDATE cloud.event SET description = 'changed {n}', amount = {n} WHERE id = {n} % 90000 + 1",
    "DELETE FROM cloud.vm_stats WHERE id = {n} * 3",
    "UPDATE cloud.host SET last_ping = last_ping + 1 WHERE id = 1",
    "INSERT IGNORE INTO cloud.host (id, name) VALUES ({n} + 10, 'passing')",
    "INSERT INTO cloud.nics (host_id) VALUES ({n} + 10)",
    "DELETE FROM cloud.host WHERE id = {n} - 10 AND id > 10",
)


@dataclass
class Scene:
    """The machines; `users` write to the original when asked to."""

    made: Stand
    source: Host
    target: Host
    family: str

    def undo(self) -> None:
        """Nothing of a seed is there."""
        seeding.remove(self.source, self.target)
        copy.empty(self.target, SCHEMAS)

    def status(self) -> dict[str, Any]:
        """What the worker says."""
        found: dict[str, Any] = json.loads(self.target.read(f"{cleanup.RUN_FOLDER}/status.json") or b"{}")
        return found

    def whole(self) -> list[str]:
        """Tables that the worker has finished."""
        return (self.target.read(f"{cleanup.RUN_FOLDER}/whole") or b"").decode().split()

    def until(self, what: str, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        wait_for(what, lambda: bool(holds()), timeout=120, cancel=CancelToken(), interval=0.1)

    def seed(self, limit: int | None, progress: Callable[[str], None] = tell, cancel: CancelToken | None = None) -> copy.CopyReport | None:
        """What DatabaseSeed calls."""
        return seeding.seed(
            self.source, self.target, SCHEMAS, threads=2, cancel=cancel or CancelToken(), progress=progress, bytes_per_second=limit
        )

    def same(self) -> None:
        """Everything is the same at one position, and nothing of the copy is left."""
        found = seeding.compare_at_position(
            self.source, self.target, SCHEMAS, threads=2, cancel=CancelToken(), progress=lambda text: None
        ).comparison
        assert found.same, [str(difference) for difference in found.differences]
        assert self.target.run(["systemctl", "is-active", cleanup.UNIT], timeout=30, ok=None).stdout.strip() == "inactive"
        assert not self.target.run(["test", "-e", cleanup.RUN_FOLDER], timeout=30, ok=None).ok
        record = cleanup.read_record(self.target)
        assert record and record.finished and not record.layers and not record.report and not record.settings
        with session(self.source) as old:
            assert old.value("SELECT COUNT(*) FROM mysql.user WHERE User = %s", [account.COPY_USER]) == 0
            highest = old.value("SELECT MAX(id) FROM cloud_usage.cloud_usage")
        wait_for("the last row", lambda: self._has(int(highest)), timeout=30, cancel=CancelToken())

    def _has(self, number: int) -> bool:
        with session(self.target) as new:
            return bool(new.value("SELECT COUNT(*) FROM cloud_usage.cloud_usage WHERE id = %s", [number]))

    def kill_database(self) -> None:
        """What a power cut does to the new server's database."""
        self.target.run(["sh", "-c", "pkill -KILL -x mariadbd || pkill -KILL -x mysqld"], timeout=30, ok=None)

    def kill_sessions(self) -> None:
        """What a broken network or a restart of the original does to a copy: its snapshot is gone."""
        with session(self.source) as opened:
            for row in opened.rows("SELECT ID AS i FROM information_schema.PROCESSLIST WHERE USER = %s", [account.COPY_USER]):
                with contextlib.suppress(Refused):  # the copy's program ends the others as soon as it has lost one
                    opened.execute(f"KILL {row['i']}")


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """An original with three large tables, and a new server."""
    family = request.param
    if family not in roots():
        pytest.skip(f"no root file system with {family}")
    with combination(family, family) as pair:
        sql(pair.source, ORIGINAL)
        deep = "SET SESSION cte_max_recursion_depth = 100000;" if family == "mysql" else ""
        for table, rows in ROWS.items():
            sql(pair.source, deep + TABLE.format(table=table, thousands=rows // 1000))
        sql(pair.source, f"ANALYZE TABLE {', '.join(LARGE)}")
        yield Scene(pair.made, pair.source, pair.target, family)


def _rows_read(source: Host) -> int:
    """Rows that the original has read for anybody, of whatever table."""
    with session(source) as opened:
        found = opened.rows("SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_rnd_next')")
    return sum(int(row["Value"]) for row in found)


def _position(status: dict[str, Any]) -> tuple[str, int]:
    return str(status["position"][0]), int(status["position"][1])


def _tool(scene: Scene, limit: int) -> subprocess.Popen[str]:
    """The tool as a process of its own."""
    machines = {
        name: describe(host, (scene.made.folder / f"key-{host.name}.pub").read_text().strip())
        for name, host in (("source", scene.source), ("target", scene.target))
    }
    tool = subprocess.Popen(
        [sys.executable, "-m", "tests.containers.database_tool"], cwd=Path(__file__).parents[2], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert tool.stdin is not None
    tool.stdin.write(json.dumps({"method": "replicate", "schemas": SCHEMAS, "bytes_per_second": limit, **machines}) + "\n")
    tool.stdin.flush()
    return tool


def test_the_next_call_adopts_the_copy_of_a_killed_tool(scene: Scene) -> None:
    """The tool is killed at two thirds; the copy continues, and the next call reads nothing again."""
    scene.undo()
    before, total = _rows_read(scene.source), sum(ROWS.values())
    with Users(scene.source, WRITES, 0.02):
        tool = _tool(scene, 10_000_000)
        scene.until("two thirds", lambda: scene.status().get("bytes", 0) > 60_000_000)
        tool.send_signal(signal.SIGKILL)
        tool.wait()
        killed = scene.status()
        scene.until("more bytes with nobody watching", lambda: scene.status()["bytes"] > killed["bytes"] + 4_000_000)
        adopted = scene.status()
        printed: list[str] = []
        report = scene.seed(None, printed.append)
        read = _rows_read(scene.source) - before
        assert report is not None and report.position == _position(killed), "the snapshot is the first call's"
        assert any("is still running, resuming it" in text for text in printed)
        assert report.kept == ()
        assert report.rows >= total
        assert report.rows <= read < 1.3 * total, "every row was read once"
        tell(
            f"{scene.family}: killed at {killed['bytes']:,} bytes, {adopted['bytes']:,} when the next call came, {report.bytes:,} at the end; "
            f"{report.rows:,} rows copied, {read:,} read on the original"
        )
        scene.same()
    scene.undo()


def test_a_copy_that_ended_with_nobody_watching_is_adopted(scene: Scene) -> None:
    """Cancelled, it continues to its end, forgets its password, and is followed by the next call."""
    scene.undo()
    cancel = CancelToken()

    def stop(text: str) -> None:
        if " rows, " in text:
            cancel.set("test")

    with Users(scene.source, WRITES, 0.02):
        with pytest.raises(Cancelled):
            scene.seed(30_000_000, stop, cancel)
        scene.until("the copy's end", lambda: scene.status().get("state") == "done")
        done = scene.status()
        assert not scene.target.run(["test", "-e", f"{cleanup.RUN_FOLDER}/source.cnf"], timeout=30, ok=None).ok
        report = scene.seed(30_000_000)
        assert report is not None
        assert (report.bytes, report.position) == (done["bytes"], _position(done))
        scene.same()
        assert scene.seed(30_000_000) is None, "done already means nothing happens"
    scene.undo()


def test_an_undo_ends_a_copy_that_continues_by_itself(scene: Scene) -> None:
    """As `destroy` does."""
    scene.undo()
    tool = _tool(scene, 2_000_000)
    scene.until("a byte", lambda: scene.status().get("bytes", 0) > 0)
    tool.send_signal(signal.SIGKILL)
    tool.wait()
    scene.undo()
    assert scene.target.run(["systemctl", "is-active", cleanup.UNIT], timeout=30, ok=None).stdout.strip() == "inactive"
    assert seeding.traces(scene.source, scene.target) == []
    assert cleanup.read_record(scene.target) is None
    with session(scene.target) as opened:
        assert opened.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage')") == 0


def _lose(scene: Scene, whole: str, limit: int, lose: Callable[[], None]) -> None:
    """Seed until a table is whole, and have the snapshot lost then."""

    def strike() -> None:
        scene.until(f"{whole} whole", lambda: whole in scene.whole())
        lose()

    blow = threading.Thread(target=strike)
    blow.start()
    with pytest.raises(ParallelBuildError):
        scene.seed(limit)
    blow.join()


def test_whole_tables_stay_when_the_snapshot_is_lost(scene: Scene) -> None:
    """Lost twice, and the tool stopped while it brings three snapshots to one position; users write all the while."""
    scene.undo()
    with Users(scene.source, WRITES, 0.02) as users:
        _lose(scene, LARGE[0], 12_000_000, scene.kill_sessions)
        users.rounds(20)
        printed: list[str] = []
        _lose(scene, LARGE[2], 3_000_000, scene.kill_sessions)
        users.rounds(20)
        cancel = CancelToken()

        def stop(text: str) -> None:
            printed.append(text)
            tell(text)
            if text.startswith("bringing ") and "cloud.vm_stats" in text:
                cancel.set("test")

        with pytest.raises(Cancelled):
            scene.seed(None, stop, cancel)
        report = scene.seed(None)
        assert report is not None
        assert sorted(report.kept) == ["cloud.host", "cloud.nics", LARGE[2], LARGE[0]], "each was copied once; small tables come first"
        assert ROWS[LARGE[1]] <= report.rows < ROWS[LARGE[1]] + 5000
        scene.same()
    tell(
        f"{scene.family}: {report.rows:,} of {sum(ROWS.values()):,} rows copied after two losses, {users.confirmed} rounds written meanwhile"
    )
    scene.undo()


def test_nothing_stays_on_a_new_server_whose_database_was_killed(scene: Scene) -> None:
    """What it wrote last was in memory."""
    scene.undo()
    _lose(scene, LARGE[0], 12_000_000, scene.kill_database)
    scene.made.wait(scene.target)
    report = scene.seed(None)
    assert report is not None and report.kept == ()
    scene.same()
    scene.undo()


def test_nothing_stays_once_definitions_have_changed(scene: Scene) -> None:
    """A log with anything in it but rows and changes of one table can't be replayed for some tables only."""
    scene.undo()
    _lose(scene, LARGE[0], 12_000_000, scene.kill_sessions)
    sql(
        scene.source, "ALTER TABLE cloud.host ADD note INT; CREATE VIEW cloud.passing AS SELECT id FROM cloud.host; DROP VIEW cloud.passing"
    )
    printed: list[str] = []
    report = scene.seed(None, printed.append)
    assert report is not None and report.kept == ()
    assert any("copying everything" in text for text in printed)
    scene.same()
    scene.undo()


@pytest.mark.parametrize("limit", [2_000_000, 5_000_000])
def test_the_limit_is_kept_to(scene: Scene, limit: int) -> None:
    """Measured on the new server while the copy is under way: never more than the limit and what the streams may have read before they first wait.

    How near to the limit it comes is the computer's affair, and printed.
    """
    scene.undo()
    marks: list[tuple[float, int]] = []
    ended = threading.Event()

    def measure() -> None:
        while not ended.wait(0.5):
            text = scene.target.run(["sh", "-c", f"date +%s.%N; cat {cleanup.RUN_FOLDER}/status.json"], timeout=30, ok=None).stdout
            now, _, rest = text.partition("\n")
            if rest.endswith("}\n") and 1_000_000 < (count := json.loads(rest)["bytes"]) < 70_000_000:
                marks.append((float(now), count))
            if marks and marks[-1][0] - marks[0][0] > 8:
                cancel.set("test")

    cancel = CancelToken()
    meter = threading.Thread(target=measure)
    meter.start()
    try:
        with pytest.raises(Cancelled):
            copy.copy(
                scene.source, scene.target, SCHEMAS, threads=STREAMS, cancel=cancel, progress=lambda text: None, bytes_per_second=limit
            )
    finally:
        ended.set()
        meter.join()
    (began, first), (until, last) = marks[0], marks[-1]
    read, seconds = last - first, until - began
    tell(f"{scene.family}: {read / seconds:,.0f} bytes a second of {limit:,} asked for, over {seconds:.1f} s")
    assert 0 < read <= limit * (seconds + pace.CREDIT + 0.5) + STREAMS * clients.READ_SIZE
    scene.undo()


class Steady:
    """A user who writes twenty times a second, and notes how long each statement took."""

    def __init__(self, source: Host) -> None:
        self.seconds: list[float] = []
        self._source, self._stop = source, threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with session(self._source) as opened:
            while not self._stop.wait(0.05):
                started = time.monotonic()
                opened.execute("UPDATE cloud.host SET last_ping = last_ping + 1 WHERE id = 2")
                self.seconds.append(time.monotonic() - started)

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def statements(self, count: int) -> None:
        """Wait for so many."""
        wait_for(f"{count} statements", lambda: len(self.seconds) >= count, timeout=120, cancel=CancelToken())

    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.seconds) * 1000

    def slowest(self) -> float:
        """Milliseconds within which nineteen of twenty were answered."""
        return statistics.quantiles(self.seconds, n=20)[-1] * 1000


def test_a_user_hardly_feels_a_seed_with_the_default_limit(scene: Scene) -> None:
    """Figures are for the reader; asserted is that no statement is held up by the copy, whatever else the computer does."""
    limit = Transfer().bytes_per_second
    figures = {}
    for name, asked in (("without a seed", 0), ("the default limit", limit), ("no limit", None)):
        scene.undo()
        with Steady(scene.source) as user:
            if asked == 0:
                user.statements(100)
            else:
                copied = scene.seed(asked, lambda text: None)
                assert copied is not None
            figures[name] = (user.median(), user.slowest(), len(user.seconds))
            assert max(user.seconds) < HELD_UP, f"{name}: a statement took {max(user.seconds):.1f} s"
    for name, (median, slowest, count) in figures.items():
        tell(f"{scene.family}, {name}: median {median:.1f} ms, 95 % within {slowest:.1f} ms, {count} statements")
    assert limit is not None
    scene.undo()
