"""How a unit's main process ended: a signal, want of memory, systemd's own refusal and an exit code told apart.

systemd gives `ExecMainStatus` the number of a signal as well as an exit code; `ExecMainCode` says which of the two it is [CLD_EXITED, CLD_KILLED,
CLD_DUMPED of waitid(2)], and `Result` why systemd calls the unit failed [systemd.exec(5), org.freedesktop.systemd1(5)].
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from parallel_build.remote.access import Access

EXITED, KILLED, DUMPED = 1, 2, 3
CRASHES = ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")
ASKED = ("SIGTERM", "SIGINT", "SIGHUP")
# Exit codes that systemd gives where it could not even run the program [systemd.exec(5)].
BEFORE_EXEC = {
    200: "systemd could not change to its working folder", 202: "systemd could not pass on its open files",
    203: "systemd could not run its program: there is no such file, or it is not executable", 208: "systemd could not open its standard input",
    209: "systemd could not open its standard output", 216: "its group is not there", 217: "its user is not there",
    226: "systemd could not set its name space up",
}  # fmt: skip
READ = r"""
shown=$(systemctl show "$1" -p Result,ExecMainCode,ExecMainStatus,ExecMainPID)
echo "$shown"
pid=$(echo "$shown" | sed -n 's/^ExecMainPID=//p')
# The kernel tells of a process that it killed for want of memory; older versions of systemd do not.
if [ "${pid:-0}" != 0 ]; then
  { journalctl -k -q --no-pager -o cat -n 2000 2>/dev/null; dmesg 2>/dev/null | tail -n 2000; } |
    grep -E "Kill(ed)? process $pid[^0-9]" | tail -n 1 | sed 's/^/KernelSays=/' || true
fi
"""


@dataclass(frozen=True)
class UnitEnd:
    """How it ended.

    Attributes:
        result: systemd's word: success, exit-code, signal, core-dump, oom-kill, timeout, watchdog, start-limit-hit, resources ...
        code: 1 exited, 2 killed, 3 killed with a core dump, 0 where nothing ran.
        status: exit code or number of the signal, as `code` says.
        kernel: the kernel's words where it killed the process for want of memory, else "".
    """

    result: str = ""
    code: int = 0
    status: int = 0
    kernel: str = ""

    @property
    def signal(self) -> str:
        """The signal that ended it, "" where none did. A shell and a JVM report the signal n that they got as exit code 128 + n."""
        number = (
            self.status if self.code in (KILLED, DUMPED) else self.status - 128 if self.code == EXITED and 128 < self.status < 160 else 0
        )
        try:
            return signal.Signals(number).name if number else ""
        except ValueError:
            return f"signal {number}"

    @property
    def out_of_memory(self) -> bool:
        """It was killed because memory ran out."""
        return self.result == "oom-kill" or bool(self.kernel)

    @property
    def words(self) -> str:
        """To follow the unit's name: `was killed by SIGKILL`."""
        if self.out_of_memory:
            return "was killed because memory ran out"
        if self.result == "timeout":
            return "was ended by systemd, which had waited long enough for it"
        if self.result == "watchdog":
            return "was ended by systemd's watchdog"
        if self.result == "start-limit-hit":
            return "was not started: systemd refuses after several failed starts"
        if self.result == "resources":
            return "was not started: systemd lacked something that its unit names"
        if self.signal:
            asked = f" (exit code {self.status})" if self.code == EXITED else ""
            return f"was {'stopped' if self.signal in ASKED else 'killed'} by {self.signal}{asked}"
        if self.code == EXITED and self.status:
            return f"ended with exit code {self.status}"
        return "ended"

    @property
    def cause(self) -> tuple[str, str] | None:
        """Cause and remedy where the end itself shows them; None for an exit code, whose cause stands in the log."""
        if self.out_of_memory:
            return (
                f"the kernel killed it for want of memory{f': {self.kernel}' if self.kernel else ''}",
                "give the server more memory, or its JVM less (-Xmx in /etc/default/cloudstack-management)",
            )
        if self.result == "timeout":
            return "its start took longer than its unit allows (TimeoutStartSec)", "raise that limit with a drop-in, if it was only slow"
        if self.result in ("start-limit-hit", "resources"):
            return "systemd itself refused the start", "see `systemctl status` of the unit and its journal there"
        if self.code == EXITED and self.status in BEFORE_EXEC:
            return (
                f"{BEFORE_EXEC[self.status]} (exit code {self.status})",
                "see the journal of the unit there, and whether its package is whole (`dpkg --verify` or `rpm -V` with its name)",
            )
        if self.signal in CRASHES:
            return (
                f"the Java machine crashed with {self.signal}",
                "see hs_err_pid*.log in its working folder, and whether Java's package is whole",
            )
        if self.signal in ASKED:
            return (
                f"something asked it to end ({self.signal}): systemctl stop, a package's script, a shutdown",
                "find out who stopped it (the journal of that moment)",
            )
        if self.signal:
            return (
                f"something killed it with {self.signal}; the kernel's log has no lack of memory",
                "find out who or what killed it (the journal of that moment)",
            )
        return None


def read(host: Access, unit: str) -> UnitEnd:
    """Ask systemd, and the kernel's log."""
    shown = host.run(["sh", "-s", "--", unit], input=READ, ok=None).stdout
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return UnitEnd(
        values.get("Result", ""), _number(values.get("ExecMainCode")), _number(values.get("ExecMainStatus")), values.get("KernelSays", "")
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
