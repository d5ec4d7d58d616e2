"""Stopping at a safe point: the engine's Cancel and waiting with a deadline."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from parallel_build.errors import Cancelled, TimedOut

T = TypeVar("T")
RESUMES = "see what keeps it from coming, then run the same command again: it resumes there"

_clearing: ContextVar[bool] = ContextVar("clearing", default=False)


@contextlib.contextmanager
def clearing_up() -> Iterator[None]:
    """In this block (and thread) no cancel ends anything: for what an interrupted step must clear away, each command of it with its own limit."""
    before = _clearing.set(True)
    try:
        yield
    finally:
        _clearing.reset(before)


class CancelToken:
    """Set once, by the engine's Cancel or by its disappearance; looked at wherever stopping is safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def set(self, reason: str) -> None:
        """Ask every step to stop at its next safe point."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether stopping has been asked for, and is heeded here."""
        return self._event.is_set() and not _clearing.get()

    def check(self) -> None:
        """Raises Cancelled when stopping has been asked for."""
        if self.is_set:
            raise Cancelled(
                f"stopped: {self.reason}",
                "a step that is asked to stop ends at its next safe point",
                "run `pulumi up` to resume, or `pulumi destroy` to roll back",
            )

    def wait(self, seconds: float) -> None:
        """Wait, but end at once with Cancelled when stopping is asked for."""
        if _clearing.get():
            time.sleep(seconds)
        else:
            self._event.wait(seconds)
        self.check()


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    *,
    timeout: float,
    cancel: CancelToken,
    interval: float = 0.5,
    progress: Callable[[str], None] | None = None,
    remedy: str = RESUMES,
) -> T:
    """Ask `probe` until it gives something that is not None or False.

    Args:
        what: the condition in words, for progress and for the error.
        probe: returns the awaited thing, or None/False while it isn't there; its own exceptions pass through.
        timeout: seconds until TimedOut.
        interval: seconds between two questions.
        progress: called every five seconds with what is waited for and for how long.
    Raises:
        TimedOut: the time limit has passed.
        Cancelled: stopping was asked for.
    """
    started = time.monotonic()
    shown_at = started
    while True:
        cancel.check()
        found = probe()
        if found is not None and found is not False:
            return found
        now = time.monotonic()
        if now - started > timeout:
            raise TimedOut(
                f"timed out after {timeout:.0f} s waiting for {what}",
                f"it did not come within {timeout:.0f} s: it is slower than that, or it is kept from coming",
                remedy,
            )
        if progress and now - shown_at >= 5:
            shown_at = now
            progress(f"waiting for {what}: {now - started:.0f} s of at most {timeout:.0f} s")
        cancel.wait(min(interval, max(0.05, timeout - (now - started))))
