"""Where files arrive on a new server, what is on record of it there, and how what an interrupted try left is cleared away.

Written before anything is done: whatever happens, the record names the folder and the databases. Tables that it names are dropped, with the files
that no table has any more, and only then does the record go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import cleanup
from parallel_build.database.replicate import pair
from parallel_build.database.server import bookkeeping
from parallel_build.remote import kept_note
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote, session

RECORD = "/var/lib/cutover-copy/files.json"
UNIT = "cutover-files"
PURPOSE = "files"  # of the original's option file and process id, in /run/cutover-files
FOLDER = f"/run/cutover-{PURPOSE}"
CATCH_UP = 300.0  # seconds that the new replica may need for what is in the new source's log
# $1: the data folder, which may be a link. On its disk, so that a file is moved and not copied: next to it, or inside it where it is a disk of its own.
WHERE = """
data=$(cd "$1" && pwd -P)
if [ "$(stat -c %d "$data")" = "$(stat -c %d "$data/..")" ]; then echo "$(dirname "$data")/cutover-files"; else echo "$data/.cutover-files"; fi
"""
END_UNIT = """
if [ "$(systemctl is-active "$1" 2>/dev/null)" != inactive ]; then
  systemctl stop "$1" 2>/dev/null || true
  systemctl reset-failed "$1" 2>/dev/null || true
fi
for left in $(pidof mbstream 2>/dev/null); do
  if [ "$(readlink "/proc/$left/cwd")" = "$2" ]; then kill "$left" 2>/dev/null || true; fi
done
"""
# $1: its folder, in which our backup works, and no backup of anybody else's. A process that holds the lock of a backup on the original must end with it.
END_BACKUP = """
if [ -s "$1/pid" ]; then
  pid=$(cat "$1/pid")
  case $(cat "/proc/$pid/comm" 2>/dev/null) in mariadb-backup|mariabackup) if [ "$(readlink "/proc/$pid/cwd")" = "$1" ]; then
    kill "$pid" 2>/dev/null || true
    timeout 20 tail --pid="$pid" --sleep-interval=0.1 -f /dev/null || kill -9 "$pid" 2>/dev/null || true
    fi ;;
  esac
fi
rm -rf "$1"
"""
# $1: the data folder, $2...: databases. Files that no table has: an import that was cut off leaves them, and no table of that name could be made.
CLEAR = """
data=$1; shift
for name; do
  [ -d "$data/$name" ] || continue
  find "$data/$name" -maxdepth 1 -type f \\( -name '*.ibd' -o -name '*.cfg' \\) | while read -r file; do
    if [ ! -e "${file%.*}.frm" ]; then rm -f "$file"; fi
  done
done
"""


@dataclass(frozen=True)
class Staged:
    """What is on record on a new server while files are brought to it.

    Attributes:
        schemas: databases that they are of.
        folder: where they arrive, on the data folder's disk.
        data: the data folder.
    """

    schemas: list[str]
    folder: str
    data: str


def begin(host: Access, schemas: Sequence[str]) -> Staged:
    """Put on record what is about to arrive, and make its folder."""
    with session(host) as opened:
        data = str(opened.value("SELECT @@GLOBAL.datadir")).rstrip("/")
    staged = Staged(list(schemas), host.script(WHERE, [data]).stdout.strip(), data)
    host.run(["mkdir", "-p", "-m", "700", RECORD.rpartition("/")[0]], cancellable=False)
    host.write(RECORD, json.dumps(asdict(staged)))
    host.run(["rm", "-rf", staged.folder], timeout=600)
    host.run(["install", "-d", "-m", "700", staged.folder])
    return staged


def read(host: Access) -> Staged | None:
    """What is on record there; None where no files are under way.

    Raises:
        StepFailed: there is a record, and nobody can read it: that is no "nothing under way".
    """
    return kept_note.read(
        host,
        RECORD,
        lambda known: Staged([str(name) for name in known["schemas"]], str(known["folder"]), str(known["data"])),
        cause="it names the folder in which files arrived and the databases that were begun, and is empty or torn",
        remedy=f"see whether {host.name}'s disk is damaged; drop the tables of the new databases there, remove cutover-files next to the data folder and "
        f"{RECORD}, then run the same command again",
    )


def finish(host: Access, staged: Staged) -> None:
    """All is in: the folder and the record go."""
    host.run(["rm", "-rf", staged.folder], timeout=600)
    host.run(["rm", "-f", RECORD], cancellable=False)


def end_backup(source: Access) -> None:
    """No backup of ours runs on the original afterwards, and nothing of it is left there. Idempotent."""
    source.script(END_BACKUP, [FOLDER], cancellable=False)


def settle(target: Access, replicas: Sequence[Access], cancel: CancelToken) -> bool:
    """Clear away what an interrupted try left on the new servers; return whether there was anything. Idempotent.

    The databases are there afterwards as they were, without tables where the try had made some; whatever else is in them is dropped with them, later.

    Raises:
        ConnectionFailed: a new database server is down.
        GuardFailed: users have worked on these databases.
    """
    if read(target) is None:
        return False  # it is the first that gets a record, and the last that loses it
    left = [(host, staged) for host in (*replicas, target) if (staged := read(host)) is not None]
    for host, staged in left:
        host.script(END_UNIT, [UNIT, staged.folder], cancellable=False, timeout=120)
    cleanup.settle(target)
    catch_up(target, replicas, cancel)  # what the new source's log still has for it needs the tables there
    for host, staged in left:
        with session(host) as opened:
            bookkeeping.check_unused(opened)
            drop_tables(opened, staged.schemas)
        host.script(CLEAR, [staged.data, *staged.schemas], cancellable=False)
        finish(host, staged)
    return True


def catch_up(target: Access, replicas: Sequence[Access], cancel: CancelToken) -> None:
    """Wait until the replicas have applied the new source's log; one whose source was down for a moment connects again by itself.

    Raises:
        StepFailed: a replica has stopped.
        TimedOut: it is not there in time.
    """
    for replica in replicas:
        with session(target) as ours, session(replica) as opened:
            pair.await_running(opened, timeout=CATCH_UP, cancel=cancel)
            pair.await_position(ours, opened, timeout=CATCH_UP, cancel=cancel)


def drop_tables(opened: Session, schemas: Sequence[str]) -> None:
    """Drop every table of these databases on this server alone: its replica is cleared by itself."""
    opened.execute("SET SESSION sql_log_bin = 0, foreign_key_checks = 0")
    rows = opened.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN %s",
        [list(schemas)],
    )
    for row in rows:
        opened.execute(f"DROP TABLE IF EXISTS {quote(str(row['s']))}.{quote(str(row['t']))}")
