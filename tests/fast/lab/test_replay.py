"""What of a replay on a lab needs no lab: the world's part, what can be compared, and what is found to differ."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.containers import replay
from tests.containers.replay_lab import agrees, phase_of, rules
from tests.containers.replay_world import Outcome, Step, drawn, fitted, steps
from tests.fast.drawn_moves import COMMANDS, Move

pytestmark = pytest.mark.processes

OVER = Outcome(("oldms1", "oldms2"), (), "closed")
SEED = 7_000_000


def test_every_sequence_ends_with_the_original_alone_and_each_agent_on_it() -> None:
    for seed in range(SEED, SEED + 12):
        last = steps(seed)[-1]
        assert (last.move[0], last.outcome) == ("the way out", OVER), seed
        assert last.agents == {"kvm1": "original", "kvm2": "original"}, seed


def test_a_seed_gives_the_same_steps_each_time() -> None:
    assert steps(SEED) == steps(SEED) and drawn(SEED) == drawn(SEED)


def operator(closed: str | None) -> Any:
    agents = {"kvm1": SimpleNamespace(last="10.91.0.41")}
    return SimpleNamespace(world=SimpleNamespace(record=SimpleNamespace(closed=closed), agents=SimpleNamespace(by_host=agents)))


@pytest.mark.parametrize(
    ("move", "when_open", "when_closed"),
    [
        (("cut off", "newms1"), ("cut off", "newms1"), ("cut off", "newms1")),
        (("back", ("sleeps", 7, "forward")), ("back", ("sleeps", 7, "forward")), None),
        (("undo", ("sleeps", 7, "forward")), ("undo", ("sleeps", 7, "back")), None),
        (("undo", ("dies", 7, "reopen")), ("undo", ("dies", 7, "back")), None),
        (("forward", ("dies", 7, "undo")), ("forward", ("ends", 7, "back")), None),
        (("reopen", ("sleeps", 7, "undo")), None, ("reopen", ("ends", 7, "back"))),
        (("another state", "forward"), ("another state", "back"), None),
    ],
)
def test_a_move_is_fitted_to_what_a_lab_can_do(move: Move, when_open: Move | None, when_closed: Move | None) -> None:
    assert (fitted(move, operator(None)), fitted(move, operator("then"))) == (when_open, when_closed)


@pytest.mark.parametrize(
    ("found", "subset", "same"),
    [
        ({}, False, True),
        ({"new": ("newms1",)}, False, False),
        ({"new": ("newms1",)}, True, True),
        ({"original": ("oldms1",)}, True, False),
        ({"record": "closed"}, True, False),
        ({"ended": False}, True, False),
    ],
)
def test_outcomes_are_the_same_in_all_that_is_compared(found: dict[str, Any], subset: bool, same: bool) -> None:
    wanted = Outcome((), ("newms1", "newms2"), "open", ended=True)
    assert agrees(dataclasses.replace(wanted, **found), wanted, subset=subset) is same


def record(**values: Any) -> bytes:
    return json.dumps({"number": 1, "token": 1, "revision": 1, **values}).encode() + b"\n"


@pytest.mark.parametrize(
    ("texts", "phase"),
    [
        ([record(), record()], "open"),
        ([record(token=2, returning="then"), record(revision=9)], "returning"),
        ([record()[:20], record(closed="then")], "closed"),
        ([record(closed="then"), record(number=2)], "open"),
        ([None, b"\n"], "unknown"),
    ],
)
def test_the_newest_copy_that_can_be_read_counts(texts: list[bytes | None], phase: str) -> None:
    assert phase_of(texts) == phase


class Machines:
    """A lab that does what the world does, but where it is wrong.

    Args:
        wrong: the kind of move after which an original server does not run.
    """

    def __init__(self, wrong: str = "") -> None:
        self.wrong, self.step = wrong, steps(SEED)[0]
        self.followed = 0

    def follow(self, step: Step) -> None:
        self.followed += 1

    def command(self, *_: Any) -> bool | None:
        return self.step.outcome.ended

    def outcome(self, ended: bool | None) -> Outcome:
        found = dataclasses.replace(self.step.outcome, ended=ended)
        return dataclasses.replace(found, original=("oldms1",)) if self.step.move[0] == self.wrong else found

    def agents(self) -> dict[str, str]:
        return self.step.agents

    def agent(self, *_: Any) -> None:
        """It follows."""

    tear = agent

    def way_out(self) -> list[str]:
        return []


def replayed(monkeypatch: pytest.MonkeyPatch, seed: int, wrong: str = "") -> replay.Replay:
    lab = Machines(wrong)
    monkeypatch.setattr(replay, "settled", lambda lab, wanted, ended, subset: lab.outcome(ended))
    made = replay.Replay(lab, seed)  # type: ignore[arg-type]
    for step in steps(seed):
        lab.step = step
        made._move(step)
    return made


def test_a_lab_that_does_what_the_world_does_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(SEED, SEED + 5):
        made = replayed(monkeypatch, seed)
        assert made.different == [] and made.compared >= 1


def whole(step: Step) -> bool:
    return step.move[0] in COMMANDS and bool(step.move[1][0] == "ends")


def test_one_that_does_not_is_named_with_the_move(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(seed for seed in range(SEED, SEED + 50) if any(whole(step) for step in steps(seed)))
    kind = next(step.move[0] for step in steps(seed) if whole(step))
    made = replayed(monkeypatch, seed, kind)
    assert any(f"after ('{kind}'" in each and "and in the world" in each for each in made.different)


def test_nothing_leaves_for_a_silent_machine_and_everything_for_others() -> None:
    named = rules(["newms2", "kvm1"]).splitlines()
    assert named[:2] == rules([]).splitlines() == ["table inet replay", "delete table inet replay"]
    assert "ip daddr { 10.91.0.21, 10.91.0.42 } drop" in named and named.count("}") == 2
