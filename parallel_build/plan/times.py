"""How long the work of the target's scripts will take: by the tables' sizes before there is a rehearsal, and by the last rehearsal afterwards.

Sizes give a guess: the rates below are assumed. A rehearsal is a measurement of this cloud's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from parallel_build.plan.rebuilds import TableWork, Work

STATEMENT = 0.03  # seconds that a statement takes on an empty table
# Bytes a second, of the table with its keys; assumed, not measured.
RATES = {Work.REBUILDS: 40e6, Work.INDEXES: 120e6, Work.ROWS: 120e6}


@dataclass(frozen=True)
class Rehearsed:
    """What the last rehearsal measured.

    Attributes:
        schema: seconds of each version step, and of the views.
        rows: of the databases that it was made of, by the server's estimate.
    """

    schema: Mapping[str, float]
    rows: int

    def seconds(self, rows_now: int) -> float:
        """How long the same will take with so many rows."""
        grown = rows_now / self.rows if self.rows and rows_now else 1.0
        return sum(self.schema.values()) * grown


def of_sizes(works: Iterable[TableWork]) -> float:
    """Seconds that the scripts' work takes, by the sizes of its tables."""
    return sum(seconds(work) for work in works)


def seconds(work: TableWork) -> float:
    """Seconds that one statement takes."""
    return STATEMENT + work.size.bytes / RATES[work.work]
