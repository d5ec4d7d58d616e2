"""Which rows of a range differ, and in which columns: on tables in memory that answer the statements as servers do. Never a value beyond a key's."""

from __future__ import annotations

import re
import zlib
from typing import Any, cast

import pytest

from parallel_build.database.compare import fingerprint, locate
from parallel_build.database.compare.fingerprint import Range
from parallel_build.database.schema.definitions import Column, Table
from parallel_build.errors import ComparisonFailed
from parallel_build.remote.sql import Refused, Session

ID, NAME, NOTE = (Column(name, "bigint" if name == "id" else "varchar", "", False, False, "utf8mb4") for name in ("id", "name", "note"))
Rows = list[tuple[int, str, str]]


class Server:
    """A server that has one table: each statement's answer is what its rows give."""

    class host:
        name = "db"

    def __init__(self, rows: Rows, *, keyed: bool = True, last: Rows | None = None) -> None:
        self.kept, self.keyed, self.last = rows, keyed, last
        self.asked: list[str] = []

    def _key(self, row: tuple[int, str, str]) -> str:
        return str(row[0]) if self.keyed else "|".join(map(str, row))

    def _bucket(self, row: tuple[int, str, str]) -> int:
        return zlib.crc32(self._key(row).encode()) % locate.BUCKETS

    @staticmethod
    def _hash(row: tuple[int, str, str]) -> int:
        return zlib.crc32(repr(row).encode())

    def rows(self, statement: str) -> list[dict[str, Any]]:
        self.asked.append(statement)
        if "GROUP BY" in statement:
            assert f"% {locate.BUCKETS} AS b" in statement
            found: dict[int, list[int]] = {}
            for row in self.kept:
                found.setdefault(self._bucket(row), []).append(self._hash(row))
            answer = [{"b": str(bucket), "n": len(hashes), "s": sum(hashes)} for bucket, hashes in found.items()]
            self.kept = self.kept if self.last is None else self.last
            return answer
        if wanted := re.search(r" IN \(([\d, ]+)\)", statement):
            assert statement.endswith(f" LIMIT {locate.LIMIT}")
            chosen = {int(each) for each in wanted[1].split(",")}
            return [{"k": self._key(row), "h": str(self._hash(row)), "k0": row[0]} for row in self.kept if self._bucket(row) in chosen]
        key = re.search(r" = '(.*)' LIMIT 1", statement)
        assert key is not None
        return [{f"c{n}": zlib.crc32(str(value).encode()) for n, value in enumerate(row)} for row in self.kept if self._key(row) == key[1]][
            :1
        ]


def narrowed(left: Rows, right: Rows, *, keyed: bool = True, last: Rows | None = None) -> str:
    part = Range(Table("cloud", "event", "InnoDB", "", (ID, NAME, NOTE), ("id",) if keyed else (), 1, 1, 0), "", 1)
    here, there = Server(left, keyed=keyed, last=last), Server(right, keyed=keyed, last=last)
    return locate.narrow(cast(Session, here), cast(Session, there), part)


ROWS: Rows = [(number, f"secret name {number}", "note") for number in range(1, 60)]


def test_a_changed_row_is_named_with_its_changed_columns_and_without_values() -> None:
    other = [(7, "another", "note") if row[0] == 7 else row for row in ROWS]
    assert narrowed(ROWS, other) == "id=7: changed name"
    other = [(7, "another", "other") if row[0] == 7 else row for row in ROWS]
    assert narrowed(ROWS, other) == "id=7: changed name, note"


def test_rows_that_one_side_has_are_missing_or_additional() -> None:
    assert narrowed(ROWS, ROWS[1:]) == "id=1: missing"
    assert narrowed(ROWS[1:], ROWS) == "id=1: additional"
    assert narrowed(ROWS, [*ROWS[1:], (99, "new", "")]).split("; ") in (
        ["id=1: missing", "id=99: additional"],
        ["id=99: additional", "id=1: missing"],
    )


def test_rows_without_a_key_are_named_by_their_hash_and_counted() -> None:
    words = narrowed([*ROWS, ROWS[0]], ROWS, keyed=False)
    assert re.fullmatch(r"row with hash [0-9a-f]{16}: 2 times and 1 times", words) and "secret" not in words
    assert re.fullmatch(r"row with hash [0-9a-f]{16}: missing", narrowed(ROWS, ROWS[1:], keyed=False))


def test_only_some_are_named_and_the_others_counted() -> None:
    words = narrowed(ROWS, ROWS[8:])
    assert words.count("missing") == locate.SAMPLES
    assert "and more rows" not in words, "only so many pieces are looked at, and each had one row"
    one = [(number, "x", "") for number in range(locate.SAMPLES + 1)]
    found = Range(Table("cloud", "event", "InnoDB", "", (ID, NAME, NOTE), ("id",), 1, 1, 0), "", 1)
    servers = [Server(one), Server([])]
    for server in servers:
        server._bucket = lambda row: 3  # type: ignore[method-assign]
    words = locate.narrow(cast(Session, servers[0]), cast(Session, servers[1]), found)
    assert words.count(": missing") == locate.SAMPLES and words.endswith("and more rows (6 seen in the samples)")
    assert all("LIMIT" in statement or "GROUP BY" in statement for server in servers for statement in server.asked)


def test_a_long_key_is_cut_and_rows_that_change_again_are_reported() -> None:
    row = {"h": 5, "k0": "k" * 100, "k1": 2}
    part = Range(Table("cloud", "event", "InnoDB", "", (NAME, ID), ("name", "id"), 1, 1, 0), "", 1)
    assert locate._shown(part, cast(Any, row)) == f"name={'k' * 40}, id=2"
    assert narrowed(ROWS, ROWS[1:], last=ROWS) == "the rows changed again while they were looked at"
    assert narrowed(ROWS, ROWS) == "the rows changed again while they were looked at"


@pytest.mark.parametrize("column", [ID, NAME])
def test_a_row_that_is_gone_meanwhile_has_every_column_changed(column: Column) -> None:
    table = Table("cloud", "event", "InnoDB", "", (ID, NAME, NOTE), ("id",), 1, 1, 0)
    assert column.name in locate._changed_columns(cast(Session, Server(ROWS)), cast(Session, Server([])), Range(table, "", 1), "7")


def test_a_row_of_which_no_column_differs_by_itself_differs_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "_changed_columns", lambda *_: [])
    assert narrowed(ROWS, [(7, "other", "note") if row[0] == 7 else row for row in ROWS]) == "id=7: changed row"


@pytest.mark.parametrize("at", ["AS b, ", " IN (", "LIMIT 1"])
def test_a_row_that_can_not_be_put_together_is_reported_with_its_table(at: str) -> None:
    class Refusing(Server):
        def rows(self, statement: str) -> list[dict[str, Any]]:
            if at in statement and (at != "LIMIT 1" or statement.endswith(at)):
                raise Refused("refused", "out of range", "", fingerprint.OUT_OF_RANGE)
            return super().rows(statement)

    part = Range(Table("cloud", "event", "InnoDB", "", (ID, NAME, NOTE), ("id",), 1, 1, 0), "", 1)
    with pytest.raises(ComparisonFailed, match=r"a row of cloud\.event can't be compared"):
        locate.narrow(cast(Session, Refusing([(1, "a", "b")])), cast(Session, Server([(1, "x", "b")])), part)
