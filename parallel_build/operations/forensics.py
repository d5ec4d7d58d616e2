"""What is kept of a new side that is left again, before its databases are emptied and its machines go: `<run folder>/forensics/TIME/`.

An investigation must not cost the rollback anything: nothing here raises but the engine's Cancel, every part has a time limit and a size limit,
and what could not be kept is reported. Files are for the operator only (600), secrets in texts are masked; a dump can't be masked.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.database.server import processes
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.states import FIRST_START, StartState
from parallel_build.remote.access import Access
from parallel_build.remote.database_client import logged_in
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.parallel import Workers
from parallel_build.remote.piped import begun, marked
from parallel_build.remote.sql import session
from parallel_build.secret import Secret, mask

FORENSICS = "Forensics"  # under this name the window's record says that it has been kept
TEXT_LIMIT = 32 * 2**20  # bytes of one log, its end
TEXT_SECONDS = 30.0
LOGS = (
    "/var/log/cloudstack/management/management-server.log",
    "/var/log/cloudstack/management/setupManagement.log",
    "/var/log/cloudstack/usage/usage.log",
    "/var/log/mysql/error.log",
    "/var/log/mysql/mysqld.log",
    "/var/log/mysqld.log",
    "/var/log/mariadb/mariadb.log",
)
UNITS = (MANAGEMENT, USAGE, "mariadb", "mysql", "mysqld")
DATABASES = ("cloud", "cloud_usage", "cloudbridge")
DUMP_LIMIT = 20 * 2**30  # bytes of the compressed dump
DUMP_SECONDS = 4 * 3600.0
SMALL = 2**30  # bytes of databases whose dump is a matter of seconds
COMPRESSED, SPARE = 3, 2**30  # a dump needs a third of the data, and some room is left for others

# Ends of files only: the end shows why it failed. Compressed on the way; base64 because sessions carry text.
_TEXT = 'test -e "$1" || exit 44; tail -c "$2" "$1" | gzip -1 | base64 -w 0'
_JOURNAL = 'journalctl --no-pager -o short-iso-precise -n 20000 -u "$1" 2>/dev/null | tail -c "$2" | gzip -1 | base64 -w 0'
_DUMP = r"""
limit=$1 login=$2; shift 2
client=mariadb; dumper=mariadb-dump
command -v "$dumper" >/dev/null || { client=mysql; dumper=mysqldump; }
present=
for name; do
  if "$client" --defaults-file="$login" -N -B -e "SHOW DATABASES LIKE '$name'" </dev/null | grep -q .; then present="$present $name"; fi
done
[ -n "$present" ] || exit 44
"$dumper" --defaults-file="$login" --single-transaction --routines --events --triggers --databases $present </dev/null | gzip -1 | head -c "$limit"
"""


def collect_once(context: Context, *, waiting: bool = False) -> None:
    """Keep it once in a window, and only of a new side whose management server was started: before that there is nothing to investigate.

    Asked by every undo after which something would be gone, and before the copy is imported again; the window's record says what has been kept.
    Args:
        waiting: users wait for it: a dump that nobody has asked for is only taken of small databases.
    """
    try:
        records = store(context)
        if not StartState.of(records.facts(FIRST_START)).began or records.facts(FORENSICS).get("kept"):
            return
        folder = collect(context, waiting=True) if waiting else collect(context)
        if folder is not None:
            records.remember(FORENSICS, kept=str(folder))
    except Cancelled:
        raise
    except ParallelBuildError as error:
        _missed(context, "the new side", error)


def collect(context: Context, *, waiting: bool = False) -> Path | None:
    """Keep what the configuration's `window.forensics` asks of the new side.

    Args:
        waiting: users wait for it.
    Returns:
        the folder, or None where nothing is to be kept.
    Raises:
        Cancelled: the engine asked to stop.
    """
    wanted = context.configuration.window.forensics
    if wanted == "none":
        return None
    folder = context.run.path / "forensics" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        _missed(context, str(folder), error)
        return None
    keepers: list[Callable[[], None]] = []
    for machine in context.configuration.new.management:
        keepers.append(partial(_texts, context, folder, context.host(machine)))
    both = context.configuration.new.with_both_roles()
    for server in context.configuration.new.database.servers:
        if server.name not in both:
            keepers.append(partial(_texts, context, folder, context.host(server)))
    source = context.host(context.configuration.new.database.source)
    keepers.append(partial(_state, context, folder, source))
    context.progress(f"keeping logs and the state of the new side in {folder}")
    with Workers(8) as pool:
        for future in [pool.submit(keeper) for keeper in keepers]:
            future.result()
    if wanted == "dump" or (wanted == "failed" and _failed_upgrade(context)):
        _dump_where_it_fits(context, folder, source, limit=SMALL if waiting and wanted == "failed" else None)
    context.run.record("forensics", step=context.step, folder=str(folder), files=sorted(path.name for path in folder.iterdir()))
    return folder


def _texts(context: Context, folder: Path, host: Access) -> None:
    """The ends of a server's logs, and its units' journal."""
    for path in LOGS:
        _text(context, folder / f"{host.name}-{Path(path).name}.gz", host, [_TEXT, "sh", path])
    for unit in UNITS:
        _text(context, folder / f"{host.name}-{unit}.journal.gz", host, [_JOURNAL, "sh", unit])


def _text(context: Context, target: Path, host: Access, command: list[str]) -> None:
    script, *words = command
    try:
        found = host.run(["sh", "-c", script, *words, str(TEXT_LIMIT)], timeout=TEXT_SECONDS, ok=(0, 44))
        text = gzip.decompress(base64.b64decode(found.stdout)).decode(errors="replace") if found.ok else ""
        if text.strip() and not text.startswith("-- No entries"):
            write(target, text, context.site.hidden())
    except Cancelled:
        raise
    except (ParallelBuildError, OSError, ValueError, EOFError) as error:
        _missed(context, target.name, error)


def write(target: Path, text: str, secrets: list[Secret]) -> None:
    """Write a text compressed, secrets masked, readable for the operator only."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(gzip.compress(mask(text, secrets).encode(), 3))


def _state(context: Context, folder: Path, source: Access) -> None:
    """The schema's version rows, the management servers' rows, and every table's size, of the new source."""
    try:
        if find_socket(source) is None:
            return
        found: dict[str, Any] = {}
        with session(source) as database:
            tables = database.rows(
                "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, TABLE_ROWS AS n, DATA_LENGTH + INDEX_LENGTH AS b "
                "FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN %s ORDER BY 1, 2",
                [DATABASES],
            )
            there = {f"{row['d']}.{row['t']}" for row in tables}
            found["tables"] = {f"{row['d']}.{row['t']}": {"rows about": row["n"], "bytes": row["b"]} for row in tables}
            for table in ("cloud.version", "cloud.mshost"):
                if table in there:
                    found[table] = database.rows(f"SELECT * FROM {table} ORDER BY 1")
            found["sessions"] = database.rows(
                f"SELECT USER AS u, HOST AS h, DB AS d, COMMAND AS c, TIME AS t FROM {processes.table(database)}"
            )
        if found["tables"]:
            write(folder / f"{source.name}-state.json.gz", json.dumps(found, indent=1, default=str), context.site.hidden())
    except Cancelled:
        raise
    except (ParallelBuildError, OSError) as error:
        _missed(context, f"{source.name}-state.json", error)


def _failed_upgrade(context: Context) -> bool:
    """Whether the last upgrade of the copy has failed, or was never proved good."""
    return bool(store(context).facts(FORENSICS).get("failed"))


def _dump_where_it_fits(context: Context, folder: Path, source: Access, limit: int | None) -> None:
    """A dump, where the run's folder has room for it.

    Args:
        limit: bytes of the databases from which on it is not taken; None for no such limit.
    """
    target = f"{source.name}.sql.gz"
    try:
        with session(source) as database:
            found = database.value(
                "SELECT CAST(COALESCE(SUM(DATA_LENGTH), 0) AS SIGNED) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN %s", [DATABASES]
            )
        size, free = int(str(found or 0)), os.statvfs(folder)
    except Cancelled:
        raise
    except (ParallelBuildError, OSError) as error:
        _missed(context, target, error)
        return
    if limit is not None and size > limit:
        _missed(
            context,
            target,
            OSError(f"the databases have {size:,} bytes, and users would wait for it; window.forensics: dump has it taken all the same"),
        )
    elif free.f_bavail * free.f_frsize < size // COMPRESSED + SPARE:
        _missed(context, target, OSError(f"{folder} has no room for a dump of {size:,} bytes"))
    else:
        _dump(context, folder, source)


def _dump(context: Context, folder: Path, source: Access) -> None:
    """A dump of the new databases, to the run's folder: its machine may go next."""
    context.progress(f"dumping the databases of {source.name} for the investigation")
    target, part = folder / f"{source.name}.sql.gz", folder / f"{source.name}.sql.gz.part"
    with contextlib.ExitStack() as held:
        try:
            login = held.enter_context(logged_in(source, "dump"))
        except Cancelled:
            raise
        except ParallelBuildError as error:
            _missed(context, target.name, error)
            return
        _fetch(context, source, login, target, part)


def _fetch(context: Context, source: Access, login: str, target: Path, part: Path) -> None:
    """Have it written to `part`, which becomes `target` when it is whole."""
    argv = ["sh", "-c", "set -eu\n" + _DUMP, "sh", str(DUMP_LIMIT), login, *DATABASES]
    mark, words = marked(argv)
    command = source.piped(words, DUMP_SECONDS)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
            try:
                file.write(begun(process, mark) or b"")
                _rest(context, process, file)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            errors.seek(0)
            printed = mask(errors.read().decode(errors="replace"), context.site.hidden())
        if process.returncode == 44:
            part.unlink()
        elif process.returncode != 0 or not _whole(part):
            _missed(context, target.name, OSError(printed[-300:] or "it is not whole"))
        else:
            part.rename(target)
    except OSError as error:
        _missed(context, target.name, error)


def _rest(context: Context, process: subprocess.Popen[bytes], file: IO[bytes]) -> None:
    """All that it prints from now on, until it has ended."""
    assert process.stdout is not None
    while True:
        if not select.select([process.stdout], [], [], 0.5)[0]:
            context.cancel.check()
        elif block := os.read(process.stdout.fileno(), 2**20):
            file.write(block)
        else:
            break
    while process.poll() is None:
        context.cancel.wait(0.1)


def _whole(part: Path) -> bool:
    """Whether the dump ends as its program ends one."""
    tail = b""
    try:
        with gzip.open(part) as file:
            while block := file.read(2**20):
                tail = (tail + block)[-400:]
    except (OSError, EOFError):
        return False
    return b"-- Dump completed" in tail


def _missed(context: Context, what: str, error: Exception) -> None:
    context.progress(f"not kept for the investigation: {what}: {error}")
    context.run.record("not kept", step=context.step, what=what, error=str(error))
