"""Making tables through several sessions: a session that the server chose to end a deadlock begins its statement again."""

from __future__ import annotations

from typing import cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import create
from parallel_build.errors import StepFailed
from parallel_build.remote.sql import Session


class Refusing:
    """A session that refuses some statements first."""

    def __init__(self, cause: str, times: int) -> None:
        self.cause, self.times, self.done = cause, times, 0

    def execute(self, statement: str) -> int:
        if self.times:
            self.times -= 1
            raise StepFailed(f"newdb1: the database server refused: {statement}", self.cause, "")
        self.done += 1
        return 0


def _make(opened: Refusing) -> None:
    create._make_table(cast(Session, opened), "CREATE TABLE x (id int)", CancelToken())


def test_a_deadlock_is_tried_again() -> None:
    opened = Refusing("(1213, 'Deadlock found when trying to get lock; try restarting transaction')", 2)
    _make(opened)
    assert opened.done == 1


def test_another_refusal_is_reported_at_once() -> None:
    opened = Refusing("(1050, \"Table 'x' already exists\")", 1)
    with pytest.raises(StepFailed, match="1050"):
        _make(opened)
    assert opened.done == 0


def test_deadlocks_without_end_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "DEADLOCK_ATTEMPTS", 3)
    opened = Refusing("(1213, 'Deadlock found')", 9)
    with pytest.raises(StepFailed, match="1213"):
        _make(opened)
    assert opened.times == 6
