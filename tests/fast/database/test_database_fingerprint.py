"""How a row becomes a hash: no row may be passed over, no value read as another."""

from __future__ import annotations

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
