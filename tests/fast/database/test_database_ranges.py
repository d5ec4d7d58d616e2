"""A range of rows in a comparison: what one hash of all shows to be equal, and what is looked at row by row."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare, fingerprint
from parallel_build.database.compare.fingerprint import Range
from parallel_build.database.compare.judged import Definitions, Difference
from parallel_build.database.compare.session_pool import Moved, Side
from parallel_build.database.copy import statements
from parallel_build.database.schema.definitions import Column, Table
from parallel_build.errors import Cancelled, ComparisonFailed
from parallel_build.remote.sql import Refused

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


def part_of(name: str, weight: int, *, key: tuple[str, ...] = ("id",), where: str = "") -> Range:
    return Range(Table("cloud", name, "InnoDB", "", (ID,), key, 1, weight, 0), where, weight)


def verdict_of(
    left: Any, right: Any, parts: list[Range], reported: list[str] | None = None, cancel: CancelToken | None = None
) -> compare.Comparison:
    progress = (lambda text: None) if reported is None else reported.append
    return compare.compare_ranges(cast(Side, left), cast(Side, right), parts, cancel=cancel or CancelToken(), progress=progress)


def named(name: str, **changes: Any) -> Server:
    server = Server(**changes)
    server.server = SimpleNamespace(family="mariadb", name=name)
    return server


def test_a_verdict_names_both_servers_and_counts_what_was_compared() -> None:
    parts = [part_of("event", 100, where="`id` < 5"), part_of("event", 100, where="`id` >= 5"), part_of("host", 7)]
    verdict = verdict_of(named("olddb1"), named("newdb1"), parts)
    assert (verdict.source, verdict.target, verdict.tables, verdict.bytes, verdict.rows) == ("olddb1", "newdb1", 2, 207, 9)
    assert 0 <= verdict.seconds < 60 and verdict.same
    by_row = verdict_of(named("a", sha="cd"), named("b"), parts)
    assert by_row.rows == 9, "rows that were looked at one by one count as well"


def test_a_difference_is_looked_for_on_both_servers_in_that_very_range(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = named("olddb1", sha="cd", sums=6), named("newdb1")
    part, asked = part_of("event", 1, where="`id` < 5"), list[Any]()

    def difference(here: Any, there: Any, wanted: Range, ours: Any, theirs: Any) -> Difference:
        asked.append((here, there, wanted, ours, theirs))
        return Difference("rows", "cloud", "table event", "x")

    monkeypatch.setattr(compare, "_row_difference", difference)
    verdict = verdict_of(left, right, [part])
    assert not verdict.same and asked == [(left, right, part, {"n": 3, "s": 6, "o": 0}, {"n": 3, "s": 5, "o": 0})]
    keyless = part_of("event", 1, key=())
    asked.clear()
    assert not verdict_of(left, right, [keyless]).same and asked[0][:3] == (left, right, keyless)


def test_rows_are_named_with_how_many_each_has() -> None:
    class Lending(Server):
        @contextlib.contextmanager
        def lent(self, table: Table) -> Iterator[Any]:
            assert table.name == "event"
            yield SimpleNamespace(rows=lambda statement: [], host=self.host)

    left, right = Lending(), Lending()
    for ours, theirs, words in (({"n": 3}, {"n": 4}, "3 rows and 4"), ({"n": 3}, {"n": 3}, "3 rows in both")):
        found = compare._row_difference(cast(Side, left), cast(Side, right), part_of("event", 1, where="`id` < 5"), ours, theirs)
        assert (found.kind, found.schema, found.object) == ("rows", "cloud", "table event")
        assert found.detail == f"id < 5: {words}; the rows changed again while they were looked at"


def test_the_same_rows_in_another_order_are_noted_and_no_difference() -> None:
    class Ordered(Server):
        def rows(self, statement: str) -> list[dict[str, Any]]:
            return [{"n": 3, "s": 5, "o": id(self)}]

    verdict = verdict_of(Ordered(), Ordered(), [part_of("event", 1, key=())])
    assert verdict.same and verdict.rows == 3
    assert verdict.not_comparable == [
        "cloud.event: the same rows come in another order; no key distinguishes them, so nothing says in which they should"
    ]
    assert verdict_of(Server(), Server(), [part_of("event", 1, key=())]).not_comparable == []


@pytest.mark.parametrize("sha", ["ab", "cd"])
def test_a_table_that_a_snapshot_can_not_give_any_more_is_noted_and_the_others_are_compared(sha: str) -> None:
    class Gone(Server):
        def rows(self, statement: str) -> list[dict[str, Any]]:
            if "`event`" in statement and ("GROUP_CONCAT" not in statement or sha == "ab"):
                raise Moved(("cloud", "event"))
            return super().rows(statement)

        def ask(self, work: Callable[[Any], Any], table: Table) -> Future[Any]:
            assert table.name in ("event", "host"), "a session in a snapshot is lent for one table"
            done: Future[Any] = Future()
            try:
                done.set_result(work(self))
            except Moved as moved:
                done.set_exception(moved)
            return done

    verdict = verdict_of(Gone(), Server(sha=sha), [part_of("event", 1), part_of("host", 1)])
    assert verdict.unread == {("cloud", "event")} and verdict.same and verdict.rows == 3
    assert str(Moved(("cloud", "event"))) == "cloud.event"


def test_what_is_compared_is_reported_every_two_seconds_and_a_cancel_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    cancel, reported = CancelToken(), list[str]()

    class Slow(Server):
        """Its answers for the second half are there after some seconds."""

        def ask(self, work: Callable[[Any], Any], table: Table) -> Future[Any]:
            answer: Future[Any] = super().ask(work, table)
            if table.name != "host":
                return answer
            late: Future[Any] = Future()
            answers.append((late, answer.result()))
            return late

    answers: list[tuple[Future[Any], Any]] = []

    def wait(seconds: float) -> None:
        assert 0 < seconds < 0.5, "neither a server nor a cancel is waited for longer than needed"
        clock[0] += 1.0
        if clock[0] >= 105:
            for late, answer in answers:
                if not late.done():
                    late.set_result(answer)

    monkeypatch.setattr("parallel_build.database.compare.compare.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(cancel, "wait", wait)
    verdict = verdict_of(Slow(), Slow(), [part_of("event", 50), part_of("host", 50)], reported, cancel)
    assert verdict.rows == 6 and verdict.seconds == 5.0
    assert reported == [
        "comparing rows: 3 rows equal so far, 50%, about 2 s left", "comparing rows: 3 rows equal so far, 50%, about 4 s left",
    ]  # fmt: skip
    assert compare._line(1234567, 0.04, 10.0) == "comparing rows: 1,234,567 rows equal so far, 4%"
    monkeypatch.undo()
    answers.clear()
    cancel.set("the operator cancelled")
    with pytest.raises(Cancelled):
        verdict_of(Slow(), Slow(), [part_of("host", 1)], cancel=cancel)
    assert all(late.cancelled() for late, _ in answers) and answers, "nothing is left waiting"


def test_verdicts_of_several_parts_are_added_up() -> None:
    whole = compare.Comparison("a", "b", [Difference("rows", "cloud", "table x", "1")], ["n1"], 2, 10, 100, 1.25, {("cloud", "x")}, 40)
    whole.add(compare.Comparison("a", "b", [Difference("rows", "cloud", "table y", "2")], ["n2"], 3, 5, 50, 0.5006, {("cloud", "y")}, 30))
    assert [each.object for each in whole.differences] == ["table x", "table y"] and whole.not_comparable == ["n1", "n2"]
    assert (whole.tables, whole.rows, whole.bytes, whole.seconds, whole.objects) == (5, 15, 150, 1.751, 40)
    assert whole.unread == {("cloud", "x"), ("cloud", "y")} and not whole.same


@pytest.mark.parametrize(("count", "more"), [(1, ""), (compare.SHOWN, ""), (compare.SHOWN + 1, "; and 1 more")])
def test_a_verdict_with_differences_names_the_first_of_them(count: int, more: str) -> None:
    found = [Difference("missing", "cloud", f"table t{number}", "gone") for number in range(count)]
    with pytest.raises(ComparisonFailed) as failed:
        compare.Comparison("olddb1", "newdb1", found).raise_if_different()
    shown = "; ".join(str(each) for each in found[: compare.SHOWN])
    assert failed.value.fact == f"the databases of newdb1 differ from those of olddb1 in {count} places: {shown}{more}"
    assert failed.value.cause and "run the same command again" in failed.value.remedy
    compare.Comparison("olddb1", "newdb1").raise_if_different()


class Cut(Server):
    """A side that is asked for a table's first and last key."""

    def __init__(self, low: int | None, high: int | None) -> None:
        super().__init__()
        self.ends = {"low": low, "high": high}

    def row(self, statement: str) -> Any:
        if "MIN(" not in statement:
            return super().row(statement)
        assert statement == "SELECT MIN(`id`) AS low, MAX(`id`) AS high FROM `cloud`.`event`"
        return self.ends


def whole(name: str, size: int, *, key: tuple[str, ...] = ("id",), engine: str = "InnoDB") -> Table:
    return Table("cloud", name, engine, "", (ID,), key, 1, size, 0)


def test_large_tables_are_cut_and_come_first() -> None:
    verdict = compare.Comparison("a", "b")
    tables = [whole("aaa", 5), whole("event", fingerprint.DIGEST_BYTES * 4), whole("bbb", 5), whole("empty", 0)]
    parts = compare._ranges(cast(Side, Cut(1, 400)), cast(Side, Server()), tables, verdict)
    names = [part.table.name for part in parts]
    assert names[-3:] == ["aaa", "bbb", "empty"] and set(names[:-3]) == {"event"} and len(names) > 5
    assert all(part.where for part in parts[:-3]) and not any(part.where for part in parts[-3:])
    assert sum(part.weight for part in parts[:-3]) <= fingerprint.DIGEST_BYTES * 4 and parts[-1].weight == 1
    size = fingerprint.DIGEST_BYTES
    assert [part.where for part in parts[:-3]] == statements.ranges(tables[1], 1, 400, size, fingerprint.DIGEST_PIECES)
    assert all(isinstance(part.weight, int) for part in parts)
    just = compare._ranges(cast(Side, Cut(1, 400)), cast(Side, Server()), [whole("event", fingerprint.DIGEST_BYTES)], verdict)
    assert [part.where for part in just] == [""]


def test_what_is_summed_row_by_row_is_cut_into_larger_pieces() -> None:
    size = fingerprint.DIGEST_BYTES * 2
    assert size < fingerprint.RANGE_BYTES
    verdict = compare.Comparison("a", "b")
    for table in (whole("event", size, engine="MyISAM"), whole("event", fingerprint.RANGE_BYTES * 9, key=())):
        assert len(compare._ranges(cast(Side, Cut(1, 400)), cast(Side, Server()), [table], verdict)) == 1
    short, limited = Server(packet=fingerprint.DIGEST_PACKET - 1), Cut(1, 400)
    limited.packet = short.packet
    for left, right in ((Cut(1, 400), short), (limited, Server())):
        assert len(compare._ranges(cast(Side, left), cast(Side, right), [whole("event", size)], verdict)) == 1
    assert len(compare._ranges(cast(Side, Cut(1, 400)), cast(Side, Server()), [whole("event", size)], verdict)) > 1


def test_whole_databases_are_compared_by_their_definitions_then_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Table("cloud", "odd", "InnoDB", "", (ID, Column("g", "odd", "odd(3)", True, False, None)), ("id",), 1, 9, 0)
    found = Definitions([Difference("missing", "cloud_usage", "table z", "x"), Difference("missing", "cloud", "table z", "x")],
                        [whole("host", 5), whole("event", 7), odd], ["a note"], 12)  # fmt: skip
    asked: list[Any] = []

    def definitions(left: Any, right: Any, names: Any, *, cancel: CancelToken, progress: Any) -> Definitions:
        cancel.check()
        progress("reading")
        asked.append((left, right, tuple(names)))
        return found

    monkeypatch.setattr(compare, "compare_definitions", definitions)
    left, right, reported = named("olddb1"), named("newdb1"), list[str]()

    def sides(tables: set[tuple[str, str]] | None = None) -> compare.Comparison:
        return compare.compare_sides(
            cast(Side, left), cast(Side, right), ["cloud", "cloud_usage"], cancel=CancelToken(), progress=reported.append, tables=tables
        )

    verdict = sides()
    assert asked == [(left, right, ("cloud", "cloud_usage"))] and reported == ["comparing the definitions", "reading"]
    assert (verdict.source, verdict.target, verdict.tables, verdict.rows, verdict.bytes, verdict.objects) == (
        "olddb1",
        "newdb1",
        2,
        6,
        12,
        12,
    )
    assert [each.schema for each in verdict.differences] == ["cloud", "cloud_usage"], "in a sure order"
    assert verdict.not_comparable == ["a note", "cloud.odd: its rows, because of the types of cloud.odd.g (odd(3))"]
    assert 0 <= verdict.seconds < 60
    assert sides({("cloud", "event")}).tables == 1 and sides(set()).rows == 0

    class Gone(Server):
        def ask(self, work: Callable[[Any], Any], table: Table) -> Future[Any]:
            if table.name == "host":
                raise Moved(("cloud", "host"))
            return super().ask(work, table)

    left, found.tables = Gone(), [whole("host", fingerprint.DIGEST_BYTES * 2), whole("event", 7)]
    assert (sides().unread, sides().tables) == ({("cloud", "host")}, 1), "a table that can't even be cut is not compared"


def test_each_server_is_opened_with_as_many_sessions_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    @contextlib.contextmanager
    def open_side(host: str, threads: int) -> Iterator[str]:
        opened.append((host, threads))
        yield f"side of {host}"
        opened.append(f"{host} closed")

    def compare_sides(left: str, right: str, names: Any, *, cancel: Any, progress: Any) -> str:
        assert isinstance(cancel, CancelToken) and progress is print
        return f"{left} and {right}: {', '.join(names)}"

    monkeypatch.setattr(compare, "open_side", open_side)
    monkeypatch.setattr(compare, "compare_sides", compare_sides)
    found = compare.compare(cast(Any, "old"), cast(Any, "new"), ["cloud"], threads=3, cancel=CancelToken(), progress=print)
    assert found == cast(Any, "side of old and side of new: cloud")
    assert opened == [("old", 3), ("new", 3), "new closed", "old closed"]


def test_a_table_that_goes_from_the_snapshot_while_its_difference_is_looked_for_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Difference:
        raise Moved(("cloud", "event"))

    monkeypatch.setattr(compare, "_row_difference", gone)
    verdict = verdict_of(Server(sums=6), Server(), [part_of("event", 1, key=()), part_of("host", 1)])
    assert verdict.unread == {("cloud", "event")} and verdict.same and verdict.rows == 3


def test_rows_that_nothing_tells_apart_are_asked_as_each_family_can() -> None:
    class Family(Server):
        def __init__(self, family: str) -> None:
            super().__init__()
            self.server, self.statements = SimpleNamespace(family=family, name=family), list[str]()

        def rows(self, statement: str) -> list[dict[str, Any]]:
            self.statements.append(statement)
            return super().rows(statement)

    left, right = Family("mysql"), Family("mariadb")
    assert verdict_of(left, right, [part_of("event", 1, key=())]).same
    assert "ROW_NUMBER()" in left.statements[0] and "@cutover_row" in right.statements[0]


def test_a_row_that_a_server_can_not_put_together_is_reported_with_its_table() -> None:
    class Refusing(Server):
        def rows(self, statement: str) -> list[dict[str, Any]]:
            raise Refused("refused", "out of range", "", fingerprint.OUT_OF_RANGE)

    for key in ((), ("id",)):
        with pytest.raises(ComparisonFailed, match=r"a row of cloud\.event can't be compared"):
            verdict_of(Refusing(), Server(), [part_of("event", 1, key=key)])
