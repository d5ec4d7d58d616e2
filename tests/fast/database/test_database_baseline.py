"""A comparison at one position: begun again where definitions change while they are read."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare.session_pool import Moved
from parallel_build.database.replicate import baseline
from parallel_build.errors import StepFailed


class Server:
    name = "olddb1"


def work(monkeypatch: pytest.MonkeyPatch, changes: int) -> tuple[Any, list[str]]:
    """A comparison whose definitions change so many times, and what it reports."""
    reported: list[str] = []
    left = iter(range(changes))

    def at_one_position(*_: object) -> str:
        if next(left, None) is not None:
            raise Moved(("cloud", "host"))
        return "the baseline"

    monkeypatch.setattr(baseline._Work, "_at_one_position", at_one_position)
    server: Any = Server()
    return baseline._Work(server, server, ["cloud"], 1, CancelToken(), reported.append), reported


def test_definitions_that_change_while_they_are_read_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison, reported = work(monkeypatch, 2)
    assert comparison.once(None, None) == "the baseline"
    assert len(reported) == 2


def test_definitions_that_change_each_time_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison, _ = work(monkeypatch, 100)
    with pytest.raises(StepFailed, match="olddb1: definitions could not be compared"):
        comparison.once(None, None)
