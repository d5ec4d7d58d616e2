"""Several calls at the same time: a window must not wait for one answer after the other, and nothing begins behind a failure or a cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

from parallel_build.cancel import CancelToken
from parallel_build.errors import Cancelled, ParallelBuildError

T = TypeVar("T")
P = ParamSpec("P")
AT_ONCE = 6


class Workers(ThreadPoolExecutor):
    """Threads for a block of calls. What waits in the queue is not begun once the block has failed, or stopping was asked for.

    A plain executor runs its whole queue before its block is left, whatever has happened: of 2,000 networks the rest would be restarted at the
    moment of a ^C.

    Args:
        count: calls at the same time.
        cancel: looked at before each call begins.
        name: prefix of the threads' names.
    """

    def __init__(self, count: int, cancel: CancelToken | None = None, name: str = "") -> None:
        super().__init__(max_workers=max(1, count), thread_name_prefix=name)
        self._cancel = cancel

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call.

        Raises (from the future): Cancelled: stopping was asked for before it began.
        """
        cancel = self._cancel

        def begin() -> T:
            if cancel is not None:
                cancel.check()
            return fn(*args, **kwargs)

        return super().submit(begin)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for what has begun."""
        self.shutdown(wait=True, cancel_futures=kind is not None)


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
    with Workers(AT_ONCE) as pool:
        for answer in pool.map(ask, questions):
            if isinstance(answer, ParallelBuildError):
                problems.append(str(answer))
            else:
                answers.append(answer)
    return answers
