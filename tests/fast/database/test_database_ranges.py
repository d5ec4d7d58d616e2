"""A range of rows in a comparison: what one hash of all shows to be equal, and what is looked at row by row."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare, fingerprint
from parallel_build.database.compare.fingerprint import Range
from parallel_build.database.compare.judged import Difference
from parallel_build.database.compare.session_pool import Side
from parallel_build.database.schema.definitions import Column, Table

ID = Column("id", "bigint", "bigint", False, False, None)


@dataclass
class Server:
    """A side whose every session gives the same answers.

    Attributes:
        packet: how long a text may be.
        sha: over all texts.
        warnings: of that.
        sums: of single rows.
    """

    packet: int = fingerprint.DIGEST_PACKET
    sha: str = "ab"
    warnings: int = 0
    sums: int = 5
    asked: list[str] = field(default_factory=list)
    server = SimpleNamespace(family="mariadb", name="db")
    host = SimpleNamespace(name="db")

    def ask(self, work: Callable[[Any], Any], table: Table) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(self))
        return done

    def rows(self, statement: str) -> list[dict[str, Any]]:
        at_once = "GROUP_CONCAT" in statement
        self.asked.append("at once" if at_once else "row by row")
        return [{"c": 1, "n": 3, "d": self.sha} if at_once else {"n": 3, "s": self.sums, "o": 0}]

    def row(self, statement: str) -> dict[str, int]:
        return {"c": 1, "w": self.warnings}


def compared(left: Server, right: Server, table: Table | None = None) -> compare.Comparison:
    part = Range(table or Table("cloud", "event", "InnoDB", "", (ID,), ("id",), 1, 1, 0), "", 1)
    return compare.compare_ranges(
        cast(Side, left), cast(Side, right), [part], cancel=CancelToken(), progress=lambda text: None
    )  # fmt: skip


def test_one_hash_shows_equal_rows() -> None:
    left, right = Server(), Server()
    verdict = compared(left, right)
    assert verdict.same and verdict.rows == 3
    assert left.asked == right.asked == ["at once"]


@pytest.mark.parametrize(("one", "other"), [({"warnings": 1}, {}), ({}, {"warnings": 1}), ({"sha": "cd"}, {})])
def test_what_one_hash_does_not_show_is_looked_at_row_by_row(one: dict[str, Any], other: dict[str, Any]) -> None:
    left, right = Server(**one), Server(**other)
    verdict = compared(left, right)
    assert verdict.same and verdict.rows == 3
    assert left.asked == right.asked == ["at once", "row by row"]


@pytest.mark.parametrize("warnings", [0, 1])
def test_rows_that_differ_are_a_difference_also_where_both_hashes_were_cut_off_alike(
    monkeypatch: pytest.MonkeyPatch, warnings: int
) -> None:
    found = Difference("rows", "cloud", "table event", "id=2: changed")
    monkeypatch.setattr(compare, "_row_difference", lambda *_: found)
    left, right = Server(warnings=warnings), Server(warnings=warnings, sha="ab" if warnings else "cd", sums=6)
    assert compared(left, right).differences == [found]


def test_a_server_that_takes_short_texts_only_is_asked_row_by_row_as_is_the_other() -> None:
    left, right = Server(), Server(packet=fingerprint.DIGEST_PACKET - 1)
    assert compared(left, right).same
    assert left.asked == right.asked == ["row by row"]


def test_rows_in_no_sure_order_are_summed() -> None:
    left, right = Server(), Server()
    assert compared(left, right, Table("cloud", "event", "InnoDB", "", (ID,), (), 1, 1, 0)).same
    assert left.asked == right.asked == ["row by row"]
