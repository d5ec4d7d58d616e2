"""What a definition of one server family must be written like for another; nothing changes within a family."""

from __future__ import annotations

import re

from parallel_build.database.server.dialects import DatabaseServer

# MySQL refuses these; they have no effect on what CloudStack stores.
MARIADB_ONLY_MODES = frozenset({
    "NO_AUTO_CREATE_USER", "EMPTY_STRING_IS_NULL", "SIMULTANEOUS_ASSIGNMENT", "TIME_ROUND_FRACTIONAL", "IGNORE_BAD_TABLE_OPTIONS",
    "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "POSTGRESQL", "ORACLE", "MSSQL", "DB2", "MAXDB", "MYSQL323", "MYSQL40",
})  # fmt: skip
# Collations that the other family lacks, with the nearest it has.
COLLATIONS = {
    "mysql": {
        "utf8mb4_uca1400_ai_ci": "utf8mb4_0900_ai_ci",
        "utf8mb4_uca1400_as_cs": "utf8mb4_0900_as_cs",
        "utf8mb4_uca1400_as_ci": "utf8mb4_0900_as_ci",
        "utf8mb3_uca1400_ai_ci": "utf8mb3_unicode_520_ci",
    },
    "mariadb": {
        "utf8mb4_0900_ai_ci": "utf8mb4_unicode_520_ci",
        "utf8mb4_0900_as_cs": "utf8mb4_bin",
        "utf8mb4_0900_as_ci": "utf8mb4_unicode_520_ci",
        "utf8mb4_0900_bin": "utf8mb4_bin",
    },
}


class Translation:
    """Rewrites definitions of `old`'s family for `new`'s, and notes in words what it changed.

    Attributes:
        notes: each kind of change once.
    """

    def __init__(self, old: DatabaseServer, new: DatabaseServer) -> None:
        self._same = old.family == new.family
        self._to = new.family
        self.notes: list[str] = []

    def collation(self, name: str) -> str:
        """The collation, or the nearest one that the new server has."""
        if self._same or name not in COLLATIONS[self._to]:
            return name
        other = COLLATIONS[self._to][name]
        self._note(f"collation {name} became {other}")
        return other

    def sql_mode(self, modes: str) -> str:
        """The modes that the new server knows."""
        if self._same or self._to != "mysql":
            return modes
        return ",".join(mode for mode in modes.split(",") if mode not in MARIADB_ONLY_MODES)

    def table(self, statement: str) -> str:
        """A CREATE TABLE."""
        return statement if self._same else self._collations(statement)

    def code(self, statement: str) -> str:
        """A CREATE VIEW, PROCEDURE, FUNCTION, TRIGGER or EVENT."""
        return statement if self._same else self._collations(statement)

    def _collations(self, statement: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            return match[1] + self.collation(match[2])

        return re.sub(r"(\bCOLLATE[= ])([a-z0-9_]+)", replaced, statement)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
