"""Whether the original's tables are still what the new server's were made by: when the snapshot begins, and when a table's last row is in.

A table altered before the snapshot and back after it looks unchanged at the end, so both moments count.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

# ruff: noqa: UP006, UP035 - the Python of a database server may be older than the project's own
from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Set

from parallel_build.database.copy.clients import Failed
from parallel_build.database.copy.digest import digest
from parallel_build.database.server.waiting import Statement, Watch

# What a server answers to a read of a table whose definition is another than the snapshot's, or that is gone: unknown database, column, table, key;
# lost partition; changed definition.
CHANGED = frozenset((1049, 1054, 1146, 1176, 1412, 1735))
LOCKED = 1205  # somebody holds a lock in which our reading would wait
NUMBER = re.compile(r"(?:ERROR |\()(\d{4})\b")
# Statements of these kinds that a server has begun so far. Temporary tables are made and dropped without end, so those of whole tables do not count:
# a table made again in between has the snapshot's rows, or is not there.
COUNTED = frozenset(("alter_table", "create_index", "drop_index", "rename_table", "truncate", "optimize", "repair"))
DEFINING = re.compile(r"^\s*(?:/\*.*?\*/\s*)*(ALTER|CREATE|DROP|RENAME|TRUNCATE|OPTIMIZE|REPAIR|CALL|EXECUTE)\b", re.IGNORECASE | re.DOTALL)


def numbers(problem: Failed) -> Set[int]:
    """The servers' numbers in an error."""
    return {int(found) for found in NUMBER.findall(str(problem))}


class Definitions:
    """The definitions that the new server's tables were made by.

    Args:
        expected: by `schema.table`, how to ask for its definition, and the digest that it had.
        asking: a session on the original.
        watch: knows which tables a statement names.
    """

    def __init__(self, expected: Dict[str, Dict[str, str]], asking: Callable[[str], str], watch: Watch) -> None:
        self._expected, self._asking, self._watch = expected, asking, watch

    def same(self, table: str) -> bool:
        """Whether a table's definition is the one that it was; False where somebody locks it."""
        try:
            create = self._asking(self._expected[table]["ask"])
        except Failed as problem:
            if not (CHANGED | {LOCKED}) & numbers(problem):
                raise
            return False
        return digest(create.rstrip("\n").partition("\t")[2]) == self._expected[table]["digest"]

    def begun(self) -> int:
        """How many changes of definitions the server has begun so far."""
        lines = self._asking("SHOW GLOBAL STATUS LIKE 'Com\\_%'").splitlines()
        found: Dict[str, Any] = dict(line.split("\t")[:2] for line in lines)
        return sum(int(count) for name, count in found.items() if name[4:].lower() in COUNTED)

    def moving(self, statements: List[Statement]) -> Set[str]:
        """The tables that are other ones by now, or that a statement which runs may be changing."""
        named = {table for one in statements if DEFINING.match(one.text) for table in self._watch.wanted(one)}
        return named | {table for table in self._expected if table not in named and not self.same(table)}
