"""Nothing of the new side starts while anything of the original may run, asked of its servers at that moment; nor during a rollback."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_build.errors import ConnectionFailed, GuardFailed, StepFailed
from parallel_build.operations import (
    let_users_out,
    original_database,
    original_management,
    packet_filter,
    prove_original_down,
    prove_user_access,
    start_gate,
)
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.packet_filter import Barrier
from parallel_build.operations.start_management import ManagementStart
from parallel_build.operations.start_usage import start_usage
from parallel_build.steps import original_management as original_management_step
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.user_access import UserAccess
from tests.fast.local_host import LocalHost
from tests.fast.sites import site
from tests.fast.window_world import DATABASE, NEW, OLD, Machine, Records, World, arrange

GOOD = {"seconds": 1.0}


@pytest.fixture(autouse=True)
def world_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)


def first(world: World) -> None:
    ManagementStart(world.context, world.context.configuration.new.management[0], "FirstManagement", upgrade=True).run()


def additional(world: World) -> None:
    ManagementStart(world.context, world.context.configuration.new.management[1], "AdditionalManagement/newms2", upgrade=False).run()


def again(world: World) -> None:
    """One that was proved good and has ended since."""
    world.record.facts["FirstManagement"] = {"good": GOOD, "began": 1.0}
    world.serving = True
    ensure_running(world.context)


def usage(world: World) -> None:
    start_usage(world.context)


STARTS: list[Callable[[World], None]] = [first, additional, again, usage]


def nothing_started(world: World) -> bool:
    return all(world.down(name) for name in NEW) and world.wrong == []


@pytest.mark.parametrize("start", STARTS)
def test_with_the_original_down_it_starts(start: Callable[[World], None]) -> None:
    world = World()
    start(world)
    assert not nothing_started(world) and world.wrong == []


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("server", "unit"), [(server, unit) for server, units in OLD.items() for unit in units])
@pytest.mark.parametrize(
    ("state", "words"), [({"active": True, "masked": False}, "runs"), ({"active": False, "masked": False}, "is not masked")]
)
def test_one_unit_of_the_original_that_is_not_down_refuses_it(
    start: Callable[[World], None], server: str, unit: str, state: dict[str, bool], words: str
) -> None:
    world = World()
    world.units[server, unit].update(state)
    with pytest.raises(StepFailed, match=f"the original is not down: {unit} on {server} {words}.*back test"):
        start(world)
    assert nothing_started(world)
    assert "FirstManagement" not in world.record.facts or "mark" not in world.record.facts["FirstManagement"]


@pytest.mark.parametrize("start", STARTS)
def test_during_a_rollback_nothing_starts(start: Callable[[World], None]) -> None:
    world = World()
    world.record.returning = "now"
    with pytest.raises(GuardFailed, match="a rollback has begun now"):
        start(world)
    assert nothing_started(world)


@pytest.mark.parametrize("start", STARTS)
def test_a_rollback_that_begins_between_the_last_look_and_the_start_wins(
    start: Callable[[World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, real = World(), start_gate.release

    def late(*given: object, **options: bool) -> None:
        world.record.returning = "now"
        real(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(start_gate, "release", late)
    with pytest.raises(GuardFailed, match="a rollback has begun now"):
        start(world)
    assert nothing_started(world)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("lost", ["oldms1", "oldms2", "olddb2"])
def test_silence_of_an_original_server_proves_nothing(start: Callable[[World], None], lost: str) -> None:
    world = World()
    world.lost.add(lost)
    with pytest.raises(
        StepFailed, match=rf"{lost} \(.*\) of the original can't be reached, and it may still be running.*confirmedDown\[0\]' {lost}"
    ):
        start(world)
    assert nothing_started(world)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("lost", ["oldms1", "oldms2", "olddb2"])
def test_the_operators_word_counts_for_it_while_it_is_silent(
    start: Callable[[World], None], lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(window={"confirmedDown": [lost]})
    world.lost.add(lost)
    start(world)
    assert not nothing_started(world)
    answering = World(window={"confirmedDown": [lost]})
    answering.lost.add(lost)
    monkeypatch.setattr(
        prove_original_down,
        "answers",
        lambda context, server, ports: ports == ([3306] if server.name == "olddb2" else [8080, 8250, 8443, 9090]),
    )
    with pytest.raises(StepFailed, match="can't be reached over SSH, and still answers"):
        start(answering)
    assert nothing_started(answering)


def test_the_source_counts_as_down_by_the_operators_word_alone() -> None:
    world = World()
    world.lost.add("olddb1")
    with pytest.raises(StepFailed, match=r"olddb1 .* it may still be running"):
        prove_original_down.prove(world.context)
    confirmed = World(window={"confirmedDown": ["olddb1"]})
    confirmed.lost.add("olddb1")
    prove_original_down.prove(confirmed.context)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose original still runs; the step that stops it comes now."""
    monkeypatch.setattr(original_management_step, "prove_at_rest", lambda context, lost: {})
    monkeypatch.setattr(original_management, "_closed", lambda services, ports: True)
    world = World()
    for server, units in OLD.items():
        for unit in units:
            world.units[server, unit] = {"active": True, "masked": False}
    return world


def test_an_original_server_that_is_lost_while_the_window_goes_forward(stopping: World) -> None:
    stopping.lost.add("oldms2")
    with pytest.raises(StepFailed, match="it may still be running"):
        OriginalManagement().apply(stopping.context)
    stopping.context = replace(stopping.context, site=site(window={"confirmedDown": ["oldms2"]}))
    found = OriginalManagement().apply(stopping.context)
    assert (found["stopped"], found["confirmed down"]) == (["oldms1"], ["oldms2"])
    assert stopping.down("oldms1")
    assert "oldms1/cloudstack-usage" in stopping.record.facts["OriginalManagement"]["enabled"]
    stopping.lost.add("olddb2")
    with pytest.raises(StepFailed, match=r"olddb2 .* it may still be running"):
        OriginalDatabase().apply(stopping.context)
    stopping.context = replace(stopping.context, site=site(window={"confirmedDown": ["olddb2", "oldms2"]}))
    OriginalDatabase().apply(stopping.context)
    assert stopping.down("olddb1")


def test_users_are_put_out_of_what_is_left_of_the_original(stopping: World, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    def close(host: Machine, barrier: Barrier) -> str:
        if host.name in stopping.lost:
            raise ConnectionFailed(f"{host.name} can't be reached over SSH", "", "")
        closed.append(host.name)
        return ""

    monkeypatch.setattr(packet_filter, "close", close)
    monkeypatch.setattr(let_users_out, "store", lambda context: Records(stopping))
    monkeypatch.setattr(prove_user_access, "administrators_would_stay", lambda context, allowed: None)
    monkeypatch.setattr(prove_user_access, "users_are_out", lambda context: [])
    stopping.lost.add("oldms2")
    with pytest.raises(StepFailed, match=r"oldms2 .* it may still be running"):
        UserAccess().apply(stopping.context)
    stopping.context = replace(stopping.context, site=site(window={"confirmedDown": ["oldms2"]}))
    closed.clear()
    UserAccess().apply(stopping.context)
    assert sorted(closed) == ["newms1", "newms2", "oldms1"]
    stopping.lost.add("newms1")
    with pytest.raises(ConnectionFailed):
        UserAccess().apply(stopping.context)


@pytest.mark.parametrize("step", [OriginalManagement(), OriginalDatabase()])
def test_a_changed_input_stops_nothing_of_an_original_that_serves_again(
    stopping: World, step: OriginalManagement | OriginalDatabase
) -> None:
    with pytest.raises(StepFailed, match="not down"):
        step.verify(stopping.context)
    assert stopping.actions == []


@pytest.mark.parametrize("step", [OriginalManagement(), OriginalDatabase()])
def test_a_step_that_stops_the_original_ends_when_a_rollback_begins(stopping: World, step: OriginalManagement | OriginalDatabase) -> None:
    stopping.record.facts |= {
        "OriginalManagement": {"enabled": {}},
        "OriginalDatabase": {"units": {"olddb1": DATABASE, "olddb2": DATABASE}},
    }
    stopping.record.returning = "now"
    with pytest.raises(GuardFailed, match="a rollback has begun"):
        step.apply(stopping.context)
    assert stopping.actions == []


def test_every_start_or_end_of_a_database_server_is_seen_in_its_files(tmp_path: Path) -> None:
    host = LocalHost()

    def seen() -> str:
        return host.script(original_database.FILES, [str(tmp_path)]).stdout

    for name in ("ibdata1", "ib_logfile0", "#innodb_redo/#ib_redo7", "aria_log_control", "error.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    before = seen()
    assert before == seen()
    (tmp_path / "error.log").write_text("rotated")
    assert before == seen(), "a log is no data"
    for name in ("ibdata1", "ib_logfile0", "#innodb_redo/#ib_redo7", "aria_log_control"):
        os.utime(tmp_path / name, ns=(1, 1))
        assert before != (before := seen()), name
