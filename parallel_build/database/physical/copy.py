"""Whole databases brought as files: streamed by mariadb-backup from the original to each new server, prepared there, and taken in table by table.

The original is only read, by its own tool; the stream passes the machine that runs this program, inside SSH. Definitions come the usual way and go
through the new source's binary log. So accounts, identity, GTIDs and settings of the new servers stay what they are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from parallel_build.cancel import CancelToken, clearing_up
from parallel_build.database.copy import cleanup, create, definers, makeable, portable, run_worker
from parallel_build.database.copy import empty as room
from parallel_build.database.physical import files as tablespaces
from parallel_build.database.physical import staging, stream
from parallel_build.database.physical.judge import Files
from parallel_build.database.schema import definitions as schema
from parallel_build.database.schema.translate import Translation
from parallel_build.database.server.dialects import DatabaseServer, identify, supported
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.database_client import logged_in
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import session

# $1: option file, $2: databases, $3: parallel. In its folder it leaves nothing but its process id.
BACKUP = """
cd "$(dirname "$1")"; echo $$ >pid
tool=$(command -v mariadb-backup || command -v mariabackup)
exec "$tool" --defaults-file="$1" --backup --stream=mbstream --databases="$2" --parallel="$3" --open-files-limit=65535 --target-dir="$PWD"
"""
FLUSH_TIMEOUT = 1800


@dataclass(frozen=True)
class FilesReport:
    """What was brought.

    Attributes:
        tables: number of base tables.
        bytes: bytes that travelled.
        seconds: from the call to the end.
        parts: seconds of each part: copy, prepare, import.
        definers: locked accounts made for objects to run as.
    """

    tables: int
    bytes: int
    seconds: float
    parts: dict[str, float] = field(default_factory=dict)
    definers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.parts.items())


class _Clock:
    """Seconds of each part."""

    def __init__(self) -> None:
        self.began = self._last = time.monotonic()
        self.parts: dict[str, float] = {}

    def part(self, name: str) -> None:
        """What has passed since the last part belongs to this one."""
        now = time.monotonic()
        self.parts[name] = round(now - self._last, 3)
        self._last = now


def copy(
    source: Access,
    target: Access,
    replicas: Sequence[Access],
    schemas: Sequence[str],
    files: Files,
    *,
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> FilesReport:
    """Bring whole databases to the new source and its replicas. Nobody writes on the original meanwhile: the comparison after it proves that.

    What an interrupted try left was cleared away before, by `staging.settle`.

    Args:
        source: the original's database server; only read.
        target: the new source.
        replicas: its replicas, which follow it.
        schemas: databases; those that the original does not have are left out.
        files: what `facts.files` found of them.
        threads: parallel streams of the backup, and parallel sessions that take files in.
    Raises:
        GuardFailed: servers that don't go together, a database there that is not empty.
        StepFailed: it failed; call again.
        Cancelled: stopping was asked for. `staging.settle` clears what is left.
    """
    clock = _Clock()
    servers = (target, *replicas)
    with session(source) as opened:
        old = identify(opened)
        names = schema.existing(opened, schemas)
        definitions = [schema.read(opened, name) for name in names]
        with session(target) as ours:
            new = identify(ours)
        supported(old, new, "dump")
        portable.check(source, old, new, definitions)
        makeable.prove(opened, target, definitions, cancel=cancel, progress=progress)
    with session(target) as opened:
        room.make(target, opened, names, [])
    cleanup.write_record(target, cleanup.Record(list(names), False))
    staged = {host.name: staging.begin(host, names) for host in servers}
    with backing_up(source) as login:
        count = stream.hand_over(
            stream.Program(source, ["sh", "-c", f"set -eu\n{BACKUP}", "sh", login, " ".join(names), str(threads)]),
            [stream.Program(host, tablespaces.unpack(staged[host.name])) for host in servers],
            done=tablespaces.DONE,
            cancel=cancel,
            tell=stream.progress_of(files.total, progress),
        )
    clock.part("copy")
    progress(f"{count / 2**20:,.0f} MiB arrived; preparing the files on {' and '.join(host.name for host in servers)}")
    _on_each(servers, lambda host: tablespaces.prepare(host, staged[host.name]))
    clock.part("prepare")
    made = _make_tables(target, old, new, definitions, threads, cancel, progress)
    staging.catch_up(target, replicas, cancel)
    largest = _by_size(definitions, files.filled)
    _on_each(
        servers,
        lambda host: tablespaces.take_in(
            host, staged[host.name], largest, threads=min(threads, run_worker.processors(host) + 1), cancel=cancel, progress=progress
        ),
    )
    with session(target) as opened:
        progress("making views, routines, triggers and events")
        create.make_codes(opened, old, new, definitions)
    staging.catch_up(target, replicas, cancel)
    for host in servers:
        with session(host) as opened:
            opened.execute("FLUSH LOCAL ENGINE LOGS")
        host.run(["sync", "--file-system", staged[host.name].data], timeout=FLUSH_TIMEOUT)
    # The copy is whole before its record goes: whoever comes after a crash in between finds tables, and drops them.
    cleanup.write_record(target, cleanup.Record(list(names), finished=True))
    for host in reversed(servers):
        staging.finish(host, staged[host.name])
    clock.part("import")
    return FilesReport(
        sum(len(one.tables) for one in definitions), count, round(time.monotonic() - clock.began, 3), clock.parts, tuple(made)
    )


@contextlib.contextmanager
def backing_up(source: Access) -> Iterator[str]:
    """An option file for a backup on the original; afterwards none runs there: one that waits for a lock does not see that nobody reads it any more."""
    with logged_in(source, staging.PURPOSE) as login:
        try:
            yield login
        finally:  # before the option file's folder goes, which has its process id
            with clearing_up():
                staging.end_backup(source)


def _make_tables(
    target: Access,
    old: DatabaseServer,
    new: DatabaseServer,
    definitions: Sequence[schema.Schema],
    threads: int,
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> list[str]:
    """Every table with all its keys, empty, through the log; return the accounts that were made for objects to run as."""
    tables = [table for one in definitions for table in one.tables]
    progress(f"making {len(tables)} tables on {target.name}")
    with session(target) as opened:
        made = definers.ensure(opened, definers.used(definitions), [one.name for one in definitions])
        create.make_schemas(opened, old, new, definitions)

    def share(number: int) -> None:
        with session(target) as opened:
            create.take_as_they_are(opened, new)
            for table in tables[number::threads]:
                cancel.check()
                create.make_table(opened, table, table.create, Translation(old, new), cancel)

    with Workers(threads) as pool:
        list(pool.map(share, range(threads)))
    return [str(account) for account in made]


def _by_size(definitions: Sequence[schema.Schema], filled: Sequence[str]) -> list[str]:
    """The tables that have files, largest first: none is left alone at the end."""
    sizes = {f"{table.schema}.{table.name}": table.data_bytes + table.index_bytes for one in definitions for table in one.tables}
    missing = sorted(set(filled) - set(sizes))
    if missing:
        raise StepFailed(
            f"{', '.join(missing)} went away while the files were looked at",
            "somebody changes the original's tables, although its management servers are stopped",
            "see who it is, then run the same command again",
        )
    return sorted(filled, key=lambda name: -sizes[name])


def _on_each(servers: Sequence[Access], work: Callable[[Access], None]) -> None:
    with Workers(len(servers)) as pool:
        list(pool.map(work, servers))
