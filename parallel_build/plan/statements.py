"""Schema scripts as single statements, and the stored procedures that CloudStack's scripts alter tables by as the ALTER they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|--(?=\s|$)[^\n]*|#[^\n]*|/\*.*?\*/|;|[^'\"`;#/-]+|.", re.DOTALL)
NAME = r"`?([A-Za-z_][\w$]*)`?"
TABLE = rf"(?:{NAME}\s*\.\s*)?{NAME}"
ALTER = re.compile(rf"ALTER\s+(?:ONLINE\s+|IGNORE\s+)?TABLE\s+{TABLE}\s*(.*)", re.IGNORECASE | re.DOTALL)
INDEX = re.compile(rf"CREATE\s+(UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?INDEX\s+{NAME}\s+(?:USING\s+\w+\s+)?ON\s+{TABLE}", re.IGNORECASE)
CALL = re.compile(rf"CALL\s+{TABLE}\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
COMMENT_LINES = re.compile(r"^[^\S\n]*(?:--|//|#).*", re.MULTILINE)  # whatever follows, as CloudStack reads its scripts [ScriptRunner.java]
QUALIFIED = re.compile(r"`?(cloud|cloud_usage|cloudbridge)`?\s*\.\s*`?([\w$]+)`?", re.IGNORECASE)
DEFAULT_DATABASE = "cloud"
# CloudStack's procedures that alter a table -> which of their arguments names it [engine/schema META-INF/db/procedures, schema-41910to42000.sql].
PROCEDURES = {
    "ADD_COLUMN": 0, "CHANGE_COLUMN": 0, "DROP_COLUMN": 0, "MODIFY_COLUMN_CHAR_SET": 0, "ADD_FOREIGN_KEY": 0, "DROP_FOREIGN_KEY": 0, "ADD_UNIQUE_KEY": 0,
    "DROP_UNIQUE_KEY": 0, "ADD_UNIQUE_INDEX": 0, "ADD_KEY": 1, "CREATE_UNIQUE_INDEX": 1, "DROP_INDEX": 1,
}  # fmt: skip
CHAR_SET = "_CHAR_SET"


@dataclass(frozen=True)
class Alter:
    """What changes one table.

    Attributes:
        script: name of the script that it stands in.
        database, table: what it changes.
        clauses: what it does, one text a clause, such as `ADD COLUMN vm_id bigint`.
        text: the statement as it stands in the script, on one line.
    """

    script: str
    database: str
    table: str
    clauses: tuple[str, ...]
    text: str


def split(text: str) -> Iterator[str]:
    """The statements of a script, each on one line and without comments."""
    parts: list[str] = []
    for piece in TOKEN.findall(COMMENT_LINES.sub("", text)):
        if piece == ";":
            if statement := " ".join("".join(parts).split()):
                yield statement
            parts = []
        elif not piece.startswith(("#", "/*")) and not re.match(r"--(\s|$)", piece):
            parts.append(piece)
    if statement := " ".join("".join(parts).split()):
        yield statement


def pieces(text: str) -> list[str]:
    """The parts of a list with commas, those within brackets and quotes left whole."""
    found, depth, part = list[str](), 0, ""
    for piece in re.findall(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|.", text, re.DOTALL):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and depth == 0:
            found, part = [*found, part.strip()], ""
        else:
            part += piece
    return [*found, part.strip()] if part.strip() else found


def altered(script: str, statement: str) -> Alter | None:
    """The ALTER that a statement is or stands for, by whatever name; None where it alters no table."""
    if match := ALTER.match(statement):
        return _alter(script, match[1], match[2], tuple(pieces(match[3])), statement)
    if match := INDEX.match(statement):
        return _alter(script, match[3], match[4], (f"ADD {(match[1] or '').strip()} INDEX".replace("  ", " "),), statement)
    if match := re.match(rf"OPTIMIZE\s+(?:LOCAL\s+|NO_WRITE_TO_BINLOG\s+)?TABLE\s+{TABLE}", statement, re.IGNORECASE):
        return _alter(script, match[1], match[2], ("FORCE",), statement)
    if match := CALL.match(statement):
        return _called(script, match[1] or DEFAULT_DATABASE, match[2].upper(), [_unquoted(each) for each in pieces(match[3])], statement)
    return None


def _alter(script: str, database: str | None, table: str, clauses: tuple[str, ...], statement: str) -> Alter:
    return Alter(script, (database or DEFAULT_DATABASE).lower(), table, clauses, statement)


def _called(script: str, database: str, procedure: str, given: list[str], statement: str) -> Alter | None:
    """IDEMPOTENT_ADD_COLUMN and its kind: one argument names the table, the others are as the ALTER has them.

    Args:
        database: the procedure's own; a table's name without one is of that.
    """
    action = re.fullmatch(r"(?:IDEMPOTENT_)?(ADD|CREATE|CHANGE|MODIFY|DROP)_(.+)", procedure)
    place = next((at for at, each in enumerate(given) if QUALIFIED.fullmatch(each)), PROCEDURES.get(procedure.removeprefix("IDEMPOTENT_")))
    match = re.fullmatch(TABLE, given[place]) if place is not None and place < len(given) else None
    if action is None or match is None:
        return None
    rest = [each for at, each in enumerate(given) if at != place]
    kind = action[2].removesuffix(CHAR_SET).replace("_", " ")
    if action[1] in ("CHANGE", "MODIFY") or kind == "COLUMN":
        names = 2 if action[1] == "CHANGE" else 1
        quoted = [f"`{name.strip('`')}`" for name in rest[:names]]
        if procedure.endswith(CHAR_SET):
            rest.insert(names + 1, "CHARACTER SET utf8mb4")  # it stands in the procedure, behind the type
        clause = " ".join(filter(None, [action[1], "COLUMN", *quoted, *rest[names:]]))
    else:
        clause = " ".join(["DROP" if action[1] == "DROP" else "ADD", kind, *rest])
    return _alter(script, match[1] or database, match[2], (clause,), statement)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]).strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text.strip()
