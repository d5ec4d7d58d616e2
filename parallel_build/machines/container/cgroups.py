"""Control groups of containers: one a machine, by which its processes are found and ended.

Without a group of its own each, several containers on a host without systemd would share one tree, and each one's systemd would
take the others' services for its own. A process can't leave its group, so the group finds what a list of process ids can't: ids are used
again, groups are not. Standard library only: the supervisor, which lives as long as its machine, imports this and stays small.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def _mounts() -> list[tuple[Path, str, set[str]]]:
    """Mounted hierarchies: mount point, file system type, options."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            found.append((Path(before.split()[4]), kind, set(options.split(","))))
    return found


def tracking() -> list[Path]:
    """Mount points of the hierarchies in which systemd tracks processes: version 1's `name=systemd`, version 2."""
    return [path for path, kind, options in _mounts() if kind == "cgroup2" or "name=systemd" in options]


def need_unified() -> None:
    """Mount version 2 where a host of version 1 doesn't have it yet; newer systemd runs on nothing else."""
    if any(kind == "cgroup2" for _, kind, _ in _mounts()):
        return
    folder = ROOT / "unified"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(folder)], check=True, timeout=30)


def enter(group: str) -> None:
    """Put the calling process into `group` of every tracking hierarchy."""
    for mount in tracking():
        folder = mount / group
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def limit_memory(group: str, size: int) -> None:
    """Limit the calling process, and what it will start, to `size` bytes.

    Raises:
        OSError: the host's memory controller can't be used.
    """
    for mount, kind, options in _mounts():
        if kind == "cgroup" and "memory" in options:
            folder = mount / _own("memory") / group
            folder.mkdir(exist_ok=True)
            (folder / "memory.limit_in_bytes").write_text(str(size))
            (folder / "cgroup.procs").write_text(str(os.getpid()))
            return
    for mount, kind, _ in _mounts():
        if kind == "cgroup2":
            (mount / "cgroup.subtree_control").write_text("+memory")
            (mount / group / "memory.max").write_text(str(size))
            return
    raise FileNotFoundError("no hierarchy has the memory controller")


def _own(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.lstrip("/")
    return ""


def processes(group: str) -> set[int]:
    """Ids of the processes in `group` and below it."""
    found: set[int] = set()
    for mount in tracking():
        for folder, _, _ in os.walk(mount / group):  # It continues where a group vanishes while it is read, which rglob doesn't.
            with contextlib.suppress(OSError):
                found.update(int(word) for word in Path(folder, "cgroup.procs").read_text().split())
    found.discard(0)  # A process of another process id namespace shows as 0.
    return found


def kill(group: str, timeout: float = 10) -> bool:
    """SIGKILL everything in `group`; whether it is empty within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while found := processes(group):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def remove(group: str) -> None:
    """Remove the empty groups named `group`, in every hierarchy; others may come and go meanwhile."""
    for mount in {path for path, _, _ in _mounts()}:
        for top in _named(mount, group):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def _named(mount: Path, group: str) -> list[str]:
    """Groups of that name at most two levels down: those with a memory limit are below the group of who started them."""
    found = []
    for folder, names, _ in os.walk(mount):
        if group in names:
            found.append(f"{folder}/{group}")
        if folder.count("/") >= str(mount).count("/") + 2:
            names.clear()
    return found
