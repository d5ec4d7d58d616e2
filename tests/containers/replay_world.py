"""A drawn sequence on the in-memory world, as it is replayed on a lab: two operators, of whom one drives Pulumi and can cut a container's power."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from parallel_build.configuration import NewMachine
from parallel_build.errors import ParallelBuildError
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.operations import transfer
from parallel_build.resolved_stack import Site
from parallel_build.steps.window import Window
from tests.fast.agents_world import KVM
from tests.fast.drawn_moves import COMMANDS, HOLDERS, Move, moves
from tests.fast.operations.test_touched_servers import undo
from tests.fast.sequences import Operator, arranged
from tests.fast.window_world import NEW, OLD

NOT_REPLAYED = ("host put aside", "host taken back")
"""The original's database, which has these states, is down while the new side serves."""


@dataclass(frozen=True)
class Outcome:
    """What is compared after each command.

    Attributes:
        original, new: management servers that run.
        record: open, returning or closed.
        ended: whether the command came to its end; None where that is not compared.
    """

    original: tuple[str, ...]
    new: tuple[str, ...]
    record: str
    ended: bool | None = None


@dataclass(frozen=True)
class Step:
    """A move, and what the world is like after it.

    Attributes:
        outcome: of the servers and the record.
        agents: the side that each host's agent is connected to; empty for none.
        silent: machines that run and that no operator reaches.
        off: machines without power.
        failing: management servers of the original that do not start.
        hangs: SQL of the new source does not answer.
        confirmed, dropped: what the stack file says is down, and what was taken out of it.
        closed: whether nobody can write to the new database.
    """

    move: Move
    outcome: Outcome
    agents: dict[str, str]
    silent: frozenset[str]
    off: frozenset[str]
    failing: frozenset[str]
    hangs: bool
    confirmed: tuple[str, ...]
    dropped: tuple[str, ...]
    closed: bool


class Plain(random.Random):
    """Draws a cloud of which nothing is special: the lab's."""

    def random(self) -> float:
        return 0.99


class Replayed(Operator):
    """The world's part of a replay.

    Attributes:
        ended: whether the last command came to its end.
        can_cut: whether who gives a command is on the computer that runs the containers.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(arranged(monkeypatch), Plain(1))
        self.ended: bool | None = None
        self.can_cut = False
        monkeypatch.setattr(transfer, "empty", self.empty)
        monkeypatch.setattr(power, "cut", self._cut)
        runs = self.world.runs

        def noted(*arguments: Any, **named: Any) -> bool:
            self.ended = runs(*arguments, **named)
            return self.ended

        monkeypatch.setattr(self.world, "runs", noted)

    def _cut(self, site: Site, machine: NewMachine, made: Any = None) -> str:
        if not self.can_cut:
            raise MachineFailed(f"the power of {machine.name} can't be cut from here", "", "switch it off by hand")
        self.switch_off(machine.name)
        return "its container was ended"

    def command(self, kind: str) -> Callable[[], None]:
        """`back --without-pulumi` of one operator; `pulumi up` of the other, whose stack file is as it was."""
        if kind == "back":
            return self._whole_back
        return partial(self._by_pulumi, {"undo": lambda: undo(self.cloud), "forward": self._forward, "reopen": self._reopen}[kind])

    def _whole_back(self) -> None:
        self._back()
        step = Window()
        step.before_revert(self.world.context)
        step.revert(self.world.context)

    def _by_pulumi(self, act: Callable[[], None]) -> None:
        dropped, could = self.dropped, self.can_cut
        self.dropped, self.can_cut = set(), True
        self._configure()
        try:
            act()
        finally:
            self.dropped, self.can_cut = dropped, could
            self._configure()

    @property
    def outcome(self) -> Outcome:
        """What the last command has led to."""
        old, new = self.cloud.serving
        record = self.world.record
        phase = "closed" if record.closed else "returning" if record.returning else "open"
        return Outcome(tuple(old), tuple(name for name in new if name not in self.world.powered_off), phase, self.ended)

    @property
    def agents(self) -> dict[str, str]:
        """The side that each host's agent is connected to; empty for none."""
        agents = self.world.agents
        return {host: "original" if agents.look(host).at in OLD else "new" if agents.look(host).at in NEW else "" for host in KVM}

    def step(self, move: Move) -> Step:
        """What the world is like now."""
        world = self.world
        return Step(
            move,
            self.outcome,
            self.agents,
            frozenset(world.lost - world.powered_off),
            frozenset(world.powered_off),
            frozenset(server for server, _ in self.cloud.does_not_start),
            world.closing.hangs,
            tuple(self.confirmed),
            tuple(sorted(self.dropped)),
            world.closed,
        )


def drawn(seed: int) -> list[Move]:
    """The moves of a seed that a lab can make; the same as `tests.fast.sequences` draws, but for those of a special cloud."""
    return [move for move in moves(random.Random(seed)) if move[0] not in NOT_REPLAYED]


def fitted(move: Move, operator: Operator) -> Move | None:
    """A move as a lab can make it at this moment; None for one that does nothing there.

    One operator's Pulumi keeps the state's lock while it sleeps, so whoever goes back meanwhile does so without it. What is under way forward is not cut off.
    """
    kind, what = move
    over = bool(operator.world.record.closed)
    if kind == "another state":
        return None if over else (kind, "back")
    if kind == "power on" and operator.stays_off(what):
        return None
    if kind == "agent loses its server":
        agent = operator.world.agents.by_host[what]
        agent.last = ""  # there it is restarted
    if kind not in COMMANDS:
        return move
    how, at, other = what
    if kind == "reopen":
        return (kind, ("ends", at, "back")) if over else None
    if over:
        return None
    if kind == "forward":
        return kind, ("ends", at, "back")
    return kind, (how, at, "forward" if other == "forward" and kind == "back" else "back")


def steps(seed: int) -> list[Step]:
    """A seed's moves, made on the world, and the way out.

    Raises:
        AssertionError: what must never be, was.
    """
    monkeypatch = pytest.MonkeyPatch()
    found: list[Step] = []
    try:
        operator = Replayed(monkeypatch)
        for move in drawn(seed):
            if (made := fitted(move, operator)) is None:
                continue
            operator.ended = None
            windows, torn = operator.windows, [operator.torn(host) for host in HOLDERS]
            operator.make(made)
            if made[0] == "reopen" and operator.windows == windows:
                continue  # the guards of a next window would not hold
            if made[0] == "tear" and [operator.torn(host) for host in HOLDERS] == torn:
                continue
            found.append(operator.step(made))
        operator.ended, over = None, bool(operator.world.record.closed)
        operator.way_out()
        return [*found, operator.step(("the way out", over))]
    except ParallelBuildError as error:
        raise AssertionError(f"no way out: {error}") from error
    finally:
        monkeypatch.undo()
