"""What `judge` asks of the servers; changes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parallel_build.database.physical.judge import Files, ServerFacts
from parallel_build.database.schema.definitions import Schema, Table
from parallel_build.database.schema.translate import QUOTED
from parallel_build.database.server.dialects import identify
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session

NOT_THERE = 44
# The tool's version names the MariaDB that it is of. On a new server the files are unpacked too.
TOOL = f"""
for need in "$@"; do command -v "$need" >/dev/null || exit {NOT_THERE}; done
for program in mariadb-backup mariabackup; do
  if command -v "$program" >/dev/null; then exec "$program" --version 2>&1; fi
done
exit {NOT_THERE}
"""
SERIES = re.compile(r"MariaDB server (\d+)\.(\d+)\.")
SIMPLE = re.compile(r"[0-9A-Za-z_]+")  # any other name is spelt differently as a file
AT_ONCE = 100  # tables asked in one statement
OF_TABLES = (
    "SELECT t.NAME AS n, t.ROW_FORMAT AS f, t.SPACE AS s, COALESCE(p.FILE_SIZE, 0) AS b FROM information_schema.INNODB_SYS_TABLES t "
    "LEFT JOIN information_schema.INNODB_SYS_TABLESPACES p ON p.SPACE = t.SPACE WHERE SUBSTRING_INDEX(t.NAME, '/', 1) IN %s"
)

# Tables may be in the server's own files too, which have no folder in their names.
ALL_FILES = "SELECT SUM(FILE_SIZE) FROM information_schema.INNODB_SYS_TABLESPACES WHERE SUBSTRING_INDEX(NAME, '/', 1) IN %s OR NAME NOT LIKE '%%/%%'"


def server(host: Access, *, original: bool) -> ServerFacts:
    """Of one server. What mariadb-backup asks of another family is not looked at."""
    with session(host) as opened:
        found = identify(opened)
        if found.family != "mariadb":
            return ServerFacts(host.name, found)
        row = opened.row(
            "SELECT @@GLOBAL.innodb_page_size AS page, @@GLOBAL.lower_case_table_names AS names, @@GLOBAL.datadir AS folder, "
            "@@GLOBAL.innodb_encrypt_log AS log, (SELECT COUNT(*) FROM information_schema.INNODB_TABLESPACES_ENCRYPTION "
            "WHERE ENCRYPTION_SCHEME <> 0) AS spaces"
        )
        assert row is not None
        wsrep = opened.row("SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")
    encrypted = [
        *(["the redo log is"] if str(row["log"]) in ("1", "ON") else []),
        *([f"{row['spaces']} tablespace(s) are"] if row["spaces"] else []),
    ]
    return ServerFacts(
        host.name,
        found,
        tool=_tool(host, original=original),
        page_size=int(row["page"]),
        table_names=int(row["names"]),
        encrypted=" and ".join(encrypted),
        galera=wsrep is not None and wsrep["Value"] == "ON",
        free=0 if original else int(host.run(["df", "-B1", "--output=avail", str(row["folder"])]).stdout.split()[-1]),
    )


def _tool(host: Access, *, original: bool) -> tuple[int, int] | None:
    shown = host.script(TOOL, [] if original else ["mbstream"], ok=(0, NOT_THERE))
    if shown.code == NOT_THERE:
        return None
    match = SERIES.search(shown.stdout)
    if match is None:
        raise StepFailed(
            f"{host.name}: mariadb-backup does not say of which MariaDB it is",
            f"`mariadb-backup --version` answers: {shown.stdout.strip()[:200]}",
            f"see whether the package mariadb-backup is whole on {host.name}, or set transfer.seed to logical",
        )
    return int(match[1]), int(match[2])


def at_most(opened: Session, schemas: Sequence[str]) -> int:
    """Bytes of all files that tables of these databases may be in: they have never more.

    Args:
        opened: session to the original; only read.
    """
    return int(opened.value(ALL_FILES, [list(schemas)]) or 0)


def files(opened: Session, definitions: Sequence[Schema]) -> Files:
    """What the original's tables have for files.

    Args:
        opened: session to the original; only read.
    """
    names = [one.name for one in definitions]
    default = str(opened.value("SELECT @@GLOBAL.innodb_default_row_format")).lower()
    spaces = {str(row["n"]): row for row in opened.rows(OF_TABLES, [names])}
    system = opened.value("SELECT SUM(FILE_SIZE) FROM information_schema.INNODB_SYS_TABLESPACES WHERE NAME NOT LIKE '%%/%%'", [])
    log = opened.value("SELECT @@GLOBAL.innodb_log_file_size")
    filled = [table for one in definitions for table in _filled(opened, one.tables)]
    unfit, total = [], 0
    for table in filled:
        space = spaces.get(f"{table.schema}/{table.name}")
        why = _why_unfit(table, space is not None and int(space["s"]) == 0, str(space["f"]).lower() if space else "", default)
        if why:
            unfit.append(f"{table.schema}.{table.name} {why}")
        elif space is None:
            raise StepFailed(
                f"{opened.host.name}: {table.schema}.{table.name} is no table of InnoDB's own list",
                "information_schema.INNODB_SYS_TABLES does not have it, although its engine is InnoDB",
                "set transfer.seed to logical",
            )
        else:
            total += int(space["b"])
    return Files(total, int(system or 0) + int(log), tuple(f"{table.schema}.{table.name}" for table in filled), tuple(unfit))


def _filled(opened: Session, tables: Sequence[Table]) -> list[Table]:
    """The tables that have rows: nothing needs to be brought of the others."""
    found: set[str] = set()
    for begin in range(0, len(tables), AT_ONCE):
        some = tables[begin : begin + AT_ONCE]
        words = " UNION ALL ".join(
            f"SELECT {number} AS n WHERE EXISTS (SELECT 1 FROM {each.full_name})" for number, each in enumerate(some)
        )
        found |= {some[int(row["n"])].name for row in opened.rows(words)}
    return [table for table in tables if table.name in found]


def _why_unfit(table: Table, in_system: bool, row_format: str, default: str) -> str:
    """Why the file of a table can't be taken in; empty where it can."""
    bare = "".join(QUOTED.split(table.create)[::2]).upper()
    if table.engine.upper() != "INNODB":
        return f"is of engine {table.engine}"
    if not (SIMPLE.fullmatch(table.name) and SIMPLE.fullmatch(table.schema)):
        return "has a name that is spelt differently as a file"
    if "PARTITION BY" in bare:
        return "is partitioned"
    if "FULLTEXT" in bare:
        return "has a full-text index"
    if in_system:
        return "is in the system tablespace"
    if "DATA DIRECTORY" in bare:
        return "has its file in a folder of its own"
    if "ROW_FORMAT=" not in bare and row_format != default:
        return f"has the row format {row_format}, which its definition does not name"
    return ""
