"""Whether going back is still allowed is measured by the original's database host: a workstation's clock that jumps neither allows nor refuses it."""

from __future__ import annotations

import datetime as datetimes
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.connection import Connections
from parallel_build.errors import GuardFailed
from parallel_build.evidence import RunFolder
from parallel_build.steps import deadline, rollback
from parallel_build.steps.base import Context
from parallel_build.steps.created import Created
from parallel_build.steps.hypervisors import Hypervisors
from parallel_build.window_record import HostClock, WindowRecord, WindowStore
from tests.fast.sites import site

DAY = 86400.0
SWITCH_TIME = 1_700_000_000.0
SWITCHED = HostClock("boot-1", 1000.0, SWITCH_TIME)
WORDS = datetimes.datetime.fromtimestamp(SWITCH_TIME, datetimes.UTC).isoformat()


class Jumping(datetimes.datetime):
    """A workstation's clock, so many days off."""

    days = 0.0

    @classmethod
    def now(cls, tz: datetimes.tzinfo | None = None) -> Jumping:
        return cls.fromtimestamp(SWITCH_TIME + 60 + cls.days * DAY, tz)


def arrange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: HostClock, **changes: Any) -> Context:
    """A step's context within a window that was switched at `SWITCHED`; the database host's clocks say `now`."""
    here = site(window={"rollbackWindow": "1d"})
    record = WindowRecord("test", here.identity, opened=WORDS, switched=WORDS, switched_clock=SWITCHED.__dict__)
    for name, value in changes.items():
        setattr(record, name, value)
    for module in (rollback, deadline):
        monkeypatch.setattr(module, "store", lambda _: type("Records", (), {"read": lambda self: record})())
        monkeypatch.setattr(module, "original_database", lambda _: None)
        monkeypatch.setattr(module, "read_host_clock", lambda _: now)
    monkeypatch.setattr(rollback, "since_window", lambda context, host: Created({"volumes": [{"id": 7, "uuid": "u", "name": "ROOT-7"}]}))
    cancel = CancelToken()
    return Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None)


@pytest.mark.parametrize("days", [-1, 0, 1, 400])
@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        (HostClock("boot-1", 1000 + 3600, SWITCH_TIME + 3600), True),
        # Within the window, although the host's own time of day was set a day forward.
        (HostClock("boot-1", 1000 + 3600, SWITCH_TIME + 2 * DAY), True),
        # Past it, although it was set back.
        (HostClock("boot-1", 1000 + DAY + 60, SWITCH_TIME - DAY), False),
        # The host was rebooted since: its time of day counts.
        (HostClock("boot-2", 30, SWITCH_TIME + 3600), True),
        (HostClock("boot-2", 30, SWITCH_TIME + DAY + 60), False),
    ],
)
def test_the_workstations_clock_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, days: float, now: HostClock, allowed: bool
) -> None:
    monkeypatch.setattr(Jumping, "days", days)
    monkeypatch.setattr(rollback, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: SWITCH_TIME + days * DAY)
    context = arrange(monkeypatch, tmp_path, now)
    if allowed:
        rollback.check_allowed(context)
    else:
        with pytest.raises(GuardFailed, match=r"the switch was 1 day 1 min ago, .* window.rollbackWindow is 1 day.*1 volumes \(ROOT-7\)"):
            rollback.check_allowed(context)


def test_a_record_without_the_hosts_clocks_is_measured_by_its_time_of_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for seconds, allowed in ((3600, True), (DAY + 60, False)):
        context = arrange(monkeypatch, tmp_path, HostClock("boot-1", 5000.0, SWITCH_TIME + seconds), switched_clock={})
        if allowed:
            rollback.check_allowed(context)
        else:
            with pytest.raises(GuardFailed, match="going back is refused"):
                rollback.check_allowed(context)


def test_a_way_back_that_has_begun_is_led_to_its_end_however_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rollback.check_allowed(arrange(monkeypatch, tmp_path, HostClock("boot-1", 1000 + 9 * DAY, SWITCH_TIME), returning=WORDS))


def test_no_step_goes_forward_while_a_way_back_is_ahead_of_the_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = arrange(monkeypatch, tmp_path, HostClock("boot-1", 1060.0, SWITCH_TIME + 60), returning=WORDS)
    with pytest.raises(GuardFailed, match=r"a way back has begun .* python -m parallel_build back test"):
        Hypervisors().before_apply(context)
    Hypervisors().before_apply(arrange(monkeypatch, tmp_path, HostClock("boot-1", 1060.0, SWITCH_TIME + 60)))
    Hypervisors().before_apply(arrange(monkeypatch, tmp_path, HostClock("boot-1", 1060.0, SWITCH_TIME), returning=WORDS, closed=WORDS))


def test_the_hosts_clocks_are_noted_at_the_switch_and_its_first_mark_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    here = site()
    records = WindowStore(object(), here)  # type: ignore[arg-type]
    record = WindowRecord("test", here.identity, opened=WORDS)
    monkeypatch.setattr(WindowStore, "read", lambda self: record)
    monkeypatch.setattr(WindowStore, "_write", lambda self, changed: None)
    monkeypatch.setattr(WindowStore, "journal", lambda self, what: None)
    clocks = iter([SWITCHED, HostClock("boot-1", 9999.0, SWITCH_TIME)])
    monkeypatch.setattr("parallel_build.window_record.read_host_clock", lambda host: next(clocks))
    records.mark_switched()
    records.mark_switched()
    assert record.switched_clock == SWITCHED.__dict__
    assert timedelta(seconds=rollback.since_switch(record, HostClock("boot-1", 1060.0, 0.0))) == timedelta(minutes=1)
