"""Which rows the original has changed since a position, read from its binary log by the new source's own log program.

The log is fetched over the network and decoded on the new source; only table names and integer keys come here. A table whose rows have no
integer key, or of which very many changed, is named whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from parallel_build.database.copy import account, run_worker
from parallel_build.database.replicate.channel import Position
from parallel_build.database.schema.definitions import INTEGER_TYPES, Table
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import StepFailed
from parallel_build.remote.host import Host

FOLDER = "/run/cutover-changes"
MANY = 20000  # changed rows of one table above which all its rows are compared

# Reads `mysqlbinlog --verbose` row by row: "### UPDATE `cloud`.`host`", "### WHERE", "###   @1=5 /* ... */", "### SET", ...
READ = r"""
import collections, json, re, subprocess, sys
job = json.load(open(sys.argv[1]))
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
head = re.compile(r"^### (?:INSERT INTO|UPDATE|DELETE FROM) `(.+)`\.`(.+)`$")
value = re.compile(r"^###   @(\d+)=(-?\d+)(?: \((\d+)\))?")
# Statements about accounts and temporary tables change nothing that is compared.
ddl = re.compile(r"(?i)^\s*(?:/\*.*?\*/\s*)?(CREATE|ALTER|DROP|RENAME|TRUNCATE)\b(?!\s+(?:OR\s+REPLACE\s+)?(?:USER|ROLE)\b)(?!.*\bTEMPORARY\b)")
keys, found, whole, statements = None, collections.defaultdict(set), set(), 0
table, current = None, {}
events, texts, database, open_text = 0, [], "", False
used = re.compile(r"^use `(.+)`/\*!\*/;$")
def close():
    if table is None or not current:
        return
    if keys is None:
        whole.add(table)
    elif all(number in current for number, unsigned in keys):
        found[table].add(tuple(current[number][unsigned] for number, unsigned in keys))
        if len(found[table]) > job["many"]:
            whole.add(table)
            found[table].clear()
    else:
        whole.add(table)
for line in process.stdout:
    if line.startswith("###"):
        match = head.match(line)
        if match:
            close()
            events += 1
            table, current = match[1] + "." + match[2], {}
            if match[1] not in job["schemas"]:
                table = None
            else:
                keys = job["keys"].get(table)
            continue
        if line.startswith(("### WHERE", "### SET")):
            close()
            current = {0: 0}
            continue
        if table is not None and table not in whole:
            match = value.match(line)
            if match:
                # A value with its highest bit set is printed twice: signed, and unsigned in brackets.
                current[int(match[1])] = (int(match[2]), int(match[3] or match[2]))
        continue
    close()
    table, current = None, {}
    if open_text:
        texts[-1][1] += line
    elif used.match(line.strip()):
        database = used.match(line.strip())[1].replace("``", "`")
    elif ddl.match(line):
        statements += 1
        texts.append([database, line])
        open_text = True
    open_text = open_text and not line.rstrip().endswith("/*!*/;")
close()
error = process.stderr.read()
json.dump({"code": process.wait(), "error": error[-500:], "events": events, "statements": statements, "whole": sorted(whole),
           "texts": [[database, text.rstrip().replace("/*!*/;", "")] for database, text in texts],
           "keys": {name: sorted(rows) for name, rows in found.items() if name not in whole}}, sys.stdout)
"""

# A tool that was killed leaves its reader running and its last command under way here: both are ended, then the folder stays gone.
CLEAR = r"""
folder=$1
if command -v pgrep >/dev/null; then
  for pid in $(pgrep -f -- "$folder/|mkdir .*$folder"); do
    [ "$pid" = "$$" ] || kill -KILL "$pid" 2>/dev/null || true
  done
fi
rm -rf "$folder"
"""


def clear(target: Host) -> None:
    """End what a reader left on the new source, and remove its folder, in which a password may be. Idempotent."""
    target.run(["sh", "-s", "--", FOLDER], input="set -eu\n" + CLEAR, timeout=60, cancellable=False)


@dataclass(frozen=True)
class Changes:
    """What changed in a stretch of the original's binary log.

    Attributes:
        begin: from here on.
        events: changed rows, each time counted.
        keys: integer keys of changed rows, by `schema.table`; parts in the order of the primary key.
        whole: tables of which all rows are in question.
        statements: statements that change definitions.
        texts: these, each with its default database.
    """

    begin: Position
    events: int = 0
    keys: dict[str, set[tuple[int, ...]]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    statements: int = 0
    texts: tuple[tuple[str, str], ...] = ()

    def joined(self, later: Changes) -> Changes:
        """These and those of a later stretch."""
        names = self.keys.keys() | later.keys.keys()
        keys = {name: self.keys.get(name, set()) | later.keys.get(name, set()) for name in names}
        return Changes(
            self.begin,
            self.events + later.events,
            keys,
            self.whole | later.whole,
            self.statements + later.statements,
            self.texts + later.texts,
        )


def key_numbers(table: Table) -> list[tuple[int, int]] | None:
    """The primary key's column numbers in the binary log, counted from 1, each with 1 where unsigned; None where one is no integer."""
    if not table.primary_key:
        return None
    numbers = []
    for name in table.primary_key:
        index = next(number for number, column in enumerate(table.columns) if column.name == name)
        if table.columns[index].type not in INTEGER_TYPES:
            return None
        numbers.append((index + 1, int("unsigned" in table.columns[index].full_type)))
    return numbers


class LogReader:
    """Reads the original's binary log piece by piece, from the new source; what it needs there is put in place once.

    Args:
        way_in: account that may read the log.
        server: the new source, whose log program reads.
        tables: the tables of `schemas`.
    """

    def __init__(
        self, source: Host, target: Host, server: DatabaseServer, way_in: account.Access, tables: Sequence[Table], schemas: Sequence[str]
    ) -> None:
        self._source, self._target, self._way_in, self._server = source, target, way_in, server
        self._program = log_program(target, server)
        self._python = run_worker.find_tools(target, server).python
        names = {f"{table.schema}.{table.name}": key_numbers(table) for table in tables}
        self._job = {"many": MANY, "schemas": list(schemas), "keys": {name: keys for name, keys in names.items() if keys}}

    def __enter__(self) -> LogReader:
        clear(self._target)
        self._target.run(["mkdir", "-p", "-m", "700", FOLDER])
        self._target.write(f"{FOLDER}/source.cnf", account.client_options(self._way_in, self._server.family, f"{FOLDER}/ca.pem"))
        self._target.write(f"{FOLDER}/read.py", READ)
        self._target.write(f"{FOLDER}/job.json", json.dumps(self._job))
        if self._way_in.authority:
            self._target.write(f"{FOLDER}/ca.pem", self._way_in.authority)
        return self

    def __exit__(self, *_: object) -> None:
        clear(self._target)

    def read(self, begin: Position) -> Changes:
        """What changed from `begin` to the log's end.

        Raises:
            StepFailed: the log can't be read from there (a file is gone, for instance).
        """
        command = [
            self._program, f"--defaults-file={FOLDER}/source.cnf", "--read-from-remote-server", "--to-last-log", "--verbose",
            "--base64-output=DECODE-ROWS", f"--start-position={begin.offset}", begin.file,
        ]  # fmt: skip
        result = self._target.run([self._python, f"{FOLDER}/read.py", f"{FOLDER}/job.json", *command], timeout=3600)
        found = json.loads(result.stdout)
        if found["code"]:
            raise StepFailed(
                f"{self._target.name}: the binary log of {self._source.name} can't be read from {begin} on",
                str(found["error"]).strip().replace("\n", " | "),
                "run the comparison again: it begins at a new position",
            )
        keys = {name: {tuple(row) for row in rows} for name, rows in found["keys"].items()}
        return Changes(begin, found["events"], keys, frozenset(found["whole"]), found["statements"],
                       tuple((database, text) for database, text in found["texts"]))  # fmt: skip


def log_program(target: Host, server: DatabaseServer) -> str:
    """The new source's program that reads binary logs.

    Raises:
        StepFailed: it has none.
    """
    names = ("mariadb-binlog", "mysqlbinlog") if server.family == "mariadb" else ("mysqlbinlog",)
    result = target.run(["sh", "-c", 'for n; do command -v "$n" && exit 0; done; exit 1', "sh", *names], ok=(0, 1))
    if not result.ok:
        raise StepFailed(f"{target.name} has no {names[0]}", "it reads the original's binary log", "install the server's own packages")
    return result.stdout.strip()
