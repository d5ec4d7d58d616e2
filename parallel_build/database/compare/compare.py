"""Are two databases the same? Definitions, rows and counters, with a verdict for each finding.

`compare` never changes anything. It reads definitions (see `definitions`), then every table's rows as sums over key ranges (see `fingerprint`),
all ranges on both servers at the same time. A range that differs is narrowed down to sample keys and the columns that differ;
values themselves are never shown or kept.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import fingerprint
from parallel_build.database.compare.fingerprint import Digest, Range
from parallel_build.database.compare.judged import Difference, compare_definitions
from parallel_build.database.compare.locate import narrow
from parallel_build.database.compare.session_pool import Moved, Side, open_side
from parallel_build.database.copy import statements
from parallel_build.database.schema import definitions
from parallel_build.errors import ComparisonFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote

Sums = dict[str, int]  # what `fingerprint.sum_statement` answers

SHOWN = 10  # differences named in an error


@dataclass
class Comparison:
    """The verdict.

    Attributes:
        differences: all findings.
        not_comparable: what could not be compared, and why, in words.
        tables: tables whose rows were compared.
        rows: rows compared on the first server.
        bytes: the first server's size of what was read, by its statistics.
        seconds: how long it took.
        unread: tables whose rows could not be read in the snapshot, as (schema, table): they are not compared.
        objects: databases, tables, views, routines, triggers and events whose definitions were compared.
    """

    source: str
    target: str
    differences: list[Difference] = field(default_factory=list)
    not_comparable: list[str] = field(default_factory=list)
    tables: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    unread: set[tuple[str, str]] = field(default_factory=set)
    objects: int = 0

    @property
    def same(self) -> bool:
        """No difference was found (what could not be compared is listed next to it)."""
        return not self.differences

    def add(self, other: Comparison) -> None:
        """Take in what a comparison of other parts of the same two servers found."""
        self.differences += other.differences
        self.not_comparable += other.not_comparable
        self.unread |= other.unread
        self.objects = max(self.objects, other.objects)  # each looks at all of them
        self.tables, self.rows, self.bytes = self.tables + other.tables, self.rows + other.rows, self.bytes + other.bytes
        self.seconds = round(self.seconds + other.seconds, 3)

    def raise_if_different(self) -> None:
        """Raises ComparisonFailed that names the first differences."""
        if self.same:
            return
        shown = "; ".join(str(difference) for difference in self.differences[:SHOWN])
        more = len(self.differences) - SHOWN
        raise ComparisonFailed(
            f"the databases of {self.target} differ from those of {self.source} in {len(self.differences)} places: {shown}"
            + (f"; and {more} more" if more > 0 else ""),
            "a new server may only start on a copy that holds what the original holds",
            "run the same command again, which copies again (with transfer.method replicate it names the ways that are left); nothing uses this "
            "copy, and the original is unchanged",
        )


def compare(
    source: Access,
    target: Access,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> Comparison:
    """Compare whole databases that nobody writes to meanwhile.

    Args:
        source: the original.
        target: the copy.
        schemas: databases; those that neither server has are left out.
        threads: parallel sessions on each server.
    Returns:
        The verdict; it is not an error that they differ, see `Comparison.raise_if_different`.
    Raises:
        Cancelled: stopping was asked for.
        ConnectionFailed: a server is down.
    """
    with open_side(source, threads) as left, open_side(target, threads) as right:
        return compare_sides(left, right, schemas, cancel=cancel, progress=progress)


def compare_sides(
    left: Side, right: Side, schemas: Sequence[str], *, cancel: CancelToken, progress: Callable[[str], None],
    tables: set[tuple[str, str]] | None = None,
) -> Comparison:  # fmt: skip
    """Compare through sessions that are open already, which may be in snapshots.

    Args:
        tables: compare the rows of these only, as (schema, table); None for all.
    """
    started = time.monotonic()
    verdict = Comparison(left.server.name, right.server.name)
    progress("comparing the definitions")
    found = compare_definitions(left, right, schemas, cancel=cancel, progress=progress)
    verdict.differences += found.differences
    verdict.not_comparable += found.notes
    verdict.objects = found.objects
    common = [table for table in found.tables if _comparable(table, verdict)]
    if tables is not None:
        common = [table for table in common if (table.schema, table.name) in tables]
    _compare_parts(left, right, _ranges(left, right, common, verdict), verdict, cancel, progress)
    verdict.tables = len(common) - len(verdict.unread)
    verdict.bytes = sum(table.data_bytes for table in common)
    verdict.differences.sort(key=lambda found: (found.schema, found.object, found.kind))
    verdict.seconds = round(time.monotonic() - started, 3)
    return verdict


def compare_ranges(left: Side, right: Side, parts: Sequence[Range], *, cancel: CancelToken, progress: Callable[[str], None]) -> Comparison:
    """Compare some rows only, through sessions that are open already."""
    started = time.monotonic()
    verdict = Comparison(left.server.name, right.server.name)
    _compare_parts(left, right, parts, verdict, cancel, progress)
    verdict.tables = len({part.table.full_name for part in parts})
    verdict.bytes = sum(part.weight for part in parts)
    verdict.seconds = round(time.monotonic() - started, 3)
    return verdict


def _comparable(table: definitions.Table, verdict: Comparison) -> bool:
    odd = statements.unsupported(table)
    if odd:
        verdict.not_comparable.append(f"{table.schema}.{table.name}: its rows, because of the types of {', '.join(odd)}")
    return not odd


def _compare_parts(
    left: Side, right: Side, parts: Sequence[Range], verdict: Comparison, cancel: CancelToken, progress: Callable[[str], None]
) -> None:
    doubtful: list[Range] = []
    with contextlib.closing(_answers(left, right, parts, _first_look, verdict, cancel, progress)) as answers:
        for part, ours, theirs in answers:
            if not isinstance(ours, Digest):
                _judge(left, right, part, ours, theirs, verdict)
            elif ours == theirs and ours.whole:
                verdict.rows += ours.rows
            else:
                doubtful.append(part)
    # Cut off, or not the same in that order: the sums of single rows say whether they differ, and `narrow` which.
    with contextlib.closing(_answers(left, right, doubtful, _sum_of, verdict, cancel, progress)) as answers:
        for part, ours, theirs in answers:
            _judge(left, right, part, ours, theirs, verdict)


def _answers(
    left: Side,
    right: Side,
    parts: Sequence[Range],
    look: Callable[[Range, Side, Side], Callable[[Session], Any]],
    verdict: Comparison,
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> Generator[tuple[Range, Any, Any], None, None]:
    """What both sides answer to a look at each of the parts, in their order; those that a snapshot can't give any more are left out."""
    total = sum(part.weight for part in parts) or 1
    waiting = [(part, left.ask(look(part, left, right), part.table), right.ask(look(part, right, left), part.table)) for part in parts]
    done = 0
    shown_at = started = time.monotonic()
    try:
        for part, here, there in waiting:
            while not (here.done() and there.done()):
                cancel.wait(0.02)
                if time.monotonic() - shown_at >= 2:
                    shown_at = time.monotonic()
                    progress(_line(verdict.rows, done / total, shown_at - started))
            done += part.weight
            with _read_or_not(verdict):
                ours, theirs = here.result(), there.result()
                yield part, ours, theirs
    finally:
        for _, here, there in waiting:
            here.cancel()
            there.cancel()


def _judge(left: Side, right: Side, part: Range, ours: Sums, theirs: Sums, verdict: Comparison) -> None:
    """Add what the sums of a range's rows show to the verdict."""
    with _read_or_not(verdict):
        if (ours["n"], ours["s"]) != (theirs["n"], theirs["s"]):
            verdict.differences.append(_row_difference(left, right, part, ours, theirs))
        elif ours != theirs:
            order = "the same rows come in another order; no key distinguishes them, so nothing says in which they should"
            verdict.not_comparable.append(f"{part.table.schema}.{part.table.name}: {order}")
        verdict.rows += ours["n"]


@contextlib.contextmanager
def _read_or_not(verdict: Comparison) -> Iterator[None]:
    """A table that a snapshot can't give any more is noted, and its rows are not judged."""
    try:
        yield
    except Moved as moved:
        verdict.unread.add(moved.table)


def _at_once(table: definitions.Table, *sides: Side) -> bool:
    """Whether the rows of a range are hashed at once, on both sides."""
    return fingerprint.in_one_order(table) and all(side.packet >= fingerprint.DIGEST_PACKET for side in sides)


def _first_look(part: Range, side: Side, other: Side) -> Callable[[Session], Digest | Sums]:
    if _at_once(part.table, side, other):
        return lambda opened: fingerprint.digest(opened, part)
    return _sum_of(part, side, other)


def _sum_of(part: Range, side: Side, _other: Side) -> Callable[[Session], Sums]:
    def work(opened: Session) -> Sums:
        row = fingerprint.ask(opened, part, fingerprint.sum_statement(part, side.server.family))[0]
        return {key: int(row[key]) for key in ("n", "s", "o")}

    return work


def _ranges(left: Side, right: Side, tables: Sequence[definitions.Table], verdict: Comparison) -> list[Range]:
    """All tables in ranges, largest tables first."""

    def cut(table: definitions.Table) -> list[Range]:
        conditions = [""]
        at_once = _at_once(table, left, right)
        size, most = (fingerprint.DIGEST_BYTES, fingerprint.DIGEST_PIECES) if at_once else (fingerprint.RANGE_BYTES, statements.PIECES)
        if table.range_column and table.data_bytes > size:
            name = quote(table.range_column)
            statement = f"SELECT MIN({name}) AS low, MAX({name}) AS high FROM {table.full_name}"
            found = left.ask(lambda opened: opened.row(statement) or {}, table).result()
            conditions = statements.ranges(table, found.get("low"), found.get("high"), size, most)
        return [Range(table, where, max(1, table.data_bytes // len(conditions))) for where in conditions]

    found: list[Range] = []
    for table in sorted(tables, key=lambda table: (-table.data_bytes, table.full_name)):
        with _read_or_not(verdict):
            found += cut(table)
    return found


def _row_difference(left: Side, right: Side, part: Range, ours: dict[str, int], theirs: dict[str, int]) -> Difference:
    with left.lent(part.table) as here, right.lent(part.table) as there:
        samples = narrow(here, there, part)
    counts = f"{ours['n']} rows and {theirs['n']}" if ours["n"] != theirs["n"] else f"{ours['n']} rows in both"
    return Difference("rows", part.table.schema, f"table {part.table.name}", f"{part.words}: {counts}; {samples}")


def _line(rows: int, share: float, elapsed: float) -> str:
    left = f", about {elapsed * (1 - share) / share:.0f} s left" if share > 0.05 else ""
    return f"comparing rows: {rows:,} rows equal so far, {share:.0%}{left}"
