"""The fence at the new database: a ladder with limits, its undo on record before each rung, and everything as it was found afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parallel_build.database.server import account_locks
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.operations import (
    after_rollback,
    fence_new_database,
    fence_new_side,
    hosts_back,
    known_servers,
    left_guests,
    new_objects,
    new_routers,
    served,
    start_gate,
)
from parallel_build.operations.known_servers import touch
from parallel_build.records.touched import START
from parallel_build.steps import host_setting as host_setting_step
from tests.fast import window_world
from tests.fast.sites import site, values
from tests.fast.window_world import DATABASE, Records, World, ending_at

FOUND = {"cloud@10.91.0.41": False, "cloud@10.91.0.42": False, "left@%": True}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A new side that was started, and is being left."""
    window_world.arrange(monkeypatch)
    for module in (after_rollback, hosts_back, served):
        monkeypatch.setattr(module, "store", lambda context: Records(context.connections))
    made = World()
    made.record.returning = "now"
    configuration = made.site.configuration
    servers = [*configuration.new.management, configuration.new.database.source]
    made.record.servers = {server.name: touch(made.context, server, START) for server in servers}
    return made


def close(world: World) -> dict[str, str]:
    return fence_new_database.fence(world.context)


def lift(world: World) -> list[str]:
    return fence_new_database.lift(world.context, world.record)


def hang(world: World) -> None:
    world.closing.hangs = True


def hang_and_not_stop(world: World) -> None:
    world.closing.hangs, world.closing.stops = True, False


def nothing(world: World) -> None:
    """It is well."""


def crash(world: World) -> None:
    world.units["newdb1", DATABASE]["active"] = False
    world.closing.sessions.clear()


@pytest.mark.parametrize(
    ("ill", "how"),
    [
        (nothing, "accounts locked"),
        (hang, "stopped and masked"),
        (crash, "stopped and masked"),
        (hang_and_not_stop, "killed and masked"),
    ],
)
def test_the_ladder_closes_it_and_the_lift_gives_back_what_was_found(world: World, ill: Callable[[World], None], how: str) -> None:
    ill(world)
    before = {key: dict(unit) for key, unit in world.units.items()}
    assert close(world) == {"newdb1": how}
    assert world.closed
    done = list(world.actions)
    assert close(world) == {"newdb1": how}, "closed is closed"
    assert [act for act in world.actions[len(done) :] if not act.startswith("write down")] == []
    world.closing.hangs = False
    assert lift(world) == []
    assert world.closing.accounts == FOUND
    assert world.units["newdb1", DATABASE]["active"] == before["newdb1", DATABASE]["active"]
    assert world.units["newdb1", DATABASE]["masked"] is False
    assert world.record.facts["DatabaseFence"] == {"newdb1": {}}
    done = list(world.actions)
    assert lift(world) == [] and world.actions == done, "nothing is left to undo"


def test_sql_that_hangs_never_ends_it_and_never_keeps_it_longer_than_its_limit(world: World) -> None:
    hang_and_not_stop(world)
    started = time.monotonic()
    close(world)
    assert time.monotonic() - started < 2.5, "it hangs for longer than that, and its limit passes at once in this test"


@pytest.mark.parametrize("error", [ValueError("no packet"), KeyError("u"), UnicodeDecodeError("utf-8", b"x", 0, 1, "ill"), OSError("gone")])
def test_whatever_an_ill_server_makes_of_an_answer_is_the_next_rungs(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def look(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(account_locks, "look", look)
    assert close(world) == {"newdb1": "stopped and masked"}
    assert any(f"unexpected {type(error).__name__}" in line for line in world.reported)


def test_a_server_that_does_not_even_die_loses_its_power(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hang_and_not_stop(world)
    world.closing.dies = False
    monkeypatch.setattr(power, "cut", lambda where, machine, made=None: f"virsh destroy {machine.name}")
    assert close(world) == {"newdb1": "off"}
    assert any("newdb1 is off, and its database with it: virsh destroy newdb1" in line for line in world.reported)


def refuse(where: Any, machine: Any, made: Any = None) -> str:
    raise MachineFailed(f"the power of {machine.name} can't be cut from here", "platform existing offers nothing for it", "")


@pytest.mark.parametrize("lost", [True, False])
def test_without_any_rung_it_is_refused_by_name_with_the_way_out(world: World, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    monkeypatch.setattr(power, "cut", refuse)
    if lost:
        world.lost.add("newdb1")
    else:
        hang_and_not_stop(world)
        world.closing.dies = False
    with pytest.raises(RollbackIncomplete, match=r"newdb1 \(10\.91\.0\.31\) can't be fenced") as caught:
        close(world)
    command = "pulumi config set --path 'window.confirmedDown[0]' newdb1 --stack test"
    assert command in caught.value.remedy and "back test" in caught.value.remedy
    assert "platform existing offers nothing" in caught.value.cause
    world.site = world.context.site = site(window={"userAccess": values()["window"]["userAccess"], "confirmedDown": ["newdb1"]})
    if lost:
        assert close(world) == {"newdb1": "off"}
    else:
        with pytest.raises(RollbackIncomplete, match="newdb1"):
            close(world)


@pytest.mark.parametrize("ill", [nothing, hang, hang_and_not_stop])
def test_a_power_cut_at_any_line_leaves_either_no_lock_or_its_undo(world: World, ill: Callable[[World], None]) -> None:
    ill(world)
    whole = World()
    for action in range(9):
        with ending_at(world, action):
            close(world)
        hangs, world.closing.hangs = world.closing.hangs, False
        assert lift(world) == []
        assert world.closing.accounts == FOUND, f"cut before action {action}"
        assert world.units["newdb1", DATABASE] | {"enabled": True} == whole.units["newdb1", DATABASE] | {"enabled": True}
        world.closing.sessions, world.closing.hangs = ["newms1"], hangs


def test_a_lift_that_is_cut_off_is_done_again(world: World) -> None:
    close(world)
    for action in range(4):
        with ending_at(world, action):
            lift(world)
    assert lift(world) == []
    assert world.closing.accounts == FOUND


def test_an_account_that_an_earlier_try_has_locked_is_not_taken_for_one_that_was_found_locked(world: World) -> None:
    with ending_at(world, 2):  # the record, one lock
        close(world)
    assert world.closing.accounts["cloud@10.91.0.41"] is True
    world.closing.accounts["late@%"] = False
    close(world)
    lift(world)
    assert world.closing.accounts == {**FOUND, "late@%": False}


def test_a_source_that_was_taken_out_of_the_stack_file_is_fenced_all_the_same(world: World) -> None:
    world.site = world.context.site = site(
        new={"database": {"source": {"name": "other", "address": "10.91.0.39"}, "replica": {"name": "newdb2", "address": "10.91.0.32"}}}
    )
    names = [machine.name for machine in known_servers.new_databases(world.site.configuration, world.record)]
    assert names == ["other", "newdb1"]


def test_what_could_not_be_lifted_is_lifted_by_whoever_works_there_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[str] = []
    monkeypatch.setattr(served, "give_up", lambda context: given_up.append("mark"))
    close(world)
    world.lost.add("newdb1")
    (left,) = lift(world)
    assert "newdb1: its database is still closed (accounts locked)" in left
    world.record.closed = "now"
    with pytest.raises(GuardFailed, match="the new database is still closed from an earlier rollback: newdb1"):
        after_rollback.clear(world.context)
    world.lost.clear()
    after_rollback.clear(world.context)
    assert world.closing.accounts == FOUND and given_up == ["mark"]


def test_nothing_of_a_window_that_continues_is_lifted_by_others(world: World) -> None:
    close(world)
    after_rollback.clear(world.context)
    assert world.closed


@pytest.mark.parametrize("address", ["10.91.0.31", "10.91.0.39"])
def test_what_another_state_has_closed_and_left_is_lifted_only_on_this_very_server(
    world: World, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(served, "give_up", lambda context: None)
    close(world)
    world.record.closed, world.record.identity = "now", "another"
    world.record.servers["newdb1"] = replace(world.record.servers["newdb1"], address=address)
    after_rollback.clear(world.context)
    assert world.closed is (address != "10.91.0.31")
    if not world.closed:
        assert world.closing.accounts == FOUND


@pytest.mark.parametrize(
    ("ill", "how"), [(nothing, "accounts locked"), (hang, "stopped and masked"), (hang_and_not_stop, "killed and masked")]
)
def test_one_that_was_closed_and_is_lost_then_stays_closed(
    world: World, monkeypatch: pytest.MonkeyPatch, ill: Callable[[World], None], how: str
) -> None:
    monkeypatch.setattr(power, "cut", refuse)
    ill(world)
    close(world)
    world.lost.add("newdb1")
    assert close(world) == {"newdb1": how}
    assert any("newdb1 can't be reached any more; it was closed before in this rollback" in line for line in world.reported)


def test_one_whose_opening_had_begun_does_not_count_as_closed_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "cut", refuse)
    close(world)
    with ending_at(world, 2):  # the record, one account
        lift(world)
    world.lost.add("newdb1")
    with pytest.raises(RollbackIncomplete, match="newdb1"):
        close(world)


def test_another_login_than_that_of_the_fence_is_named(world: World) -> None:
    close(world)
    assert world.record.facts["DatabaseFence"]["newdb1"]["by"] == "root"
    known = values()["new"]
    database = {**known["database"], "admin": {"user": "dba"}}
    world.site = world.context.site = site(new={**known, "platform": "existing", "database": database})
    world.lost.add("newdb1")
    (left,) = lift(world)
    assert "It was closed by the account of root, and dba is asked now: set new.database.admin to root again" in left


@pytest.mark.parametrize(("fails", "left"), [(1, False), (2, True)])
def test_a_gate_that_can_not_be_shut_keeps_nobody_from_stopping_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch, fails: int, left: bool
) -> None:
    asked: list[str] = []

    def shut(host: Any, record: Any) -> None:
        asked.append(host.name)
        if len(asked) <= fails:
            raise CommandFailed(f"{host.name}: /run is full", "", "")

    monkeypatch.setattr(start_gate, "shut", shut)
    monkeypatch.setattr(fence_new_side, "Services", window_world.Units)
    machine = world.site.configuration.new.management[0]
    world.units["newms1", "cloudstack-management"] = {"active": True, "masked": False}
    failed = fence_new_side._fence(world.context, machine, world.record)
    assert world.down("newms1"), "stopped and masked all the same"
    assert asked == ["newms1", "newms1"] and (failed is not None) is left


def test_who_waits_no_longer_is_reported(world: World) -> None:
    seen: list[bool] = []

    def act(cancel: Any) -> None:
        while not cancel.is_set:
            time.sleep(0.02)
        seen.append(True)

    with pytest.raises(StepFailed, match="it did not end within 0 s"):
        fence_new_database.within(world.context, "it", 0.2, act)
    end = time.monotonic() + 2
    while not seen and time.monotonic() < end:
        time.sleep(0.02)
    assert seen


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0      0      10.91.0.21:51234   10.91.0.41:8250\n", {"10.91.0.41"}),
        (
            "0 0 [2001:db8::21]:51234 [2001:db8::41]:8250 \n0 0 [::ffff:10.91.0.21]:1 [::ffff:10.91.0.42]:8250\n",
            {"2001:db8::41", "10.91.0.42"},
        ),
        ("\n", set()),
    ],
)
def test_the_other_ends_of_an_agents_connections_are_read(text: str, found: set[str]) -> None:
    assert hosts_back.peers(text) == found


@pytest.mark.parametrize(
    ("module", "ask"),
    [
        (host_setting_step, lambda context: host_setting_step.HostSetting().revert(context)),
        (new_objects, lambda context: new_objects.since_window(context, context.host(context.configuration.new.database.source))),
        (left_guests, left_guests.look),
        (new_routers, new_routers.made),
    ],
)
def test_what_a_rollback_asks_the_new_database_before_its_fence_has_a_limit(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, ask: Callable[[Any], Any]
) -> None:
    world.record.facts |= {
        "HostSetting": {"previous": "10.91.0.11"}, "Window": {"highest_ids": {"vm_instance": 5}}, "FirstManagement": {"began": 1.0},
    }  # fmt: skip
    limits: list[float] = []

    def hangs(host: Any, *, timeout: float = 3600) -> Any:
        limits.append(timeout)
        raise ConnectionFailed("newdb1: the session with the database server was lost: timed out", "", "")

    monkeypatch.setattr(module, "session", hangs)
    monkeypatch.setattr(module, "store", lambda context: Records(context.connections))
    ask(world.context)
    assert limits and max(limits) <= 30
