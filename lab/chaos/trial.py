"""One cell that nobody repairs: a machine lost for good, an edited stack file, a provider that sleeps while another operator rolls the window back.

What follows is what an operator does who reads the messages. At the end one side serves with all that it has acknowledged, and the other is down.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from lab import stack
from lab.chaos import cells, edits, injuries, proofs, watching
from lab.chaos.cells import BACK, FORWARD, TURN
from lab.chaos.journey import OUTAGE, RUN_LIMIT, TRIES, Journey, Outcome
from lab.chaos.results import FAILED, MISSED, PASSED
from lab.chaos.run import Run
from lab.chaos.witness import Witness
from lab.errors import LabError
from lab.hosts import sessions
from lab.machines import OLD_MANAGEMENT, everything
from lab.progress import say
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError

CONFIRM = re.compile(r"pulumi config set --path '(window\.confirmedDown\[\d+\])' (\S+)")
FROM_REPLICA = "--from-replica"
SERVES = "the original serves, users are in, and this is missing"


class Trial(Journey):
    """One of them, on a lab that is recreated where it does not end as it began."""

    def run(self) -> bool:
        """Go; whether the lab is sound afterwards."""
        (cell,) = self.cells
        before = self.lab.folder / "chaos-before.json"
        with sessions(self.lab) as opened:
            before.write_text(json.dumps(proofs.baseline(opened)))
        witness = Witness(OLD_MANAGEMENT[0], self.lab.secrets(), f"w{int(time.time())}")
        outcome, began, kept = Outcome(cell.name, PASSED), time.monotonic(), self.lab.stack_file.read_bytes()
        witness.start()
        try:
            witness.began(3)
            if cell.fault in cells.LOST:
                problems = self._lost(outcome, witness)
            elif cell.fault in cells.EDITED:
                problems = self._edited(outcome, before, witness, kept)
            else:
                problems = self._asleep(outcome, before, witness)
        except (LabError, ParallelBuildError, subprocess.SubprocessError) as error:
            problems = [str(error)]
        finally:
            witness.end()
        outcome.seconds = round(time.monotonic() - began, 1)
        outcome.causes += problems
        if problems and outcome.verdict == PASSED:
            outcome.verdict = FAILED
        self.reported(outcome)
        return not problems and cell.fault not in cells.LOST

    def _to_its_moment(self, outcome: Outcome, phase: Phase) -> tuple[Run, watching.Watch] | None:
        """Run the command until the cell's moment, the provider held then; None where it ended before."""
        (cell,) = self.cells
        stack.set_phase(self.lab, phase)
        run = Run(self.lab, self.log)
        watch = watching.Watch([cell], self._runs, run.process.pid)
        moment = watch.wait(run.over, RUN_LIMIT)
        if moment is None:
            run.end(RUN_LIMIT)
            outcome.verdict = MISSED
            outcome.causes += run.errors() if run.process.returncode else []
            return None
        outcome.hit = moment.hit
        return run, watch

    def _lost(self, outcome: Outcome, witness: Witness) -> list[str]:
        (cell,) = self.cells
        name = cell.fault.removeprefix("lost-")
        if not (at := self._to_its_moment(outcome, Phase.SWITCHED)):
            return []
        run, watch = at
        machine = next((each for each in everything(2) if each.name == name), None)
        try:
            if machine is None:
                for pid in (run.process.pid, watch.provider):
                    injuries.kill(pid)
                shutil.rmtree(self.lab.folder / "runs", ignore_errors=True)
            else:
                injuries.power_off(self.lab, machine)
        finally:
            watching.release(watch.provider)
        outcome.fault = f"{name} is gone for good"
        say(f"  {cell.name}: {outcome.fault} at {outcome.hit!r}")
        if not watching.within(OUTAGE, run.over):
            run.process.send_signal(signal.SIGINT)
        run.end(RUN_LIMIT)
        refusals = self._rollback(outcome, name)
        witness.end()
        if refusals and machine is not None:  # what it takes is not there: the way out that was named is to bring it back
            if problems := proofs.nothing_new_runs(self.lab):
                return problems
            injuries.power_on(self.lab, machine)
            outcome.commands.append(f"{name} is switched on again")
            if refusals := self._rollback(outcome, name):
                return refusals
            name = ""
        return refusals or proofs.one_side(self.lab, "original", witness.acknowledged, without=name)

    def _rollback(self, outcome: Outcome, lost: str) -> list[str]:
        """`back`, with what its messages ask for; what it refuses with at the end, and nothing where the original serves."""
        words, printed = ["back", stack.STACK], ""
        for _ in range(2 * TRIES):
            self._unlock([outcome])
            run = Run(self.lab, self.log, stack.tool_words(self.lab, words))
            outcome.commands.append(" ".join(words))
            run.end(RUN_LIMIT)
            printed = run.printed()
            if run.process.returncode == 0 or SERVES in printed:
                return []
            confirm = CONFIRM.search(printed)
            if FROM_REPLICA in printed and FROM_REPLICA not in words:
                words.append(FROM_REPLICA)
            elif confirm and confirm[2] != lost:
                return [f"asks to confirm that {confirm[2]} is down, which is on", *run.errors()]
            elif confirm and self._confirm(confirm[1], confirm[2]):
                outcome.commands.append(f"{confirm[1]} = {confirm[2]}")
            elif len(outcome.commands) > TRIES:
                break
        return run.errors() if "Remedy:" in printed else ["a refusal without a remedy", *run.errors()]

    def _confirm(self, path: str, name: str) -> bool:
        """Confirm that a machine is off, unless that is confirmed already."""
        if f'"{name}"' in stack.config_text(self.lab):
            return False
        stack.configure(self.lab, path, name)
        return True

    def _edited(self, outcome: Outcome, before: Path, witness: Witness, kept: bytes) -> list[str]:
        (cell,) = self.cells
        if cell.step != cells.STEPS[0]:
            stack.configure(self.lab, "window.stopBefore", cell.step)
            stack.set_phase(self.lab, Phase.SWITCHED)
            if causes := self._up():
                return [f"before {cell.step} the window is not held", *causes]
            stack.unset(self.lab, "window.stopBefore")
        plain = self.lab.stack_file.read_bytes()
        outcome.fault, outcome.hit = edits.make(self.lab, cell.fault), f"before {cell.step}"
        say(f"  {cell.name}: {outcome.fault} {outcome.hit}")
        serving = proofs.serving(self.lab)
        if cell.direction == FORWARD:
            stack.set_phase(self.lab, Phase.SWITCHED)
            if refused := self._up():
                outcome.commands.append("pulumi up, refused")
                if problems := self._refusal(serving, refused):
                    return problems
                self.lab.stack_file.write_bytes(plain)
                stack.set_phase(self.lab, Phase.SWITCHED)
                if causes := self._up():
                    return ["refused also without the edit", *causes]
            witness.end()
            if problems := proofs.one_side(self.lab, "new", witness.acknowledged):
                return problems
        if causes := self._rollback(outcome, ""):
            outcome.commands.append("refused")
            if problems := self._refusal(proofs.serving(self.lab) if cell.direction == FORWARD else serving, causes):
                return problems
            self.lab.stack_file.write_bytes(plain)
            if causes := self._rollback(outcome, ""):
                return ["refused also without the edit", *causes]
        witness.end()
        if problems := proofs.one_side(self.lab, "original", witness.acknowledged):
            return problems
        self.lab.stack_file.write_bytes(kept)
        stack.set_phase(self.lab, Phase.PREPARED)
        return self._up() or proofs.original_serves(self.lab, before, witness.acknowledged)

    def _refusal(self, serving: list[str], causes: list[str]) -> list[str]:
        """What is wrong with a refusal: it names no remedy, or something has changed."""
        text = " ".join(causes)
        found = [] if "Remedy:" in text or "emedy" in text else [f"a refusal without a remedy: {text[:300]}"]
        now = proofs.serving(self.lab)
        return found + ([f"refused, and {now} serves where {serving} did"] if now != serving else [])

    def _up(self) -> list[str]:
        """`pulumi up`; what went wrong."""
        run = Run(self.lab, self.log)
        run.end(RUN_LIMIT)
        return [] if run.process.returncode == 0 else run.errors()

    def _asleep(self, outcome: Outcome, before: Path, witness: Witness) -> list[str]:
        (cell,) = self.cells
        if cell.direction == BACK:
            stack.set_phase(self.lab, Phase.SWITCHED)
            if causes := self._up():
                return causes
            witness.end()
        at = self._to_its_moment(outcome, Phase.SWITCHED if cell.direction == TURN else Phase.PREPARED)
        if at is None:
            return []
        run, watch = at
        outcome.fault = "the provider sleeps while another operator rolls back"
        say(f"  {cell.name}: {outcome.fault} at {outcome.hit!r}")
        try:
            other = Run(self.lab, self.log, stack.tool_words(self.lab, ["back", stack.STACK, "--without-pulumi"]))
            outcome.commands.append("back --without-pulumi, of another operator")
            other.end(RUN_LIMIT)
            problems = other.errors() if other.process.returncode else proofs.one_side(self.lab, "original", witness.acknowledged)
        finally:
            watching.release(watch.provider)
        outcome.commands.append("it wakes up")
        if not run.wait(RUN_LIMIT / 3):
            run.process.send_signal(signal.SIGINT)
        run.end(RUN_LIMIT)
        problems += [f"after it woke up: {each}" for each in proofs.one_side(self.lab, "original", [])]
        if problems:
            return problems
        self._unlock([outcome])
        stack.set_phase(self.lab, Phase.PREPARED)
        self._back([outcome])
        witness.end()
        return proofs.original_serves(self.lab, before, witness.acknowledged)
