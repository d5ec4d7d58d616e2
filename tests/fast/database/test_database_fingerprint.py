"""How a row becomes a hash: no row may be passed over, no value read as another."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from parallel_build.database.compare import fingerprint
from parallel_build.database.compare.fingerprint import Digest, Range
from parallel_build.database.schema.definitions import Column, Table
from parallel_build.errors import ComparisonFailed
from parallel_build.remote.sql import Refused, Session


def column(name: str, kind: str, full: str = "", *, nullable: bool = True, character_set: str | None = None) -> Column:
    return Column(name, kind, full or kind, nullable, False, character_set)


ID = column("id", "bigint", nullable=False)


def texts(count: int, kind: str = "text") -> tuple[Column, ...]:
    return (ID, *(column(f"c{number}", kind, character_set="utf8mb4") for number in range(count)))


def test_a_row_that_can_not_be_hashed_is_an_error_and_no_null() -> None:
    assert fingerprint.row_hash((ID,)).startswith("IFNULL(CAST(CONV(")
    assert fingerprint.row_hash((ID,)).endswith(f", {fingerprint.TOO_LONG})")


def test_long_values_are_hashed_by_themselves_and_never_cast() -> None:
    """[MariaDB 10.11: CAST(x AS BINARY) of 20 MB is NULL with a packet of 16 MB, SHA2(x, 256) is not]."""
    text = fingerprint.row_text((ID, column("x", "longtext", character_set="utf8mb4")))
    assert "SHA2(`x`, 256)" in text and "CAST" not in text
    assert f"IF(`x` IS NULL, {fingerprint.NULL}, {fingerprint.TOO_LONG})" in text


def test_texts_are_hashed_by_themselves_where_a_row_may_have_many() -> None:
    assert "SHA2" not in fingerprint.row_text(texts(fingerprint.MANY))
    assert fingerprint.row_text(texts(fingerprint.MANY + 1)).count("SHA2(") == fingerprint.MANY + 1
    assert "SHA2" not in fingerprint.row_text(texts(50, "varchar")), "all of a row's varchars together are no longer than 64 KiB"


def test_a_table_of_utf8_needs_no_lengths() -> None:
    text = fingerprint.row_text((ID, *texts(2, "varchar")[1:], column("n", "int", nullable=False)))
    assert text == (f"CONCAT_WS({fingerprint.BETWEEN}, `id`, IFNULL(`c0`, {fingerprint.NULL}), IFNULL(`c1`, {fingerprint.NULL}), `n`)")


@pytest.mark.parametrize("other", [column("b", "blob"), column("b", "varchar", character_set="latin1")])
def test_a_table_with_other_bytes_has_lengths(other: Column) -> None:
    assert "LENGTH(`c0`)" in fingerprint.row_text((ID, other, *texts(1, "varchar")[1:]))


def test_numbers_with_a_fraction_are_taken_as_their_bytes_but_for_rounded_ones() -> None:
    text = fingerprint.row_text((column("a", "double"), column("b", "float"), column("c", "double", "double(10,2)")))
    assert "POINT(`a` + 0e0, 0)" in text and "POINT(`b` + 0e0, 0)" in text and "POINT(`c`" not in text


class Refusing:
    class host:
        name = "olddb1"

    def __init__(self, number: int) -> None:
        self.number = number

    def rows(self, statement: str) -> list[object]:
        raise Refused("olddb1: refused", "out of range", "fix it", self.number)


PART = Range(Table("cloud", "event", "InnoDB", "", (ID,), ("id",), 1, 1, 0), "", 1)


def test_what_is_too_long_is_reported_with_table_and_remedy() -> None:
    with pytest.raises(ComparisonFailed, match=r"cloud\.event.*max_allowed_packet.*SET GLOBAL"):
        fingerprint.ask(cast(Session, Refusing(fingerprint.OUT_OF_RANGE)), PART, "SELECT 1")


def test_another_refusal_stays_what_it_is() -> None:
    with pytest.raises(Refused):
        fingerprint.ask(cast(Session, Refusing(1146)), PART, "SELECT 1")


def test_rows_are_hashed_at_once_only_where_their_order_and_their_ends_are_sure() -> None:
    def made(*columns: Column, key: tuple[str, ...] = ("id",), engine: str = "InnoDB") -> Table:
        return Table("cloud", "event", engine, "", columns, key, 1, 1, 0)

    name = column("name", "varchar", character_set="utf8mb4", nullable=False)
    assert fingerprint.in_one_order(made(ID, name))
    assert not fingerprint.in_one_order(made(ID, name, engine="MyISAM")), "it reads rows as they lie in its file"
    assert not fingerprint.in_one_order(made(ID, name, key=())), "nothing orders them"
    assert not fingerprint.in_one_order(made(ID, name, key=("name",))), "a collation orders them"
    assert not fingerprint.in_one_order(made(ID, name, key=("id", "name")))
    assert not fingerprint.in_one_order(made(ID, column("b", "blob"))), "its rows' texts are told apart by their ends only"
    assert not fingerprint.in_one_order(made(ID, column("b", "varchar", character_set="latin1")))


def test_a_digest_passes_over_no_row_and_ends_every_row() -> None:
    statement = fingerprint.digest_statement(PART)
    assert f"GROUP_CONCAT(IFNULL(CONCAT_WS({fingerprint.BETWEEN}, `id`, _binary''), {fingerprint.TOO_LONG}) SEPARATOR '')" in statement
    assert "FORCE INDEX (PRIMARY)" in statement


class Answering:
    class host:
        name = "olddb1"

    def __init__(self, session: int, warnings: int) -> None:
        self.after = {"c": session, "w": warnings}

    def rows(self, statement: str) -> list[dict[str, object]]:
        return [{"c": 7, "n": 3, "d": "ab"}]

    def row(self, statement: str) -> dict[str, int]:
        return self.after


@pytest.mark.parametrize(("session", "warnings", "whole"), [(7, 0, True), (7, 1, False), (8, 0, False)])
def test_a_digest_that_was_cut_off_or_that_another_session_answers_for_is_not_whole(session: int, warnings: int, whole: bool) -> None:
    assert fingerprint.digest(cast(Session, Answering(session, warnings)), PART) == Digest(3, "ab", whole)


LATIN = column("l", "varchar", character_set="latin1")


def row(*columns: Column) -> str:
    """The text of a row that has other bytes than UTF-8's, without its frame."""
    text = fingerprint.row_text((*columns, LATIN))
    assert text.startswith(f"CONCAT_WS({fingerprint.SEPARATOR}, ") and text.endswith(")")
    return text.removeprefix(f"CONCAT_WS({fingerprint.SEPARATOR}, ").removesuffix(")")


def test_a_value_is_taken_so_that_no_servers_habit_shows() -> None:
    kinds = {kind: fingerprint.value_expression(column("x", kind)) for kind in ("float", "bit", "json", "int", "varchar")}
    assert kinds == {"float": "`x` + 0e0", "bit": "`x` + 0", "json": "CONVERT(`x` USING utf8mb4)", "int": "`x`", "varchar": "`x`"}
    assert fingerprint.row_text((column("u", "uuid", nullable=False),)) == f"CONCAT_WS({fingerprint.BETWEEN}, CAST(`u` AS CHAR))"


def test_in_a_table_of_other_bytes_a_null_is_a_word_and_all_texts_but_one_have_their_length() -> None:
    """The one is found between what stands before and behind it."""
    assert row(ID) == "`id`, `l`"
    assert row(ID, column("a", "varchar", character_set="utf8mb4")) == "`id`, `a`, `l`, IFNULL(LENGTH(`l`), 'N')"
    assert row(column("n", "int"), column("a", "varchar", nullable=False)) == "IFNULL(`n`, 'N'), `a`, `l`, IFNULL(LENGTH(`l`), 'N')"
    both = row(column("a", "varchar", nullable=False), column("b", "varchar", nullable=False))
    assert both == "`a`, `b`, `l`, LENGTH(`b`), IFNULL(LENGTH(`l`), 'N')"
    assert fingerprint.row_text((LATIN,)) == f"CONCAT_WS({fingerprint.SEPARATOR}, `l`, IFNULL(LENGTH(`l`), 'N'))"


@pytest.mark.parametrize("kind", ["float", "bit", "datetime", "longtext"])
def test_what_is_no_text_of_its_own_needs_no_length(kind: str) -> None:
    assert "LENGTH(`x`)" not in row(ID, column("a", "varchar"), column("x", kind))


def made(where: str = "", *, key: tuple[str, ...] = ("id",)) -> Range:
    """A range of a table with or without a primary key."""
    return Range(Table("cloud", "event", "InnoDB", "", (ID, LATIN), key, 1, 1, 0), where, 1)


STATEMENTS: dict[str, Callable[[Range], str]] = {
    "sum": lambda part: fingerprint.sum_statement(part, "mysql"),
    "digest": fingerprint.digest_statement,
    "buckets": lambda part: fingerprint.bucket_statement(part, 64),
    "rows": lambda part: fingerprint.rows_statement(part, 64, [3, 5], 100),
}  # fmt: skip


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_of_its_range_alone_and_read_by_the_key(name: str) -> None:
    whole, part, keyless = (STATEMENTS[name](each) for each in (made(), made("`id` < 7"), made("", key=())))
    other = "" if name != "rows" else " AND "
    assert "FROM `cloud`.`event` FORCE INDEX (PRIMARY) WHERE (`id` < 7)" + other in part
    assert "`id` < 7" not in whole and ("WHERE" in whole) == (name == "rows")
    assert "FORCE INDEX" not in keyless, "there is no such index"


def test_of_rows_that_nothing_tells_apart_the_order_is_summed_too() -> None:
    keyed, mysql, mariadb = (fingerprint.sum_statement(made(key=key), family) for key, family in (
        (("id",), "mysql"), ((), "mysql"), ((), "mariadb")))  # fmt: skip
    assert ", 0 AS o FROM" in keyed and "row" not in keyed.lower().replace("row_text", "")
    for statement in (mysql, mariadb):
        assert statement.startswith(
            "SELECT COUNT(*) AS n, COALESCE(SUM(h), 0) AS s, COALESCE(SUM((h % 1000003) * r), 0) AS o FROM (SELECT "
        )
    assert "ROW_NUMBER() OVER () AS r" in mysql and "@cutover_row" not in mysql
    assert "(@cutover_row := @cutover_row + 1) AS r" in mariadb and "ROW_NUMBER" not in mariadb
    assert fingerprint.sum_statement(made(key=()), "mysql") != keyed
    assert fingerprint.row_hash((ID, LATIN)) in keyed and fingerprint.row_hash((ID, LATIN)) in mariadb


def test_pieces_are_made_and_asked_for_by_the_same_hash_of_the_key() -> None:
    key = fingerprint.row_text((ID,))
    assert f"CRC32({key}) % 64 AS b" in STATEMENTS["buckets"](made())
    assert f"(CRC32({key}) % 64 IN (3, 5)) LIMIT 100" in STATEMENTS["rows"](made())
    everything = fingerprint.row_text((ID, LATIN))
    assert f"CRC32({everything}) % 64 AS b" in STATEMENTS["buckets"](made(key=())), "without a key a row is its own"


def test_only_a_primary_keys_values_are_shown() -> None:
    assert "CAST(`id` AS CHAR) AS k0" in STATEMENTS["rows"](made()) and "`l` AS" not in STATEMENTS["rows"](made())
    assert " AS k0" not in STATEMENTS["rows"](made(key=()))
    assert fingerprint.shown_key(made(key=()).table) == () and fingerprint.key_columns(made(key=("l", "id")).table) == (LATIN, ID)


def test_each_column_of_one_row_is_hashed_by_itself() -> None:
    statement = fingerprint.columns_statement(made().table, "abc")
    hashes = (f"SHA2({fingerprint.row_text((each,))}, 256) AS c{number}" for number, each in enumerate((ID, LATIN)))
    assert statement.startswith(f"SELECT {', '.join(hashes)} FROM `cloud`.`event` ")
    assert statement.endswith(f"WHERE SHA2({fingerprint.row_text((ID,))}, 256) = 'abc' LIMIT 1")


@pytest.mark.parametrize(
    ("where", "words"), [("", "all rows"), ("`id` < 7", "id < 7"), ("`id` IN (" + "1, " * 40 + ")", "id IN (" + "1, " * 21 + "...)")]
)
def test_a_range_in_words_is_short(where: str, words: str) -> None:
    assert made(where).words == words


def test_a_digest_asks_the_session_that_gave_it() -> None:
    asked: list[str] = []

    class Heard(Answering):
        def rows(self, statement: str) -> list[dict[str, object]]:
            asked.append(statement)
            return super().rows(statement)

        def row(self, statement: str) -> dict[str, int]:
            asked.append(statement)
            return super().row(statement)

    fingerprint.digest(cast(Session, Heard(7, 0)), PART)
    assert asked == [fingerprint.digest_statement(PART), "SELECT CONNECTION_ID() AS c, @@warning_count AS w"]
    with pytest.raises(ComparisonFailed, match=r"cloud\.event"):
        fingerprint.digest(cast(Session, Refusing(fingerprint.OUT_OF_RANGE)), PART)


@pytest.mark.parametrize(("rows", "sha", "whole"), [(0, None, True), (3, None, False), (1, None, False), (0, "ab", True)])
def test_a_digest_of_rows_that_is_nothing_proves_nothing(rows: int, sha: str | None, whole: bool) -> None:
    class Empty(Answering):
        def rows(self, statement: str) -> list[dict[str, object]]:
            return [{"c": 7, "n": rows, "d": sha}]

    assert fingerprint.digest(cast(Session, Empty(7, 0)), PART) == Digest(rows, sha, whole)
