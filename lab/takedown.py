"""Taking a lab down: everything that it made goes, found by its records and its name, whatever state it is in."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from functools import partial
from pathlib import Path

from lab import fileserver, libvirtd, network
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import in_parallel
from lab.progress import say, until
from parallel_build.machines.container import machine as container


def down(lab: Lab) -> None:
    """Remove the lab: its machines, both sides' databases, its network and its folder. Nothing is rolled back first.

    Raises:
        LabError: processes in the lab's network can't be ended.
        MachineFailed: a machine can't be removed.
    """
    if not lab.folder.exists() and not lab.run_folder.exists() and not network.exists(lab):
        say(f"there is no lab named {lab.name}")
        return
    _end_pulumi(lab)
    for folder in (lab.new, lab.original):
        in_parallel(partial(container.delete, folder), container.names(folder))
    libvirtd.stop(lab)
    fileserver.stop(lab)
    _end_processes(lab)
    network.down(lab)
    for path in (lab.run_folder, lab.folder):
        if path.exists():
            shutil.rmtree(path)
    say(f"lab {lab.name} is gone")


def _end_pulumi(lab: Lab) -> None:
    """End what still works on the lab (a Pulumi command of another terminal, a step) before its machines go."""
    mine = os.getpid()
    for pid in network.processes(lab):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text()
            if pid != mine and name.startswith("pulumi"):
                os.kill(pid, signal.SIGTERM)


def _end_processes(lab: Lab) -> None:
    """End every process that is still inside the lab's own network namespace: guests, forgotten connections, interrupted steps."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0)):
        left = [pid for pid in network.processes(lab) if pid != os.getpid()]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if not left:
            return
        try:
            until("the end of the lab's processes", lambda: not network.processes(lab), timeout=patience, interval=0.1)
        except LabError:
            if number is signal.SIGKILL:
                raise
