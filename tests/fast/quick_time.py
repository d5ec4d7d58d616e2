"""Time that passes without anybody waiting: what waits between two looks looks again at once, and its time limit comes just the same.

For conditions that the test's own answers bring about. What another thread or process brings about needs real time.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import pytest

from parallel_build import cancel
from parallel_build.cancel import CancelToken

YIELD = 0.0005  # seconds


class QuickTime:
    """The module `time` with a clock that jumps.

    Attributes:
        passed: seconds that nobody has waited for.
    """

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        """Seconds, those that were jumped over among them."""
        return time.monotonic() + self.passed

    def sleep(self, seconds: float) -> None:
        """Let them pass; other threads get their turn."""
        self.passed += seconds
        time.sleep(YIELD)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def hurry(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> QuickTime:
    """Have `wait_for`, `CancelToken.wait` and these modules wait for nothing."""
    clock = QuickTime()

    def wait(token: CancelToken, seconds: float) -> None:
        clock.sleep(seconds)
        token.check()

    for module in (cancel, *modules):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(CancelToken, "wait", wait)
    return clock
