"""What the copy's worker gets to do: the tables in parts, the statements of each, the clients' command lines (see `worker`)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parallel_build.database.copy import account, detached, run_worker
from parallel_build.database.copy import statements as streams
from parallel_build.database.copy.digest import digest
from parallel_build.database.schema import definitions
from parallel_build.database.server import waiting
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.remote.session_settings import pinned
from parallel_build.remote.sql import Session, quote

LOW_SPACE = 64 << 20  # bytes left on a disk of the new server at which the copy stops by itself
COMPRESS_BELOW = 50 << 20  # bytes a second; a network that carries more is faster than the compression of one core
SESSION_ATTEMPTS = 4  # to open a session; a server under load closes one that is slow to greet it
# Tables that show the rows of others: they are made, and have these rows as soon as the others do.
ROWS_OF_OTHERS = frozenset({"MRG_MYISAM", "MERGE"})
LOOK = 3.0  # seconds of which the mean says how busy the original is
# Spare sessions in the snapshot, at most, and of those that the original has free. MySQL's release their locks by themselves, MariaDB's are replaced.
SPARE = {"mysql": 16, "mariadb": 48}
SPARE_SHARE = 4


@dataclass(frozen=True)
class Job:
    """A copy's order.

    Attributes:
        old, new: the original's database server, and the new one.
        tools: programs on the new server.
        login: the client's words that log in to the new server.
        parts: what to copy, see `cut`.
        fifos: folder for the named pipes.
        threads: parallel streams.
        snapshot: read everything at one binary log position.
        compress: None measures the network and decides.
        bytes_per_second: limit for the reading, None for none.
        log: write the copy to the new server's binary log.
        one_by_one: parts of one table go one after another.
        folders: where the new server's free space is watched.
        unwatched: seconds after which it ends itself when nobody watches.
        processes: the original's table of sessions.
        way_in: the account on the original.
        schemas: the definitions of the tables that are copied.
        watched: users work on the original: whoever waits for a lock of the copy's sessions is given way to.
        spare: sessions beyond those that read, see `spare_sessions`.
        usual: how many statements of others run there, where an earlier snapshot of the copy has seen it.
    """

    old: DatabaseServer
    new: DatabaseServer
    tools: run_worker.Tools
    login: Sequence[str]
    parts: Sequence[streams.Part]
    fifos: str
    threads: int
    snapshot: bool
    compress: bool | None
    bytes_per_second: int | None
    log: bool
    one_by_one: bool
    folders: Sequence[str]
    unwatched: int
    processes: str
    way_in: account.CopyAccount
    schemas: Sequence[definitions.Schema]
    watched: bool
    spare: int
    usual: float | None

    def document(self) -> dict[str, Any]:
        """The job file's content."""
        fifo_mark = f"@{secrets.token_hex(8)}@"
        taking = pinned(self.new.family, self.new.version, streams.target_settings(self.new.family), writing=True)
        return {
            "marker": f"--{secrets.token_hex(16)}--",
            "source": run_worker.source_command(self.tools, self.new),
            "target": run_worker.target_command(self.tools, self.new, self.login),
            "source_settings": [pinned(self.old.family, self.old.version, streams.SOURCE_SETTINGS)],
            "target_settings": [taking, *([] if self.log else ["SET SESSION sql_log_bin = 0"])],
            "streams": min(self.threads, max(1, len(self.parts))),
            "wire": {"start": streams.START, "tls": self._tls()},
            "snapshot": self._snapshot() if self.snapshot else None,
            "savepoints": self.old.family == "mysql",
            "spare": self.spare,
            "watch": self._watch() if self.watched else None,
            "session_attempts": SESSION_ATTEMPTS,
            "compress": self.compress,
            "compress_options": run_worker.compress_options(self.new),
            "compress_below": COMPRESS_BELOW,
            "bytes_per_second": self.bytes_per_second or 0,
            "statements": waiting.STATEMENTS.format(table=self.processes, own=self.way_in.user)
            if self.bytes_per_second or self.watched
            else "",
            "look": LOOK,
            "usual": self.usual,
            "abandoned": self.unwatched,
            "stalled": run_worker.STALLED,
            "probe": run_worker.probe_command(self.tools, self.old, self.new, self.processes),
            "fifo_folder": self.fifos,
            "folders": list(self.folders),
            "low_space": LOW_SPACE,
            "fifo_mark": fifo_mark,
            "one_by_one": self.one_by_one,
            "parts": [
                {
                    "table": f"{part.table.schema}.{part.table.name}",
                    "select": streams.select(part.table, part.where),
                    "load": streams.load(part.table, fifo_mark),
                    "longest": streams.longest(part.table, part.where),
                    "weight": part.weight,
                    "unique": streams.unescaped(part.table),
                }
                for part in self.parts
            ],
            "finish": {
                f"{part.table.schema}.{part.table.name}": statements
                for part in self.parts
                if (statements := streams.finish_statements(part.table))
            },
        }

    def _snapshot(self) -> dict[str, object]:
        lock, unlock = self.old.dialect.lock
        return {
            "family": self.old.family, "status": self.old.dialect.log_status, "processes": self.processes, "own": self.way_in.user,
            "lock": list(lock), "unlock": unlock,
        }  # fmt: skip

    def _watch(self) -> dict[str, object]:
        """What shows who waits for which table, and whether a table is still what it was."""
        tables = [table for one in self.schemas for table in one.tables]
        return {
            "tables": [[table.schema, table.name] for table in tables],
            "tied": detached.ties(self.schemas),
            "definitions": {
                f"{table.schema}.{table.name}": {"ask": f"SHOW CREATE TABLE {table.full_name}", "digest": digest(table.create)}
                for table in tables
            },
        }

    def _tls(self) -> dict[str, object] | None:
        """How a session over the wire is encrypted and whom it trusts, as the client program reads it in its option file."""
        if not self.way_in.tls:
            return None
        return {"authority": run_worker.AUTHORITY if self.way_in.authority else "", "verified": self.way_in.verified}


def spare_sessions(opened: Session, family: str) -> int:
    """How many sessions a copy may have on the original beyond those that read: none that a user may want."""
    row = opened.row("SHOW GLOBAL STATUS LIKE 'Threads_connected'") or {}
    free = int(opened.value("SELECT @@GLOBAL.max_connections")) - int(row.get("Value", 0))
    return max(0, min(SPARE[family], free // SPARE_SHARE))


def cut(opened: Session, definitions: Sequence[definitions.Schema], *, in_use: bool) -> list[streams.Part]:
    """All tables cut into parts, largest first, so that no stream is left alone with a large one at the end.

    Args:
        in_use: somebody may change definitions meanwhile. Then all small tables come before: the less time passes before a table is read, the less
            likely it is that it changes before.
    """
    parts = []
    for one in definitions:
        for table in one.tables:
            if table.engine.upper() in ROWS_OF_OTHERS:
                continue
            conditions = [""]
            if table.range_column and table.data_bytes > streams.CHUNK_BYTES:
                name = quote(table.range_column)
                found = opened.row(f"SELECT MIN({name}) AS low, MAX({name}) AS high FROM {table.full_name}") or {}
                conditions = streams.ranges(table, found.get("low"), found.get("high"))
            weight = max(1, table.data_bytes // len(conditions))
            parts += [streams.Part(table, condition, weight) for condition in conditions]

    def order(part: streams.Part) -> tuple[bool, int, str]:
        return (
            in_use and part.table.data_bytes >= streams.DEFER_KEYS_FROM,
            -part.table.data_bytes - part.table.index_bytes,
            part.table.full_name,
        )

    return sorted(parts, key=order)
