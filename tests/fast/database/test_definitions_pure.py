"""What is known of definitions without a server: prints, the table of collations, what a statement names, a dump's first line."""

from __future__ import annotations

import subprocess
from typing import cast

import pytest

from parallel_build.database.copy.create import Failure, causes
from parallel_build.database.copy.import_dump import WITHOUT_SANDBOX
from parallel_build.database.schema.definitions import Code, Schema, disabled
from parallel_build.database.schema.prints import Known, plain_table, prints
from parallel_build.database.schema.translate import names_database, outside_quotes
from parallel_build.database.server.collations import nearest
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.remote.sql import Session


@pytest.mark.parametrize(
    ("collation", "mariadb", "mysql"),
    [
        ("utf8mb4_general_ci", "utf8mb4_general_ci", "utf8mb4_general_ci"),
        ("utf8mb4_0900_ai_ci", "utf8mb4_unicode_520_ci", "utf8mb4_0900_ai_ci"),
        ("utf8mb4_0900_as_cs", "utf8mb4_bin", "utf8mb4_0900_as_cs"),
        ("utf8mb4_0900_bin", "utf8mb4_bin", "utf8mb4_0900_bin"),
        ("utf8mb4_de_pb_0900_ai_ci", "utf8mb4_german2_ci", "utf8mb4_de_pb_0900_ai_ci"),
        ("utf8mb4_ja_0900_as_cs_ks", "utf8mb4_bin", "utf8mb4_ja_0900_as_cs_ks"),
        ("utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_ai_ci", "utf8mb4_0900_ai_ci"),
        ("utf8mb4_uca1400_nopad_as_cs", "utf8mb4_uca1400_nopad_as_cs", "utf8mb4_0900_as_cs"),
        ("utf8mb4_uca1400_swedish_ai_ci", "utf8mb4_uca1400_swedish_ai_ci", "utf8mb4_sv_0900_ai_ci"),
        ("utf8mb3_uca1400_ai_ci", "utf8mb3_uca1400_ai_ci", "utf8mb3_unicode_520_ci"),
        ("latin1_swedish_nopad_ci", "latin1_swedish_nopad_ci", "latin1_swedish_ci"),
    ],
)
def test_the_other_family_has_the_nearest_collation(collation: str, mariadb: str, mysql: str) -> None:
    assert nearest(collation, "mariadb") == mariadb
    assert nearest(collation, "mysql") == mysql


def test_only_what_is_statement_is_changed() -> None:
    statement = "a 'a it''s a' \"a\" `a` /* a */ a -- a\na # a\n/*!50100 a */"
    assert outside_quotes(statement, str.upper) == "A 'a it''s a' \"a\" `a` /* a */ A -- a\nA # a\n/*!50100 A */"


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("INSERT INTO crm.customers VALUES (1)", True),
        ("INSERT INTO `crm`.`customers` VALUES (1)", True),
        ("INSERT INTO CRM . customers VALUES (1)", True),
        ("SELECT 'crm.customers', x.crm.y, mycrm.t, crm FROM t -- crm.t", False),
        ("SELECT `crm` FROM cloud.t", False),
    ],
)
def test_a_statement_names_a_database(statement: str, named: bool) -> None:
    assert names_database(statement, "crm") is named


TABLE = """CREATE TABLE `t` (
  `b` int(11) NOT NULL AUTO_INCREMENT,
  `a` varchar(9) DEFAULT NULL COMMENT ' AUTO_INCREMENT=7',
  PRIMARY KEY (`b`),
  KEY `z` (`a`),
  KEY `y` (`a`)
) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=9'"""


def test_a_tables_counter_and_the_order_of_its_keys_are_no_part_of_its_print() -> None:
    other = TABLE.replace("=12", "=99").replace("  KEY `z` (`a`),\n  KEY `y` (`a`)\n", "  KEY `y` (`a`),\n  KEY `z` (`a`)\n")
    assert plain_table(TABLE) == plain_table(other)
    for change in (("`b` int", "`b` bigint"), ("COMMENT='AUTO_INCREMENT=9'", "COMMENT='AUTO_INCREMENT=8'"), ("(`b`)", "(`b`,`a`)")):
        assert plain_table(TABLE) != plain_table(TABLE.replace(*change))
    first, second = TABLE.split("\n")[1:3]
    assert plain_table(TABLE) != plain_table(TABLE.replace(f"{first}\n{second}", f"{second}\n{first}")), "columns have an order"


@pytest.mark.parametrize("schedule", ["AT '2026-01-01 00:00:00'", "EVERY 1 DAY STARTS '2026-01-01 00:00:00' ENDS '2027-01-01 00:00:00'",
                                      "EVERY '1:30' HOUR_MINUTE STARTS '2026-01-01 00:00:00'"])  # fmt: skip
@pytest.mark.parametrize("status", ["ENABLE", "DISABLE", "DISABLE ON SLAVE", "DISABLE ON REPLICA"])
@pytest.mark.parametrize("rest", ["DO SELECT 1", "COMMENT 'DO it''s ENABLE' DO SELECT ' ENABLE '"])
def test_an_event_is_made_disabled(schedule: str, status: str, rest: str) -> None:
    head = f"CREATE DEFINER=`a b`@`%` EVENT `e ENABLE ``x` ON SCHEDULE {schedule} ON COMPLETION NOT PRESERVE "
    assert disabled(cast(Session, None), f"{head}{status} {rest}") == f"{head}DISABLE {rest}"


def test_an_event_of_an_unknown_form_is_refused() -> None:
    class Opened:
        class host:
            name = "olddb1"

    with pytest.raises(GuardFailed, match=r"CREATE EVENT.*DROP EVENT on the original and run the same command again; make it again"):
        disabled(cast(Session, Opened()), "CREATE EVENT e DO SELECT 1")


def _code(name: str, create: str, **made_under: str) -> Code:
    settings = {"definer": "a@%", "sql_mode": "B,A", "client_set": "utf8mb4", "collation": "utf8mb4_general_ci", **made_under}
    return Code("VIEW", "cloud", name, create, **settings)


def _schema(*codes: Code) -> Schema:
    return Schema("cloud", "utf8mb4", "utf8mb4_general_ci", (), codes)


def test_what_an_object_was_made_under_belongs_to_it() -> None:
    key = ("view", "cloud", "v")
    one = prints([_schema(_code("v", "x"))])[key]
    assert prints([_schema(_code("v", "x", sql_mode="A,B"))])[key].digest == one.digest
    others = [_code("v", "y"), _code("v", "x", client_set="latin1"), _code("v", "x", collation="utf8mb4_bin"), _code("v", "x", sql_mode="A"),
              _code("v", "x", database_collation="utf8mb4_bin")]  # fmt: skip
    assert all(prints([_schema(other)])[key].digest != one.digest for other in others)


def test_only_what_was_judged_is_known() -> None:
    first, printed, third = (prints([_schema(_code("v", text))])["view", "cloud", "v"] for text in "abc")
    known = Known("server")
    assert known.same(first, first) is True
    assert known.same(first, printed) is None
    known.learn([first, printed], "m")
    assert (known.same(first, printed), known.same(first, third)) == (True, None)
    known.learn([third], "n")
    assert known.same(first, third) is False
    assert known.unknown([first, third]) == []
    kept = Known.read(known.document())
    assert kept == known
    assert kept.for_server("another") == Known("another")
    assert Known.read(None) == Known()


def _failure(name: str, words: str) -> Failure:
    return Failure(_code(name, "x"), StepFailed("refused", words, ""))


def test_the_first_cause_is_named() -> None:
    cause = _failure("a", "(1054, \"Unknown column 'x'\")")
    assert causes(
        [_failure("c", "(1146, \"Table 'cloud.b' doesn't exist\")"), _failure("b", "(1146, \"Table 'cloud.a' doesn't exist\")"), cause]
    ) == [cause]


def test_a_circle_is_named_whole() -> None:
    circle = [_failure("a", "Table 'cloud.b' doesn't exist"), _failure("b", "Table 'cloud.a' doesn't exist")]
    assert causes(circle) == circle


@pytest.mark.parametrize("first", ["/*!999999\\- enable the sandbox mode */ \n", "/*M!999999\\- enable the sandbox mode */\n"])
def test_the_sandbox_line_of_a_dump_is_left_out(first: str) -> None:
    rest = b"-- dump\nINSERT INTO t VALUES ('/*!999999\\\\- enable the sandbox mode */', '\xff\xfe');\n"
    assert subprocess.run(WITHOUT_SANDBOX, input=first.encode() + rest, capture_output=True, check=True).stdout == rest
    assert subprocess.run(WITHOUT_SANDBOX, input=rest, capture_output=True, check=True).stdout == rest
