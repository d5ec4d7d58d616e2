"""The copy on real servers: every type of value, a database in use, interruptions of every kind; nothing is left over and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import account, account_notes, cleanup, copy, definers, run_worker
from parallel_build.errors import Cancelled, GuardFailed, StepFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import Combination, Stand, sql

pytestmark = [pytest.mark.databases, pytest.mark.timeout(3600)]
SCHEMAS = ["damage", "bulk"]
BULK = """
DROP DATABASE IF EXISTS bulk;
CREATE DATABASE bulk DEFAULT CHARACTER SET utf8mb3;
USE bulk;
CREATE TABLE event (
  id bigint unsigned NOT NULL AUTO_INCREMENT, uuid varchar(40), type varchar(50) NOT NULL, description varchar(1024) CHARACTER SET utf8mb4 NOT NULL,
  created datetime NOT NULL, amount double, PRIMARY KEY (id), UNIQUE KEY uc_uuid (uuid), KEY i_created (created), KEY i_type (type, created));
INSERT INTO event (uuid, type, description, created, amount)
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT UUID(), ELT(1 + a.i % 3, 'VM.CREATE', 'VM.STOP', 'NET.CREATE'),
  CONCAT('event ', a.i, ' of ', b.i, ' ünï 😀'), '2026-01-01' + INTERVAL a.i * b.i SECOND, a.i / b.i FROM n a, n b WHERE b.i <= 150;
"""


@pytest.fixture(scope="module")
def pair(servers: Combination) -> Iterator[tuple[Stand, Host, Host]]:
    """An original with every type of value and some bulk, and a new server."""
    source, target = servers.source, servers.target
    mysql = servers.old == "mysql"
    sql(source, (Path(__file__).with_name("damage") / "original.sql").read_text(), options=["--commands"] if mysql else [])
    sql(source, ("SET SESSION cte_max_recursion_depth = 100000;" if mysql else "") + BULK)
    yield servers.made, source, target
    copy.empty(target, SCHEMAS)
    for host in (source, target):
        sql(host, "DROP DATABASE IF EXISTS damage; DROP DATABASE IF EXISTS bulk")


def _copy(
    pair: tuple[Stand, Host, Host],
    cancel: CancelToken | None = None,
    *,
    schemas: list[str] = SCHEMAS,
    progress: Callable[[str], None] | None = None,
    **options: object,
) -> copy.CopyReport:
    return copy.copy(
        pair[1],
        pair[2],
        schemas,
        threads=3,
        cancel=cancel or CancelToken(),
        progress=progress or (lambda text: None),
        **options,  # type: ignore[arg-type]
    )


def _same(pair: tuple[Stand, Host, Host]) -> None:
    verdict = compare.compare(pair[1], pair[2], SCHEMAS, threads=2, cancel=CancelToken(), progress=lambda text: None)
    # MySQL keeps JSON in its own form and MariaDB as text, and each says in its own words what it checks of it.
    assert verdict.same, [str(found) for found in verdict.differences]
    assert verdict.rows == 150023


def _nothing_left(pair: tuple[Stand, Host, Host]) -> None:
    _, source, target = pair
    with session(source) as opened:
        assert opened.value("SELECT COUNT(*) FROM mysql.user WHERE User = %s", [account.COPY_USER]) == 0
    assert not target.run(["test", "-e", cleanup.RUN_FOLDER], timeout=30, ok=None).ok
    assert target.run(["systemctl", "is-active", cleanup.UNIT], timeout=30, ok=None).stdout.strip() == "inactive"
    with session(target) as opened:
        assert opened.value("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit") == 1
        assert opened.value("SELECT @@GLOBAL.innodb_max_dirty_pages_pct") == 90
        assert opened.value("SELECT @@GLOBAL.innodb_io_capacity") < 20000
        assert opened.value("SELECT @@GLOBAL.binlog_cache_size") == 32768
        assert opened.rows("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'LOAD DATA%%' AND ID <> CONNECTION_ID()") == []


def test_copy_is_the_same_and_leaves_nothing(pair: tuple[Stand, Host, Host]) -> None:
    copy.empty(pair[2], SCHEMAS)
    # Whether compressing pays is measured, and on a busy computer it may seem to.
    report = _copy(pair, compress=False)
    assert report.rows == 150023
    assert report.position is not None
    assert report.locked_seconds < 1
    assert report.read_by == "wire"
    _same(pair)
    _nothing_left(pair)


def test_an_account_that_an_interrupted_run_left_without_rights_is_given_them(pair: tuple[Stand, Host, Host]) -> None:
    left = definers.Account("left", "localhost")
    with session(pair[2]) as opened:
        try:
            definers.ensure(opened, [left], [])
            assert "bulk" not in str(opened.rows(f"SHOW GRANTS FOR {left.quoted}"))
            assert definers.ensure(opened, [left], SCHEMAS) == []
            assert "bulk" in str(opened.rows(f"SHOW GRANTS FOR {left.quoted}"))
        finally:
            assert definers.remove(opened, [left]) == [left]


def test_second_copy_refuses_what_is_there(pair: tuple[Stand, Host, Host]) -> None:
    copy.empty(pair[2], SCHEMAS)
    _copy(pair, compress=False)
    with pytest.raises(GuardFailed, match="is not empty"):
        _copy(pair)
    _same(pair)


def test_compressed_and_throttled_copy(pair: tuple[Stand, Host, Host]) -> None:
    copy.empty(pair[2], SCHEMAS)
    report = _copy(pair, compress=True, bytes_per_second=20 << 20)
    assert report.compressed
    assert report.read_by == "client program"
    _same(pair)


def test_an_original_that_takes_no_session_over_the_wire_is_read_by_the_client_program(
    pair: tuple[Stand, Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a Python that PyMySQL no longer knows: what is pushed there says so, and the copy continues."""
    copy.empty(pair[2], SCHEMAS)
    monkeypatch.setattr(run_worker, "WORKER", tuple(name for name in run_worker.WORKER if "wire" not in name))
    report = _copy(pair, compress=False)
    assert report.read_by.startswith("client program: ImportError: ")
    _same(pair)


def test_rows_longer_than_a_packet_of_the_protocol(pair: tuple[Stand, Host, Host]) -> None:
    """Such a row comes in several packets; one that the original can't put together stops the copy, and both are reported before the window."""
    copy.empty(pair[2], ["longrows"])
    limits = {}
    for host in pair[1:]:
        with session(host) as opened:
            limits[host] = int(opened.value("SELECT @@GLOBAL.max_allowed_packet"))
            opened.execute(f"SET GLOBAL max_allowed_packet = {128 << 20}")
    sql(
        pair[1],
        "DROP DATABASE IF EXISTS longrows; CREATE DATABASE longrows DEFAULT CHARACTER SET utf8mb4; USE longrows; "
        "CREATE TABLE texts (id int PRIMARY KEY, a longtext, b longtext NOT NULL); CREATE TABLE bytes (id int PRIMARY KEY, a longblob); "
        "INSERT INTO texts VALUES (1, NULL, ''), (2, REPEAT('NULL', 5000000), REPEAT('\\t😀', 3000000)), (3, 'NULL', REPEAT('x', 16777204)), (4, '', 'NULL'); "
        "INSERT INTO bytes VALUES (1, NULL), (2, CONCAT(REPEAT(UNHEX('FBFFFFFEFD0A00'), 2500000), UNHEX('225C'))), (3, UNHEX('FBFFFF')), (4, '');",
    )
    try:
        for compressed in (False, True):
            report = _copy(pair, schemas=["longrows"], compress=compressed)
            assert report.rows == 8
            verdict = compare.compare(pair[1], pair[2], ["longrows"], threads=2, cancel=CancelToken(), progress=lambda text: None)
            assert verdict.same, [str(found) for found in verdict.differences]
            copy.empty(pair[2], ["longrows"])
        with session(pair[1]) as opened:
            opened.execute(f"SET GLOBAL max_allowed_packet = {16 << 20}")
        for compressed in (False, True):
            # Three such rows, each in a part of its own where the tables are cut up: the one met first is named. In the third no column is too long alone.
            with pytest.raises(
                StepFailed,
                match=r"table longrows\.(texts(, column a)?|bytes, column a): .*a row is longer than the original's max_allowed_packet: raise",
            ):
                _copy(pair, schemas=["longrows"], compress=compressed)
        _nothing_left(pair)
    finally:
        copy.empty(pair[2], ["longrows"])
        for host, limit in limits.items():
            sql(host, f"DROP DATABASE IF EXISTS longrows; SET GLOBAL max_allowed_packet = {limit}")


def test_empty_leaves_databases_with_their_character_set(pair: tuple[Stand, Host, Host]) -> None:
    copy.empty(pair[2], SCHEMAS)
    _copy(pair, compress=False)
    copy.empty(pair[2], SCHEMAS)
    copy.empty(pair[2], SCHEMAS)
    with session(pair[2]) as opened:
        assert opened.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('damage', 'bulk')") == 0
        row = opened.row("SELECT DEFAULT_CHARACTER_SET_NAME AS c FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'bulk'")
        assert row == {"c": "utf8mb3"}


def test_cancelled_copy_clears_up(pair: tuple[Stand, Host, Host]) -> None:
    copy.empty(pair[2], SCHEMAS)
    cancel = CancelToken()
    threading.Timer(1.5, cancel.set, ["test"]).start()
    with pytest.raises(Cancelled):
        _copy(pair, cancel, bytes_per_second=2 << 20)
    _nothing_left(pair)
    copy.empty(pair[2], SCHEMAS)


@pytest.mark.parametrize("through_here", [False, True])
def test_the_engines_cancel_leaves_nothing_on_either_server(pair: tuple[Stand, Host, Host], through_here: bool) -> None:
    """The engine's Cancel ends every new command on every server: what clears away runs all the same."""
    made, source, target = pair
    copy.empty(target, SCHEMAS)
    reported: list[str] = []

    def progress(text: str) -> None:
        reported.append(text)
        if any(line.startswith("making") for line in reported[:-1]):  # rows are on their way
            made.cancel.set("test")

    try:
        with pytest.raises(Cancelled):
            _copy(pair, made.cancel, progress=progress, bytes_per_second=2 << 20, through_here=through_here)
    finally:
        made.cancel._event.clear()
    _nothing_left(pair)
    assert account_notes.noted(source) == []
    copy.empty(target, SCHEMAS)


def test_an_account_is_noted_until_it_is_dropped_and_known_when_its_server_is_down(pair: tuple[Stand, Host, Host]) -> None:
    made, source, target = pair
    account.make(source, target, SCHEMAS)
    assert account_notes.noted(source) == [account.COPY_USER]
    unit = "mariadb" if source.run(["which", "mariadbd"], timeout=30, ok=None).ok else "mysql"
    source.run(["systemctl", "stop", unit], timeout=120)
    try:
        assert account_notes.noted(source) == [account.COPY_USER]
    finally:
        source.run(["systemctl", "start", unit], timeout=120)
        made.wait(source)
    with session(source) as opened:
        assert account.revoke(opened) == 1
    assert account_notes.noted(source) == []
    assert not source.run(["test", "-e", account_notes.FOLDER], timeout=30, ok=None).ok


def test_disk_that_fills_up_ends_the_copy(pair: tuple[Stand, Host, Host]) -> None:
    """The data folder moves to a small disk: too little is refused at once; filled up in the middle, the copy ends and can be repeated."""
    made, _, target = pair
    copy.empty(target, SCHEMAS)
    unit = "mariadb" if target.run(["which", "mariadbd"], timeout=30, ok=None).ok else "mysql"
    move = f"""
systemctl stop {unit}
mkdir -p /small && mount -t tmpfs -o size=2g tmpfs /small && cp -a /var/lib/mysql/. /small/ && chown mysql: /small && chmod 755 /small
mount --bind /small /var/lib/mysql
systemctl start {unit}"""
    target.script(move, timeout=180)
    made.wait(target)
    try:
        target.script("mount -o remount,size=$(( $(du -sm /small | cut -f1) + 100 ))m /small", timeout=30)
        with pytest.raises(GuardFailed, match="are free in"):
            _copy(pair)
        target.script("mount -o remount,size=2g /small", timeout=30)
        fill = "fallocate -l $(( $(df -B1 --output=avail /small | tail -1) - 41943040 )) /small/filler"
        filled: list[str] = []

        def fill_once_rows_travel(text: str) -> None:
            if " rows, " in text and not filled:
                filled.append(text)
                target.script(fill, timeout=60, ok=None)

        with pytest.raises(StepFailed, match="MiB are left on the disk"):
            _copy(pair, bytes_per_second=2 << 20, progress=fill_once_rows_travel)
        _nothing_left(pair)
        target.script("rm -f /small/filler", timeout=30)
        _copy(pair)
        _same(pair)
    finally:
        target.script(f"systemctl stop {unit}; umount /var/lib/mysql; umount /small; systemctl start {unit}", timeout=180)
        made.wait(target)
