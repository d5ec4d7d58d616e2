"""Hitting a moment of a step: the run's journal and log are read as they grow, and the provider is held still while a fault is made."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab.chaos.cells import BACK, FIRST, LAST, Cell
from lab.errors import LabError

POLL = 0.002  # seconds; the shortest steps take tens of milliseconds


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
    """Watches a run for the moment of one cell.

    Args:
        cell: what is waited for.
        folder: the run's folder.
    """

    def __init__(self, cell: Cell, folder: Path) -> None:
        self.cell = cell
        self.journal, self.log = Growing(folder / "journal.jsonl"), Growing(folder / "run.log")
        self.begun = False
        self.hit = ""

    def reached(self) -> bool:
        """Whether the moment has come; `hit` then says by which line."""
        for line in self.journal.lines():
            with contextlib.suppress(ValueError):
                self._entry(json.loads(line))
        progress = self.log.lines()
        if not self.hit and self.begun and self.cell.moment not in (FIRST, LAST):
            wanted = self.cell.place.middle
            for line in progress:
                _, _, said = line.partition(" ")
                step, _, message = said.partition(": ")
                if step == self.cell.step and wanted in message:
                    self.hit = message[:80]
                    break
        return bool(self.hit)

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
        elif kind == "end":
            # A step without intent or progress has no middle: its end is the last that can be hit.
            self.hit = "end"
        elif kind == "intent" and self.cell.moment not in (FIRST, LAST) and self.cell.place.middle in str(entry.get("action")):
            self.hit = f"intent: {entry.get('action')}"


def wait(moment: Moment, over: Callable[[], bool], timeout: float) -> bool:
    """Wait until the moment comes or the run is over; whether it came.

    Raises:
        LabError: neither within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        ended = over()
        if moment.reached():
            return True
        if ended:
            return False
        if time.monotonic() > deadline:
            raise LabError(f"the run neither came to {moment.cell.name} nor ended within {timeout:.0f} s", "", "see its run.log")
        time.sleep(POLL)


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    """Wait for something, at most so long; whether it happened."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


@contextlib.contextmanager
def held(pid: int | None) -> Iterator[None]:
    """A process held still meanwhile: what is done takes place at one moment of its life."""
    if pid is None:
        yield
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


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
    return next((child for child, command in descendants(pid).items() if "provider.server" in command), None)
