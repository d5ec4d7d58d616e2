"""`transfer: dump` and the logical seed: whole databases from the original to the new server, directly between the two.

Why not a dumper as packaged: mysqldump and its import are one thread; mydumper needs the space and time of a dump on disk, loads rows with
the secondary keys in place, and the 0.10.1 that Debian 12 has does not know MySQL 9. Here the parts that the servers themselves are
proven in do the work: their own SELECT, their own client program, their own LOAD DATA from a named pipe, sorted key building by ALTER TABLE.
See `streams` for the format, `worker` for the program that ties them together, `definers` for the accounts objects run as.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.connection import Host
from parallel_build.database import (
    access,
    definers,
    joining,
    lasting,
    leftovers,
    makeable,
    objects,
    processes,
    relaxing,
    remote,
    room,
    schema,
    space,
    streams,
)
from parallel_build.database.dialects import DatabaseServer, identify, supported
from parallel_build.database.job import Job, cut
from parallel_build.database.progress import Meter
from parallel_build.database.session import Session, find_socket, session
from parallel_build.errors import ConnectionFailed, GuardFailed

FLUSH_TIMEOUT = 1800  # seconds that a slow disk may take for what the system still holds in memory at the end


@dataclass(frozen=True)
class CopyReport:
    """What was copied.

    Attributes:
        schemas: the databases.
        tables: number of base tables.
        rows: rows written.
        bytes: bytes that travelled, before compression.
        seconds: from the call to the end.
        position: binary log file and position of the original that the copy is right for; empty without a snapshot or binary log.
        locked_seconds: how long the original's tables were locked for the snapshot to begin.
        compressed: the rows travelled compressed.
        tls: the rows travelled encrypted.
        read_by: `wire` or `client program`, with the reason where the wire was to be used and could not.
        definers: locked accounts made for objects to run as.
        adapted: what had to be written differently for the new server's family, in words.
        by_table: rows, bytes and seconds by `schema.table`.
        kept: tables that an earlier snapshot had brought; they are not at `position` yet, see `joining`.
    """

    schemas: tuple[str, ...]
    tables: int
    rows: int
    bytes: int
    seconds: float
    position: tuple[str, int] | None
    locked_seconds: float
    compressed: bool
    tls: bool
    read_by: str = ""
    definers: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    by_table: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


def copy(
    source: Host,
    target: Host,
    schemas: Sequence[str],
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
    snapshot: bool = True,
    compress: bool | None = None,
    bytes_per_second: int | None = None,
    log: bool = True,
    through_here: bool = False,
    lasts: bool = False,
) -> CopyReport:
    """Copy whole databases.

    What an interrupted copy left is cleared first. The schemas on the new server must be empty, or the unfinished copy of an earlier call.
    One that lasts is gone on with instead, see `lasting`.

    Args:
        source: the original's database server; only read, apart from the temporary account.
        target: the new source.
        schemas: databases; those that the original doesn't have are left out.
        threads: parallel streams, at most; one more than the new server has processors is enough for it.
        snapshot: read everything at one binary log position. Needs a lock of some milliseconds on the original.
        compress: None measures the network and decides.
        bytes_per_second: limit for the reading, so that users of a running original don't feel it; None for none.
        log: write the copy to the new source's binary log, so that its replica follows; False leaves the replica to be seeded anew.
        through_here: the rows go through this machine's SSH connections, for a target that may open none of its own (the rehearsal's server).
        lasts: the copy goes on when this machine, its tool or its network is gone; the same call adopts it, running or finished, and keeps large
            tables that were whole when a snapshot was lost. For a copy that a replication is to follow; the others end a minute later.
    Raises:
        GuardFailed: servers that don't go together, too little disk space, a database there that is not empty.
        StepFailed: the copy failed; call again.
        Cancelled: stopping was asked for; everything but the half-filled databases is cleared.
    """
    started = time.monotonic()
    progress("looking at both database servers")
    order = lasting.find(source, target, schemas, bytes_per_second, progress) if lasts else None
    if order:
        with lasting.Watch(source, target, lasts=True, progress=progress, started=True):
            status = remote.follow(target, cancel, Meter(progress, order.weight, order.tables).tell)
        return _complete(source, target, order, status, progress=progress, log=log, started=started)
    if lasts:
        lasting.keep(target)
    leftovers.settle(target)
    with session(source) as opened:
        access.revoke(opened)
        old = identify(opened)
        sessions = processes.table(opened)
        names = schema.existing(opened, schemas)
        definitions = [schema.read(opened, name) for name in names]
        origin = lasting.identity(source, opened)
        supported(old, _identified(target), "dump")
        _check_types(source, definitions)
        makeable.prove(opened, target, definitions, cancel=cancel, progress=progress)
    layers = joining.usable(source, target, names, lasting.kept_layers(target, origin, definitions), progress) if lasts else []
    kept = [name for layer in layers for name in layer["tables"]]
    if lasts:
        lasting.decide(target, layers)
    rest = lasting.without(definitions, kept)
    with session(source) as opened:
        parts = cut(opened, rest)
    with session(target) as opened:
        new = identify(opened)
        room.make(target, opened, names, kept)
        folders = space.check(target, opened, rest, log=log)
        made = definers.ensure(opened, definers.used(definitions), names)
        fifos = f"{_pipe_folder(opened, target)}/{leftovers.UNIT}"
        relaxed = relaxing.wanted(opened)
        before = relaxing.current(opened, relaxed)
        server = lasting.process(target)
        leftovers.write_record(target, leftovers.Record(list(names), False, before, fifos, layers=layers, origin=origin, server=server))
        relaxing.change(opened, relaxed)
        owner = _server_account(target)
        # Below mode 2 a LOAD DATA locks the table's counter to its end, and parts of one table would only wait for each other.
        one_by_one = int(opened.value("SELECT @@GLOBAL.innodb_autoinc_lock_mode")) < 2
    order = lasting.Order(
        origin, server, names, sum(len(one.tables) for one in definitions), sum(part.weight for part in parts),
        {one.name: [asdict(code) for code in one.codes] for one in definitions}, lasting.digests(rest), kept,
        definers=[str(account) for account in made], folders=folders,
    )  # fmt: skip
    meter = Meter(progress, order.weight, sum(len(one.tables) for one in rest))
    tools = remote.find_tools(target, new)
    # A stream waits for the original and for its like a good part of the time; more of them were slower on two processors.
    threads = min(threads, remote.processors(target) + 1)
    with lasting.Watch(source, target, lasts=lasts, progress=progress) as watch, contextlib.ExitStack() as held:
        progress(f"making {sum(len(one.tables) for one in rest)} tables on {target.name}")
        order.adapted = _make_tables(target, old, new, rest, threads, cancel, log)
        # The account of a copy that lasts ends with it, not with this call.
        account = (
            contextlib.nullcontext(access.make(source, target, names))
            if lasts
            else access.temporary(source, target, names, through_here=through_here)
        )
        way_in = held.enter_context(account)
        order.tls = way_in.tls
        unwatched = lasting.UNWATCHED if lasts else remote.ABANDONED
        job = Job(
            old, new, tools, _socket(target), parts, fifos, threads, snapshot, compress, bytes_per_second, log, one_by_one, folders, unwatched, sessions,
            way_in,
        )  # fmt: skip
        remote.start(target, tools, new, way_in, job.document(), fifos, owner, lasting.text(order))
        watch.started = True
        status = remote.follow(target, cancel, meter.tell)
    return _complete(source, target, order, status, progress=progress, log=log, started=started)


def _complete(
    source: Host, target: Host, order: lasting.Order, status: dict[str, Any], *, progress: Callable[[str], None], log: bool, started: float
) -> CopyReport:
    """Everything after the rows: what is made of them, on the disk, on record."""
    with session(source) as opened:
        old = identify(opened)
    adapted = list(order.adapted)
    with session(target) as opened, _logging(opened, log):
        progress("making views, routines, triggers and events")
        adapted += [note for note in objects.make_codes(opened, old, identify(opened), order.definitions) if note not in adapted]
    progress("waiting until everything is on the disk")
    _on_disk(target, order.folders)
    position = status["position"]
    report = CopyReport(
        schemas=tuple(order.schemas),
        tables=order.tables,
        rows=int(status["rows"]),
        bytes=int(status["bytes"]),
        # Of a copy that was begun by an earlier call the worker knows.
        seconds=round(max(time.monotonic() - started, lasting.seconds(status)), 3),
        position=(str(position[0]), int(position[1])) if position else None,
        locked_seconds=float(status["locked_seconds"]),
        compressed=bool(status["compressed"]),
        tls=order.tls,
        read_by=str(status.get("read_by", "")),  # a worker that an earlier version of this program started does not say
        definers=tuple(order.definers),
        adapted=tuple(adapted),
        by_table=dict(status["tables"]),
        kept=tuple(order.kept),
    )
    before = leftovers.read_record(target)
    layers = [layer for layer in before.layers if set(layer["tables"]) & set(order.kept)] if before else []
    finished = leftovers.Record(order.schemas, finished=True, report={**asdict(report), "by_table": {}}, layers=layers)
    leftovers.write_record(target, finished)
    return report


def unfollowed(target: Host) -> CopyReport | None:
    """The report of a finished copy that nothing follows yet, or None."""
    record = leftovers.read_record(target)
    if not (record and record.finished and record.report):
        return None
    lists = {name: tuple(value) for name, value in record.report.items() if isinstance(value, list)}
    return CopyReport(**{**record.report, **lists})


def _make_tables(
    target: Host,
    old: DatabaseServer,
    new: DatabaseServer,
    definitions: Sequence[schema.Schema],
    threads: int,
    cancel: CancelToken,
    log: bool,
) -> list[str]:
    """Make schemas and tables, the tables through several sessions: most of the time of each is waiting for the disk."""
    with session(target) as opened, _logging(opened, log):
        notes = objects.make_schemas(opened, old, new, definitions)
    tables = [table for one in definitions for table in one.tables]

    def share(number: int) -> list[str]:
        with session(target) as opened, _logging(opened, log):
            return objects.make_tables(opened, old, new, tables[number::threads], cancel)

    with ThreadPoolExecutor(threads) as pool:
        for made in pool.map(share, range(threads)):
            notes += [note for note in made if note not in notes]
    return notes


def _on_disk(target: Host, folders: Sequence[str]) -> None:
    """What was written while flushing was off is on the disk: the engine's logs first, then every file of the folders' file systems."""
    with session(target) as opened:
        opened.execute("FLUSH LOCAL ENGINE LOGS")
    target.run(["sync", "--file-system", *folders], timeout=FLUSH_TIMEOUT)


def empty(target: Host, schemas: Sequence[str]) -> None:
    """Leave the databases empty, each with its default character set, and nothing of an interrupted copy. Idempotent.

    Raises:
        ConnectionFailed: the database server is down.
    """
    leftovers.settle(target)
    with session(target) as opened:
        for name in schemas:
            room.recreate(opened, name)
    leftovers.forget(target, schemas)


def finished(target: Host) -> bool:
    """Whether the last copy to this server came to its end."""
    record = leftovers.read_record(target)
    return bool(record and record.finished)


def _identified(target: Host) -> DatabaseServer:
    with session(target) as opened:
        return identify(opened)


def _check_types(source: Host, definitions: Sequence[schema.Schema]) -> None:
    odd = [text for one in definitions for table in one.tables for text in streams.unsupported(table)]
    if odd:
        raise GuardFailed(
            f"{source.name}: {', '.join(odd[:10])}",
            "columns of these types are not brought over",
            "CloudStack makes none of these: drop the columns, or move their tables to a database of their own",
        )


@contextlib.contextmanager
def _logging(opened: Session, log: bool) -> Iterator[None]:
    """Keep a session's statements out of the binary log unless `log`."""
    if not log:
        opened.execute("SET SESSION sql_log_bin = 0")
    yield


def _pipe_folder(opened: Session, target: Host) -> str:
    """Where the database server may read files from: its secure_file_priv, else the folder of its socket."""
    allowed = opened.value("SELECT @@GLOBAL.secure_file_priv")
    if allowed:
        return str(allowed).rstrip("/")
    if allowed is None and identify(opened).family == "mysql":
        raise GuardFailed(
            f"{target.name}: secure_file_priv is NULL",
            "the database server then reads no files at all, and the copy is read from named pipes",
            "set secure_file_priv = /var/lib/mysql-files in its my.cnf and restart it",
        )
    return _socket(target).rpartition("/")[0]


def _server_account(target: Host) -> str:
    """The account the database server runs as: the owner of its socket."""
    return target.run(["stat", "-c", "%U", _socket(target)]).stdout.strip()


def _socket(target: Host) -> str:
    found = find_socket(target)
    if found is None:
        raise ConnectionFailed(
            f"{target.name}: the database server stopped",
            "its socket is gone, through which the copy is written",
            f"look at `systemctl status mariadb mysql` on {target.name}, then run the same command again",
        )
    return found
