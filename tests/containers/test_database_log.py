"""What a binary log proves, on real servers: where it may not hold a change, everything is compared, or it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack.services import Services
from parallel_build.database.copy import copy
from parallel_build.database.replicate import channel, foreign, log_end, log_proof, seed
from parallel_build.database.replicate.promotion import Takeover
from parallel_build.database.server.dialects import identify
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations import original_stop
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import GTID, Stand, roots, sql, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1800)]
SCHEMAS = ["cloud", "cloud_usage"]
ORIGINAL = """
DROP DATABASE IF EXISTS cloud; DROP DATABASE IF EXISTS cloud_usage; DROP DATABASE IF EXISTS tools; CREATE DATABASE cloud; CREATE DATABASE cloud_usage;
CREATE TABLE cloud.vm (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid varchar(40), name varchar(40));
CREATE TABLE cloud.`we``ird.na me` (id int NOT NULL PRIMARY KEY, note varchar(20));
CREATE TABLE cloud_usage.cloud_usage (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, type varchar(32));
INSERT INTO cloud.vm (uuid, name) VALUES ('a', 'one'), ('b', 'two'), ('c', 'three'), ('d', 'four'); INSERT INTO cloud.`we``ird.na me` VALUES (1, 'x'), (2, 'y');
CREATE DATABASE tools; CREATE TABLE tools.t (id int PRIMARY KEY);
"""
# Of a database that is not copied: everything that anybody may do there, with and without a default database.
BUSY = """
CREATE PROCEDURE tools.p() SELECT 1; CREATE EVENT tools.e ON SCHEDULE EVERY 1 DAY DO SELECT 1; USE cloud; DROP PROCEDURE tools.p;
CREATE FUNCTION tools.f() RETURNS int DETERMINISTIC RETURN 1; CREATE VIEW tools.v AS SELECT * FROM cloud.vm; USE tools; ALTER TABLE t ADD temporary int;
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1; INSERT INTO t VALUES (7, 7); DROP TRIGGER tr; CREATE PROCEDURE q() SELECT 2; DROP PROCEDURE q;
TRUNCATE t; USE cloud; TRUNCATE tools.t; DROP TABLE tools.t; ALTER EVENT tools.e COMMENT 'x'; DROP EVENT tools.e; DROP VIEW tools.v; DROP FUNCTION tools.f;
ALTER DATABASE tools CHARACTER SET latin1; DROP DATABASE tools; CREATE DATABASE tools; CREATE TABLE tools.t (id int PRIMARY KEY);
CREATE USER nobody@localhost; GRANT SELECT ON cloud.* TO nobody@localhost; DROP USER nobody@localhost;
"""


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Stand, Host, Host]]:
    """An original and a new source."""
    root = roots().get(request.param)
    if root is None:
        pytest.skip(f"no root file system with {request.param}")
    with stand() as made:
        original, source = made.add("olddb1", root, 13), made.add("newdb1", root, 31, GTID[request.param])
        if request.param == "mysql":
            sql(source, "RESET BINARY LOGS AND GTIDS")
        yield made, original, source


@pytest.fixture
def seeded(pair: tuple[Stand, Host, Host]) -> Iterator[tuple[Host, Host, channel.Position]]:
    """A new source that follows, compared with the original."""
    _, original, source = pair
    sql(original, ORIGINAL)
    seed.seed(original, source, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)
    baseline = _compared(original, source)
    assert baseline.comparison.same
    yield original, source, baseline.position
    seed.remove(original, source)
    copy.empty(source, SCHEMAS)


def _quiet(text: str) -> None:
    del text


def _compared(original: Host, source: Host, since: channel.Position | None = None) -> seed.Baseline:
    return seed.compare_at_position(original, source, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet, since=since)


def _takeover(original: Host, source: Host, position: channel.Position, reported: list[str]) -> Takeover:
    return Takeover(original, source, SCHEMAS, position, threads=2, cancel=CancelToken(), progress=reported.append)


def test_others_may_do_what_they_like_in_their_own_database(seeded: tuple[Host, Host, channel.Position]) -> None:
    original, source, position = seeded
    reported: list[str] = []
    sql(original, BUSY + "INSERT INTO cloud.vm (name) VALUES ('five');")
    with _takeover(original, source, position, reported) as takeover:
        takeover.catch_up(timeout=120)
        verdict = takeover.compare_changes()
        assert verdict.same
        assert (verdict.rows, verdict.tables, takeover.changes.doubts) == (1, 1, ()), "one row has changed, and only that is compared"
        assert not [text for text in reported if "everything" in text]
    assert sql(source, "SELECT COUNT(*) FROM cloud.vm").strip() == "5"
    assert "tools" not in sql(source, "SHOW DATABASES")
    assert "nobody" not in sql(source, "SELECT User FROM mysql.user")


def test_the_channel_continues_with_nobody_watching(seeded: tuple[Host, Host, channel.Position]) -> None:
    original, source, _ = seeded
    sql(original, "CREATE PROCEDURE tools.p() SELECT 1; INSERT INTO cloud.vm (name) VALUES ('five')")
    wait_for(
        "the row behind a statement of others",
        lambda: sql(source, "SELECT COUNT(*) FROM cloud.vm").strip() == "5",
        timeout=30,
        cancel=CancelToken(),
    )
    printed = source.run(["journalctl", "-u", foreign.UNIT, "--no-pager", "-o", "cat"]).stdout
    assert "passed over a statement about databases that are not copied: CREATE PROCEDURE tools.p" in printed
    sql(original, "DROP PROCEDURE tools.p")


def test_an_error_about_ours_is_not_passed_over(seeded: tuple[Host, Host, channel.Position]) -> None:
    original, source, _ = seeded
    sql(source, "SET sql_log_bin = 0; CREATE PROCEDURE cloud.p() SELECT 2")
    sql(original, "CREATE PROCEDURE cloud.p() SELECT 1")
    with session(source) as new, pytest.raises(StepFailed, match="does not follow the original"):
        channel.wait_applied(new, identify(new), _end(original), timeout=20, cancel=CancelToken(), progress=_quiet)
    assert sql(source, "SELECT COUNT(*) FROM cloud.vm").strip() == "4"


def _end(host: Host) -> channel.Position:
    with session(host) as opened:
        return channel.log_position(opened, identify(opened))


@pytest.mark.parametrize(
    "statements",
    [
        "SET SESSION binlog_format = STATEMENT; UPDATE cloud.vm SET uuid = UUID() WHERE id <= 3",
        "USE tools; SET SESSION binlog_format = STATEMENT; UPDATE cloud.vm SET uuid = UUID() WHERE id <= 3",
        "SET SESSION binlog_format = STATEMENT; CREATE TRIGGER tools.tr AFTER INSERT ON tools.t FOR EACH ROW UPDATE cloud.vm SET uuid = UUID(); "
        "INSERT INTO tools.t VALUES (9); DROP TRIGGER tools.tr; DELETE FROM tools.t",
    ],
)
def test_rows_that_are_logged_as_a_statement_have_everything_compared(seeded: tuple[Host, Host, channel.Position], statements: str) -> None:
    original, source, position = seeded
    reported: list[str] = []
    sql(original, statements)
    with _takeover(original, source, position, reported) as takeover:
        takeover.catch_up(timeout=60)
        verdict = takeover.compare_changes()
    assert not verdict.same
    assert "table vm" in str(verdict.differences[0])
    assert any("comparing everything" in text and "connection" in text for text in reported), reported


@pytest.mark.parametrize(
    ("statement", "planted"),
    [
        ("ALTER TABLE cloud.vm ADD COLUMN temporary int", "ALTER TABLE cloud.vm DROP COLUMN temporary"),
        ("CREATE INDEX i_name ON cloud.vm (name)", "DROP INDEX i_name ON cloud.vm"),
    ],
)
def test_definitions_are_seen_whatever_words_are_in_them(seeded: tuple[Host, Host, channel.Position], statement: str, planted: str) -> None:
    original, source, position = seeded
    mariadb = "mariadb" in sql(original, "SELECT VERSION()").lower()
    sql(original, f"SET STATEMENT max_statement_time = 100 FOR {statement}" if mariadb else statement)
    with _takeover(original, source, position, []) as takeover:
        takeover.catch_up(timeout=60)
        sql(source, f"SET sql_log_bin = 0; {planted}")
        verdict = takeover.compare_changes()
    assert any(found.kind in ("definition", "missing") for found in verdict.differences), verdict.differences


def test_a_table_of_any_name_is_compared(seeded: tuple[Host, Host, channel.Position]) -> None:
    original, source, position = seeded
    sql(original, "UPDATE cloud.`we``ird.na me` SET note = 'z' WHERE id = 2")
    with _takeover(original, source, position, []) as takeover:
        takeover.catch_up(timeout=60)
        sql(source, "SET sql_log_bin = 0; UPDATE cloud.`we``ird.na me` SET note = 'lost' WHERE id = 2")
        verdict = takeover.compare_changes()
    assert (verdict.rows, verdict.same) == (1, False)


def test_a_table_that_the_comparison_does_not_know_is_never_left_out(seeded: tuple[Host, Host, channel.Position]) -> None:
    original, source, position = seeded
    reported: list[str] = []
    with _takeover(original, source, position, reported) as takeover:
        # Made after the definitions were read, in a log that does not say so.
        sql(original, "SET sql_log_bin = 0; CREATE TABLE cloud.later (id int PRIMARY KEY); SET sql_log_bin = 1; BEGIN; INSERT INTO cloud.later VALUES (1); "
            "ROLLBACK")  # fmt: skip
        sql(source, "SET sql_log_bin = 0; CREATE TABLE cloud.later (id int PRIMARY KEY)")
        sql(original, "INSERT INTO cloud.later VALUES (2)")
        takeover.catch_up(timeout=60)
        assert takeover.compare_changes().same
    assert any("cloud.later" in text and "comparing everything" in text for text in reported), reported


def test_what_is_in_no_log_is_found_by_the_comparison_of_everything(seeded: tuple[Host, Host, channel.Position]) -> None:
    original, source, position = seeded
    sql(original, "SET sql_log_bin = 0; DELETE FROM cloud.vm WHERE id = 2")
    assert _compared(original, source, position).comparison.same, "the log does not have it"
    assert not _compared(original, source).comparison.same
    sql(original, "SET sql_log_bin = 0; ALTER TABLE cloud.vm ADD KEY (name)")
    found = _compared(original, source, position).comparison
    kinds = {one.kind for one in found.differences}
    assert kinds == {"missing", "rows"}, "definitions are compared each time, and then all rows of a table whose definition differs"


def test_logs_that_do_not_hold_everything_are_refused(pair: tuple[Stand, Host, Host]) -> None:
    made, original, source = pair
    sql(original, ORIGINAL)
    family = "mariadb" if "mariadb" in sql(original, "SELECT VERSION()").lower() else "mysql"
    path = "/etc/mysql/mariadb.conf.d/zz-log.cnf" if family == "mariadb" else "/etc/mysql/mysql.conf.d/zzz-log.cnf"
    updates = "log_slave_updates = OFF" if family == "mariadb" else "log_replica_updates = OFF\nskip_replica_start"
    for lines, words in (
        ("binlog_do_db = cloud", "does not log cloud_usage (binlog_do_db = cloud)"),
        ("binlog_ignore_db = cloud_usage", "does not log cloud_usage (binlog_ignore_db = cloud_usage)"),
        ("binlog_ignore_db = tools", ""),
        (updates, "applies changes of 10.93.0.31 and does not log them"),
    ):
        original.write(path, f"[mysqld]\n{lines}\n", mode=0o644)
        original.run(["systemctl", "restart", family], timeout=180)
        made.wait(original)
        if "updates" in lines:
            host, thread = ("MASTER", "SLAVE SQL_THREAD") if family == "mariadb" else ("SOURCE", "REPLICA SQL_THREAD")
            change = "CHANGE MASTER TO" if family == "mariadb" else "CHANGE REPLICATION SOURCE TO"
            sql(original, f"{change} {host}_HOST = '10.93.0.31'; START {thread}")
        with session(original) as old:
            found = log_proof.gaps(log_proof.read(old, identify(old)), "olddb1", SCHEMAS)
        assert [gap.fact.removeprefix("olddb1 ") for gap in found] == ([words] if words else []), lines
        if words:
            with pytest.raises(GuardFailed, match="olddb1"):
                seed.seed(original, source, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)
    sql(original, "STOP SLAVE; RESET SLAVE ALL" if family == "mariadb" else "STOP REPLICA; RESET REPLICA ALL")
    original.run(["rm", path])
    original.run(["systemctl", "restart", family], timeout=180)
    made.wait(original)


class Window:
    """The parts of a window that the original's stop asks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, original: Host, source: Host, method: str) -> None:
        self.facts: dict[str, dict[str, Any]] = {"DatabaseTransfer": {}, "OriginalDatabase": {}}
        self.reported: list[str] = []
        self.copied = 0
        self.original, self.source = original, source
        transfer = SimpleNamespace(method=method, threads=2)
        self.context: Any = SimpleNamespace(
            configuration=SimpleNamespace(transfer=transfer), progress=self.reported.append, site=SimpleNamespace(stack="test")
        )
        for name, value in {
            "store": lambda context: SimpleNamespace(facts=self.facts.__getitem__, remember=self.remember),
            "original_database": lambda context: original, "new_database": lambda context: source,
            "schemas": lambda configuration: SCHEMAS, "transfer": self.transfer,
        }.items():  # fmt: skip
            monkeypatch.setattr(original_stop, name, value)
        self.note()

    def remember(self, step: str, **facts: Any) -> None:
        self.facts[step] |= facts

    def note(self) -> None:
        with session(self.original) as old:
            self.facts["DatabaseTransfer"]["copied"] = {"original": log_end.read(old, SCHEMAS).kept()}

    def transfer(self, context: Any, unusable: str | None = None) -> None:
        self.copied += 1
        self.note()

    def run(self) -> None:
        services = Services(self.original)
        unit = services.database_unit()
        original_stop.stop_unmoved(
            self.context,
            lambda: cast(None, services.stop_and_fence(unit, timeout=120)),
            lambda: cast(None, services.bring_up(unit, timeout=120)),
        )

    def down(self) -> bool:
        services = Services(self.original)
        return services.state(services.database_unit()).fenced


@pytest.fixture
def served(pair: tuple[Stand, Host, Host]) -> Iterator[tuple[Host, Host]]:
    """The original, which serves again afterwards."""
    made, original, source = pair
    sql(original, ORIGINAL)
    yield original, source
    services = Services(original)
    services.bring_up(services.database_unit(), timeout=120)
    made.wait(original)


def test_an_original_that_stood_still_is_stopped(served: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, *served, "dump")
    sql(served[0], "INSERT INTO tools.t VALUES (4); CREATE PROCEDURE tools.p() SELECT 1; DROP PROCEDURE tools.p")
    window.run()
    assert window.down()
    assert window.copied == 0, window.reported
    window.run()
    assert (window.down(), window.copied) == (True, 0), "done already means nothing happens"


@pytest.mark.parametrize("statement", ["UPDATE cloud.vm SET name = 'late' WHERE id = 1", "ALTER TABLE cloud.vm ADD late int"])
def test_an_original_that_was_written_to_is_copied_again(
    served: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    window = Window(monkeypatch, *served, "dump")
    sql(served[0], statement)
    window.run()
    assert (window.down(), window.copied) == (True, 1)
    assert any("has been written to since its rows were compared" in text for text in window.reported)


def test_what_was_taken_over_is_never_lost_without_a_word(served: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, *served, "replicate")
    sql(served[0], "UPDATE cloud.vm SET name = 'late' WHERE id = 1")
    with pytest.raises(StepFailed, match=r"1 changed rows in cloud.vm|1 changed rows.*would be lost.*Who.*set transfer.method to dump"):
        window.run()
    assert not window.down()
    assert "cutover_copy" not in sql(served[0], "SELECT User FROM mysql.user")


def test_what_was_written_while_it_stopped_is_found_in_its_files(served: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, *served, "dump")
    window.run()
    services = Services(served[0])
    services.bring_up(services.database_unit(), timeout=120)
    sql(served[0], "UPDATE cloud.vm SET name = 'late' WHERE id = 1")
    services.stop_and_fence(services.database_unit(), timeout=120)
    window.run()
    assert (window.down(), window.copied) == (True, 1), window.reported


def test_without_a_binary_log_counters_show_it(pair: tuple[Stand, Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    made, original, source = pair
    family = "mariadb" if "mariadb" in sql(original, "SELECT VERSION()").lower() else "mysql"
    path = "/etc/mysql/mariadb.conf.d/zz-log.cnf" if family == "mariadb" else "/etc/mysql/mysql.conf.d/zzz-log.cnf"
    original.write(path, "[mysqld]\nskip_log_bin\n", mode=0o644)
    original.run(["systemctl", "restart", family], timeout=180)
    made.wait(original)
    sql(original, ORIGINAL)
    for statement, copied in (
        ("SELECT COUNT(*) FROM cloud.vm", 0),
        ("UPDATE cloud.vm SET name = 'late' WHERE id = 1", 1),
        ("ALTER TABLE cloud.vm ADD l int", 1),
    ):
        window = Window(monkeypatch, original, source, "dump")
        sql(original, statement)
        window.run()
        assert (window.down(), window.copied) == (True, copied), (statement, window.reported)
        Services(original).bring_up(Services(original).database_unit(), timeout=120)
        made.wait(original)
    original.run(["rm", path])
    original.run(["systemctl", "restart", family], timeout=180)
    made.wait(original)
