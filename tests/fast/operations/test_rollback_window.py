"""Whether going back is still allowed is measured by the original's database host: a workstation's clock that jumps neither allows nor refuses it."""

from __future__ import annotations

import datetime as datetimes
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import ConnectionFailed, Fenced, GuardFailed
from parallel_build.operations import deadline, rollback_window, user_firewall, users_in, users_out
from parallel_build.operations.context import Context
from parallel_build.operations.new_objects import Created
from parallel_build.provider.relevance import for_undo
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.clock import HostClock
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.steps import switched
from parallel_build.steps.acceptance import Acceptance
from parallel_build.steps.agent_addresses import AgentAddresses
from parallel_build.steps.base import Step
from parallel_build.steps.cloud_databases import CloudDatabases
from parallel_build.steps.database_seed import DatabaseSeed
from parallel_build.steps.existing_machine import ExistingMachine
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.hypervisors import Hypervisors
from parallel_build.steps.machine_ready import MachineReady
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.replication_pair import ReplicationPair
from parallel_build.steps.switched import SwitchedStep
from parallel_build.steps.system_vm_template import SystemVmTemplate
from parallel_build.steps.user_access import UserAccess
from parallel_build.steps.window import Window
from tests.fast.memory_records import Records
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
    monkeypatch.setattr(switched, "claim", lambda _: None)
    for module in (rollback_window, deadline):
        monkeypatch.setattr(module, "store", lambda _: Records(record, here))
        monkeypatch.setattr(module, "read_host_clock", lambda _: now)
    monkeypatch.setattr(
        rollback_window, "since_window", lambda context, host: Created({"volumes": [{"id": 7, "uuid": "u", "name": "ROOT-7"}]})
    )
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
    monkeypatch.setattr(rollback_window, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: SWITCH_TIME + days * DAY)
    context = arrange(monkeypatch, tmp_path, now)
    if allowed:
        rollback_window.check_allowed(context)
    else:
        with pytest.raises(GuardFailed, match=r"the switch was 1 day 1 min ago, .* window.rollbackWindow is 1 day.*1 volumes \(ROOT-7\)"):
            rollback_window.check_allowed(context)


def test_a_record_without_the_hosts_clocks_is_measured_by_its_time_of_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for seconds, allowed in ((3600, True), (DAY + 60, False)):
        context = arrange(monkeypatch, tmp_path, HostClock("boot-1", 5000.0, SWITCH_TIME + seconds), switched_clock={})
        if allowed:
            rollback_window.check_allowed(context)
        else:
            with pytest.raises(GuardFailed, match="going back is refused"):
                rollback_window.check_allowed(context)


def test_a_rollback_that_has_begun_is_led_to_its_end_however_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rollback_window.check_allowed(arrange(monkeypatch, tmp_path, HostClock("boot-1", 1000 + 9 * DAY, SWITCH_TIME), returning=WORDS))


def test_no_step_goes_forward_while_a_rollback_is_ahead_of_the_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = arrange(monkeypatch, tmp_path, HostClock("boot-1", 1060.0, SWITCH_TIME + 60), returning=WORDS)
    with pytest.raises(GuardFailed, match=r"a rollback has begun .* parallel-build back test"):
        Hypervisors().before_apply(context)
    Hypervisors().before_apply(arrange(monkeypatch, tmp_path, HostClock("boot-1", 1060.0, SWITCH_TIME + 60)))
    closed = arrange(monkeypatch, tmp_path, HostClock("boot-1", 1060.0, SWITCH_TIME), returning=WORDS, closed=WORDS)
    with pytest.raises(GuardFailed, match="rolled back and closed since"):
        Hypervisors().before_apply(closed)


def test_the_hosts_clocks_are_noted_at_the_switch_and_its_first_mark_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    here = site()
    records = WindowStore(object(), here)  # type: ignore[arg-type]
    record = WindowRecord("test", here.identity, opened=WORDS)
    monkeypatch.setattr(WindowStore, "_change", lambda self, change, what="": change(record))
    clocks = iter([SWITCHED, HostClock("boot-1", 9999.0, SWITCH_TIME)])
    monkeypatch.setattr("parallel_build.records.window.read_host_clock", lambda host: next(clocks))
    records.mark_switched()
    records.mark_switched()
    assert record.switched_clock == SWITCHED.__dict__
    assert timedelta(seconds=rollback_window.since_switch(record, HostClock("boot-1", 1060.0, 0.0))) == timedelta(minutes=1)


UNDONE = [Acceptance, Hypervisors, FirstManagement, OriginalDatabase, OriginalManagement, UserAccess, Window]


def undo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: type[SwitchedStep], record: WindowRecord | None, **window: Any) -> Records:
    """What a step is asked before its undo, in a window that was not switched."""
    here = site(window=window)
    marks = Records(record, here)
    monkeypatch.setattr(rollback_window, "store", lambda _: marks)
    monkeypatch.setattr(switched, "claim", lambda _: None)
    if record is not None and record.identity == "mine":
        record.identity = here.identity
    cancel = CancelToken()
    step().before_revert(Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None))
    return marks


@pytest.mark.parametrize("step", UNDONE)
def test_the_first_undo_of_a_rollback_is_written_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: type[SwitchedStep]) -> None:
    opened = WindowRecord("test", "mine", opened=WORDS)
    assert undo(monkeypatch, tmp_path, step, opened).written == 1
    assert undo(monkeypatch, tmp_path, step, opened).written == 0, "the first mark counts"


@pytest.mark.parametrize("step", UNDONE)
def test_an_undo_up_to_a_hold_point_is_no_rollback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: type[SwitchedStep]) -> None:
    opened = WindowRecord("test", "mine", opened=WORDS)
    assert undo(monkeypatch, tmp_path, step, opened, stopBefore="UserAccess").written == 0


@pytest.mark.parametrize("record", [None, WindowRecord("test", "mine", opened=WORDS, closed=WORDS)])
def test_without_a_window_of_this_stack_nothing_is_marked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: WindowRecord | None
) -> None:
    assert undo(monkeypatch, tmp_path, Window, record).written == 0


@pytest.mark.parametrize("step", UNDONE)
def test_nothing_is_undone_in_the_window_of_another_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: type[SwitchedStep]
) -> None:
    other = WindowRecord("other", "0" * 24, opened=WORDS)
    with pytest.raises(GuardFailed, match=r"held by stack other.*parallel-build back other --window 0{24}.*recover other --adopt 0{24}"):
        undo(monkeypatch, tmp_path, step, other)
    assert other.returning is None


def test_a_run_that_was_overtaken_marks_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = site()
    late = Records(WindowRecord("test", here.identity, opened=WORDS, token=8), here, token=7)
    with pytest.raises(Fenced, match="run 8 has taken over"):
        late.mark_returning()
    monkeypatch.setattr(rollback_window, "store", lambda _: late)
    cancel = CancelToken()
    with pytest.raises(Fenced):
        rollback_window.check_allowed(Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None))


def test_a_refused_rollback_marks_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = WindowRecord("test", "mine", opened=WORDS, switched=WORDS)
    with pytest.raises(GuardFailed, match="is behind the switch"):
        undo(monkeypatch, tmp_path, Acceptance, opened, stopBefore="Acceptance")
    assert opened.returning is None


def test_what_tells_a_way_back_from_a_hold_point() -> None:
    """The stack file's `stopBefore` reaches an undo only in a run that keeps phase switched."""
    stored = site(window={"stopBefore": "Acceptance"})

    def asked(newest: Site | None) -> str | None:
        return for_undo(stored, newest).configuration.window.stop_before

    assert asked(site(window={"stopBefore": "HostSetting"})) == "HostSetting"
    assert asked(site(phase="prepared", window={"stopBefore": "HostSetting"})) is None
    assert asked(None) is None, "a plain destroy"


@pytest.mark.parametrize(("ahead", "closed"), [(False, True), (True, False)])
def test_users_are_put_out_of_the_new_side_unless_they_are_in_on_the_original(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ahead: bool, closed: bool
) -> None:
    here, cancel = site(), CancelToken()
    record = WindowRecord("test", here.identity, opened=WORDS, returning=WORDS, facts={"Back": {"ahead": True}} if ahead else {})
    done: list[str] = []
    monkeypatch.setattr(users_in, "store", lambda _: Records(record, here))
    monkeypatch.setattr(users_out, "note_out", lambda context: None)
    monkeypatch.setattr(users_in, "fence_new_side", lambda context, *, insist: done.append("fenced"))
    monkeypatch.setattr(user_firewall, "close_on_new", lambda context: done.append("users out"))
    Acceptance().revert(Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None))
    assert ("users out" in done) is closed and "fenced" in done


RESTED_ON = (
    CloudDatabases,
    ReplicationPair,
    DatabaseSeed,
    AgentAddresses,
    ManagementInstalled,
    ExistingMachine,
    SystemVmTemplate,
    MachineReady,
)


@pytest.mark.parametrize("step", RESTED_ON)
@pytest.mark.parametrize("identity", ["mine", "0" * 24])
def test_what_a_window_rests_on_is_not_undone_under_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: type[Step], identity: str
) -> None:
    here = site()
    opened = WindowRecord("test", here.identity if identity == "mine" else identity, opened=WORDS)
    monkeypatch.setattr(rollback_window, "store", lambda _: Records(opened, here))
    cancel = CancelToken()
    context = Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None)
    with pytest.raises(GuardFailed, match=f"a window is open on olddb1.*parallel-build back test --window {opened.identity}"):
        step({"name": "x"}).before_revert(context)
    opened.closed = WORDS
    step({"name": "x"}).before_revert(context)


@pytest.mark.parametrize("step", [ManagementInstalled, ExistingMachine, MachineReady])
def test_the_rehearsals_server_goes_while_a_window_is_open_since_none_rests_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: type[Step]
) -> None:
    here = site(rehearsal={"enabled": True, "machine": {"name": "rehearse", "address": "10.91.0.51"}})
    monkeypatch.setattr(rollback_window, "store", lambda _: Records(WindowRecord("test", here.identity, opened=WORDS), here))
    cancel = CancelToken()
    context = Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None)
    step({"name": "rehearse"}).before_revert(context)
    with pytest.raises(GuardFailed, match="a window is open on olddb1"):
        step({"name": "newms1"}).before_revert(context)


def test_a_record_that_can_not_be_asked_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def silent(self: Records) -> None:
        raise ConnectionFailed("olddb1 can't be reached over SSH", "", "")

    for forced in (False, True):
        here = site(window={"forceRollback": forced})
        records = Records(None, here)
        monkeypatch.setattr(Records, "read", silent)
        monkeypatch.setattr(rollback_window, "store", lambda _, records=records: records)
        cancel = CancelToken()
        context = Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None)
        if forced:
            MachineReady({"name": "newms1"}).before_revert(context)
        else:
            with pytest.raises(GuardFailed, match="whether a window is open can't be asked"):
                MachineReady({"name": "newms1"}).before_revert(context)
