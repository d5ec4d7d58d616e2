"""How long users were out: one clock, the first refused call, the first served one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cloudstack.user_probe import Answer
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import users_out
from parallel_build.records.window import WindowRecord
from parallel_build.remote.clock import HostClock
from tests.fast.memory_records import Records
from tests.fast.sites import site


class Window:
    """A window, and a host whose clock can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here = site()
        self.record = WindowRecord("test", here.identity, opened="then")
        self.reported: list[str] = []
        self.clock = 100.0
        self.lost = False
        self.context: Any = SimpleNamespace(progress=self.reported.append, run=SimpleNamespace(keep=lambda *_: None))
        monkeypatch.setattr(users_out, "store", lambda _: Records(self.record, here))
        monkeypatch.setattr(users_out, "original_database", lambda _: None)
        monkeypatch.setattr(users_out, "read_host_clock", self._read)

    def _read(self, _: object) -> HostClock:
        if self.lost:
            raise ConnectionFailed("olddb1 can't be reached", "", "")
        return HostClock("boot", self.clock, self.clock)

    def times(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.record.facts.get("UsersOut", {}).get("times", [])
        return found


def answer(at: float, status: int | None = None) -> Answer:
    return Answer("http://10.91.0.11:8080/client/api", status, "", at=at)


def test_by_the_probes_clock_from_the_first_refused_call_to_the_first_served_one(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch)
    users_out.note_out(window.context, [answer(1002.0), answer(1001.5)])
    users_out.note_out(window.context, [answer(1010.0)])  # a step that is done again
    users_out.note_in(window.context, [answer(1035.75, 200), answer(1036.0, 200)], side="new")
    users_out.note_in(window.context, [answer(1099.0, 200)], side="new")
    assert window.times() == [{"out": 1001.5, "clock": "the user probe's", "in": 1035.75, "side": "new", "seconds": 34.25}]
    assert window.reported == ["users were out for 34.2 s, by the user probe's clock"]


def test_without_a_probe_by_the_clock_of_the_records_host(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch)
    users_out.note_out(window.context)
    window.clock = 160.0
    users_out.note_in(window.context, side="original")
    window.clock = 500.0
    users_out.note_out(window.context)
    assert [each.get("seconds") for each in window.times()] == [60.0, None], "a rollback is a second time"


def test_both_ends_are_of_one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback takes users out without asking the probe, which then is the first that is served."""
    window = Window(monkeypatch)
    users_out.note_out(window.context)
    window.clock = 112.0
    users_out.note_in(window.context, [answer(1035.75, 200)], side="original")
    assert window.times()[0]["seconds"] == 12.0
    users_out.note_out(window.context, [answer(2000.0)])
    users_out.note_in(window.context, side="new")
    assert "seconds" not in window.times()[1], "two clocks make no length"


def test_what_can_not_be_noted_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch)
    window.lost = True
    users_out.note_out(window.context)
    assert window.times() == [] and "can't be noted" in window.reported[0]
    window.record.closed = "later"
    users_out.note_in(window.context, side="new")
