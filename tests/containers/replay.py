"""Drawn sequences of `tests.fast.sequences`, replayed on a lab of containers: the same outcome as in the world, or one of the two is wrong.

`python -m tests.containers.replay --from SEED --number N --file FILE` makes a lab where there is none, and can be resumed: FILE has how far it came, and
what every command printed is in a file of the same name that ends in `.log`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files import Lab
from lab.progress import until
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import namespace
from parallel_build.project import PROJECT
from tests.containers.replay_lab import ReplayLab, agrees, settled
from tests.containers.replay_world import Step, steps
from tests.fast.drawn_moves import AGENT_MOVES, COMMANDS, Move

# A host that is away is not waited for long, and a server that is silent is soon given up.
LIMITS = {
    "window.hostsTimeout": "20s",
    "window.systemVmTimeout": "30s",
    "window.startTimeout": "90s",
    "window.forensics": "none",
    "ssh.connectTimeout": "4s",
}
POINT = "switched"


class Replay:
    """One seed on both."""

    def __init__(self, lab: ReplayLab, seed: int) -> None:
        self.lab, self.seed = lab, seed
        self.made: list[Move] = []
        self.different: list[str] = []
        self.unsure = self.subset = False
        self.compared = 0

    def run(self) -> bool:
        """Make the moves; whether the outcome was the same after each."""
        for step in steps(self.seed):
            self.made.append(step.move)
            print(f"  [{time.strftime('%H:%M:%S')}] {self.seed} {step.move}", flush=True)
            self._move(step)
            if self.different:
                return False
        return True

    def _move(self, step: Step) -> None:
        kind, what = step.move
        self.subset |= step.hangs or "newdb1" in step.off
        if kind in COMMANDS:
            ended = self.lab.command(kind, *what)
            # Where it dies or sleeps is another action in the world: the rest is compared after the next command that comes to its end in both.
            self.unsure = what[0] != "ends" or (self.unsure and not (ended and step.outcome.ended))
            # `pulumi up` also looks at machines and settings that the world does not have.
            self._compare(step, ended if kind == "back" else None)
        elif kind == "another state":
            self._compare(step, self.lab.command(kind, "ends", 0, "back"))
        elif kind == "the way out":
            self._way_out(step, over=what)
        elif kind in AGENT_MOVES:
            self.lab.agent(kind, what)
        elif kind == "tear":
            self.lab.tear(what)
        else:
            self.lab.follow(step)

    def _compare(self, step: Step, ended: bool | None) -> None:
        if self.unsure:
            found = self.lab.outcome(ended)
            if found.original and found.new and not step.closed:
                self.different.append(f"after {step.move}: {found.original} and {found.new} run")
            return
        wanted = dataclasses.replace(step.outcome, ended=None if ended is None else step.outcome.ended)
        found = settled(self.lab, wanted, ended, subset=self.subset)
        self.compared += 1
        if not agrees(found, wanted, subset=self.subset):
            self.different.append(f"after {step.move}: {found}, and in the world {wanted}")

    def _way_out(self, step: Step, *, over: bool) -> None:
        self.lab.follow(step)
        for host in step.agents:
            self.lab.agent("agent starts", host)
        if not over or self.unsure:
            self.different += self.lab.way_out()
        self.unsure = False
        self._compare(step, None)
        found: list[dict[str, str]] = []

        def same() -> bool:
            found[:] = [self.lab.agents()]
            return found[0] == step.agents

        try:
            until("the agents to be where they are in the world", same, timeout=60, interval=2)
        except LabError:
            self.different.append(f"agents at the end: {found[0]}, and in the world {step.agents}")


def main() -> int:
    """Replay some, and continue where an earlier run ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", type=int, default=7_000_000, dest="first")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--file", type=Path, required=True, help="how far it came, and what it found")
    parser.add_argument("--lab", default=f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:12]}-replay")
    parser.add_argument("--until", default="", help="HH:MM, when no further sequence is begun")
    given = parser.parse_args()
    state: dict[str, Any] = {"next": given.first, "agreed": [], "different": [], "compared": 0, "seconds": 0.0}
    if given.file.exists():
        state |= json.loads(given.file.read_text())
    lab = Lab(given.lab)
    enter(lab)
    while state["next"] < given.first + given.number and not (given.until and time.strftime("%H:%M") >= given.until):
        seed, began = state["next"], time.monotonic()
        replay = Replay(ReplayLab(lab, given.file.resolve().with_suffix(".log")), seed)
        try:
            agreed = replay.run()
        except (AssertionError, LabError, ParallelBuildError, subprocess.SubprocessError) as error:
            replay.different.append(f"{type(error).__name__}: {error}")
            agreed = False
        state["compared"] += replay.compared
        state["agreed" if agreed else "different"].append(seed if agreed else [seed, repr(replay.made), replay.different])
        state |= {"next": seed + 1, "seconds": round(state["seconds"] + time.monotonic() - began, 1)}
        given.file.write_text(json.dumps(state, indent=1))
        print(f"{seed}: {'the same' if agreed else replay.different} ({time.monotonic() - began:.0f} s)", flush=True)
        replay.lab.heal()
        restore(lab)
    print({**state, "agreed": len(state["agreed"])}, flush=True)
    return 1 if state["different"] else 0


def enter(lab: Lab) -> None:
    """Enter the network of the lab, as it was at its point. Where it has none the lab is made and switched first.

    Raises:
        LabError: a command failed.
    """
    if (lab.folder / "points" / POINT / "point.json").exists():
        namespace.enter(lab.namespace)
        ReplayLab.drop(frozenset())
        restore(lab)
        return
    _lab(lab, "up", "--hosts", "containers", "--management", "2", "--move", "--rows", "100")
    for path, value in LIMITS.items():
        _lab(lab, "pulumi", "config", "set", "--path", path, value)
    _lab(lab, "switch")
    _lab(lab, "snapshot", POINT)
    namespace.enter(lab.namespace)


def restore(lab: Lab) -> None:
    """After a sequence: the lab that was switched, as it was; some twenty seconds.

    Raises:
        LabError: it could not be put back.
    """
    _lab(lab, "restore", POINT)


def _lab(lab: Lab, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", "--name", lab.name, *words], cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=900, check=False
    )
    if done.returncode != 0:
        raise LabError(f"lab {' '.join(words)} ended with exit code {done.returncode}", "see above", "")


if __name__ == "__main__":
    sys.exit(main())
