"""A table's file taken in by a new server: the empty table's own is discarded, the original's is put in its place and imported.

The server keeps its accounts, its identity and its binary log: nothing but tables comes. Each server does so by itself, outside of the log, since
a log has no files in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from parallel_build.cancel import CancelToken
from parallel_build.database.copy.progress import TELL_EVERY
from parallel_build.database.physical.staging import UNIT, Staged
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Session, quote, session

LONGEST = 24 * 3600  # seconds for one step on a large server
# $1: unit, $2: folder, $3: MiB. As a unit it ends when it is asked to, whoever is still there to ask.
PREPARE = """
tool=$(command -v mariadb-backup || command -v mariabackup)
systemctl reset-failed "$1" 2>/dev/null || true
systemd-run --quiet --wait --collect --unit="$1" --property=UMask=0077 --property=LimitCORE=0 --property=LimitNOFILE=65535 \
  --property=StandardOutput=file:"$2.log" --property=StandardError=file:"$2.log" --property=WorkingDirectory="$2" \
  "$tool" --no-defaults --prepare --export --use-memory="$3M" --target-dir="$2" || { tail -n 4 "$2.log" >&2; rm -f "$2.log"; exit 1; }
tail -n 1 "$2.log"
rm -f "$2.log"
"""
DONE = "completed OK!"
# $1: folder, $2: data folder, $3: a database. Names of files on standard input; the server's account owns them before they are moved.
PLACE = """
cd "$1/$3"
chown --reference="$2" -- *
xargs -r mv -f -t "$2/$3" --
if command -v restorecon >/dev/null; then restorecon -R "$2/$3"; fi
"""
MEMORY = "awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo"
LEAST, MOST = 128, 4096  # MiB for the preparation


def unpack(staged: Staged) -> list[str]:
    """The words of the program that takes the stream in. It works in the folder, so that it is known by it."""
    return ["sh", "-c", 'cd "$1" && exec mbstream -x', "sh", staged.folder]


def prepare(host: Access, staged: Staged) -> None:
    """Make the files of one moment, each with a description of its table.

    Raises:
        StepFailed: the tool could not; with its last words.
    """
    free = int(host.script(MEMORY).stdout)
    memory = max(LEAST, min(MOST, free // 4))
    ended = host.run(["sh", "-c", f"set -eu\n{PREPARE}", "sh", UNIT, staged.folder, str(memory)], timeout=LONGEST, ok=None)
    if not ended.ok or DONE not in ended.stdout:
        raise StepFailed(
            f"{host.name}: the files could not be prepared",
            " | ".join((ended.stderr or ended.stdout).strip().splitlines()[-4:]) or f"mariadb-backup ended with exit code {ended.code}",
            f"see the disk and memory of {host.name}, then run the same command again; or set transfer.seed to logical",
        )


def take_in(
    host: Access, staged: Staged, tables: Sequence[str], *, threads: int, cancel: CancelToken, progress: Callable[[str], None]
) -> None:
    """Have the server take in the files of these tables (`schema.table`, the largest first)."""
    _each(host, tables, "DISCARD TABLESPACE", threads, cancel, lambda done: None)
    cancel.check()
    for schema in sorted({name.partition(".")[0] for name in tables}):
        own = [name.partition(".")[2] for name in tables if name.startswith(f"{schema}.")]
        listed = "".join(f"{name}.{kind}\n" for name in own for kind in ("cfg", "ibd"))
        host.run(["sh", "-c", f"set -eu\n{PLACE}", "sh", staged.folder, staged.data, schema], input=listed, timeout=LONGEST)
    _each(
        host,
        tables,
        "IMPORT TABLESPACE",
        threads,
        cancel,
        _now_and_then(lambda done: progress(f"{host.name}: {done} of {len(tables)} tables taken in")),
    )
    for schema in staged.schemas:
        host.run(["sh", "-c", 'rm -f -- "$1"/*.cfg', "sh", f"{staged.data}/{schema}"])


def _each(host: Access, tables: Sequence[str], words: str, threads: int, cancel: CancelToken, tell: Callable[[int], None]) -> None:
    """One ALTER TABLE for each table, shared among some sessions: whoever is free takes the next."""
    waiting = list(reversed(tables))

    def share(number: int) -> None:
        with session(host, timeout=LONGEST) as opened:
            _outside_of_the_log(opened)
            while waiting:
                cancel.check()
                try:
                    schema, _, name = waiting.pop().partition(".")
                except IndexError:  # another session took the last one
                    return
                opened.execute(f"ALTER TABLE {quote(schema)}.{quote(name)} {words}")
                tell(len(tables) - len(waiting))

    with Workers(threads) as pool:
        list(pool.map(share, range(min(threads, len(tables)))))


def _now_and_then(tell: Callable[[int], None]) -> Callable[[int], None]:
    """The same, at most every two seconds."""
    shown_at = [time.monotonic()]

    def seldom(done: int) -> None:
        if time.monotonic() - shown_at[0] >= TELL_EVERY:
            shown_at[0] = time.monotonic()
            tell(done)

    return seldom


def _outside_of_the_log(opened: Session) -> None:
    opened.execute("SET SESSION sql_log_bin = 0, foreign_key_checks = 0")
