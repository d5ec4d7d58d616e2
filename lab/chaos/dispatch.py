"""Journeys from one queue to one or several labs; each in a process of its own, as it enters its lab's network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.chaos import cells, results
from lab.chaos.cells import Cell
from lab.errors import LabError
from lab.files import Lab
from lab.progress import say
from parallel_build.project import PROJECT

UP_LIMIT = 900.0
JOURNEY_LIMIT = 5400.0
ROUNDS = 3  # so often is a cell tried whose moment did not come, or whose journey ended before it
SETTLED = (results.PASSED, results.FAILED)
# Exit codes of a journey: every cell passed; some did not, but the lab is sound. After any other the lab is recreated.
ALL_PASSED, SOME_FAILED = 0, 3


class Dispatch:
    """Runs cells on labs side by side.

    Args:
        labs: their names; each is made where it is not there. Their networks are namespaces of their own, so that they can't meet.
        file: the results; appended to.
        transfer: how the labs bring the databases over.
    """

    def __init__(self, labs: Sequence[str], file: Path, transfer: str = "dump") -> None:
        self._labs, self._file, self._transfer = labs, file, transfer
        self._queue: deque[list[Cell]] = deque()
        self._stop = threading.Event()

    def run(self, wanted: Sequence[Cell]) -> None:
        """Run all cells; those that were not come to, once more in further rounds.

        Raises:
            LabError: a lab can't be made, or a journey did not end. The journeys under way on other labs are finished first.
        """
        since = self._file.stat().st_size if self._file.exists() else 0
        left = list(wanted)
        for number in range(1, ROUNDS + 1):
            self._queue.extend(cells.journeys(left))
            say(f"round {number}: {len(left)} cells in {len(self._queue)} journeys on {', '.join(self._labs)}; results in {self._file}")
            self._round()
            settled = {name for name, found in results.read(self._file, since).items() if found["verdict"] in SETTLED}
            left = [cell for cell in left if cell.name not in settled]
            if not left:
                return

    def _round(self) -> None:
        self._stop.clear()
        with ThreadPoolExecutor(len(self._labs)) as workers:
            tasks = [workers.submit(self._work, lab) for lab in self._labs]
            try:
                for task in tasks:
                    task.result()
            finally:
                self._stop.set()

    def _work(self, lab: str) -> None:
        """One lab's journeys, until none is left."""
        while not self._stop.is_set():
            try:
                journey = self._queue.popleft()
            except IndexError:
                return
            began = time.monotonic()
            tell(lab, f"a journey of {len(journey)} cells; {len(self._queue)} more to come")
            self._up(lab)
            named = [word for cell in journey for word in ("--cell", cell.name)]
            code = self._command(lab, ["lab.chaos", "--name", lab, "--journey", *named, "--json", str(self._file)], JOURNEY_LIMIT)
            tell(lab, f"the journey ended with exit code {code} after {time.monotonic() - began:.0f} s")
            if code != ALL_PASSED:
                self._keep(lab)
            if code not in (ALL_PASSED, SOME_FAILED) and not self._stop.is_set():
                self._down(lab)

    def _keep(self, lab: str) -> None:
        """Copy what shows why a cell failed: the lab may be gone before anybody looks."""
        folder = self._file.with_suffix(".failed") / f"{lab}-{time.strftime('%H%M%S')}"
        folder.mkdir(parents=True, exist_ok=True)
        where = Lab(lab).folder
        for path in (where / "chaos.log", *(where / "runs").glob("*/*.log"), *(where / "runs").glob("*/journal.jsonl")):
            if path.is_file():
                shutil.copy2(path, folder)
        tell(lab, f"its logs are kept in {folder}")

    def _up(self, lab: str) -> None:
        """Make sure of the lab; one that does not come up is recreated, once."""
        words = ["lab", "--name", lab, "up", "--hosts", "containers", "--disks", "--transfer", self._transfer]
        if self._command(lab, words, UP_LIMIT) != 0:
            self._down(lab)
            if (code := self._command(lab, words, UP_LIMIT)) != 0:
                raise LabError(
                    f"lab {lab} does not come up", f"exit code {code} twice; its last lines are above", "scripts/setup --for lab"
                )

    def _down(self, lab: str) -> None:
        tell(lab, "the lab is taken down")
        if (code := self._command(lab, ["lab", "--name", lab, "down"], UP_LIMIT)) != 0:
            raise LabError(f"lab {lab} can't be taken down", f"exit code {code}; its last lines are above", "")

    def _command(self, lab: str, words: list[str], limit: float) -> int:
        """Run a module of this project, its lines with the lab's name before them; its exit code. It is killed after `limit` seconds."""
        with subprocess.Popen(
            [sys.executable, "-u", "-m", *words],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            over = threading.Timer(limit, process.kill)
            over.start()
            try:
                for text in process.stdout or ():
                    tell(lab, text.rstrip())
                return process.wait()
            finally:
                over.cancel()


def tell(lab: str, text: str) -> None:
    """One line of what happens on one lab."""
    say(f"[{lab} {time.strftime('%H:%M:%S')}] {text}")
