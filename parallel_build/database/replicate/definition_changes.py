"""Which logged statements change one table's definition and nothing else: the new source can replay these for tables of an earlier snapshot."""

from __future__ import annotations

import re

NAME = r"(?:`(?:[^`]|``)+`|[\w$]+)"
TABLE = rf"(?:(?P<schema>{NAME})\s*\.\s*)?(?P<table>{NAME})"
FORMS = (
    rf"ALTER\s+(?:ONLINE\s+)?(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?{TABLE}(?P<rest>\s.*)",
    rf"TRUNCATE\s+(?:TABLE\s+)?{TABLE}(?P<rest>)",
    rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:UNIQUE|FULLTEXT|SPATIAL)\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?{NAME}\s[^(]*?\bON\s+{TABLE}(?P<rest>[\s(].*)",
    rf"DROP\s+INDEX\s+(?:IF\s+EXISTS\s+)?{NAME}\s+ON\s+{TABLE}(?P<rest>(?:\s.*)?)",
)
PATTERNS = [re.compile(form, re.IGNORECASE | re.DOTALL) for form in FORMS]
# In the rest of the statement: another table takes part in it, or the table gets another name. A literal may hold these words too: that only costs a copy.
OTHERS = re.compile(
    r"\b(REFERENCES|FOREIGN|EXCHANGE|UNION|RENAME(?!\s+(COLUMN|INDEX|KEY)\b)|DISCARD|IMPORT|CONVERT\s+(PARTITION|TABLE))\b", re.IGNORECASE
)
COMMENT = re.compile(r"/\*(?!M?!).*?\*/", re.DOTALL)
EXECUTED = re.compile(r"/\*M?!")


def changed_table(text: str, database: str) -> tuple[str, str] | None:
    """Schema and name of the table that a statement changes by itself; None for any other statement.

    Args:
        database: the default one that it ran in.
    """
    bare = COMMENT.sub(" ", text).strip().rstrip("; \n")
    if EXECUTED.search(bare):
        return None
    for pattern in PATTERNS:
        match = pattern.fullmatch(bare)
        if match and not OTHERS.search(match["rest"]):
            schema = _unquoted(match["schema"]) if match["schema"] else database
            return (schema, _unquoted(match["table"])) if schema else None
    return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
