"""`transfer: dump` and the logical seed: whole databases from the original to the new server, directly between the two.

Why not a dumper as packaged: mysqldump and its import are one thread; mydumper needs the space and time of a dump on disk, loads rows with
the secondary keys in place, and the 0.10.1 that Debian 12 has does not know MySQL 9. Here the parts that the servers themselves are
proven in do the work: their own SELECT, their own client program, their own LOAD DATA from a named pipe, sorted key building by ALTER TABLE.
See `statements` for the format, `worker` for the program that ties them together, `definers` for the accounts objects run as.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import account as access
from parallel_build.database.copy import bulk_load_settings, cleanup, create, definers, detached, makeable, portable, run_worker, space
from parallel_build.database.copy import empty as room
from parallel_build.database.copy.job import Job, cut, spare_sessions
from parallel_build.database.copy.progress import Meter
from parallel_build.database.copy.rounds import Rounds
from parallel_build.database.copy.statements import Part
from parallel_build.database.schema import definitions as schema
from parallel_build.database.server import processes
from parallel_build.database.server.dialects import DatabaseServer, identify, supported
from parallel_build.errors import ConnectionFailed, GuardFailed
from parallel_build.remote.access import Access
from parallel_build.remote.database_client import login_words
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Refused, Session, session

Layers = list[dict[str, Any]]
# Source, target, schemas, tables that earlier snapshots left whole, progress: those of them that a replication can bring to a later position.
Usable = Callable[[Access, Access, Sequence[str], Layers, Callable[[str], None], Sequence[schema.Schema]], Layers]

READINGS = 3  # of definitions, on an original whose tables come and go
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
        locked_seconds: how long anybody may have waited for the snapshot to begin; 0 where it needed no lock.
        compressed: the rows travelled compressed.
        tls: the rows travelled encrypted.
        read_by: `wire` or `client program`, with the reason where the wire was to be used and could not.
        definers: locked accounts made for objects to run as.
        adapted: what had to be written differently for the new server's family, in words.
        by_table: rows, bytes and seconds by `schema.table`.
        kept: tables that an earlier snapshot had brought; they are not at `position` yet, see `align_snapshots`.
        waited_seconds: the longest that a user was seen waiting behind a lock of the copy, at most; 0 where nobody was.
        gave_way: how often sessions of the copy were ended for somebody who waited.
        snapshots: how many it took.
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
    waited_seconds: float = 0.0
    gave_way: int = 0
    snapshots: int = 1

    @property
    def waits(self) -> str:
        """How long anybody waited for it, in words."""
        given = f"; {self.gave_way} times sessions of it ended for somebody who waited" if self.gave_way else ""
        return f"longest wait of a user behind this copy {self.waited_seconds:.1f} s, in {self.snapshots} snapshot(s){given}"


@dataclass(frozen=True)
class _Call:
    """What `copy` was asked for."""

    source: Access
    target: Access
    schemas: Sequence[str]
    threads: int
    cancel: CancelToken
    progress: Callable[[str], None]
    snapshot: bool
    compress: bool | None
    bytes_per_second: int | None
    log: bool
    through_here: bool
    usable: Usable | None
    in_use: bool

    @property
    def lasts(self) -> bool:
        """Whether it continues when nobody watches."""
        return self.usable is not None


def copy(
    source: Access,
    target: Access,
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
    usable: Usable | None = None,
    in_use: bool = False,
) -> CopyReport:
    """Copy whole databases.

    What an interrupted copy left is cleared first. The schemas on the new server must be empty, or the unfinished copy of an earlier call.
    One that lasts is resumed instead, see `detached`.

    Args:
        source: the original's database server; only read, apart from the temporary account.
        target: the new source.
        schemas: databases; those that the original doesn't have are left out.
        threads: parallel streams, at most; one more than the new server has processors is enough for it.
        snapshot: read everything at one binary log position. Needs a lock of some milliseconds on the original.
        compress: None measures the network and decides.
        bytes_per_second: limit for the reading, so that users of a running original don't feel it; None for none.
        log: write the copy to the new source's binary log, so that its replica follows; False leaves the replica to be seeded again.
        through_here: the rows go through this machine's SSH connections, for a target that may open none of its own (the rehearsal's server).
        usable: the copy continues when this machine, its tool or its network is gone; the same call adopts it, running or finished, and keeps large
            tables that were whole when a snapshot was lost, as far as this says that a replication can bring them on. For a copy that a replication
            is to follow; the others (None) end a minute later.
        in_use: users work on the original: whoever waits for a lock of the copy is given way to. So it is with `usable`. Without `usable`, tables
            that changed while they were read have everything copied again, in another snapshot.
    Raises:
        GuardFailed: servers that don't go together, too little disk space, a database there that is not empty.
        StepFailed: the copy failed; call again.
        Cancelled: stopping was asked for; everything but the half-filled databases is cleared.
    """
    started = time.monotonic()
    progress("looking at both database servers")
    call = _Call(
        source, target, schemas, threads, cancel, progress, snapshot, compress, bytes_per_second, log, through_here, usable,
        in_use=in_use or usable is not None,
    )  # fmt: skip
    rounds = Rounds(keeps=call.lasts)
    while True:
        order, status = _adopt(call) or _begin(call, rounds)
        total = rounds.take_in(status)
        if status["state"] == "done":
            return _complete(call, order, total, rounds.count, started)
        progress(rounds.check(source.name, status))


def _adopt(call: _Call) -> tuple[detached.CopyManifest, dict[str, Any]] | None:
    """Watch a copy that runs by itself to its end; None where there is none."""
    order = detached.find(call.source, call.target, call.schemas, call.bytes_per_second, call.progress) if call.lasts else None
    if order is None:
        return None
    with detached.Watch(call.source, call.target, lasts=True, progress=call.progress, started=True):
        return order, run_worker.follow(call.target, call.cancel, Meter(call.progress, order.weight, order.tables).tell)


def _begin(call: _Call, rounds: Rounds) -> tuple[detached.CopyManifest, dict[str, Any]]:
    """Copy what no earlier snapshot brought, in a new one; its order, and the status at its end.

    Args:
        rounds: the snapshots before.
    """
    source, target, progress, lasts = call.source, call.target, call.progress, call.lasts
    if lasts:
        detached.keep(target)
    cleanup.settle(target)
    parts: list[Part] = []
    spare = 0
    with Workers(1) as aside:
        # A session or a command is mostly waiting for the network: what both servers have to say is asked at the same time.
        looked = aside.submit(_look_at, target)
        with session(source) as opened:
            access.revoke(opened)
            old = identify(opened)
            sessions = processes.table(opened)
            names = schema.existing(opened, call.schemas)
            definitions = _read(opened, names)
            origin = detached.identity(source, opened)
            there = looked.result()
            if not rounds.count:
                _prove_makeable(opened, target, old, there.server, definitions, call.cancel, call.progress)
            if not call.in_use:
                parts = cut(opened, definitions, in_use=False)
    layers = call.usable(source, target, names, detached.kept_layers(target, origin), progress, definitions) if call.usable else []
    kept = [name for layer in layers for name in layer["tables"]]
    if lasts:
        detached.decide(target, layers)
    rest = detached.without(definitions, kept)
    if call.in_use:
        with session(source) as opened:
            # What came before took its time: the less passes before the snapshot begins, the fewer tables change before it.
            definitions = _read(opened, names)
            rest = detached.without(definitions, kept)
            parts = cut(opened, rest, in_use=True)
            spare = spare_sessions(opened, old.family)
    with session(target) as opened:
        room.make(target, opened, names, kept)
        folders = space.check(target, opened, rest, log=call.log)
        made = definers.ensure(opened, definers.used(definitions), names)
        fifos = f"{_pipe_folder(opened, target)}/{cleanup.UNIT}"
        relaxed = bulk_load_settings.wanted(opened)
        before = bulk_load_settings.current(opened, relaxed)
        cleanup.write_record(target, cleanup.Record(list(names), False, before, fifos, layers=layers, origin=origin, server=there.process))
        bulk_load_settings.change(opened, relaxed)
    order = detached.CopyManifest(
        origin, there.process, names, sum(len(one.tables) for one in definitions), sum(part.weight for part in parts),
        {one.name: [asdict(code) for code in one.codes] for one in definitions}, detached.digests(rest), detached.groups(rest), kept,
        definers=[str(account) for account in made], folders=folders,
    )  # fmt: skip
    meter = Meter(progress, order.weight, sum(len(one.tables) for one in rest))
    # A stream waits for the original and for its like a good part of the time; more of them were slower on two processors.
    threads = min(call.threads, there.processors + 1)
    with detached.Watch(source, target, lasts=lasts, progress=progress) as watch, contextlib.ExitStack() as held:
        progress(f"making {sum(len(one.tables) for one in rest)} tables on {target.name}")
        with Workers(2) as aside:
            tables = aside.submit(_make_tables, target, old, there.server, rest, threads, call.cancel, call.log)
            pushed = aside.submit(run_worker.push, target, there.tools, fifos, there.owner)
            # The account of a copy that lasts ends with it, not with this call.
            account = (
                contextlib.nullcontext(access.make(source, target, names))
                if lasts
                else access.temporary(source, target, names, through_here=call.through_here)
            )
            way_in = held.enter_context(account)
            pushed.result()
            unwatched = detached.UNWATCHED if lasts else run_worker.ABANDONED
            login = login_words(target, _socket(target), run_worker.TARGET)
            job = Job(
                old, there.server, there.tools, login, parts, fifos, threads, call.snapshot, call.compress, call.bytes_per_second, call.log,
                there.one_by_one, folders, unwatched, sessions, way_in, rest, call.in_use, spare, rounds.usual,
            )  # fmt: skip
            run_worker.prepare(target, there.server, way_in, job.document())
            order.adapted = tables.result()
        order.tls = way_in.tls
        run_worker.start(target, there.tools, detached.text(order))
        watch.started = True
        return order, run_worker.follow(target, call.cancel, meter.tell)


@dataclass(frozen=True)
class _NewServer:
    """The new server, as far as a copy asks before it changes anything there.

    Attributes:
        process: which run of its database, see `detached.process`.
        owner: the account that its database server runs as.
        one_by_one: below mode 2 a LOAD DATA locks the table's counter to its end, and parts of one table would only wait for each other.
    """

    server: DatabaseServer
    tools: run_worker.Tools
    processors: int
    process: str
    owner: str
    one_by_one: bool


def _look_at(target: Access) -> _NewServer:
    with session(target) as opened:
        server = identify(opened)
        mode = int(opened.value("SELECT @@GLOBAL.innodb_autoinc_lock_mode"))
    tools = run_worker.find_tools(target, server)
    return _NewServer(server, tools, run_worker.processors(target), detached.process(target), _server_account(target), mode < 2)


def _read(opened: Session, names: Sequence[str]) -> list[schema.Schema]:
    """The definitions; once more where a table was dropped between being listed and being read."""
    for _ in range(READINGS - 1):
        try:
            return [schema.read(opened, name) for name in names]
        except Refused as refused:
            if not refused.unknown:
                raise
    return [schema.read(opened, name) for name in names]


def _complete(call: _Call, order: detached.CopyManifest, status: dict[str, Any], snapshots: int, started: float) -> CopyReport:
    """Everything after the rows: what is made of them, on the disk, on record."""
    target, progress = call.target, call.progress
    adapted = list(order.adapted)
    with Workers(1) as aside:
        looked = aside.submit(_identity, call.source)
        with session(target) as opened, _logging(opened, call.log):
            progress("making views, routines, triggers and events")
            notes = create.make_codes(opened, looked.result(), identify(opened), order.definitions)
            adapted += [note for note in notes if note not in adapted]
            progress("waiting until everything is on the disk")
            _on_disk(opened, order.folders)
    position = status["position"]
    report = CopyReport(
        schemas=tuple(order.schemas),
        tables=order.tables,
        rows=int(status["rows"]),
        bytes=int(status["bytes"]),
        # Of a copy that was begun by an earlier call the worker knows.
        seconds=round(max(time.monotonic() - started, detached.seconds(status)), 3),
        position=(str(position[0]), int(position[1])) if position else None,
        locked_seconds=float(status["locked_seconds"]),
        compressed=bool(status["compressed"]),
        tls=order.tls,
        read_by=str(status.get("read_by", "")),  # a worker that an earlier version of this program started does not say
        definers=tuple(order.definers),
        adapted=tuple(adapted),
        by_table=dict(status["tables"]),
        kept=tuple(order.kept),
        waited_seconds=float(status.get("waited_seconds", 0.0)),
        gave_way=int(status.get("gave_way", 0)),
        snapshots=snapshots,
    )
    before = cleanup.read_record(target)
    layers = [layer for layer in before.layers if set(layer["tables"]) & set(order.kept)] if before else []
    finished = cleanup.Record(order.schemas, finished=True, report={**asdict(report), "by_table": {}}, layers=layers)
    cleanup.write_record(target, finished)
    return report


def unfollowed(target: Access) -> CopyReport | None:
    """The report of a finished copy that nothing follows yet, or None."""
    record = cleanup.read_record(target)
    if not (record and record.finished and record.report):
        return None
    lists = {name: tuple(value) for name, value in record.report.items() if isinstance(value, list)}
    return CopyReport(**{**record.report, **lists})


def _make_tables(
    target: Access,
    old: DatabaseServer,
    new: DatabaseServer,
    definitions: Sequence[schema.Schema],
    threads: int,
    cancel: CancelToken,
    log: bool,
) -> list[str]:
    """Make schemas and tables, the tables through several sessions: most of the time of each is waiting for the disk."""
    with session(target) as opened, _logging(opened, log):
        notes = create.make_schemas(opened, old, new, definitions)
    tables = [table for one in definitions for table in one.tables]

    def share(number: int) -> list[str]:
        with session(target) as opened, _logging(opened, log):
            return create.make_tables(opened, old, new, tables[number::threads], cancel)

    with Workers(threads) as pool:
        for made in pool.map(share, range(threads)):
            notes += [note for note in made if note not in notes]
    return notes


def _identity(host: Access) -> DatabaseServer:
    with session(host) as opened:
        return identify(opened)


def _on_disk(opened: Session, folders: Sequence[str]) -> None:
    """What was written while flushing was off is on the disk: the engine's logs first, then every file of the folders' file systems."""
    opened.execute("FLUSH LOCAL ENGINE LOGS")
    opened.host.run(["sync", "--file-system", *folders], timeout=FLUSH_TIMEOUT)


def empty(target: Access, schemas: Sequence[str]) -> None:
    """Leave the databases empty, each with its default character set, and nothing of an interrupted copy. Idempotent.

    Raises:
        ConnectionFailed: the database server is down.
    """
    cleanup.settle(target)
    with session(target) as opened:
        for name in schemas:
            room.recreate(opened, name)
    cleanup.forget(target, schemas)


def finished(target: Access) -> bool:
    """Whether the last copy to this server came to its end."""
    record = cleanup.read_record(target)
    return bool(record and record.finished)


@contextlib.contextmanager
def _logging(opened: Session, log: bool) -> Iterator[None]:
    """Keep a session's statements out of the binary log unless `log`."""
    if not log:
        opened.execute("SET SESSION sql_log_bin = 0")
    yield


def _prove_makeable(
    source: Session,
    target: Access,
    old: DatabaseServer,
    new: DatabaseServer,
    definitions: Sequence[schema.Schema],
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> None:
    """Rule: all of it can be brought over and made; what is in the way is found before anything is written."""
    supported(old, new, "dump")
    portable.check(source.host, old, new, definitions)
    makeable.prove(source, target, definitions, cancel=cancel, progress=progress)


def _pipe_folder(opened: Session, target: Access) -> str:
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


def _server_account(target: Access) -> str:
    """The account the database server runs as: the owner of its socket."""
    return target.run(["stat", "-c", "%U", _socket(target)]).stdout.strip()


def _socket(target: Access) -> str:
    found = find_socket(target)
    if found is None:
        raise ConnectionFailed(
            f"{target.name}: the database server stopped",
            "its socket is gone, through which the copy is written",
            f"look at `systemctl status mariadb mysql` on {target.name}, then run the same command again",
        )
    return found
