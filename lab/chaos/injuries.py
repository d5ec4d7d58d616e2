"""Making a fault and repairing it again, as an operator would: power back, cable in, room on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.chaos import cells
from lab.chaos.cells import Cell
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import sessions
from lab.machines import Machine, original
from lab.progress import until
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import cgroups, layer
from parallel_build.machines.container import machine as container
from parallel_build.machines.container.record import must
from parallel_build.remote.sql import session

FILLER = "filled-by-chaos"
DATABASE_SERVERS = ("mariadbd", "mysqld")


@dataclass
class Injury:
    """A fault that has been made.

    Attributes:
        fault: what was done, in words.
        repair: undoes it; the operator's part of the recovery.
        ends_run: whether the fault itself ends the running command.
    """

    fault: str
    repair: Callable[[], None] = field(default=lambda: None)
    ends_run: bool = False


def make(cell: Cell, lab: Lab, engine: int, provider: int | None) -> Injury:
    """Make a cell's fault now.

    Args:
        engine, provider: process ids of the Pulumi command and of the provider that it started.
    Raises:
        LabError: the fault can't be made here.
    """
    host, database = cell.place.host, cell.place.database
    if cell.fault == cells.KILL_PROVIDER:
        if provider is None:
            raise LabError("there is no provider to kill", "it has ended already", "")
        _kill(provider, signal.SIGKILL)
        return Injury("provider killed", ends_run=True)
    if cell.fault == cells.KILL_CLI:
        _kill(engine, signal.SIGKILL)
        return Injury("pulumi killed", ends_run=True)
    if cell.fault == cells.INTERRUPT:
        _kill(engine, signal.SIGINT)
        return Injury("pulumi interrupted", ends_run=True)
    if cell.fault == cells.POWER:
        container.kill(_folder(lab, host), host.name)
        return Injury(f"{host.name} powered off", lambda: _power_on(lab, host))
    if cell.fault == cells.NETWORK:
        container.cut_network(_folder(lab, host), host.name)
        return Injury(f"network to {host.name} cut", lambda: _plug(lab, host))
    if cell.fault == cells.DATABASE:
        _kill_database(lab, database)
        return Injury(f"database on {database.name} killed", lambda: _database_back(lab, database))
    filler = _fill(lab, host)
    return Injury(f"disk of {host.name} filled", lambda: filler.unlink(missing_ok=True))


def kill(pid: int | None) -> None:
    """End a process of the operator's machine, which is gone."""
    if pid is not None:
        _kill(pid, signal.SIGKILL)


def power_off(lab: Lab, machine: Machine) -> None:
    """Switch a machine off, for good."""
    container.kill(_folder(lab, machine), machine.name)


def power_on(lab: Lab, machine: Machine) -> None:
    """Bring it back after all, with the disk that it had."""
    if not container.running(_folder(lab, machine), machine.name):
        container.power_on(_folder(lab, machine), machine.name)
    _ready(lab, machine)


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _folder(lab: Lab, machine: Machine) -> Path:
    return lab.original if machine in original(2) else lab.new


def _power_on(lab: Lab, machine: Machine) -> None:
    container.power_on(_folder(lab, machine), machine.name)
    _ready(lab, machine)


def _plug(lab: Lab, machine: Machine) -> None:
    container.restore_network(_folder(lab, machine), machine.name)
    if not container.running(_folder(lab, machine), machine.name):  # a rollback that could not reach it has cut its power
        container.power_on(_folder(lab, machine), machine.name)
    _ready(lab, machine)


def _ready(lab: Lab, machine: Machine) -> None:
    """Booted as far as it goes: enabled services have been started."""

    def booted() -> bool:
        try:
            printed = opened[machine].run(["systemctl", "is-system-running"], timeout=10, ok=None).stdout.strip()
        except ParallelBuildError:
            return False
        return printed in ("running", "degraded")

    with sessions(lab) as opened:  # of its own: older connections hang on a machine that was lost
        until(f"{machine.name} to have booted", booted, timeout=120)


def _database_back(lab: Lab, machine: Machine) -> None:
    """A server that is enabled is started again by its unit after a crash; one that is masked stays down."""

    def back() -> bool:
        try:
            if opened[machine].run(["systemctl", "is-enabled", "mariadb"], timeout=10, ok=None).stdout.strip() != "enabled":
                return True
            with session(opened[machine]) as database:
                return bool(database.value("SELECT 1") == 1)
        except ParallelBuildError:
            return False

    with sessions(lab) as opened:
        until(f"the database server on {machine.name} to be back", back, timeout=120)


def _kill_database(lab: Lab, machine: Machine) -> None:
    """By its process, not over SSH: the moment is now."""
    for pid in cgroups.processes(must(_folder(lab, machine), machine.name).machine):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() in DATABASE_SERVERS:
                os.kill(pid, signal.SIGKILL)


def _fill(lab: Lab, machine: Machine) -> Path:
    """Take every free block of the machine's own disk.

    Raises:
        LabError: it has none of its own; filling this computer's would stop everything.
    """
    disk = layer.disk(_folder(lab, machine) / machine.name)
    if not disk.is_mount():
        raise LabError(f"{machine.name} has no disk of its own", "the lab was made without them", "scripts/lab up --disks")
    filler = disk / FILLER
    with filler.open("ab") as file:
        size, chunk = 0, 256 * 2**20
        while chunk >= 4096:
            try:
                os.posix_fallocate(file.fileno(), size, chunk)
                size += chunk
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                chunk //= 4
    return filler
