"""The gate on each new management server: once a rollback has shut it, no step of that window releases a unit there, however late it comes.

A step that goes forward on one workstation while another operator goes back may have been held up anywhere: between its last look at the window's
record and the command that starts a server. So the order of the two is decided on that server itself, under a lock: either the unit was unmasked
before, and the rollback masks and stops it, or the gate is shut, and it stays masked.
"""

from __future__ import annotations

from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowRecord, going_back
from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER

SHUT = 45
VOLATILE = "/run/cloudstack-parallel-build"
_LOCKED = 'set -eu; umask 077; mkdir -p "$1"; exec 9>>"$1/gate.lock"; flock -w 20 9 || { echo "another command holds the lock of this gate" >&2; exit 47; }'
# In memory, so that a full disk keeps nobody from going back; and on disk as well where it can be, for what comes after a reboot.
_SHUT = f"""{_LOCKED}
printf '%s\\n' "$3" >"$1/gate.new"; mv "$1/gate.new" "$1/gate"
{{ mkdir -p "$2" && printf '%s\\n' "$3" >"$2/gate.new" && sync "$2/gate.new" && mv "$2/gate.new" "$2/gate"; }} 2>/dev/null || true
"""
_RELEASE = f"""{_LOCKED}
for folder in "$1" "$2"; do if [ "$(cat "$folder/gate" 2>/dev/null || true)" = "$3" ]; then exit {SHUT}; fi; done
systemctl unmask "$4"
"""


def shut(host: Access, record: WindowRecord) -> None:
    """Shut a new server's gate for this window; another window's is open. What was released before is the caller's to mask and stop after this."""
    host.run(["sh", "-c", _SHUT, "sh", VOLATILE, FOLDER, _window(record)], cancellable=False)


def release(context: Context, host: Access, unit: str, *, enable: bool) -> None:
    """Unmask a unit on a new server, and enable it where wanted; nothing is started.

    Raises:
        GuardFailed: a rollback has begun.
    """
    record = store(context).mine()
    if record.returning:
        raise going_back(record)
    done = host.run(["sh", "-c", _RELEASE, "sh", VOLATILE, FOLDER, _window(record), unit], ok=(0, SHUT), cancellable=False)
    if done.code == SHUT:
        raise going_back(store(context).mine())
    if enable:
        # Where a rollback has come between the two the unit is masked again, and stays so: systemd starts no masked unit, enabled or not.
        host.run(["systemctl", "enable", unit], timeout=120, cancellable=False)


def _window(record: WindowRecord) -> str:
    """What tells one window from another."""
    return f"{record.identity} {record.opened}"
