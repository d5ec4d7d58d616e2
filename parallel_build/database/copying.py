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
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.connection import Host
from parallel_build.database import access, definers, leftovers, objects, relaxing, remote, schema, space, streams
from parallel_build.database.dialects import DatabaseServer, identify, supported
from parallel_build.database.job import Job, cut
from parallel_build.database.progress import Meter
from parallel_build.database.session import Session, find_socket, quote, session
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
        definers: locked accounts made for objects to run as.
        adapted: what had to be written differently for the new server's family, in words.
        by_table: rows, bytes and seconds by `schema.table`.
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
    definers: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    by_table: dict[str, dict[str, Any]] = field(default_factory=dict)


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
) -> CopyReport:
    """Copy whole databases.

    What an interrupted copy left is cleared first. The schemas on the new server must be empty, or the unfinished copy of an earlier call.

    Args:
        source: the original's database server; only read, apart from the temporary account.
        target: the new source.
        schemas: databases; those that the original doesn't have are left out.
        threads: parallel streams.
        snapshot: read everything at one binary log position. Needs a lock of some milliseconds on the original.
        compress: None measures the network and decides.
        bytes_per_second: limit for the reading, so that users of a running original don't feel it; None for none.
        log: write the copy to the new source's binary log, so that its replica follows; False leaves the replica to be seeded anew.
        through_here: the rows go through this machine's SSH connections, for a target that may open none of its own (the rehearsal's server).
    Raises:
        GuardFailed: servers that don't go together, too little disk space, a database there that is not empty.
        StepFailed: the copy failed; call again.
        Cancelled: stopping was asked for; everything but the half-filled databases is cleared.
    """
    started = time.monotonic()
    progress("looking at both database servers")
    leftovers.settle(target)
    with session(source) as opened:
        access.revoke(opened)
        old = identify(opened)
        names = schema.existing(opened, schemas)
        definitions = [schema.read(opened, name) for name in names]
        parts = cut(opened, definitions)
    with session(target) as opened:
        new = identify(opened)
        supported(old, new, "dump")
        _check_types(source, definitions)
        _make_room(target, opened, names)
        folders = space.check(target, opened, definitions, log=log)
        made = definers.ensure(opened, definers.used(definitions), names)
        fifos = f"{_pipe_folder(opened, target)}/{leftovers.UNIT}"
        relaxed = relaxing.wanted(opened)
        before = relaxing.current(opened, relaxed)
        leftovers.write_record(target, leftovers.Record(list(names), False, before, fifos))
        relaxing.change(opened, relaxed)
        owner = _server_account(target)
        # Below mode 2 a LOAD DATA locks the table's counter to its end, and parts of one table would only wait for each other.
        one_by_one = int(opened.value("SELECT @@GLOBAL.innodb_autoinc_lock_mode")) < 2
    meter = Meter(progress, sum(part.weight for part in parts), sum(len(one.tables) for one in definitions))
    tools = remote.find_tools(target, new)
    try:
        progress(f"making {sum(len(one.tables) for one in definitions)} tables on {target.name}")
        adapted = _make_tables(target, old, new, definitions, threads, cancel, log)
        with access.temporary(source, target, names, through_here=through_here) as way_in:
            job = Job(
                old, new, tools, _socket(target), parts, fifos, threads, snapshot, compress, bytes_per_second, log, one_by_one, folders
            )
            remote.start(target, tools, new, way_in, job.document(), fifos, owner)
            status = remote.follow(target, cancel, meter.tell)
    finally:
        leftovers.settle(target)
    with session(target) as opened, _logging(opened, log):
        progress("making views, routines, triggers and events")
        adapted += [note for note in objects.make_codes(opened, old, new, definitions) if note not in adapted]
    progress("waiting until everything is on the disk")
    _on_disk(target, folders)
    leftovers.write_record(target, leftovers.Record(list(names), finished=True))
    position = status["position"]
    return CopyReport(
        schemas=tuple(names),
        tables=sum(len(one.tables) for one in definitions),
        rows=int(status["rows"]),
        bytes=int(status["bytes"]),
        seconds=round(time.monotonic() - started, 3),
        position=(str(position[0]), int(position[1])) if position else None,
        locked_seconds=float(status["locked_seconds"]),
        compressed=bool(status["compressed"]),
        tls=way_in.tls,
        definers=tuple(str(account) for account in made),
        adapted=tuple(adapted),
        by_table=dict(status["tables"]),
    )


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
            _recreate(opened, name)
    leftovers.forget(target, schemas)


def finished(target: Host) -> bool:
    """Whether the last copy to this server came to its end."""
    record = leftovers.read_record(target)
    return bool(record and record.finished)


def _recreate(opened: Session, name: str) -> None:
    if not schema.existing(opened, [name]):
        opened.execute(f"CREATE DATABASE {quote(name)}")
        return
    if not _objects_in(opened, name):
        return
    character_set, collation = schema.defaults(opened, name)
    opened.execute("SET SESSION foreign_key_checks = 0")
    opened.execute(f"DROP DATABASE {quote(name)}")
    opened.execute(f"CREATE DATABASE {quote(name)} DEFAULT CHARACTER SET {character_set} COLLATE {collation}")


def _objects_in(opened: Session, name: str) -> int:
    tables = opened.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [name])
    routines = opened.value("SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s", [name])
    events = opened.value("SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s", [name])
    return int(tables) + int(routines) + int(events)


def _make_room(target: Host, opened: Session, names: Sequence[str]) -> None:
    """The databases are empty afterwards; only what an unfinished copy of ours wrote is dropped."""
    record = leftovers.read_record(target)
    ours = set(record.schemas) if record and not record.finished else set()
    for name in names:
        if not schema.existing(opened, [name]) or not _objects_in(opened, name):
            continue
        if name not in ours:
            raise GuardFailed(
                f"{target.name}: database {name} is not empty",
                "it holds something that no unfinished copy of this project wrote",
                f"look at it on {target.name}; when it may go, undo the transfer first (`destroy`), or drop its content",
            )
        _recreate(opened, name)


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
        raise ConnectionFailed(f"{target.name}: the database server stopped", "", f"look at `systemctl status` on {target.name}")
    return found
