"""Finding out which rows of a differing range differ, and in which columns: keys and column names only, never values."""

from __future__ import annotations

from parallel_build.database.compare import fingerprint
from parallel_build.database.compare.fingerprint import Range
from parallel_build.remote.sql import Row, Session

BUCKETS = 1024
SAMPLES = 5
LIMIT = 20000  # rows fetched from each server for one range


def narrow(here: Session, there: Session, part: Range) -> str:
    """Name sample rows that differ, in words such as `id=7: changed description`; `id=9: missing`; `id=11: additional`."""
    buckets = _differing_buckets(here, there, part)
    ours = _rows(here, part, buckets)
    theirs = _rows(there, part, buckets)
    words = []
    differing = sorted(key for key in ours.keys() | theirs.keys() if _hashes(ours, key) != _hashes(theirs, key))
    for key in differing[:SAMPLES]:
        shown = _shown(part, (ours.get(key) or theirs[key])[0])
        if key not in theirs:
            words.append(f"{shown}: missing")
        elif key not in ours:
            words.append(f"{shown}: additional")
        elif len(ours[key]) != len(theirs[key]):
            words.append(f"{shown}: {len(ours[key])} times and {len(theirs[key])} times")
        else:
            words.append(f"{shown}: changed {', '.join(_changed_columns(here, there, part, key)) or 'row'}")
    more = len(differing) - SAMPLES
    if more > 0:
        words.append(f"and more rows ({len(differing)} seen in the samples)")
    return "; ".join(words) or "the rows changed again while they were looked at"


def _differing_buckets(here: Session, there: Session, part: Range) -> list[int]:
    statement = fingerprint.bucket_statement(part, BUCKETS)
    ours, theirs = ({int(row["b"]): (row["n"], row["s"]) for row in fingerprint.ask(opened, part, statement)} for opened in (here, there))
    differing = sorted(number for number in ours.keys() | theirs.keys() if ours.get(number) != theirs.get(number))
    return differing[:SAMPLES]


def _rows(opened: Session, part: Range, buckets: list[int]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    if buckets:
        for row in fingerprint.ask(opened, part, fingerprint.rows_statement(part, BUCKETS, buckets, LIMIT)):
            found.setdefault(str(row["k"]), []).append(row)
    return found


def _hashes(rows: dict[str, list[Row]], key: str) -> list[int]:
    return sorted(int(row["h"]) for row in rows.get(key, []))


def _shown(part: Range, row: Row) -> str:
    columns = fingerprint.shown_key(part.table)
    if not columns:
        return f"row with hash {int(row['h']):016x}"
    return ", ".join(f"{column.name}={str(row[f'k{number}'])[:40]}" for number, column in enumerate(columns))


def _changed_columns(here: Session, there: Session, part: Range, key: str) -> list[str]:
    statement = fingerprint.columns_statement(part.table, key)
    ours, theirs = (next(iter(fingerprint.ask(opened, part, statement)), {}) for opened in (here, there))
    return [column.name for number, column in enumerate(part.table.columns) if ours.get(f"c{number}") != theirs.get(f"c{number}")]
