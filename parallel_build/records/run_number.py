"""The number of a run: of two runs that work on one cloud the later one counts, wherever the earlier one wakes up.

A run is one process: `pulumi up`, `destroy`, `switch`, `back`. It takes the next number on the record's hosts before its first write. Every
command that it gives carries the number (`remote.frame`), and so does every write of the record: what an earlier run does later is refused on
the server itself. A run that only looks takes none.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from parallel_build.errors import CommandFailed, ConnectionFailed, Fenced, GuardFailed, StepFailed
from parallel_build.records.run_folder import operator
from parallel_build.records.window import WindowStore
from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER, VOLATILE
from parallel_build.remote.openssh import SHORT_COMMAND
from parallel_build.resolved_stack import Site

LOCKED = 47
LIMIT = 40.0  # seconds for a number of a second host, the wait for its lock among them: a new source that hangs must not hold a rollback up
# $1, $2: folders on the disk and in memory; $3: a number that is known to be taken; $4: who takes the next. Written in place: a full disk is
# no reason to refuse it. Its lock is not that of the commands (`remote.frame`), which they hold until they end: who goes back does not wait for them.
TAKE = """
set -eu; umask 077
mkdir -p -m 700 "$2"; { mkdir -p -m 700 "$1" && (: >>"$1/number.lock"); } 2>/dev/null && folder=$1 || folder=$2
exec 9>>"$folder/number.lock"; flock -w 20 9 || exit 47
taken=$(cat "$1/token" "$1/token.next" "$2/token" "$2/token.next" 2>/dev/null | sort -rn | head -n 1 | cut -d' ' -f1)
taken=${taken:-0}; [ "$taken" -ge "$3" ] || taken=$3
next=$((taken + 1)); text="$next $4 $(date -u +%FT%TZ)"
write() { printf '%-127s\\n' "$text" 1<>"$1/token.next" && sync "$1/token.next"; }
write "$folder" 2>/dev/null || write "$2"
echo "$next"
"""


@dataclass
class Claims:
    """The numbers that this process has taken, by record. Thread safe."""

    taken: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, host: Access, site: Site, records: WindowStore | None = None) -> int:
        """This run's number on a cloud, the next one the first time.

        Args:
            records: the record, on both hosts that may have it.
        Raises:
            ConnectionFailed: the record's host can't be reached. GuardFailed: its record can't be read.
        """
        with self.lock:
            key = f"{host.name}/{host.server.address}"
            if key not in self.taken:
                records = records or WindowStore(host, site)
                record, hosts = records.standing()
                self.taken[key] = _agreed(hosts, record.token if record else 0)
            return self.taken[key]


def _agreed(hosts: Sequence[Access], known: int) -> int:
    """The next number, the same on all hosts of the record: none of them gives it to another run, should it be the one that is left.

    A second host that answers and can't give one counts as one that is silent: the first write proves it down, or does not count.
    """
    left = list(hosts)
    number, agreed, turn = _next(left[0], known), 1, 1
    while agreed < len(left):
        host = left[turn % len(left)]
        try:
            found = _next(host, number - 1, *([] if host is left[0] else [LIMIT]))
        except (ConnectionFailed, CommandFailed, GuardFailed, StepFailed) as error:
            if host is left[0] or isinstance(error, Fenced):
                raise
            left.remove(host)
            turn = 0
            continue
        number, agreed, turn = found, agreed + 1 if found == number else 1, turn + 1
    return number


def _next(host: Access, known: int, limit: float = SHORT_COMMAND) -> int:
    words = ["sh", "-c", TAKE, "sh", FOLDER, VOLATILE, str(known), operator()]
    done = host.run(words, timeout=limit, ok=(0, LOCKED), cancellable=False)
    if done.code == LOCKED:
        raise GuardFailed(
            f"{FOLDER}/number.lock on {host.name} is held by another process",
            "another run takes its number there, and does not come to its end",
            f"see who: `fuser -v {FOLDER}/number.lock` on {host.name}; then run the same command again",
        )
    text = done.stdout.strip()
    if not text.isdigit():
        raise StepFailed(
            f"{host.name} gave no number for this run",
            f"it answered {text[:80]!r}",
            f"see `ls -l {FOLDER}` and `df {FOLDER}` on {host.name}, then run the same command again",
        )
    return int(text)
