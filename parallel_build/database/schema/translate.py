"""What a definition of one server family must be written like for another; nothing changes within a family.

The copy and the comparison use the same table: what is made otherwise on purpose is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from parallel_build.configuration.database_combinations import Family
from parallel_build.database.server.dialects import DatabaseServer

# The other family refuses these; they have no effect on what CloudStack stores.
ONLY_MODES = {
    "mariadb": frozenset({
        "NO_AUTO_CREATE_USER", "EMPTY_STRING_IS_NULL", "SIMULTANEOUS_ASSIGNMENT", "TIME_ROUND_FRACTIONAL", "IGNORE_BAD_TABLE_OPTIONS",
        "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "POSTGRESQL", "ORACLE", "MSSQL", "DB2", "MAXDB", "MYSQL323", "MYSQL40",
    }),
    "mysql": frozenset({"TIME_TRUNCATE_FRACTIONAL"}),
}  # fmt: skip
# MySQL's collations by UCA 9.0.0: the language, and what is told apart.
MYSQL_OWN = re.compile(r"^utf8mb4(?:_(?P<language>[a-z_]+?))?_0900_(?P<what>ai_ci|as_ci|as_cs|as_cs_ks|bin)$")
# MariaDB's by UCA 14.0.0, and those that don't pad with spaces.
MARIADB_OWN = re.compile(r"^(?:(?P<set>[a-z0-9]+)_)?uca1400_(?:(?P<language>[a-z0-9]+)_)?(?:nopad_)?(?P<what>ai_ci|ai_cs|as_ci|as_cs)$")
LANGUAGES = {
    "cs": "czech", "da": "danish", "de_pb": "german2", "eo": "esperanto", "es": "spanish", "es_trad": "spanish2", "et": "estonian",
    "hr": "croatian", "hu": "hungarian", "is": "icelandic", "la": "roman", "lt": "lithuanian", "lv": "latvian", "pl": "polish",
    "ro": "romanian", "sk": "slovak", "sl": "slovenian", "sv": "swedish", "tr": "turkish", "vi": "vietnamese",
}  # fmt: skip
CODES = {name: code for code, name in LANGUAGES.items()}
# Text that is no statement: literals, quoted names, comments (but those that a server runs).
QUOTED = re.compile(
    r"""('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|/\*(?!!|M!).*?\*/|--\s[^\n]*|\#[^\n]*)""", re.DOTALL | re.VERBOSE
)
COLLATE = re.compile(r"(\bCOLLATE(?:\s*=\s*|\s+))([a-z0-9_]+)", re.IGNORECASE)


def nearest(collation: str, family: Family) -> str:
    """The collation, or the nearest one that every supported server of that family has."""
    return _for_mariadb(collation) if family == "mariadb" else _for_mysql(collation)


def _for_mariadb(name: str) -> str:
    match = MYSQL_OWN.match(name)
    if match is None:
        return name
    if match["what"] not in ("ai_ci", "as_ci"):
        return "utf8mb4_bin"
    return f"utf8mb4_{LANGUAGES.get(match['language'] or '', 'unicode_520')}_ci"


def _for_mysql(name: str) -> str:
    match = MARIADB_OWN.match(name)
    if match is None:
        return name.replace("_mysql561_", "_").replace("_nopad_", "_").replace("utf8mb4_thai_520_w2", "utf8mb4_unicode_520_ci")
    if match["set"] not in ("utf8mb4", None):
        return f"{match['set']}_unicode_520_ci"
    code = CODES.get(match["language"] or "")
    # Accents only are not told apart by any of MySQL's that tells cases apart, and a language's come in two kinds only.
    what = "as_cs" if match["what"].endswith("cs") else match["what"] if not code else "ai_ci"
    return f"utf8mb4_{code}_0900_{what}" if code else f"utf8mb4_0900_{what}"


def outside_quotes(statement: str, change: Callable[[str], str]) -> str:
    """The statement with `change` made to what is neither literal, quoted name nor comment."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(QUOTED.split(statement)))


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
