"""A step that is newer than the open window does nothing, forward, proved again and back; in the next window it takes part."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from parallel_build.configuration import StackConfiguration, SwitchedStepName
from parallel_build.operations import deadline
from parallel_build.operations.context import Context, Outputs
from parallel_build.provider.step_handler import NOT_PART, backward, forward, proof
from parallel_build.records.window import WindowRecord
from parallel_build.steps import switched
from tests.fast.memory_records import Records
from tests.fast.sites import site

HERE = site()


class Newer(switched.SwitchedStep):
    """A step that no window knew when it was opened by the version before."""

    type = "Newer"
    summary = "something new"

    def __init__(self) -> None:
        super().__init__()
        self.did: list[str] = []

    def plan(self, configuration: StackConfiguration) -> list[str]:
        return []

    def undo(self, configuration: StackConfiguration) -> list[str]:
        return []

    def apply(self, context: Context) -> Outputs:
        self.did.append("apply")
        return {}

    def verify(self, context: Context) -> Outputs:
        self.did.append("verify")
        return {}

    def revert(self, context: Context) -> None:
        self.did.append("revert")


def run(monkeypatch: pytest.MonkeyPatch, record: WindowRecord | None) -> tuple[list[str], list[str]]:
    """What a step did in a window, and what it reported."""
    reported: list[str] = []
    context: Any = SimpleNamespace(progress=reported.append, done={})
    for module in (switched, deadline):
        monkeypatch.setattr(module, "store", lambda _: Records(record, HERE))
    for name in ("claim", "check_allowed", "mark_rollback"):
        monkeypatch.setattr(switched, name, lambda _: None)
    monkeypatch.setattr(deadline, "not_going_back", lambda *_, **__: None)
    step = Newer()
    for action in (forward, proof, backward):
        action(step)(context)
    return step.did, reported


def test_a_step_that_is_newer_than_the_window_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    did, reported = run(monkeypatch, WindowRecord("test", HERE.identity, opened="then"))
    assert did == [] and reported == [NOT_PART] * 3


@pytest.mark.parametrize("record", [
    None,
    WindowRecord("test", HERE.identity, opened="then", closed="later"),
    WindowRecord("test", HERE.identity, opened="then", steps=["Window", "Newer"]),
])  # fmt: skip
def test_a_step_of_the_window_is_done_and_undone(monkeypatch: pytest.MonkeyPatch, record: WindowRecord | None) -> None:
    did, reported = run(monkeypatch, record)
    assert did == ["apply", "verify", "revert"] and reported == []


def test_a_record_without_steps_is_one_of_the_first_twelve() -> None:
    before = json.dumps({"stack": "test", "identity": HERE.identity, "version": 3})
    read = WindowRecord.from_json(before)
    assert len(read.steps) == 12 and "Acceptance" in read.steps
    assert set(read.steps) <= {"Window", *get_args(SwitchedStepName)}, "a step of an open window is renamed nowhere"
