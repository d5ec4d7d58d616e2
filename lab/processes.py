"""Processes that outlive the command that starts them: recorded by id and start time, so that another command finds them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.progress import until
from parallel_build.machines.container.supervisor import start_time
from tools.cache import write_atomically


def find(record: Path) -> int | None:
    """The recorded process's id, or None when it doesn't run (an id that another process has by now doesn't count)."""
    try:
        found = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return None
    pid: int = found["pid"]
    return pid if start_time(pid) == found["start"] else None


def remember(record: Path, pid: int) -> None:
    """Record a running process."""
    write_atomically(record, json.dumps({"pid": pid, "start": start_time(pid)}) + "\n", 0o600)


def start(record: Path, argv: Sequence[str], log: Path, *, namespace: str, environment: Mapping[str, str]) -> int:
    """Start a process inside a network namespace, in a session of its own, and record it.

    Args:
        record: file to find it by.
        log: file its output goes to.
        environment: added to this process's own.
    """
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", "--", *argv],  # it executes argv in its own place
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, **environment},
            start_new_session=True,
        )
    remember(record, process.pid)
    return process.pid


def stop(record: Path, what: str, timeout: float = 15) -> None:
    """End a recorded process, if it runs: SIGTERM, then SIGKILL.

    Raises:
        LabError: it is still there.
    """
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        pid = find(record)
        if pid is None:
            break
        os.kill(pid, number)
        try:
            until(f"the end of {what}", lambda: _gone(record), timeout=patience, interval=0.1)
        except LabError:
            if number is signal.SIGKILL:
                raise
    record.unlink(missing_ok=True)


def _gone(record: Path) -> bool:
    pid = find(record)
    if pid is None:
        return True
    try:  # A child of this very process stays as a zombie until it is asked for.
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
