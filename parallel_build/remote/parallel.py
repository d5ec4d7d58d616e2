"""Asking several servers at the same time: a window must not wait for one answer after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from parallel_build.errors import Cancelled, ParallelBuildError

T = TypeVar("T")
AT_ONCE = 6


def together(questions: Iterable[Callable[[], T]], problems: list[str]) -> list[T]:
    """Ask all questions; the answers in the order of the questions.

    Args:
        questions: each asks one server.
        problems: gets the words of every question that could not be answered; its answer is left out.
    Raises:
        Cancelled: stopping was asked for meanwhile.
    """

    def ask(question: Callable[[], T]) -> T | ParallelBuildError:
        try:
            return question()
        except Cancelled:
            raise
        except ParallelBuildError as error:
            return error

    answers: list[T] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for answer in pool.map(ask, questions):
            if isinstance(answer, ParallelBuildError):
                problems.append(str(answer))
            else:
                answers.append(answer)
    return answers
