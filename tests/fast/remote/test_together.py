"""Questions are asked at the same time, answers keep their order, what can't be answered is reported, a cancel is not."""

from __future__ import annotations

import threading

import pytest

from parallel_build.errors import Cancelled, ConnectionFailed
from parallel_build.remote.parallel import together


def test_all_are_asked_at_once_and_answers_keep_their_order() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def question(number: int) -> int:
        barrier.wait()  # passed only when three ask at the same time
        return number

    problems: list[str] = []
    assert together([lambda n=n: question(n) for n in range(3)], problems) == [0, 1, 2]  # type: ignore[misc]
    assert problems == []


def test_what_can_not_be_answered_is_reported_next_to_the_rest() -> None:
    def gone() -> str:
        raise ConnectionFailed("oldms1 is gone", "it has no power", "switch it on")

    problems: list[str] = []
    assert together([gone, lambda: "here"], problems) == ["here"]
    assert problems == ["oldms1 is gone. Cause: it has no power. Remedy: switch it on."]


def test_a_cancel_is_no_problem_of_a_server() -> None:
    def stopped() -> None:
        raise Cancelled("stopped", "asked to", "continue")

    with pytest.raises(Cancelled):
        together([stopped], [])
