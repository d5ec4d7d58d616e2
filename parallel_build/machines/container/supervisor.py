"""The process that keeps one container running: `python -m parallel_build.machines.container.supervisor FOLDER`.

systemd-nspawn with --keep-unit ends with exit code 133 when the machine wants to be started again [systemd-nspawn@.service,
RestartForceExitStatus=133], with 0 after a power-off. This process starts it again for the first and ends for everything else. It holds
a lock on `FOLDER/lock` as long as it lives, so "is the machine on" is a question to the kernel that no reused process id can answer wrongly.
Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parallel_build.machines.container import cgroups

REBOOT = 133
PR_SET_PDEATHSIG = 1
LOCK_PATIENCE = 2.0  # seconds


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since the boot; None where there is none. With the id it names one process for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _take(lock: int) -> bool:
    """Take the lock, whether it could be taken. Who asks whether the machine is on holds it for a moment: that is waited for."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


class Supervisor:
    """Keeps the container of one folder running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command: dict[str, Any] = json.loads((folder / "command.json").read_text())
        self.child: subprocess.Popen[bytes] | None = None
        self.stopping = False

    def run(self) -> int:
        """Run the container until it is powered off; 0 then, nspawn's exit code when it failed."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _take(lock):
            return 0  # A different supervisor keeps it running.
        signal.signal(signal.SIGTERM, self._power_off)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        cgroups.enter(self.command["group"] + ".keeper")
        record = {"pid": os.getpid(), "start": start_time(os.getpid())}
        temporary = self.folder / "supervisor.new"
        temporary.write_text(json.dumps(record))
        temporary.replace(self.folder / "supervisor.json")
        code = REBOOT
        while code == REBOOT and not self.stopping:
            code = self._once()
            self._say(f"systemd-nspawn ended with exit code {code}")
        # A machine that is off must be silent; with its cable in, its network namespace would answer pings and refuse connections.
        subprocess.run(self.command["unplug"], stdin=subprocess.DEVNULL, timeout=30, check=False)
        return 0 if self.stopping else code

    def _once(self) -> int:
        if not cgroups.kill(self.command["group"]):
            self._say("processes of an earlier run can't be ended")
            return 1
        cgroups.remove(self.command["group"])
        with (self.folder / "console.log").open("ab") as console:
            self.child = subprocess.Popen(
                self.command["argv"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, **self.command["environment"]},
                preexec_fn=self._in_child,
            )
        if self.stopping:  # The signal came before there was a child to hand it to.
            self.child.terminate()
        return self.child.wait()

    def _in_child(self) -> None:
        # A container without its supervisor would not come back from a reboot: it goes with it instead.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        cgroups.enter(self.command["group"])
        if self.command["memory"]:
            cgroups.limit_memory(self.command["group"], self.command["memory"])

    def _power_off(self, number: int, frame: object) -> None:
        self.stopping = True
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()  # nspawn hands it on to the machine's systemd as a power-off.

    def _say(self, message: str) -> None:
        print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {message}", flush=True)


def main() -> int:
    """Run the supervisor of the folder given as the only argument."""
    os.umask(0o022)
    started = time.monotonic()
    supervisor = Supervisor(Path(sys.argv[1]))
    code = supervisor.run()
    supervisor._say(f"supervisor ends after {time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
