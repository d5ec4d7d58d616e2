"""An original's database server that keeps running for others: CloudStack's accounts are locked there, and unlocked only behind the new side's fence."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.database.replicate.channel import Position
from parallel_build.database.replicate.log_end import End
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.operations import known_servers, original_database, original_locks, original_stop, prove_original_down, serve_original
from parallel_build.operations.known_servers import touch
from parallel_build.records.touched import START
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.retirement import Retirement
from tests.fast import window_world
from tests.fast.sites import site, values
from tests.fast.window_world import DATABASE, Closing, Records, World, ending_at

FOUND = {"cloud@%": False, "cloud@10.0.0.9": True, "script@%": False, "billing@%": False}
LOCKED = {"cloud@%": True, "cloud@10.0.0.9": True, "script@%": True, "billing@%": False}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The original's management stopped and a copy compared; its database servers serve somebody else's billing as well."""
    window_world.arrange(monkeypatch)
    for module in (original_stop, serve_original):
        monkeypatch.setattr(module, "store", lambda context: Records(context.connections))
    monkeypatch.setattr(original_stop, "transfer", lambda context, unusable=None: context.connections.act("copy again"))
    made = World(original={**values()["original"], "database": {**values()["original"]["database"], "others": ["billing"]}})
    for name in ("olddb1", "olddb2"):
        made.units[name, DATABASE] = {"active": True, "masked": False, "enabled": False}
        made.closings[name] = Closing(dict(FOUND), ["oldms1"])
    made.others = {"billing@%"}
    made.record.facts = {"DatabaseTransfer": {"copied": {"tables": 336}}}
    return made


def accounts(world: World, name: str = "olddb1") -> dict[str, bool]:
    return world.closings[name].accounts


def test_the_servers_keep_running_with_cloudstacks_accounts_locked_and_that_is_proved(world: World) -> None:
    OriginalDatabase().apply(world.context)
    for name in ("olddb1", "olddb2"):
        assert world.units[name, DATABASE] == {"active": True, "masked": False, "enabled": False}
        assert accounts(world, name) == LOCKED and world.closings[name].sessions == []
    prove_original_down.prove(world.context)
    done = list(world.actions)
    OriginalDatabase().apply(world.context)
    assert [act for act in world.actions[len(done) :] if not act.startswith("write down")] == [], "done is done"
    assert any("billing'@'%' may write to CloudStack's databases and stay open" in line for line in world.reported)


def test_without_others_they_are_stopped_as_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.site = world.context.site = site()
    monkeypatch.setattr(original_stop, "stop_unmoved", lambda context, stop, start: stop())
    monkeypatch.setattr(original_database, "_note_folder", lambda context: None)
    OriginalDatabase().apply(world.context)
    assert world.down("olddb1") and world.down("olddb2") and accounts(world) == FOUND


@pytest.mark.parametrize("what", ["an account", "a session"])
def test_nothing_new_starts_while_somebody_has_opened_the_original_again(world: World, what: str) -> None:
    OriginalDatabase().apply(world.context)
    if what == "an account":
        accounts(world)["script@%"] = False
    else:
        world.closings["olddb1"].sessions.append("oldms1")
    with pytest.raises(StepFailed, match=r"on olddb1, which keeps running for others, (.script.* is not locked|a session of cloud)"):
        prove_original_down.prove(world.context)


def test_a_power_cut_at_any_line_leaves_either_no_lock_or_its_undo(world: World) -> None:
    for action in range(12):
        with ending_at(world, action):
            OriginalDatabase().apply(world.context)
        assert original_locks.unlock(world.context) == []
        assert accounts(world) == accounts(world, "olddb2") == FOUND, f"cut before action {action}"


def test_in_a_rollback_they_are_unlocked_after_the_fence_and_before_management_starts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    OriginalDatabase().apply(world.context)
    record, configuration = world.record, world.site.configuration
    record.returning = "now"
    servers = [*configuration.new.management, configuration.new.database.source]
    record.servers |= {server.name: touch(world.context, server, START) for server in servers}
    world.units["newms1", MANAGEMENT] = {"active": True, "masked": False}
    monkeypatch.setattr("parallel_build.operations.start_gate.shut", lambda host, record: None)
    monkeypatch.setattr("parallel_build.operations.new_strangers.at_work", lambda context, record: [])
    monkeypatch.setattr("parallel_build.operations.original_numbers.move_past", lambda context: None)
    monkeypatch.setattr("parallel_build.operations.original_management._await_answer", lambda context, server, left: None)
    monkeypatch.setattr("parallel_build.operations.original_management.Servers._elsewhere", lambda self: "")
    world.actions.clear()
    OriginalDatabase().revert(world.context)
    assert accounts(world) == LOCKED, "its own undo comes before the fence"
    OriginalManagement().revert(world.context)
    assert accounts(world) == FOUND and world.wrong == []
    order = [act for act in world.actions if act.startswith(("end sessions", "stop cloudstack", "unlock", "start cloudstack-management"))]
    unlocked = [order.index(act) for act in order if act.startswith("unlock")]
    assert max(order.index("end sessions"), order.index(f"stop {MANAGEMENT} on newms1")) < min(unlocked)
    assert max(unlocked) < min(order.index(act) for act in order if act.startswith("start cloudstack-management on old"))


def test_a_replica_that_can_not_be_unlocked_is_missing_and_a_source_ends_it(world: World) -> None:
    OriginalDatabase().apply(world.context)
    world.lost.add("olddb2")
    (missing,) = original_locks.unlock(world.context)
    assert missing.startswith("accounts on olddb2: olddb2")
    world.lost = {"olddb1"}
    world.record.facts["OriginalLocks"]["olddb1"] = {"accounts": [{"user": "cloud", "host": "%", "locked": False, "restore": ""}]}
    with pytest.raises(ConnectionFailed, match="olddb1"):
        original_locks.unlock(world.context)


def test_a_source_that_is_gone_for_good_does_not_keep_its_promoted_replica_locked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    OriginalDatabase().apply(world.context)
    world.lost.add("olddb1")
    monkeypatch.setattr(original_locks, "original_source", lambda context: context.configuration.original.database.replica)
    assert original_locks.unlock(world.context) == [], "nothing is missing that could come back"
    assert accounts(world, "olddb2") == FOUND and world.record.facts["OriginalLocks"]["olddb1"]["accounts"]
    world.lost.add("olddb2")
    world.record.facts["OriginalLocks"]["olddb2"] = world.record.facts["OriginalLocks"]["olddb1"]
    with pytest.raises(ConnectionFailed, match="olddb2"):
        original_locks.unlock(world.context)


AT = End(Position("bin.1", 4), {}, "/b")
NO_LOG = End(None, {"Com_insert": "1"})


@pytest.mark.parametrize(
    ("noted", "moves", "copies"),
    [(AT, [""], 0), (AT, ["12 rows", ""], 1), (NO_LOG, ["its counters"], 1)],
    ids=["nothing came", "something came before the lock", "no binary log shows it: copied once under the lock"],
)
def test_what_came_before_the_lock_is_copied_again(
    world: World, monkeypatch: pytest.MonkeyPatch, noted: End, moves: list[str], copies: int
) -> None:
    world.record.facts["DatabaseTransfer"] = {"copied": {"original": noted.kept()}}
    left = list(moves)
    monkeypatch.setattr(original_stop, "_moved", lambda context, at: (left.pop(0), AT))
    OriginalDatabase().apply(world.context)
    assert world.actions.count("copy again") == copies and left == []
    assert accounts(world) == LOCKED
    if copies:
        assert world.actions.index("copy again") > max(world.actions.index(act) for act in world.actions if act.startswith("lock "))


def test_who_continues_writing_is_not_copied_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.record.facts["DatabaseTransfer"] = {"copied": {"original": AT.kept()}}
    monkeypatch.setattr(original_stop, "_moved", lambda context, at: ("3 rows of cloud.vm_instance", AT))
    with pytest.raises(StepFailed, match="olddb1 has been written to since its rows were compared: 3 rows"):
        OriginalDatabase().apply(world.context)
    assert world.actions.count("copy again") == original_stop.COPIES


@pytest.mark.parametrize(("moved", "ran"), [("", False), ("1 row", True)])
def test_what_is_written_after_the_lock_has_the_copy_made_again_before_the_first_start(
    world: World, monkeypatch: pytest.MonkeyPatch, moved: str, ran: bool
) -> None:
    world.record.facts["DatabaseTransfer"] = {"copied": {"original": AT.kept()}}
    monkeypatch.setattr(original_stop, "_moved", lambda context, at: ("", AT))
    OriginalDatabase().apply(world.context)
    monkeypatch.setattr(original_stop, "_moved", lambda context, at: (moved, AT))
    assert original_database.ran_since(world.context, world.record.facts["OriginalDatabase"]) is ran


def test_the_first_start_goes_through_with_the_original_locked_instead_of_down(world: World) -> None:
    OriginalDatabase().apply(world.context)
    FirstManagement().apply(world.context)
    assert world.serving and world.wrong == []
    assert known_servers.any_started(world.record) and "newdb1" in world.record.servers


def test_it_is_planned_in_words(world: World) -> None:
    plan = OriginalDatabase().plan(world.site.configuration)
    assert "which keeps running for billing: ALTER USER ... ACCOUNT LOCK" in plan[0]
    assert any(
        "unlocked as they were found, once the new side is fenced" in line for line in OriginalDatabase().undo(world.site.configuration)
    )
    plain: Any = site()
    assert "systemctl disable, stop and mask" in "".join(OriginalDatabase().plan(plain.configuration))


def test_retiring_leaves_the_server_to_those_it_runs_for(world: World) -> None:
    plan = "\n".join(Retirement().plan(world.site.configuration))
    assert "left on olddb1: the original's databases as they were, CloudStack's accounts locked, the server running for billing" in plan
    assert "the server masked" in "\n".join(Retirement().plan(site().configuration))
