"""What a logged statement may have changed: nothing that is compared, other databases only, or possibly ours.

A statement does not count only where that is proved: by the databases that MySQL lists in the event, by a kind that changes no row and no definition, or by
the names of what a definition's statement is about. Everything else counts. Runs on a database server with the Python that is there.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import re
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from parallel_build.database.replicate.log_events import Statement

NO_BACKSLASH_ESCAPES = 1 << 20
# Character sets of several bytes whose later ones may be a backslash or a quote: big5, gbk, sjis, cp932, gb18030. MariaDB's NO PAD ones are 1024 higher.
UNSAFE_CHARSETS = frozenset((1, 84, 28, 87, 13, 88, 95, 96, 119, 120, 248, 249, 250))
EXECUTED_SINCE = 50000  # comments for an older server than this are executed by every server that is supported
DEFINING = ("CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE")
ACCOUNTS = frozenset(("USER", "ROLE"))
KINDS = frozenset(("TABLE", "TABLES", "VIEW", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "SEQUENCE", "DATABASE", "SCHEMA", "INDEX"))
# Words between CREATE and what is created, of which some have a value.
MODIFIERS = frozenset(("OR", "REPLACE", "TEMPORARY", "UNIQUE", "FULLTEXT", "SPATIAL", "AGGREGATE", "ONLINE", "OFFLINE", "IGNORE", "UNDO"))

TOKEN = re.compile(
    r"(?P<space>\s+|--(?=[\x00-\x20]|$)[^\n]*|\#[^\n]*|/\*(?!M?!).*?\*/)"
    r"|(?P<hint>/\*M?!\d*|\*/)"
    r"|(?P<quoted>`(?:[^`]|``)*`)"
    r"|(?P<double>\"(?:[^\"\\]|\"\"|\\.)*\")"
    r"|(?P<string>'(?:[^'\\]|''|\\.)*')"
    r"|(?P<word>[0-9A-Za-z_$\x80-\U0010ffff]+)"
    r"|(?P<broken>`|\"|'|/\*)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
PLAIN = re.compile(
    TOKEN.pattern.replace(r"\"\"|\\.", r"\"\"").replace("''|\\\\.", "''").replace(r"\"\\]", r"\"]").replace(r"'\\]", "']"), re.DOTALL
)


class Token(NamedTuple):
    """A part of a statement: `word`, `quoted`, `double`, `string`, `hint`, `sign` or `broken`, with what it stands for."""

    kind: str
    text: str

    @property
    def upper(self) -> str:
        """A bare word in capitals; nothing of anything else."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> bool:
        """Whether it may be a name: quotes are names' too in ANSI_QUOTES."""
        return self.kind in ("word", "quoted", "double")


class Names:
    """The databases in question.

    Args:
        ours: their names.
        fold: the server does not tell capitals from small letters in names (lower_case_table_names is not 0).
    """

    def __init__(self, ours: Sequence[str], fold: bool) -> None:
        self._fold = fold
        self._ours = frozenset(self._form(name) for name in ours)

    def _form(self, name: str) -> str:
        return name.casefold() if self._fold else name

    def has(self, name: str) -> bool:
        """Whether a name is that of one of them."""
        return self._form(name) in self._ours


def tokens(statement: Statement) -> List[Token]:
    """A statement's parts without blanks and comments; comments that servers execute are parts, their ends are `hint`s."""
    pattern = PLAIN if (statement.sql_mode or 0) & NO_BACKSLASH_ESCAPES else TOKEN
    text = statement.text.decode("utf-8", "surrogateescape")
    if not text.isascii() and (statement.charset is None or statement.charset & 1023 in UNSAFE_CHARSETS):
        return [Token("broken", "")]
    return list(_tokens(pattern, text))


def _tokens(pattern: re.Pattern[str], text: str) -> Iterator[Token]:
    for match in pattern.finditer(text):
        kind, found = str(match.lastgroup), match.group()
        if kind == "quoted":
            found = found[1:-1].replace("``", "`")
        elif kind == "double":
            found = found[1:-1].replace('""', '"')
        if kind != "space":
            yield Token(kind, found)


def judge(statement: Statement, names: Names) -> str:
    """Why a statement may have changed what is compared, in words; empty where it is proved that it has not."""
    parts = tokens(statement)
    if changes_nothing(parts) or foreign(statement, names, parts):
        return ""
    return describe(statement, parts)


def describe(statement: Statement, parts: Optional[List[Token]] = None) -> str:
    """A statement's first words and who gave it; no value is shown."""
    parts = _without_settings(tokens(statement) if parts is None else parts)
    shown = [parts[0].text] if parts and parts[0].name else []
    begin = max(1, _kind(parts)[1] - 1) if parts and parts[0].upper in DEFINING and _kind(parts)[0] else 1
    for part in parts[begin : begin + 6]:
        if not (part.name and part.kind != "double") and part.text != ".":
            break
        shown.append(part.text.encode("utf-8", "replace").decode("utf-8"))
    who = f" for {statement.account}" if statement.account else ""
    where = f"in database {statement.database}" if statement.database else "without a default database"
    return f"{' '.join(shown).replace(' . ', '.') or 'a statement'} ({where}, connection {statement.thread}{who})"


def changes_nothing(parts: List[Token]) -> bool:
    """Whether a statement is of a kind that changes neither rows nor definitions: ends of transactions, accounts, temporary tables, statistics."""
    if any(part.kind == "broken" for part in parts):
        return False
    words = [part.upper for part in parts if not _executed(part)]
    words += [""] * 4
    first, second, third = words[:3]
    if first in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA", "GRANT", "REVOKE", "FLUSH"):
        return True
    if first == "START":
        return second == "TRANSACTION"
    if first == "SET":
        return second == "PASSWORD" or (second, third) == ("DEFAULT", "ROLE")
    if first in ("ANALYZE", "OPTIMIZE"):
        return (third if second in ("NO_WRITE_TO_BINLOG", "LOCAL") else second) in ("TABLE", "TABLES")
    if first == "CREATE" and (second, third) == ("OR", "REPLACE"):
        second, third = words[3], words[4]
    if first in ("CREATE", "ALTER", "DROP", "RENAME") and second in ACCOUNTS:
        return True
    return first in ("CREATE", "DROP") and second == "TEMPORARY" and third in ("TABLE", "TABLES", "SEQUENCE") and "SELECT" not in words


def _executed(part: Token) -> bool:
    """Whether a comment's mark stands for nothing: every server executes what is in it."""
    if part.kind != "hint":
        return False
    number = part.text.lstrip("/*!")
    return part.text == "*/" or ("M" not in part.text and (not number or int(number) < EXECUTED_SINCE))


def defines(statement: Statement) -> bool:
    """Whether a statement changes definitions, and only these or all rows of a table."""
    parts = _without_settings(tokens(statement))
    return bool(parts) and parts[0].upper in DEFINING


def foreign(statement: Statement, names: Names, parts: Optional[List[Token]] = None) -> bool:
    """Whether it is proved that a statement changes other databases only."""
    if statement.databases and all(statement.databases):
        return not any(names.has(name) for name in statement.databases)
    parts = tokens(statement) if parts is None else parts
    if any(part.kind == "broken" for part in parts):
        return False
    parts = _without_settings(parts)
    verb = parts[0].upper if parts else ""
    if verb not in DEFINING:
        return False
    words = [part.upper for part in parts]
    if verb == "CREATE" and "SELECT" in words and _kind(parts)[0] in ("TABLE", ""):
        return False  # it may call a function, which may write
    if verb != "ALTER" or not {"RENAME", "EXCHANGE"}.intersection(words):
        found = _targets(parts, statement.database)
        if found:
            return not any(names.has(name) for name in found)
    unnamed = not statement.database or not names.has(statement.database)
    return unnamed and not any(part.name and names.has(part.text) for part in parts)


def _without_settings(parts: List[Token]) -> List[Token]:
    """What MariaDB's SET STATEMENT ... FOR is about."""
    if [part.upper for part in parts[:2]] != ["SET", "STATEMENT"]:
        return parts
    for index, part in enumerate(parts):
        if part.upper == "FOR":
            return parts[index + 1 :]
    return parts


def _kind(parts: List[Token]) -> Tuple[str, int]:
    """What a statement about definitions is about, and where what follows it begins; empty where that is not clear."""
    index = 1
    while index < len(parts):
        word = parts[index].upper
        if word in KINDS:
            return word, index + 1
        if word in ("DEFINER", "SQL", "ALGORITHM"):
            index = _value_end(parts, index)
            continue
        if word not in MODIFIERS:
            return ("TABLE", index) if parts[0].upper == "TRUNCATE" and parts[index].name else ("", index)
        index += 1
    return "", index


def _value_end(parts: List[Token], index: int) -> int:
    """Where what follows DEFINER = user@host, SQL SECURITY word, ALGORITHM = word begins."""
    if parts[index].upper == "SQL":
        return index + 3
    index += 3 if index + 1 < len(parts) and parts[index + 1].text == "=" else 2
    while index < len(parts) and parts[index].text in ("@", "(", ")"):
        index += 1 if parts[index].text == ")" or (index + 1 < len(parts) and parts[index + 1].text == ")") else 2
    return index


def _targets(parts: List[Token], default: str) -> List[str]:
    """The databases of what a statement about definitions is about; none where that is not clear."""
    kind, index = _kind(parts)
    for word in ("IF", "NOT", "EXISTS"):
        if index < len(parts) and parts[index].upper == word:
            index += 1
    if kind == "INDEX":
        while index < len(parts) and parts[index].upper != "ON":
            index += 1
        index += 1
    if not kind:
        return []
    found: List[str] = []
    while True:
        name, index = _name(parts, index)
        if not name:
            return []
        found.append(name[0] if kind in ("DATABASE", "SCHEMA") or len(name) == 2 else default)
        lists = {"DROP": (",",), "RENAME": (",", "TO")}.get(parts[0].upper, ())
        if index >= len(parts) or parts[index].text.upper() not in lists:
            return found if all(found) else []
        index += 1


def _name(parts: List[Token], index: int) -> Tuple[List[str], int]:
    """A name of one or two parts, and where what follows it begins."""
    found: List[str] = []
    while index < len(parts) and parts[index].name and len(found) < 2:
        found.append(parts[index].text)
        index += 1
        if index >= len(parts) or parts[index].text != "." or parts[index].kind != "sign":
            return found, index
        index += 1
    return [], index
