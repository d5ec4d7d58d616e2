"""A journey: switch and go back with a fault in one step after the other, each followed by nothing but the documented commands."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import stack, status
from lab.chaos import injuries, proofs, watching
from lab.chaos.cells import BACK, FORWARD, TURN, Cell
from lab.chaos.results import FAILED, MISSED, PASSED
from lab.chaos.run import Run
from lab.chaos.witness import Witness
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import sessions
from lab.machines import OLD_MANAGEMENT
from lab.progress import say
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError

OUTAGE = 20.0  # seconds until the operator brings back what was lost, unless the command has ended before
RUN_LIMIT = 900.0  # seconds for one command, on a computer that does a lot besides
TRIES = 3  # of the same command; every one after the first that follows a fault counts as a failure of its cell
PHASES = {FORWARD: Phase.SWITCHED, BACK: Phase.PREPARED}


@dataclass
class Outcome:
    """What became of a cell.

    Attributes:
        verdict: passed, failed, or "not hit" where the step had no such moment in this run.
        hit: the line of the journal or log at which the fault was made.
        fault: in words.
        commands: what was run after it.
        causes: why it failed.
        seconds: from the fault to the next one, or to the end of the way.
    """

    cell: str
    verdict: str
    hit: str = ""
    fault: str = ""
    commands: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Journey:
    """There and back with faults on the way.

    Args:
        lab: up, in phase prepared, with a serving original; the caller is inside its network.
        cells: in the order of their steps, as `cells.journeys` groups them.
        reported: called with each cell's outcome once it is known.
    """

    def __init__(self, lab: Lab, cells: list[Cell], reported: Callable[[Outcome], None]) -> None:
        self.lab, self.cells, self.reported = lab, cells, reported
        self.log = lab.folder / "chaos.log"
        self.sound = True
        self._missed: list[Cell] = []
        self._hurt_at = 0.0

    def run(self) -> bool:
        """Go; whether the lab is sound afterwards: the original serves and nothing of the journey is left."""
        before = self.lab.folder / "chaos-before.json"
        with sessions(self.lab) as opened:
            before.write_text(json.dumps(proofs.baseline(opened)))
        witness = Witness(OLD_MANAGEMENT[0], self.lab.secrets(), f"w{int(time.time())}")
        witness.start()
        try:
            witness.began(3)
            if self.cells[0].direction == TURN:
                self._turn(self.cells[0], before, witness)
                return self.sound
            self._direction(FORWARD, lambda: witness.end(), lambda: proofs.new_serves(self.lab, witness.acknowledged))
            if self.sound:
                self._direction(BACK, lambda: None, lambda: proofs.original_serves(self.lab, before, witness.acknowledged))
        finally:
            witness.end()
        return self.sound

    def _direction(self, direction: str, arrived: Callable[[], None], proof: Callable[[], list[str]]) -> None:
        """One way: every cell's fault in its step, then the proof that counts for all of them."""
        queue = [cell for cell in self.cells if cell.direction == direction]
        outcomes: list[Outcome] = []
        self._missed = []
        began = time.monotonic()
        try:
            self._drive(direction, queue, outcomes)
            arrived()
            problems = proof()
        except (LabError, ParallelBuildError, subprocess.SubprocessError) as error:
            problems = [str(error)]
        if problems:
            self.sound = False
        for outcome in outcomes:
            if outcome.verdict == PASSED and problems:
                outcome.verdict = FAILED
            outcome.causes += problems
            self.reported(outcome)
        for cell in [*self._missed, *queue]:
            self.reported(Outcome(cell.name, MISSED, causes=["the journey ended before it"] if problems else []))
        say(f"  {direction}: {time.monotonic() - began:.0f} s, {'; '.join(problems) or 'as it must be'}")

    def _turn(self, cell: Cell, before: Path, witness: Witness) -> None:
        """A fault on the way there; then `back`, the documented command, until the original serves, and the proof of that."""
        stack.set_phase(self.lab, Phase.SWITCHED)
        outcome = Outcome(cell.name, MISSED)
        try:
            run = Run(self.lab, self.log)
            watch = watching.Watch([cell], self._runs, run.process.pid)
            if moment := watch.wait(run.over, RUN_LIMIT):
                watch.passed(moment)
                outcome, _ = self._hurt(run, moment, watch, [])
            if not run.over():
                run.process.send_signal(
                    signal.SIGINT
                )  # the command continues in spite of the fault: the operator has it stop where it is safe
            run.end(RUN_LIMIT)
            self._unlock([outcome])
            self._back([outcome])
            witness.end()
            problems = proofs.original_serves(self.lab, before, witness.acknowledged)
        except (LabError, ParallelBuildError, subprocess.SubprocessError) as error:
            problems = [str(error)]
        self._took([outcome])
        self.sound = not problems
        outcome.causes += problems
        if outcome.verdict == PASSED and outcome.causes:
            outcome.verdict = FAILED
        self.reported(outcome)
        say(f"  turn: {'; '.join(problems) or 'as it must be'}")

    def _back(self, outcomes: list[Outcome]) -> None:
        """`parallel-build back`, the same again where it failed; every failure counts against the cell.

        Raises:
            LabError: it does not succeed.
        """
        for _ in range(TRIES):
            run = Run(self.lab, self.log, stack.tool_words(self.lab, ["back", stack.STACK]))
            outcomes[-1].commands.append("back")
            run.end(RUN_LIMIT)
            if run.process.returncode == 0:
                return
            outcomes[-1].causes += run.errors()
            self._unlock(outcomes)
        raise LabError(f"`back` failed {TRIES} times", "see above", f"see {self.log}")

    def _drive(self, direction: str, queue: list[Cell], outcomes: list[Outcome]) -> None:
        """Run the command until it succeeds; a fault at each cell's moment. Cells that were hit leave `queue` for `outcomes`."""
        stack.set_phase(self.lab, PHASES[direction])
        tries = 0
        while True:
            run = Run(self.lab, self.log)
            watch = watching.Watch(queue, self._runs, run.process.pid)
            hurt, moment = False, watch.wait(run.over, RUN_LIMIT) if queue else None
            while moment is not None:
                skipped = [queue.pop(0) for _ in range(queue.index(moment.cell) + 1)][:-1]
                self._missed += skipped
                watch.passed(moment)
                outcome, moment = self._hurt(run, moment, watch, outcomes)
                outcomes.append(outcome)
                hurt = True
                if moment is None and queue and not run.over():
                    moment = watch.wait(run.over, RUN_LIMIT)
            run.end(RUN_LIMIT)
            if run.process.returncode == 0:
                self._took(outcomes)
                return
            tries = 1 if hurt else tries + 1
            if not hurt:
                causes = run.errors()
                say(f"  `pulumi up` failed without a fault: {' | '.join(causes)}")
                if outcomes:
                    outcomes[-1].verdict = FAILED
                    outcomes[-1].causes += causes
                if tries > TRIES:
                    raise LabError(f"`pulumi up` failed {tries} times", " | ".join(causes), f"see {self.log}")
            self._unlock(outcomes)
            if outcomes:
                outcomes[-1].commands.append("pulumi up")

    def _hurt(
        self, run: Run, moment: watching.Moment, watch: watching.Watch, before: list[Outcome]
    ) -> tuple[Outcome, watching.Moment | None]:
        """Make a fault, and repair it once the command has ended, has come to the next cell's moment, or the operator's time is over.

        The provider is held already. One that continues in spite of a fault soon comes to the next cell's moment: that is returned, the provider held again.
        """
        cell = moment.cell
        try:
            self._took(before)
            injury = injuries.make(cell, self.lab, run.process.pid, watch.provider)
        finally:
            watching.release(watch.provider)
        outcome = Outcome(cell.name, PASSED, moment.hit, injury.fault)
        say(f"  {cell.name}: {injury.fault} at {moment.hit!r}")
        if injury.ends_run:
            run.wait(RUN_LIMIT)
            injury.repair()
            return outcome, None
        found: list[watching.Moment] = []

        def reached() -> bool:
            if not found and not run.over() and (moment := watch.reached()):
                found.append(moment)
            return bool(found)

        if not watching.within(OUTAGE, lambda: run.over() or reached()):
            say(f"  {cell.name}: the command continues after {OUTAGE:.0f} s")
        # Watched on: a machine takes seconds to boot, in which a command that continues comes to the next moment. There it waits for the repair.
        with ThreadPoolExecutor(1) as repairing:
            repaired = repairing.submit(injury.repair)
            try:
                watching.within(RUN_LIMIT, lambda: repaired.done() or reached())
                repaired.result()
            except BaseException:
                watching.release(watch.provider)
                raise
        return outcome, found[0] if found else None

    def _took(self, outcomes: list[Outcome]) -> None:
        """The last fault's time is over: the next one is made, or the way has come to its end."""
        if outcomes:
            outcomes[-1].seconds = round(time.monotonic() - self._hurt_at, 1)
        self._hurt_at = time.monotonic()

    def _unlock(self, outcomes: list[Outcome]) -> None:
        """`pulumi cancel`, where a killed command left its lock."""
        if list((self.lab.backend / ".pulumi" / "locks").rglob("*.json")):
            stack.cancel(self.lab)
            if outcomes:
                outcomes[-1].commands.append("pulumi cancel")

    @property
    def _runs(self) -> Path:
        return self.lab.folder / "runs" / stack.STACK


def sound(lab: Lab) -> bool:
    """Whether a journey can begin: the original serves, in phase prepared, every machine on."""
    with sessions(lab) as opened:
        found = status.read(lab, opened)
    return found.serving == "original" and found.phase == Phase.PREPARED.value and set(found.machines.values()) == {"on"}
