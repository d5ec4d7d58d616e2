"""What the new server can't make of the original's definitions, found before the first row: everything is made once, empty, next to it.

What a server makes without a word and what fails at its first use, in front of users, is looked for as well: triggers, events and foreign keys
that need a database which does not come along.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parallel_build.cancel import CancelToken
from parallel_build.database.copy.create import Failure
from parallel_build.database.copy.trial import Trial
from parallel_build.database.schema import meanings
from parallel_build.database.schema.definitions import Code, Schema, Table
from parallel_build.database.schema.prints import Known, prints
from parallel_build.database.schema.translate import QUOTED, names_database
from parallel_build.database.server import judge
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.errors import GuardFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Refused, Session, session

OWN_SCHEMAS = frozenset({"information_schema", "performance_schema", "mysql", "sys"})
FOLDERS = re.compile(r"\b(?:DATA|INDEX) DIRECTORY\b")
TABLE_GONE, COLUMN_GONE, ROUTINE_GONE, DATABASE_GONE, VIEW_INVALID, TABLE_GONE_TOO = 1146, 1054, 1305, 1049, 1356, 1051
UNSAFE_FUNCTION, ROW_TOO_LARGE, OPTION_REFUSED, KEY_TOO_LONG = 1418, 1118, 1478, 1071
UNKNOWN_COLLATION, UNKNOWN_SET, UNKNOWN_ENGINE = 1273, 1115, 1286
SHOWN = 10


@dataclass(frozen=True)
class Problem:
    """An object that can't be brought over as it is.

    Attributes:
        name: `schema.object`.
        kind: table, view, procedure, function, trigger or event.
        words: the server's, or what was seen.
        remedy: what to do on the original.
    """

    name: str
    kind: str
    words: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.words}"


@dataclass(frozen=True)
class TrialReport:
    """What came of it.

    Attributes:
        objects: definitions looked at.
        judged: of them those that were not known and were made now.
        seconds: how long that took.
    """

    objects: int
    judged: int
    seconds: float


def prove(
    source: Session, target: Access, definitions: Sequence[Schema], *, cancel: CancelToken, progress: Callable[[str], None]
) -> TrialReport:
    """Everything of the original can be made on the new server. Costs nothing where it was all judged before.

    Args:
        source: session to the original; only read.
        definitions: what it has.
    Raises:
        GuardFailed: names each object with the server's words, and what to do about it on the original.
    """
    began = time.monotonic()
    problems = needing_others(source, definitions)
    old = identify(source)
    with session(target) as opened:
        known, new = meanings.known(opened, target, old.family), identify(opened)
    found = prints(definitions)
    unknown = known.unknown(found.values())
    if unknown:
        progress(f"making {len(found)} definitions once, empty, next to {target.name}'s database server: {len(unknown)} are new")
        problems += _tried(old, new, target, definitions, known, cancel, {problem.name for problem in problems})
    if problems:
        raise GuardFailed(
            f"{target.name} can't make {len(problems)} of the original's definitions: {_listed([str(problem) for problem in problems])}",
            f"they were made on {source.host.name} under other settings, or what they need is not there or not brought over",
            f"on {source.host.name}: {_listed(list(dict.fromkeys(problem.remedy for problem in problems)))}",
        )
    return TrialReport(len(found), len(unknown), round(time.monotonic() - began, 3))


def needing_others(source: Session, definitions: Sequence[Schema]) -> list[Problem]:
    """What a server makes without a word although it needs what is not brought over. Read only."""
    coming = {one.name for one in definitions}
    rows = source.rows("SELECT SCHEMA_NAME AS s FROM information_schema.SCHEMATA")
    others = sorted({str(row["s"]) for row in rows} - coming - OWN_SCHEMAS)
    problems = [_in_folder(table) for one in definitions for table in one.tables if FOLDERS.search(_bare(table.create))]
    for name in sorted(coming):
        problems += _foreign_keys(source, name, coming)
    for one in definitions:
        for code in one.codes:
            named = [other for other in others if code.kind in ("TRIGGER", "EVENT") and names_database(code.create, other)]
            problems += [_needs(code, other) for other in named]
    return problems


def _in_folder(table: Table) -> Problem:
    name = f"{table.schema}.{table.name}"
    words = "it has a DATA DIRECTORY or INDEX DIRECTORY of its own, which the new server does not have"
    return Problem(name, "table", words, f"move {name} to the usual folder: CREATE TABLE without it, INSERT ... SELECT, RENAME TABLE")


def _foreign_keys(source: Session, name: str, coming: set[str]) -> list[Problem]:
    rows = source.rows(
        "SELECT TABLE_NAME AS t, CONSTRAINT_NAME AS c, UNIQUE_CONSTRAINT_SCHEMA AS s, REFERENCED_TABLE_NAME AS r "
        "FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s ORDER BY TABLE_NAME, CONSTRAINT_NAME",
        [name],
    )
    return [
        Problem(
            f"{name}.{row['t']}",
            "table",
            f"its foreign key {row['c']} refers to {row['s']}.{row['r']}, and database {row['s']} is not brought over",
            f"ALTER TABLE {name}.{row['t']} DROP FOREIGN KEY {row['c']}",
        )
        for row in rows
        if row["s"] not in coming
    ]


def _needs(code: Code, other: str) -> Problem:
    name = f"{code.schema}.{code.name}"
    return Problem(
        name,
        code.kind.lower(),
        f"it names database {other}, which is not brought over: it would fail when it runs",
        f"DROP {code.kind} {name}, or have it do without database {other}",
    )


def _bare(statement: str) -> str:
    """A statement without its literals, quoted names and comments."""
    return "".join(QUOTED.split(statement)[::2])


def _tried(
    old: DatabaseServer,
    new: DatabaseServer,
    target: Access,
    definitions: Sequence[Schema],
    known: Known,
    cancel: CancelToken,
    named: set[str],
) -> list[Problem]:
    with judge.judge(target, cancel) as opened:
        trial = Trial(opened, old, new, [_without(one, named) for one in definitions], known, cancel)
        trial.make()
    meanings.keep(target, known)
    return [problem(failure) for failure in trial.failures if failure.name not in named]


def _without(one: Schema, named: set[str]) -> Schema:
    """Without tables that would be made in a folder of the machine's."""
    tables = tuple(table for table in one.tables if f"{table.schema}.{table.name}" not in named or not FOLDERS.search(_bare(table.create)))
    return Schema(one.name, one.character_set, one.collation, tables, one.codes)


def problem(failure: Failure) -> Problem:
    """A failure with what to do about it on the original."""
    error = failure.error
    number = error.number if isinstance(error, Refused) else 0
    words = error.cause if isinstance(error, Refused) else f"{error.fact}: {error.cause}"
    return Problem(failure.name, failure.kind, words, _remedy(failure, number, error.remedy))


def _remedy(failure: Failure, number: int, remedy: str) -> str:
    kind, name = failure.kind.upper(), failure.name
    if number in (TABLE_GONE, COLUMN_GONE, ROUTINE_GONE, DATABASE_GONE, VIEW_INVALID, TABLE_GONE_TOO):
        return f"DROP {kind} {name}, or give it what it names again, in a database that is brought over"
    if number == UNSAFE_FUNCTION:
        return f"ALTER {kind} {name} READS SQL DATA (or NO SQL; or make it again as DETERMINISTIC where it is)"
    if number in (ROW_TOO_LARGE, OPTION_REFUSED, KEY_TOO_LONG):
        return f"with innodb_strict_mode = ON: ALTER TABLE {name} ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=0, or turn long VARCHARs into TEXT"
    if number in (UNKNOWN_COLLATION, UNKNOWN_SET):
        return f"make {kind} {name} with a character set and collation that the new server has"
    if number == UNKNOWN_ENGINE:
        return f"ALTER TABLE {name} ENGINE=InnoDB"
    if number == 0:
        return remedy
    return f"change {kind} {name} so that the new server takes it, or drop it if nobody needs it"


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - SHOWN
    return "; ".join(parts[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
