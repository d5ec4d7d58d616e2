"""What definitions mean, on real servers: which views are told apart, what can't be made is found before the first row, objects keep their makers' settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy as copying
from parallel_build.database.copy import create
from parallel_build.database.schema import meanings
from parallel_build.errors import GuardFailed
from parallel_build.health import queries
from parallel_build.health.facts import HealthFacts
from parallel_build.health.rules_database import objects_need_no_other_database, views_resolve
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import Combination, sql

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1800)]
PAIRS = yaml.safe_load((Path(__file__).with_name("damage") / "views.yaml").read_text())
TABLES = """
DROP DATABASE IF EXISTS pairs;
CREATE DATABASE pairs DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
USE pairs;
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE a (id int PRIMARY KEY, x int, y int, name varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci);
CREATE TABLE b (id int PRIMARY KEY, x int, y int);
CREATE TABLE c (id int PRIMARY KEY, x int, y int);
"""


def _quiet(text: str) -> None:
    del text


def _copy(pair: Combination, names: list[str]) -> copying.CopyReport:
    return copying.copy(pair.source, pair.target, names, threads=2, cancel=CancelToken(), progress=_quiet)


def _compare(pair: Combination, names: list[str]) -> compare.Comparison:
    return compare.compare(pair.source, pair.target, names, threads=2, cancel=CancelToken(), progress=_quiet)


def _names(kind: str, host: Host, side: str) -> None:
    views = [f"CREATE VIEW v{number:02} AS {pair[side]};" for number, pair in enumerate(PAIRS[kind])]
    sql(host, TABLES + "\n".join(views))


@pytest.fixture
def clean(servers: Combination) -> Iterator[Combination]:
    """The pair without databases of anybody's, before and after."""
    _clean(servers)
    yield servers
    _clean(servers)


def _clean(pair: Combination) -> None:
    copying.empty(pair.target, ["pairs"])
    meanings.forget(pair.target)
    sql(pair.source, "DROP DATABASE IF EXISTS pairs; DROP DATABASE IF EXISTS crm")
    sql(pair.target, "DROP DATABASE IF EXISTS pairs")


@pytest.mark.parametrize("kind", PAIRS)
def test_views_are_told_apart_by_what_they_mean(clean: Combination, kind: str) -> None:
    _names(kind, clean.source, "one")
    _names(kind, clean.target, "other")
    found = {each.object: each.detail for each in _compare(clean, ["pairs"]).differences}
    wanted = {f"view v{number:02}" for number in range(len(PAIRS[kind]))} if kind == "apart" else set()
    assert set(found) == wanted, {PAIRS[kind][int(name[-2:])]["name"] for name in set(found) ^ wanted}


@dataclass(frozen=True)
class Planted:
    """Something that the new server can't make.

    Attributes:
        statements: that make it on the original.
        named: what the error names of it.
        remedy: a part of what is to be done.
        families: of originals that can have it.
    """

    statements: str
    named: tuple[str, ...]
    remedy: str
    families: tuple[str, ...] = ("mariadb", "mysql")


CRM = "CREATE DATABASE crm; CREATE TABLE crm.customers (c int PRIMARY KEY);"
PLANTED = {
    "a view without its column": Planted(
        "CREATE VIEW v AS SELECT x FROM a; CREATE VIEW after AS SELECT x FROM v; ALTER TABLE a DROP COLUMN x", ("view pairs.v: (1054",), "DROP VIEW pairs.v"
    ),
    "a view without its table": Planted("CREATE VIEW v AS SELECT id FROM b; DROP TABLE b", ("view pairs.v: (1146", "pairs.b"), "DROP VIEW pairs.v"),
    "a view onto another database": Planted(
        CRM + "CREATE VIEW v AS SELECT a.id FROM a JOIN crm.customers ON c = a.id", ("view pairs.v: (1", "crm"), "DROP VIEW pairs.v"
    ),
    "a trigger onto another database": Planted(
        CRM + "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW INSERT INTO crm.customers VALUES (NEW.id)", ("trigger pairs.t: it names database crm",),
        "DROP TRIGGER pairs.t",
    ),
    "an event onto another database": Planted(
        CRM + "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM `crm`.customers", ("event pairs.e: it names database crm",), "DROP EVENT pairs.e"
    ),
    "a foreign key onto another database": Planted(
        CRM + "CREATE TABLE d (id int PRIMARY KEY, c int, CONSTRAINT f FOREIGN KEY (c) REFERENCES crm.customers (c))",
        ("table pairs.d: its foreign key f refers to crm.customers",), "DROP FOREIGN KEY f",
    ),
    "a function that says nothing of itself": Planted(
        "SET GLOBAL log_bin_trust_function_creators = 1; CREATE FUNCTION f () RETURNS int RETURN (SELECT COUNT(*) FROM a); "
        "SET GLOBAL log_bin_trust_function_creators = 0", ("function pairs.f: (1418",), "ALTER FUNCTION pairs.f READS SQL DATA",
    ),
    "a client of an unknown character set": Planted(
        "SET character_set_client = armscii8; CREATE VIEW v AS SELECT id FROM a; SET NAMES utf8mb4",
        ("view pairs.v", "armscii8"), "character_set_client = utf8mb4"
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_what_can_not_be_made_is_named_before_the_first_row(clean: Combination, planted: str) -> None:
    case = PLANTED[planted]
    sql(clean.source, TABLES + "INSERT INTO a VALUES (1, 2, 3, 'x');" + case.statements)
    with pytest.raises(GuardFailed) as raised:
        _copy(clean, ["pairs"])
    for words in case.named:
        assert words in raised.value.fact, raised.value.fact
    assert raised.value.remedy.startswith(f"on {clean.source.name}: ") and case.remedy in raised.value.remedy
    with session(clean.target) as opened:
        assert opened.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'pairs'") == 0
    _no_judge(clean.target)


def _no_judge(host: Host) -> None:
    left = host.run(
        ["sh", "-c", "ls -d /var/tmp/cutover-judge.* 2>/dev/null; systemctl list-units --all --no-legend 'cutover-judge*'"], ok=None
    ).stdout
    assert left.strip() == "", "a judge is left"


def _same(pair: Combination, names: list[str]) -> compare.Comparison:
    verdict = _compare(pair, names)
    assert verdict.same, [str(found) for found in verdict.differences]
    return verdict


MADE = """
CREATE PROCEDURE p () SELECT 'text' FROM a;
CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.name = UPPER(NEW.name);
ALTER DATABASE pairs COLLATE utf8mb4_bin;
"""


def test_routines_keep_the_database_collation_that_they_were_made_under(clean: Combination) -> None:
    sql(clean.source, TABLES + MADE)
    _copy(clean, ["pairs"])
    _same(clean, ["pairs"])
    with session(clean.target) as opened:
        assert (
            opened.value("SELECT DATABASE_COLLATION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'pairs'")
            == "utf8mb4_general_ci"
        )
        assert opened.value("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'pairs'") == "utf8mb4_bin"


def test_no_event_runs_on_a_copy_until_it_is_settled(clean: Combination) -> None:
    """One that is over, and that the original keeps because its scheduler rests, comes along too."""
    events = (
        "SET GLOBAL event_scheduler = OFF; CREATE EVENT often ON SCHEDULE EVERY 1 SECOND DO INSERT INTO a SELECT MAX(id) + 1, 0, 0, '' FROM a;"
        "SET timestamp = 1600000000; CREATE EVENT past ON SCHEDULE AT '2020-10-01 00:00:00' DISABLE DO DELETE FROM a; SET timestamp = DEFAULT;"
        "CREATE EVENT never ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2026-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'it''s' DO DELETE FROM a;"
    )
    sql(clean.source, TABLES + "INSERT INTO a VALUES (1, 2, 3, 'x');" + events)
    sql(clean.target, "SET GLOBAL event_scheduler = ON")
    try:
        _copy(clean, ["pairs"])
        sql(clean.target, "DO SLEEP(3)")
        _same(clean, ["pairs"])
        with session(clean.source) as old, session(clean.target) as new:
            shown = "SELECT EVENT_NAME AS n, STATUS AS s FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'pairs' ORDER BY EVENT_NAME"
            assert {row["n"]: row["s"] for row in new.rows(shown)} == {"often": "DISABLED", "past": "DISABLED", "never": "DISABLED"}
            assert create.settle_events(old, new, ["pairs"]) == ["`pairs`.`often`"]
            assert create.settle_events(old, new, ["pairs"]) == ["`pairs`.`often`"]
            assert {row["n"]: row["s"] for row in new.rows(shown)} == {"often": "ENABLED", "past": "DISABLED", "never": "DISABLED"}
    finally:
        sql(clean.target, "DROP DATABASE pairs; SET GLOBAL event_scheduler = OFF")


def test_an_event_keeps_its_character_sets_and_mode_when_it_is_settled(clean: Combination) -> None:
    """A server gives an event that is enabled the character set and collations of whoever enables it."""
    events = (
        "SET NAMES latin1 COLLATE latin1_german1_ci; SET sql_mode = 'ANSI_QUOTES', time_zone = '+05:00'; "
        "CREATE EVENT yearly ON SCHEDULE EVERY 1 YEAR STARTS '2031-01-01 00:00:00' DO DELETE FROM a; ALTER DATABASE pairs COLLATE utf8mb4_bin;"
    )
    sql(clean.source, TABLES + events)
    try:
        _copy(clean, ["pairs"])
        asked = (
            "SELECT SQL_MODE, TIME_ZONE, STATUS, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION FROM information_schema.EVENTS "
            "WHERE EVENT_SCHEMA = 'pairs'"
        )
        with session(clean.source) as old, session(clean.target) as new:
            assert create.settle_events(old, new, ["pairs"]) == ["`pairs`.`yearly`"]
            assert new.rows(asked) == old.rows(asked)
        _same(clean, ["pairs"])
    finally:
        sql(clean.target, "DROP DATABASE pairs")


def test_objects_of_a_client_of_another_character_set(clean: Combination) -> None:
    view = "CREATE VIEW v AS SELECT '中文' AS word FROM a;".encode("gbk")
    client = "mariadb" if clean.old == "mariadb" else "mysql"
    sql(clean.source, TABLES)
    clean.source.run([client, "--default-character-set=gbk", "pairs"], input=view)
    _copy(clean, ["pairs"])
    _same(clean, ["pairs"])
    with session(clean.source) as old, session(clean.target) as new:
        for opened in (old, new):
            opened.execute("INSERT INTO pairs.a VALUES (1, 1, 1, '')")
            assert opened.value("SELECT word FROM pairs.v") == "中文"


def test_nothing_is_judged_twice(clean: Combination, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window pays nothing: neither the copy nor the comparison starts a judge where everything was judged before."""
    sql(clean.source, TABLES + "CREATE VIEW v AS SELECT x + (y * 2) AS n FROM a; CREATE TABLE e (id int(9) PRIMARY KEY, d json)")
    _copy(clean, ["pairs"])
    _same(clean, ["pairs"])
    copying.empty(clean.target, ["pairs"])

    def never(*given: Any) -> Any:
        raise AssertionError("a judge was started")

    monkeypatch.setattr("parallel_build.database.server.judge.judge", never)
    _copy(clean, ["pairs"])
    _same(clean, ["pairs"])


LOOSE = (
    f"CREATE TABLE d ({', '.join(f'c{number} varchar(255)' for number in range(60))}) ROW_FORMAT=COMPACT DEFAULT CHARSET=latin1",
    "CREATE TABLE d (id int PRIMARY KEY, t text) ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=8",
)


@pytest.mark.parametrize("table", LOOSE)
def test_tables_that_strict_servers_refuse_come_along(clean: Combination, table: str) -> None:
    sql(clean.source, f"{TABLES}SET SESSION innodb_strict_mode = OFF; {table}")
    _copy(clean, ["pairs"])
    _same(clean, ["pairs"])


def test_rows_against_a_check_of_their_own_come_along(clean: Combination) -> None:
    if clean.old == "mysql" or clean.new == "mysql":
        pytest.skip("MySQL has no rows against a check in force")
    sql(clean.source, TABLES + "CREATE TABLE d (x int CHECK (x < 5)); SET check_constraint_checks = 0; INSERT INTO d VALUES (9)")
    _copy(clean, ["pairs"])
    _same(clean, ["pairs"])


class Read:
    """What the health check asked of a server, for its rules."""

    def __init__(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        self.tables = tables

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query."""
        return self.tables[query]


def _health(host: Host) -> dict[str, str]:
    with session(host) as opened:
        answers = queries.run(opened)
    facts = cast(HealthFacts, Read(answers.tables))
    return {rule.__name__: printed.fact for rule in (views_resolve, objects_need_no_other_database) for printed in rule(facts)}


def test_the_health_check_names_what_can_not_be_brought_over(clean: Combination) -> None:
    """A view whose definer is missing resolves once that account is made: it is not among them."""
    host = clean.source
    sql(
        host,
        "DROP DATABASE IF EXISTS cloud; CREATE DATABASE cloud; USE cloud; CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id int);",
    )
    try:
        sql(
            host,
            "USE cloud; CREATE DEFINER=nobody@nowhere VIEW v AS SELECT id FROM a; CREATE VIEW word AS SELECT 'crm.customers' AS w FROM a",
        )
        sql(host, CRM)
        assert _health(host) == {}
        sql(host, "USE cloud; CREATE VIEW gone AS SELECT id FROM b; DROP TABLE b; CREATE VIEW onto AS SELECT c FROM crm.customers")
        sql(host, "USE cloud; CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW INSERT INTO crm.customers VALUES (NEW.id)")
        sql(host, "USE cloud; CREATE TABLE d (c int, CONSTRAINT f FOREIGN KEY (c) REFERENCES crm.customers (c))")
        found = _health(host)
        assert found["views_resolve"].startswith("views do not resolve: cloud.gone (")
        for words in ("view cloud.onto (crm)", "trigger cloud.t (crm)", "table cloud.d (foreign key f: crm)"):
            assert words in found["objects_need_no_other_database"]
    finally:
        sql(host, "DROP DATABASE cloud; DROP DATABASE IF EXISTS crm")
