"""Hitting a moment of a step: the run's journal and log are read as they grow, and the provider is held still while a fault is made."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.chaos.cells import BACK, FIRST, LAST, Cell
from lab.errors import LabError
from lab.progress import say

DONE = "done"  # a step's outcome in the journal where it has not failed [provider/step_handler.py]
POLL = 0.002  # seconds; the shortest steps take some milliseconds
LOOK = 0.1  # seconds between two looks for a provider that is not there yet: each reads all of /proc


class Growing:
    """The lines that a file has grown by since it was last looked at; a line counts once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = path.stat().st_size if path.exists() else 0
        self.rest = b""

    def lines(self) -> list[str]:
        """The new whole lines."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return []
        if size == self.offset:
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = self.rest + file.read()
            self.offset = file.tell()
        whole, _, self.rest = data.rpartition(b"\n")
        return whole.decode(errors="replace").splitlines()


class Moment:
    """Knows the moment of one cell from what a run writes.

    Args:
        cell: what is waited for.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.begun = False
        self.hit = ""

    def read(self, entries: Sequence[dict[str, Any]], progress: Sequence[str]) -> None:
        """See whether the moment has come; `hit` then says by which line.

        Args:
            entries, progress: new lines of the run's journal and log.
        """
        for entry in entries:
            self._entry(entry)
        if not self.hit and self.begun and self.cell.moment not in (FIRST, LAST):
            wanted = self.cell.place.middle
            for line in progress:
                _, _, printed = line.partition(" ")
                step, _, message = printed.partition(": ")
                if step == self.cell.step and wanted in message:
                    self.hit = message[:80]
                    break

    def _entry(self, entry: dict[str, Any]) -> None:
        if self.hit or entry.get("step") != self.cell.step:
            return
        kind = entry.get("kind")
        if kind == "begin":
            self.begun = entry.get("operation") == ("undo" if self.cell.direction == BACK else "apply")
            if self.begun and self.cell.moment == FIRST:
                self.hit = "begin"
        elif not self.begun:
            return
        elif kind == "end" and entry.get("outcome") != DONE:
            self.begun = False  # it failed on the way to this moment, of an earlier fault: the command that follows begins it again
        elif kind == "end":
            # A step without intent or progress has no middle: its end is the last that can be hit.
            self.hit = "end"
        elif kind == "intent" and self.cell.moment not in (FIRST, LAST) and self.cell.place.middle in str(entry.get("action")):
            self.hit = f"intent: {entry.get('action')}"


class Watch:
    """Watches one run for the moments of the cells to come, and holds its provider still as soon as one is reached.

    Args:
        queue: the cells to come, in the order of their steps. A moment that the run passes by does not keep the later ones from being seen.
        folder: the run's folder.
        engine: process id of the Pulumi command.
    """

    def __init__(self, queue: Sequence[Cell], folder: Path, engine: int) -> None:
        self.moments = [Moment(cell) for cell in queue]
        self.provider: int | None = None
        self._engine = engine
        self._journal, self._log = Growing(folder / "journal.jsonl"), Growing(folder / "run.log")
        self._looked = 0.0

    def passed(self, moment: Moment) -> None:
        """A moment that was reached, and those before it, are not waited for any more."""
        del self.moments[: self.moments.index(moment) + 1]

    def reached(self) -> Moment | None:
        """The first moment that has come, with the provider held from then on; None while none has."""
        if self.provider is None and time.monotonic() - self._looked > LOOK:
            # Before the moment: looking for it then would take longer than a short step.
            self.provider, self._looked = provider_of(self._engine), time.monotonic()
        lines, progress = self._journal.lines(), self._log.lines()
        if lines or progress:
            entries = [json.loads(line) for line in lines]
            for moment in self.moments:
                moment.read(entries, progress)
        found = next((moment for moment in self.moments if moment.hit), None)
        if found:
            hold(self.provider)
        return found

    def wait(self, over: Callable[[], bool], timeout: float) -> Moment | None:
        """Wait until a moment comes, or the run is over; the moment, with the provider held. A run that has ended can't be hit any more.

        Raises:
            LabError: neither within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            if over():
                return None
            if moment := self.reached():
                return moment
            if time.monotonic() > deadline:
                raise LabError(
                    f"the run neither came to {self.moments[0].cell.name} nor ended within {timeout:.0f} s", "", "see its run.log"
                )
            time.sleep(POLL)


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    """Wait for something, at most so long; whether it happened."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def hold(pid: int | None) -> None:
    """Stop a process where it is: what is done now takes place at one moment of its life."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def release(pid: int | None) -> None:
    """Let a stopped process continue."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def promptly() -> None:
    """Have this process, not those that it starts, woken at once also on a busy computer: a moment is over in milliseconds."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        say("this process can't be scheduled in real time: on a busy computer faults may come a little late")


def descendants(pid: int) -> dict[int, str]:
    """All processes below one: id -> command line."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    found: dict[int, str] = {}
    front = [pid]
    while front:
        front = [child for child, parent in parents.items() if parent in front]
        found |= {child: commands.get(child, "") for child in front}
    return found


def provider_of(pid: int) -> int | None:
    """The resource provider that an engine has started, or None."""
    return next((child for child, command in descendants(pid).items() if "parallel_build.provider.server" in command), None)
