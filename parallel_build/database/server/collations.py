"""Collations that one server family has and the other has not, with the nearest that every supported server of the other has."""

from __future__ import annotations

import re

from parallel_build.configuration.database_combinations import Family

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
