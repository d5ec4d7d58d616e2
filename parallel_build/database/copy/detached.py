"""A copy that outlives whoever began it, and what of one can be kept when its snapshot is lost.

The worker holds the snapshot by itself, on the new server. When the tool, its machine or its network goes, a seed's worker continues, and the next call
adopts it (`find`): the same snapshot, the same account, nothing read twice. What that call needs is in `order.json` next to the worker's files.

When the original's server, the new one's worker or the network between the two goes, the snapshot is gone. Large tables that were whole by then stay
(`keep`, `kept_tables`): they are right for that snapshot's position, the others are copied in a new one, and `align_snapshots` brings all to one position.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any

from parallel_build.cancel import clearing_up
from parallel_build.database.copy import account, cleanup, run_worker
from parallel_build.database.copy.cleanup import RUN_FOLDER
from parallel_build.database.copy.digest import digest
from parallel_build.database.copy.progress import size
from parallel_build.database.schema.definitions import Code, Schema, existing, split_create
from parallel_build.durations import duration
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed
from parallel_build.remote import kept_note
from parallel_build.remote.access import Access
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.sql import Session, session

UNWATCHED = 24 * 3600  # seconds that a seed's copy continues with nobody watching


@dataclass
class CopyManifest:
    """What brings a running copy to its end, besides its worker's status.

    Attributes:
        origin: which original is copied, see `identity`.
        server: which run of the new server's database writes it, see `process`.
        schemas: the databases.
        tables: base tables in all.
        weight: estimated bytes of those that are copied.
        codes: views, routines, triggers and events as they were when the copy began, by database.
        digests: of the definitions of tables that may be kept, by `schema.table`.
        groups: tables that foreign keys tie together, directly or not: all of a group are kept, or none.
        kept: tables that an earlier snapshot brought.
        definers, adapted, tls: as in the copy's report.
        folders: where the new server's free space is watched.
    """

    origin: str
    server: str
    schemas: list[str]
    tables: int
    weight: int
    codes: dict[str, list[dict[str, str]]]
    digests: dict[str, str]
    groups: list[list[str]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    definers: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    tls: bool = False
    folders: list[str] = field(default_factory=list)

    @property
    def definitions(self) -> list[Schema]:
        """The databases with nothing but what is made last."""
        return [Schema(name, "", "", (), tuple(Code(**code) for code in codes)) for name, codes in self.codes.items()]


def identity(source: Access, opened: Session) -> str:
    """Which original this is: a different server at the same address has a different one."""
    row = opened.row("SELECT @@GLOBAL.server_id AS i, @@GLOBAL.datadir AS d, @@GLOBAL.log_bin_basename AS b") or {}
    uuid = opened.row("SHOW GLOBAL VARIABLES LIKE 'server_uuid'") or {}
    return " ".join([source.server.address, *(str(value) for value in [*row.values(), *list(uuid.values())[1:]])])


def process(target: Access) -> str:
    """Which run of the database server this is: its socket is created again at each start. Empty when it is down."""
    socket = find_socket(target)
    return target.run(["stat", "-c", "%i %Z", socket]).stdout.strip() if socket else ""


def text(order: CopyManifest) -> str:
    """The order as the file that whoever adopts the copy reads."""
    return json.dumps(asdict(order))


def find(source: Access, target: Access, schemas: Sequence[str], limit: int | None, progress: Callable[[str], None]) -> CopyManifest | None:
    """The order of a copy of that original that runs by itself, or came to its end so; None where there is none. Its limit is set to `limit`."""
    order = _order(target)
    record = cleanup.read_record(target)
    if order is None or record is None or record.finished:
        return None
    with session(source) as opened:
        if (order.origin, order.schemas) != (identity(source, opened), existing(opened, schemas)):
            return None
    if order.server != process(target):
        return None
    target.write(f"{RUN_FOLDER}/limit", str(limit or 0))
    status = _status(target)
    if status.get("state") == "partial":
        progress(f"the copy that ran by itself has left {len(status['left'])} table(s) for another snapshot")
        return None
    if not (status.get("state") == "done" or run_worker.runs(target)):
        progress(f"the copy that ran by itself has stopped: {status.get('error') or 'its program ended without a word'}")
        return None
    done = "is there, nobody watched its end" if status.get("state") == "done" else "is still running, resuming it"
    progress(f"the copy of {source.name} on {target.name} {done}: {size(status.get('bytes', 0))}, {status.get('rows', 0):,} rows so far")
    return order


def _order(target: Access) -> CopyManifest | None:
    return kept_note.read(
        target,
        f"{RUN_FOLDER}/order.json",
        lambda known: CopyManifest(**known),
        cause="it names the copy that runs by itself, and is empty, torn or of another version",
        remedy=f"stop {cleanup.UNIT}.service there and remove {RUN_FOLDER}, then run the same command again, which copies again",
    )


def _status(target: Access) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(target.read(f"{RUN_FOLDER}/status.json") or b"{}")
    return found


class Watch:
    """The time for which a copy is watched. Afterwards its worker, pipes, secrets and account are gone.

    A copy that lasts is left as it is when the watching ends for the watcher's own reasons: it was cancelled, or the new server is out of its reach.

    Args:
        lasts: the copy continues with nobody watching; the account is then ended here, else by whoever made it.
        started: its worker runs already; to be set once it does.
    """

    def __init__(self, source: Access, target: Access, *, lasts: bool, progress: Callable[[str], None], started: bool = False) -> None:
        self.source, self.target, self.lasts, self.progress, self.started = source, target, lasts, progress, started

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.lasts and self.started and isinstance(error, Cancelled | ConnectionFailed | CommandFailed):
            self.progress(
                f"the copy on {self.target.name} continues by itself for at most {duration(UNWATCHED)}: "
                "`pulumi up` takes it up again, `pulumi destroy` ends it"
            )
            return
        if self.lasts:
            keep(self.target)
        try:
            if self.lasts:
                with clearing_up(), session(self.source) as opened:
                    account.revoke(opened)
        finally:
            with clearing_up():
                cleanup.settle(self.target)


def keep(target: Access) -> None:
    """Note which tables of a copy are whole and for which position, before what is known of it is cleared. Idempotent."""
    record, order = cleanup.read_record(target), _order(target)
    if record is None or record.finished or order is None:
        return
    found = _status(target).get("position")
    position = [str(found[0]), int(found[1])] if found else None
    whole = set((target.read(f"{RUN_FOLDER}/whole") or b"").decode().split("\n"))
    whole -= {name for group in order.groups if not whole.issuperset(group) for name in group}
    tables = {name: found for name, found in order.digests.items() if name in whole}
    if not position or not tables or any(layer["position"] == position for layer in record.layers):
        return
    record.layers.append({"position": position, "tables": tables})
    record.origin, record.server = order.origin, order.server
    cleanup.write_record(target, record)


def kept_layers(target: Access, origin: str) -> list[dict[str, Any]]:
    """What earlier snapshots brought: tables by position, oldest first, each with the digest of its definition then.

    Nothing, where the new server's database was restarted since: what it wrote last was in memory only, and its tables, its binary log and its own
    replica need not agree.
    """
    record = cleanup.read_record(target)
    if record is None or record.finished or (record.origin, record.server) != (origin, process(target)):
        return []
    return record.layers


def decide(target: Access, layers: list[dict[str, Any]]) -> None:
    """Note what is kept, before the rest is dropped: what is gone must not be taken for kept later."""
    record = cleanup.read_record(target)
    if record and not record.finished and record.layers != layers:
        record.layers = layers
        cleanup.write_record(target, record)


def digests(schemas: Sequence[Schema]) -> dict[str, str]:
    """The tables that may be kept from a snapshot that is over, each with the digest of its definition: there was no snapshot of any but InnoDB's."""
    return {f"{table.schema}.{table.name}": digest(table.create) for one in schemas for table in one.tables if table.engine == "InnoDB"}


def ties(schemas: Sequence[Schema]) -> dict[str, list[str]]:
    """The tables that foreign keys tie to a table, in either direction; those without are left out."""
    found: dict[str, set[str]] = {}
    for one in schemas:
        for table in one.tables:
            name = f"{table.schema}.{table.name}"
            for clause in split_create(table).foreign_keys:
                words = clause.partition(" REFERENCES ")[2].partition(" (")[0].split("`")[1::2]
                other = ".".join([table.schema, *words][-2:])
                found.setdefault(name, set()).add(other)
                found.setdefault(other, set()).add(name)
    return {name: sorted(others) for name, others in sorted(found.items())}


def groups(schemas: Sequence[Schema]) -> list[list[str]]:
    """The tables that foreign keys tie together, directly or by others.

    A row that one snapshot has and another has not would be refused, or deleted by a cascade that no log names.
    """
    tied = ties(schemas)
    found: list[list[str]] = []
    seen: set[str] = set()
    for first in tied:
        group: set[str] = set()
        ahead = [first]
        while ahead:
            name = ahead.pop()
            if name not in group | seen:
                group.add(name)
                ahead += tied[name]
        if group:
            found.append(sorted(group))
            seen |= group
    return found


def without(definitions: Sequence[Schema], kept: Sequence[str]) -> list[Schema]:
    """The definitions without the tables that are kept."""
    return [replace(one, tables=tuple(table for table in one.tables if f"{table.schema}.{table.name}" not in kept)) for one in definitions]


def seconds(status: dict[str, Any]) -> float:
    """How long the worker has been at it, by its own clock."""
    return round(float(status.get("ended", time.time())) - float(status["started"]), 3)
