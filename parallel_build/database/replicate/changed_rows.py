"""Which rows the original has changed since a position, read from its binary log by a program on the new source.

The new source's own log program fetches the log over the network, and `log_reader` takes its events apart there by their fields; only names, integer keys
and doubts come here. A table whose rows have no integer key, or of which very many changed, is named whole. What the log can't prove is a doubt: a statement
that may have changed what is compared, an event that is not known. Then everything is compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_build.database.copy import account, run_worker
from parallel_build.database.replicate import log_archive
from parallel_build.database.replicate.channel import Position
from parallel_build.database.schema.definitions import INTEGER_TYPES, Table
from parallel_build.database.server import processes
from parallel_build.database.server.dialects import DatabaseServer, require
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session

FOLDER = "/run/cutover-changes"
PROGRAM = f"{FOLDER}/read.pyz"
MANY = 20000  # changed rows of one table above which all its rows are compared
LIMIT = 1 << 32  # what a position may be for whoever asks a server for its log from there

# A tool that was killed leaves its reader running and its last command under way here: both are ended, then the folder stays gone.
CLEAR = r"""
folder=$1
# What runs this has the folder's name in its own words.
own=" $$ " pid=$$
while [ "${pid:-1}" -gt 1 ]; do
  pid=$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$pid/stat" 2>/dev/null || echo 1)
  own="$own$pid "
done
if command -v pgrep >/dev/null; then
  for pid in $(pgrep -f -- "$folder/|mkdir .*$folder"); do
    case "$own" in *" $pid "*) ;; *) kill -KILL "$pid" 2>/dev/null || true ;; esac
  done
fi
rm -rf "$folder"
"""

Name = tuple[str, str]  # schema and table
Key = tuple[int, ...]


def clear(target: Access) -> None:
    """End what a reader left on the new source, and remove its folder, in which a password may be. Idempotent."""
    target.run(["sh", "-s", "--", FOLDER], input="set -eu\n" + CLEAR, timeout=60, cancellable=False)


@dataclass(frozen=True)
class Changes:
    """What changed in a stretch of the original's binary log.

    Attributes:
        begin: from here on.
        events: changed rows, each time counted; of a table that is named whole, events of one or more rows.
        keys: integer keys of changed rows, by schema and table; parts in the order of the primary key.
        whole: tables of which all rows are in question.
        doubts: what was seen after which only a comparison of everything proves anything, in words; some of them where there are many.
        writers: server_id and connection of what changed rows; connection 0 where the log does not name it.
        texts: statements about definitions among the doubts, each with its default database.
        others: how many doubts are no such statement.
    """

    begin: Position
    events: int = 0
    keys: Mapping[Name, set[Key]] = field(default_factory=dict)
    whole: frozenset[Name] = frozenset()
    doubts: tuple[str, ...] = ()
    writers: frozenset[tuple[int, int]] = frozenset()
    texts: tuple[tuple[str, str], ...] = ()
    others: int = 0

    @property
    def none(self) -> bool:
        """Nothing was changed of what is compared, and this is proved."""
        return not (self.events or self.doubts)

    def joined(self, later: Changes) -> Changes:
        """These and those of a later stretch."""
        names = self.keys.keys() | later.keys.keys()
        keys = {name: self.keys.get(name, set()) | later.keys.get(name, set()) for name in names}
        doubts = tuple(dict.fromkeys(self.doubts + later.doubts))
        return Changes(
            self.begin, self.events + later.events, keys, self.whole | later.whole, doubts, self.writers | later.writers, self.texts + later.texts,
            self.others + later.others,
        )  # fmt: skip

    def doubted(self, tables: Sequence[Table]) -> str:
        """Why only a comparison of everything proves anything, in words; empty where the changed rows do.

        Args:
            tables: the tables as they are: a change in one that is not there can't be compared by its rows.
        """
        strange = {*self.whole, *self.keys} - {(table.schema, table.name) for table in tables}
        words = [*self.doubts, *(f"changes in {schema}.{name}, which is no table now" for schema, name in sorted(strange))]
        return "; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else "")

    def summary(self) -> str:
        """What was changed, in words."""
        rows = ", ".join(f"{schema}.{name}" for schema, name in sorted({*self.whole, *self.keys})[:5])
        words = [f"{self.events} changed rows in {rows}"] if self.events else []
        return "; ".join([*words, *self.doubts[:3]])


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
        tables: the tables of `schemas`; None where only the number of changes and the doubts matter.
    """

    def __init__(
        self, source: Access, target: Access, server: DatabaseServer, way_in: account.CopyAccount, tables: Sequence[Table] | None,
        schemas: Sequence[str],
    ) -> None:  # fmt: skip
        self._source, self._target, self._way_in, self._server = source, target, way_in, server
        self._program = log_program(target, server)
        self._python = run_worker.find_tools(target, server).python
        with session(source) as old:
            fold = require(old, "lower_case_table_names") != "0"
        keys = None if tables is None else [(table.schema, table.name, key_numbers(table)) for table in tables]
        self._job: dict[str, Any] = {"many": MANY, "schemas": list(schemas), "fold": fold, "keys": keys, "folder": f"{FOLDER}/log"}

    def __enter__(self) -> LogReader:
        clear(self._target)
        self._target.run(["mkdir", "-p", "-m", "700", FOLDER])
        self._target.write(f"{FOLDER}/source.cnf", account.client_options(self._way_in, self._server.family, f"{FOLDER}/ca.pem"))
        self._target.write(PROGRAM, log_archive.archive("log_reader"))
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
        if begin.offset >= LIMIT:
            raise StepFailed(
                f"the binary log of {self._source.name} can't be read from {begin} on",
                "servers give out their log from the first 4 GiB of a file only",
                "run the same command again: it begins at a new position",
            )
        command = [
            self._program, f"--defaults-file={FOLDER}/source.cnf", "--read-from-remote-server", "--to-last-log", "--raw",
            f"--result-file={FOLDER}/log/", f"--start-position={begin.offset}", begin.file,
        ]  # fmt: skip
        run = ["sh", "-c", 'rm -rf "$1" && mkdir -m 700 "$1" && exec "$2" "$3"', "sh", f"{FOLDER}/log", self._python, PROGRAM]
        job = {**self._job, "command": command, "file": begin.file}
        found = json.loads(self._target.run(run, input=json.dumps(job), timeout=3600).stdout)
        if found["code"]:
            raise StepFailed(
                f"{self._target.name}: the binary log of {self._source.name} can't be read from {begin} on",
                str(found["error"]).strip().replace("\n", " | "),
                "run the same command again: it begins at a new position",
            )
        more = found["doubted"] - len(found["doubts"])
        return Changes(
            begin,
            found["events"],
            {(schema, table): {tuple(row) for row in rows} for schema, table, rows in found["keys"]},
            frozenset((schema, table) for schema, table in found["whole"]),
            (*found["doubts"], *([f"{more} more such events"] if more > 0 else [])),
            frozenset((server, thread) for server, thread in found["writers"]),
            tuple((database, text) for database, text in found["texts"]),
            found["doubted"] - len(found["texts"]),
        )


def log_program(target: Access, server: DatabaseServer) -> str:
    """The new source's program that reads binary logs.

    Raises:
        StepFailed: it has none.
    """
    names = ("mariadb-binlog", "mysqlbinlog") if server.family == "mariadb" else ("mysqlbinlog",)
    result = target.run(["sh", "-c", 'for n; do command -v "$n" && exit 0; done; exit 1', "sh", *names], ok=(0, 1))
    if not result.ok:
        raise StepFailed(
            f"{target.name} has no {names[0]}",
            "the original's binary log is read with it",
            f"install the database server's own packages on {target.name}",
        )
    return result.stdout.strip()


def who(opened: Session, writers: frozenset[tuple[int, int]]) -> str:
    """Who may have written, in words: the connections that the log names, and whoever is connected now; nothing of ours.

    Args:
        writers: as `Changes` has them.
    """
    named = sorted(thread for _, thread in writers if thread)
    own = [account.COPY_USER, "cutover_repl", "system user", "event_scheduler", ""]
    rows = opened.rows(f"SELECT ID AS i, USER AS u, HOST AS h, DB AS d FROM {processes.table(opened)} WHERE ID <> CONNECTION_ID()")
    connected = [f"{row['u']}@{row['h']} (connection {row['i']}, database {row['d'] or 'none'})" for row in rows if row["u"] not in own
                 and (not named or row["i"] in named)]  # fmt: skip
    words = [f"the log names connection {', '.join(map(str, named))}"] if named else []
    words.append(
        f"connected now: {', '.join(connected[:8])}"
        if connected
        else "connected now: nobody, so it was a session that has ended, or an event"
    )
    return "; ".join(words)
