"""The deadline is the same for whoever asks, moved by no clock, and ends waits and loops - but nothing after the point of no return."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import Cancelled, DeadlinePassed, GuardFailed
from parallel_build.operations import deadline
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.remote.clock import HostClock
from parallel_build.remote.host import Connections
from tests.fast.memory_records import Records
from tests.fast.sites import site

HERE = site(window={"deadline": "30m"})
OPENED = HostClock("boot-1", 1000.0, 1_700_000_000.0)
LIMIT = timedelta(minutes=30)
LATE = deadline.passed(LIMIT, 1900)


def record(**changes: Any) -> WindowRecord:
    return WindowRecord(
        **{"stack": "test", "identity": HERE.identity, "opened": "2026-01-01T00:00:00+00:00", "clock": OPENED.__dict__, **changes}
    )


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (HostClock("boot-1", 1060.0, 1_700_000_060.0), 1740),
        # The host's time of day was set back an hour, and forward a day: its uptime counts.
        (HostClock("boot-1", 1060.0, 1_699_996_460.0), 1740),
        (HostClock("boot-1", 1060.0, 1_700_086_460.0), 1740),
        # The host was rebooted: its uptime begins at zero, its time of day counts.
        (HostClock("boot-2", 20.0, 1_700_000_600.0), 1200),
        # Rebooted, with a clock that is behind: no time has passed rather than less than none.
        (HostClock("boot-2", 20.0, 1_600_000_000.0), 1800),
        (HostClock("boot-1", 2801.0, 1_700_000_060.0), -1),
    ],
)
def test_time_left_is_the_hosts_uptime(now: HostClock, seconds: float) -> None:
    assert deadline.left(record(), LIMIT, now) == pytest.approx(seconds)


def context(tmp_path: Path) -> Context:
    here = HERE
    cancel = CancelToken()
    return Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None)


def arrange(monkeypatch: pytest.MonkeyPatch, found: WindowRecord | None, uptime: float) -> None:
    monkeypatch.setattr(deadline, "store", lambda _: Records(found, HERE))
    monkeypatch.setattr(deadline, "read_host_clock", lambda _: HostClock("boot-1", uptime, 0.0))


def test_a_step_that_begins_too_late_is_refused_and_names_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arrange(monkeypatch, record(), 1000 + 31 * 60)
    with pytest.raises(DeadlinePassed) as caught:
        deadline.hold(context(tmp_path))
    for words in ("31 min are over", "within 30 min", "pulumi config set phase prepared && pulumi up", "window.deadline"):
        assert words in str(caught.value)


def test_a_window_without_a_clock_has_no_deadline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arrange(monkeypatch, record(clock={}), 10**9)
    made = context(tmp_path)
    deadline.hold(made)
    assert not isinstance(made.cancel, deadline.LimitedToken)


@pytest.mark.parametrize("found", [None, record(closed="2026-01-01T01:00:00+00:00")])
def test_no_step_goes_forward_without_the_window_that_it_belongs_to(
    found: WindowRecord | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arrange(monkeypatch, found, 1060)
    for late in (deadline.hold, deadline.not_going_back):
        with pytest.raises(GuardFailed, match="no window of stack test is open"):
            late(context(tmp_path))
    assert deadline.not_going_back(context(tmp_path), opening=True) is found


def test_a_wait_ends_at_the_deadline_although_the_workstations_clock_jumps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arrange(monkeypatch, record(), 1000 + 1800 - 0.4)
    made = context(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    began = time.monotonic()
    deadline.hold(made)
    with pytest.raises(DeadlinePassed):
        wait_for("what never comes", lambda: None, timeout=60, cancel=made.cancel)
    assert 0.3 < time.monotonic() - began < 60


def test_past_the_point_of_no_return_nothing_is_cut_short() -> None:
    inner = CancelToken()
    token = deadline.LimitedToken(inner, 0.05, LATE)
    made = type("C", (), {"cancel": token})()
    deadline.commit(made)
    assert made.cancel is inner
    time.sleep(0.06)
    inner.check()
    made.cancel = token
    with pytest.raises(DeadlinePassed):
        deadline.commit(made)


def test_the_engines_cancel_is_still_heard() -> None:
    inner = CancelToken()
    token = deadline.LimitedToken(inner, 60, LATE)
    token.set("^C")
    assert token.is_set
    with pytest.raises(Cancelled):
        token.check()
