"""What a definition of one server family must be written like for another; nothing changes within a family.

The copy and the comparison use the same table: what is made otherwise on purpose is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parallel_build.database.server.collations import nearest
from parallel_build.database.server.dialects import DatabaseServer

# The other family refuses these; they have no effect on what CloudStack stores.
ONLY_MODES = {
    "mariadb": frozenset({
        "NO_AUTO_CREATE_USER", "EMPTY_STRING_IS_NULL", "SIMULTANEOUS_ASSIGNMENT", "TIME_ROUND_FRACTIONAL", "IGNORE_BAD_TABLE_OPTIONS",
        "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "POSTGRESQL", "ORACLE", "MSSQL", "DB2", "MAXDB", "MYSQL323", "MYSQL40",
    }),
    "mysql": frozenset({"TIME_TRUNCATE_FRACTIONAL"}),
}  # fmt: skip
# Text that is no statement: literals, quoted names, comments (but those that a server runs).
QUOTED = re.compile(
    r"""('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|/\*(?!!|M!).*?\*/|--\s[^\n]*|\#[^\n]*)""", re.DOTALL | re.VERBOSE
)
COLLATE = re.compile(r"(\bCOLLATE(?:\s*=\s*|\s+))([a-z0-9_]+)", re.IGNORECASE)


def outside_quotes(statement: str, change: Callable[[str], str]) -> str:
    """The statement with `change` made to what is neither literal, quoted name nor comment."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(QUOTED.split(statement)))


def names_database(statement: str, name: str) -> bool:
    """Whether a statement names something in that database: its name, quoted or bare, before a dot."""
    words = [part for part in QUOTED.split(statement) if not part.startswith(("'", '"', "/*", "--", "#"))]
    quoted = re.escape("`" + name.replace("`", "``") + "`")
    return bool(re.search(rf"(?:{quoted}|(?<![\w$`.]){re.escape(name)})\s*\.", "".join(words), re.IGNORECASE))


class Translation:
    """Rewrites definitions of `old`'s family for `new`'s, and notes in words what it changed.

    Attributes:
        notes: each kind of change once.
    """

    def __init__(self, old: DatabaseServer, new: DatabaseServer) -> None:
        self.same = old.family == new.family
        self._from, self._to = old.family, new.family
        self.notes: list[str] = []

    def collation(self, name: str) -> str:
        """The collation, or the nearest one that the new server has."""
        other = name if self.same else nearest(name, self._to)
        if other != name:
            self._note(f"collation {name} became {other}")
        return other

    def sql_mode(self, modes: str) -> str:
        """The modes that the new server knows."""
        if self.same:
            return modes
        return ",".join(mode for mode in modes.split(",") if mode not in ONLY_MODES[self._from])

    def statement(self, text: str) -> str:
        """A CREATE of any kind."""
        return text if self.same else outside_quotes(text, self._collations)

    def _collations(self, part: str) -> str:
        return COLLATE.sub(lambda match: match[1] + self.collation(match[2].lower()), part)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
