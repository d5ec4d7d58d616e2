"""What the lab prints while it works: one line when a stage begins, one when it is done, with its time, and what is waited for."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from lab.errors import LabError
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import StepFailed

T = TypeVar("T")

NEVER = CancelToken()  # Ctrl-C ends the lab's own program; nothing else asks it to stop.


def say(message: str) -> None:
    """One line on standard error; standard output is for results."""
    print(message, file=sys.stderr, flush=True)


@dataclass
class Times:
    """How long each stage took, in order."""

    stages: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and print it when it has been done."""
        started = time.monotonic()
        say(f"{name} ...")
        yield
        seconds = time.monotonic() - started
        self.stages.append((name, seconds))
        say(f"{name}: {seconds:.1f} s")

    def summary(self) -> str:
        """The stages with their times, and their sum."""
        lines = [f"  {seconds:7.1f} s  {name}" for name, seconds in self.stages]
        return "\n".join([*lines, f"  {sum(seconds for _, seconds in self.stages):7.1f} s  together"])


def until(what: str, probe: Callable[[], T | None], *, timeout: float, interval: float = 0.3, remedy: str = "") -> T:
    """Ask `probe` until it gives something; prints every five seconds what is waited for.

    Raises:
        LabError: nothing within `timeout` seconds.
    """
    try:
        return wait_for(
            what,
            probe,
            timeout=timeout,
            cancel=NEVER,
            interval=interval,
            progress=lambda message: say(f"  {message}"),
            remedy=remedy,
        )
    except StepFailed as error:
        raise LabError(error.fact, error.cause, error.remedy) from None
