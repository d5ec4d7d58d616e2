"""Definitions as a server prints them, each with the settings that belong to it, and what is known of which prints mean the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_build.database.schema.definitions import Code, Schema, Table

Key = tuple[str, str, str]  # kind, schema, name
# The next number of a table's counter stands before its comment, which may say anything.
COUNTER = re.compile(r"^([^']*?) AUTO_INCREMENT=\d+")
COLUMN = "  `"


@dataclass(frozen=True)
class Print:
    """One object as one server prints it.

    Attributes:
        kind: database, table, view, procedure, function, trigger or event.
        text: the statement that makes it; of a table without its counter, its keys and constraints sorted, whose order means nothing.
        under: the settings that are kept with it: sql_mode, client's character set, collations, time zone.
        made: what the statement was read as.
    """

    kind: str
    schema: str
    name: str
    text: str
    under: tuple[str, ...]
    made: Table | Code | Schema = field(compare=False, repr=False)

    @property
    def key(self) -> Key:
        """What tells it from other objects."""
        return self.kind, self.schema, self.name

    @property
    def digest(self) -> str:
        """A short name of it all."""
        parts = [*self.key, self.text, *self.under]
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]

    def __str__(self) -> str:
        return f"{self.kind} {self.schema}.{self.name}"


def prints(definitions: Iterable[Schema]) -> dict[Key, Print]:
    """All objects of these databases."""
    found = [each for one in definitions for each in (_database(one), *map(_table, one.tables), *map(code_print, one.codes))]
    return {each.key: each for each in found}


def _database(one: Schema) -> Print:
    return Print("database", one.name, one.name, f"{one.character_set} {one.collation}", (), one)


def _table(table: Table) -> Print:
    return Print("table", table.schema, table.name, plain_table(table.create), (), table)


def code_print(code: Code) -> Print:
    """The print of a view, routine, trigger or event."""
    modes = ",".join(sorted(code.sql_mode.split(",")))
    under = (modes, code.client_set, code.collation, code.database_collation, code.time_zone)
    return Print(code.kind.lower(), code.schema, code.name, code.create, under, code)


def plain_table(create: str) -> str:
    """A CREATE TABLE without its counter, its columns in their order, then its keys and constraints sorted."""
    head, _, tail = create.rpartition("\n)")
    first, *lines = [line.removesuffix(",") for line in head.split("\n")]
    columns = [line for line in lines if line.startswith(COLUMN)]
    others = sorted(line for line in lines if not line.startswith(COLUMN))
    return "\n".join([first, *columns, *others, ")" + COUNTER.sub(r"\1", tail)])


@dataclass
class Known:
    """Which prints mean the same on the new server: each by its digest, with the digest of what it means there.

    Attributes:
        server: the server that judged: its version and the settings that decide; a different server's judgement is no use.
        stable: by digest of a print.
    """

    server: str = ""
    stable: dict[str, str] = field(default_factory=dict)

    def same(self, one: Print, other: Print) -> bool | None:
        """Whether the two mean the same; None where that is not known."""
        if one == other:
            return True
        ours, theirs = self.stable.get(one.digest), self.stable.get(other.digest)
        return None if ours is None or theirs is None else ours == theirs

    def unknown(self, found: Iterable[Print]) -> list[Print]:
        """Those that were never judged."""
        return [each for each in found if each.digest not in self.stable]

    def learn(self, forms: Sequence[Print], meaning: str) -> None:
        """Keep that these are forms of one definition, and what that means."""
        for each in forms:
            self.stable[each.digest] = meaning

    def for_server(self, server: str) -> Known:
        """What of it counts for this server: all or nothing."""
        return self if self.server == server else Known(server)

    def document(self) -> dict[str, Any]:
        """For a record."""
        return {"server": self.server, "stable": self.stable}

    @classmethod
    def read(cls, document: dict[str, Any] | None) -> Known:
        """From a record; nothing is known where there is none."""
        return cls(str(document["server"]), dict(document["stable"])) if document else cls()
