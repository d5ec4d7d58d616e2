"""No server of the new side is ever started on a copy that is not whole, or next to the original: wherever a start, an import or an undo is cut off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.cloudstack.startup import StartFailed
from parallel_build.errors import ConnectionFailed, GuardFailed, StepFailed
from parallel_build.steps.database_transfer import DatabaseTransfer
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from parallel_build.steps.original_database import OriginalDatabase
from tests.fast.window_world import Copy, World, arrange, ending_at

Way = Callable[[World], None]


@pytest.fixture(autouse=True)
def world_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)


def up(world: World) -> None:
    """`pulumi up`: FirstManagement, which the state does not have as done."""
    FirstManagement().apply(world.context)


def failing_up(world: World) -> None:
    """The same, with a start that fails past the database lock."""
    world.failing = True
    with contextlib.suppress(StartFailed):
        up(world)
    world.failing = False


def hold(world: World) -> None:
    """`switch --stop-before FirstManagement`."""
    FirstManagement().revert(world.context)


def up_from_host_setting(world: World) -> None:
    """`switch` after a hold point before HostSetting, or with a state that has lost it."""
    HostSetting().apply(world.context)
    up(world)


def up_from_transfer(world: World) -> None:
    """The same with a state that has lost everything behind DatabaseTransfer."""
    DatabaseTransfer().apply(world.context)
    OriginalDatabase().apply(world.context)
    up_from_host_setting(world)


def proved(world: World) -> None:
    """A changed input: every step that is done is proved again before the next one is applied; none of this may be in the way."""
    for step in (DatabaseTransfer(), OriginalDatabase(), HostSetting()):
        step.verify(world.context)
    up(world)


def assert_served(world: World, *, starts: int) -> None:
    assert world.wrong == []
    assert world.serving and world.copy == Copy(upgraded=True, row=True)
    assert all(world.down(name) for name in ("oldms1", "oldms2", "olddb1", "olddb2"))
    assert world.record.switched
    assert world.actions.count("start cloudstack-management on newms1") <= starts


JOURNEYS: dict[str, list[Way]] = {
    "the first start": [up],
    "a failed start, again": [failing_up, up],
    "a failed start, a hold point, on": [failing_up, hold, up],
    "a failed start, a hold point before HostSetting, on": [failing_up, hold, up_from_host_setting],
    "a failed start, a hold point, a second failed start": [failing_up, hold, failing_up, up],
}
RESUMED: dict[str, list[Way]] = {
    "up": [up],
    "hold point, up": [hold, up],
    "hold point, from HostSetting": [hold, up_from_host_setting],
    "from DatabaseTransfer": [up_from_transfer],
    "changed inputs": [proved],
}


def walk(world: World, ways: list[Way]) -> None:
    for way in ways:
        way(world)


def length(ways: list[Way]) -> int:
    """How many actions a journey has that nothing cuts off."""
    world = World()
    walk(world, ways)
    assert_served(world, starts=len(ways))
    return world.done


# By default a part of the many actions, others for each pair of journeys; part `engine` has all of them.
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.engine)])
@pytest.mark.parametrize("resumed", RESUMED)
@pytest.mark.parametrize("journey", JOURNEYS)
def test_cut_off_before_every_action(journey: str, resumed: str, every: int) -> None:
    ways = JOURNEYS[journey]
    for action in range((len(journey) + len(resumed)) % every, length(ways), every):
        world = World()
        with ending_at(world, action):
            walk(world, ways)
        world.failing = False
        walk(world, RESUMED[resumed])
        assert world.wrong == [], f"cut off before action {action}"
        assert_served(world, starts=9)


@pytest.mark.parametrize("every", [19, pytest.param(9, marks=pytest.mark.processes), pytest.param(1, marks=pytest.mark.engine)])
def test_cut_off_before_any_two_actions(every: int) -> None:
    ways = JOURNEYS["a failed start, a hold point, on"]
    whole = length(ways)
    for number, first in enumerate(range(whole)):
        for second in range(number % every, whole, 2 * every):
            world = World()
            with ending_at(world, first):
                walk(world, ways)
            with ending_at(world, second):
                walk(world, [hold, failing_up])
            world.failing = False
            up(world)
            assert world.wrong == [], f"cut off before action {first}, and again before {second}"
            assert_served(world, starts=9)


def test_a_copy_that_is_whole_is_not_imported_again() -> None:
    world = World()
    up(world)
    assert "empty" not in world.actions
    up(world)
    assert world.actions.count("start cloudstack-management on newms1") == 1


def test_a_start_that_failed_before_the_database_lock_costs_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def fails_early(self: object, **_: object) -> None:
        world.units["newms1", MANAGEMENT]["active"] = False
        raise StartFailed("newms1 ended", "the key file", "", touched=False)

    with monkeypatch.context() as patched:
        patched.setattr("tests.fast.window_world.Watch.follow", fails_early)
        with pytest.raises(StartFailed):
            up(world)
    up(world)
    assert "empty" not in world.actions


def test_what_a_start_by_hand_has_changed_is_seen() -> None:
    world = World()
    failing_up(world)
    hold(world)
    world.units["newms1", MANAGEMENT].update(active=True, masked=False)
    up(world)
    assert "empty" in world.actions and world.wrong == []
    unnoticed = World()
    unnoticed.copy.upgraded = unnoticed.copy.row = True  # started by hand, and ended
    up(unnoticed)
    assert "empty" in unnoticed.actions and unnoticed.wrong == []


def test_what_a_colleague_had_the_original_write_meanwhile_is_brought_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.units["olddb1", "mariadb"].update(active=True, masked=False)
    world.written += 1  # by a management server that somebody started, and stopped again
    up(world)
    assert "empty" in world.actions and world.wrong == [] and world.down("olddb1")
    ended = World()
    ended.written += 1  # the same, and the database has been masked again
    up(ended)
    assert "empty" in ended.actions and ended.wrong == []


def test_what_users_did_on_the_new_side_is_never_imported_over() -> None:
    world = World()
    up(world)
    world.record.facts["FirstManagement"] |= {"good": None, "failed": "it ended"}
    world.units["newms1", MANAGEMENT]["active"] = False
    with pytest.raises(StepFailed, match=r"can't be imported again.* has been switched to, and what users did"):
        up(world)
    assert "empty" not in world.actions


def test_a_good_server_that_has_ended_is_started_again_and_nothing_imported() -> None:
    world = World()
    up(world)
    world.units["newms1", MANAGEMENT]["active"] = False
    up(world)
    assert world.wrong == [] and world.units["newms1", MANAGEMENT]["active"] and "empty" not in world.actions


def test_nothing_is_imported_under_a_server_that_can_not_be_stopped() -> None:
    world = World()
    failing_up(world)
    hold(world)
    world.lost.add("newms1")
    with pytest.raises(ConnectionFailed):
        up(world)
    assert "empty" not in world.actions
    assert world.record.facts["DatabaseTransfer"]["spoilt"]


def test_the_original_database_is_not_started_next_to_its_management() -> None:
    world = World()
    failing_up(world)
    world.units["oldms2", MANAGEMENT]["masked"] = False
    with pytest.raises(StepFailed, match="cloudstack-management on oldms2 is not masked"):
        up(world)
    assert not world.units["olddb1", "mariadb"]["active"]


def test_a_rollback_ends_an_import_before_it_begins() -> None:
    world = World()
    failing_up(world)
    world.record.returning = "now"
    with pytest.raises(GuardFailed, match="a rollback has begun"):
        up(world)
    assert not world.units["olddb1", "mariadb"]["active"] and "empty" not in world.actions
