"""Whether a copy is what the original is, by what is not the product's: the servers' own dump programs, and every row of every view."""

from __future__ import annotations

import difflib
import re

from parallel_build.errors import CommandFailed
from parallel_build.remote.host import Host
from tests.containers.case_files import CaseFailed
from tests.containers.database_stand import Combination, sql

SHOWN = 12  # lines of a difference
DUMP = {
    "mariadb": "mariadb-dump --order-by-primary",
    # A schema's dump in MySQL 9 names its gtids and asks for tablespaces, which have nothing to do with what is in it.
    "mysql": "mysqldump --order-by-primary --set-gtid-purged=OFF --no-tablespaces",
}
PRINTED = (
    "--single-transaction --hex-blob --skip-extended-insert --complete-insert --routines --triggers --events --skip-comments "
    "--default-character-set=utf8mb4 --databases cloud cloud_usage"
)


def independent(servers: Combination) -> None:
    """What the servers' own dump programs print of both sides must be the same, and what their views answer.

    Raises:
        CaseFailed: it is not; the message has the first lines that differ.
    """
    old, new = (_printed(servers, host, family) for host, family in ((servers.source, servers.old), (servers.target, servers.new)))
    if servers.old != servers.new:
        # Two families print a definition differently: of the definitions, which objects there are must do.
        old, new = ([line for line in lines if line.startswith(("INSERT", "object "))] for lines in (old, new))
        old, new = _common_columns(old, new)
    old += _answers(servers.source)
    new += _answers(servers.target)
    if old != new:
        lines = list(difflib.unified_diff(old, new, "original", "copy", n=0, lineterm=""))
        raise CaseFailed("the dumps differ:\n" + "\n".join(line[:300] for line in lines[:SHOWN]))


ROW = re.compile(r"^INSERT INTO (`(?:[^`]|``)+`) \((.*?)\) VALUES \((.*)\);$", re.S)
NAME = re.compile(r"`(?:[^`]|``)+`")
VALUE = re.compile(r"'(?:[^'\\]|\\.|'')*'|[^,']+", re.S)


def _common_columns(*sides: list[str]) -> list[list[str]]:
    """The rows without the columns that one family's program leaves out: it prints no generated ones."""
    parsed = [[(line, ROW.match(line)) for line in lines] for lines in sides]
    columns: dict[str, list[set[str]]] = {}
    for number, lines in enumerate(parsed):
        for _, found in lines:
            if found:
                columns.setdefault(found[1], [set(), set()])[number] |= set(NAME.findall(found[2]))
    projected = []
    for lines in parsed:
        rows = []
        for line, found in lines:
            if found:
                kept = set.intersection(*columns[found[1]])
                pairs = zip(NAME.findall(found[2]), VALUE.findall(found[3]), strict=True)
                line = f"{found[1]}: {', '.join(f'{name} = {value}' for name, value in pairs if name in kept)}"
            rows.append(line)
        projected.append(sorted(rows))
    return projected


def _printed(servers: Combination, host: Host, family: str) -> list[str]:
    host.run(["sh", "-c", f"{DUMP[family]} {PRINTED} >/root/printed.sql"], timeout=300)
    raw = (servers.made.machines() / host.name / "root/root/printed.sql").read_bytes().decode("utf-8", "surrogateescape")
    return sorted_rows(raw)


CREATED = re.compile(r"\b(TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT)\b (?:IF NOT EXISTS )?(?:`cloud(?:_usage)?`\.)?(`(?:[^`]|``)+`|\w+)")
ENABLES_SANDBOX = "enable the sandbox mode"


def sorted_rows(text: str) -> list[str]:
    """The lines of a dump, the rows of each table sorted, a view without the brackets that servers put differently, and its objects named."""
    lines: list[str] = []
    rows: list[str] = []
    for line in text.splitlines():
        if line.startswith("INSERT INTO"):
            rows.append(line.replace("_binary '", "'"))
            continue
        lines += sorted(rows)
        rows.clear()
        if ENABLES_SANDBOX in line or not line.strip():
            continue
        # MySQL prints a column's character set again where a statement named it: the collation says the same.
        line = re.sub(r"^(  `.*?) CHARACTER SET \w+(?= COLLATE )", r"\1", line)
        # An event is made disabled on a copy, and runs there only once the copy is in service.
        line = re.sub(r"^(/\*!50106 CREATE\*/ .* ON COMPLETION (?:NOT )?PRESERVE) (?:ENABLE|DISABLE)(?= )", r"\1 DISABLE", line)
        if re.match(r"^/\*!50001 VIEW ", line):
            line = re.sub(r"[()]", "", line)
        lines.append(line)
        if line.startswith(("CREATE", "/*!50001 VIEW", "/*!50003 CREATE", "/*!50106 CREATE")) and (found := CREATED.search(line)):
            name = found[2].strip("`")  # a trigger's is printed as its maker wrote it
            lines.append(f"object {found[1].lower()} `{name}`")
    return lines + sorted(rows)


def _answers(host: Host) -> list[str]:
    """Every row of every view."""
    asked = (
        "SELECT CONCAT('`', TABLE_SCHEMA, '`.`', REPLACE(TABLE_NAME, '`', '``'), '`') "
        "FROM information_schema.VIEWS WHERE TABLE_SCHEMA LIKE 'cloud%' ORDER BY 1"
    )
    names = sql(host, asked, options=["--raw"]).splitlines()
    found = []
    for name in names:
        try:
            found += [f"{name}: {line}" for line in sorted(sql(host, f"SELECT * FROM {name}").splitlines())]
        except CommandFailed as problem:  # A view may fail on its rows: then it has to on both sides, with one number.
            number = re.search(r"ERROR (\d+)", problem.cause or "")
            found.append(f"{name}: error {number[1] if number else problem}")
    return found
