"""A server's clock is read right also where this machine's own is set meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.remote import clock
from parallel_build.remote.openssh import Result
from tests.fast.asked_host import AskedHost


class World(AskedHost):
    """A server ten seconds ahead, and this machine's clock.

    Args:
        jumps: what this machine's clock is set by during each question.
    """

    def __init__(self, *jumps: float) -> None:
        super().__init__()
        self.true, self.off, self.jumps = 1000.0, 0.0, list(jumps)

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        self.true += 0.1
        answer = f"{self.true + 10:.9f}\n"
        self.true += 0.1
        self.off += self.jumps.pop(0)
        return Result(0, answer, "")


@pytest.mark.parametrize("jumps", [(0, 0, 0), (-100, 0, 0), (100, 0, 0), (0, 0, -100), (0, 3600, 0)])
def test_a_reading_during_which_this_clock_was_set_does_not_count(monkeypatch: pytest.MonkeyPatch, jumps: tuple[float, ...]) -> None:
    host = World(*jumps)
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: host.true + host.off, monotonic=lambda: host.true))
    found = clock.read_clock(host)
    assert found.uncertain == pytest.approx(0.1)
    assert any(found.ahead == pytest.approx(10 - off) for off in (0, sum(jumps)))
