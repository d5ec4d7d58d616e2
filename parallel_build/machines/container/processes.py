"""The processes of a container: its supervisor, systemd-nspawn, and how they are found and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from parallel_build.machines.container import cgroups, layer, namespace, network
from parallel_build.machines.container.record import Record
from parallel_build.machines.container.supervisor import start_time
from parallel_build.machines.local_commands import MachineFailed, start_detached
from parallel_build.remote.private_folder import held

ALWAYS = ("CAP_NET_ADMIN",)  # a firewall inside
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 4096


def start(machine: Path, record: Record) -> subprocess.Popen[bytes]:
    """Start the process that keeps the machine running; it outlives this one."""
    environment = layer.environment(Path(record.root))
    command = {
        "argv": nspawn(machine, record),
        "environment": environment,
        "unplug": network.plug_command(record.link, False),
        "group": record.machine,
        "memory": record.memory * 2**20 if record.memory else None,
    }
    (machine / "command.json").write_text(json.dumps(command, indent=1))
    if environment:
        cgroups.need_unified()
    _need_inotify()
    return start_detached([sys.executable, "-m", "parallel_build.machines.container.supervisor", str(machine)], machine / "supervisor.log")


def running(folder: Path, name: str) -> bool:
    """Whether the machine is on: its supervisor holds the lock."""
    try:
        return held(folder / name / "lock")
    except FileNotFoundError:
        return False


def nspawn(machine: Path, record: Record) -> list[str]:
    """The command that runs the machine."""
    own = namespace.FOLDER / record.machine
    return [
        # Started inside as well: the /sys that nspawn mounts shows the cards of the namespace it was started in, and CloudStack makes a
        # server's id of the MAC address it finds there.
        *("nsenter", f"--net={own}", "--"),
        "systemd-nspawn",
        "--quiet",
        f"--directory={machine / 'root'}",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--console=read-only",
        f"--network-namespace-path={own}",
        # Unique on this computer: nspawn keeps folders by this name; several labs have a machine called newdb1.
        f"--machine={record.machine}",
        f"--hostname={record.name}",
        f"--capability={','.join((*ALWAYS, *record.capabilities))}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
    ]


def _need_inotify() -> None:
    """Have enough inotify instances: each systemd takes dozens, and the kernel's limit is for all of root's together."""
    if int(INOTIFY_LIMIT.read_text()) < INOTIFY_INSTANCES:
        INOTIFY_LIMIT.write_text(str(INOTIFY_INSTANCES))


def end(machine: Path, record: Record) -> None:
    """End all of the machine's processes at once.

    Raises:
        MachineFailed: some are still there.
    """
    # By its group: nspawn's own death doesn't take the machine's processes with it. The supervisor then ends by itself, unless it was just
    # about to start the machine again.
    if cgroups.kill(record.machine) and ended(machine.parent, machine.name, 2):
        return
    signal_supervisor(machine, signal.SIGKILL)
    if not cgroups.kill(record.machine) or not ended(machine.parent, machine.name, 10):
        raise MachineFailed(
            f"processes of machine {record.name} can't be ended",
            "they wait in the kernel, or a new one is started again and again",
            f"see {machine}/console.log, and in `ps -eo pid,stat,args` what is in state D; then run the same command again",
        )


def ended(folder: Path, name: str, timeout: float) -> bool:
    """Wait at most `timeout` seconds until the machine is off; whether it is."""
    deadline = time.monotonic() + timeout
    while running(folder, name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def signal_supervisor(machine: Path, number: signal.Signals) -> None:
    """Send a signal to the process that keeps the machine running, if there is one.

    Raises:
        MachineFailed: it runs, and its record names another process.
    """
    if not running(machine.parent, machine.name):
        return
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # The lock is taken a moment before the record is written.
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((machine / "supervisor.json").read_text())
            handle = os.pidfd_open(found["pid"])
            try:
                if start_time(found["pid"]) == found["start"]:
                    signal.pidfd_send_signal(handle, number)
                    return
            finally:
                os.close(handle)
        if not running(machine.parent, machine.name):
            return
        time.sleep(0.05)
    raise MachineFailed(
        f"the supervisor of machine {machine.name} can't be found", f"{machine}/supervisor.json is stale", "run the same command again"
    )


def tail(machine: Path) -> str:
    """The last lines of the machine's console."""
    try:
        lines = (machine / "console.log").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return " | ".join(line.strip() for line in lines[-3:] if line.strip())
