"""Agents of the in-memory world: what each of them does when its server goes, and what a rollback does about it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from parallel_build.cloudstack.services import AGENT, MANAGEMENT
from tests.fast.agents_world import NEW_LIST, OLD_LIST
from tests.fast.drawn_moves import Move
from tests.fast.operations.test_touched_servers import Cloud
from tests.fast.sequences import Operator, arranged
from tests.fast.several_operators import Shared

UNDO = ("undo", ("ends", 0, "back"))


class Steady(random.Random):
    """Draws a cloud of which nothing is special."""

    def random(self) -> float:
        return 0.99


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    cloud: Cloud = arranged(monkeypatch)
    found = Operator(cloud, Steady(1))
    monkeypatch.setattr("parallel_build.operations.transfer.empty", found.empty)
    return found


def made(operator: Operator, *moves: Move) -> Shared:
    for move in moves:
        operator.make(move)
    return operator.world


def at(world: Shared) -> list[str]:
    return [world.agents.look(host).at for host in world.agents.by_host]


def test_agents_stay_until_their_server_ends_and_then_dial_the_next(operator: Operator) -> None:
    world = made(operator)
    agent = world.agents.by_host["kvm1"]
    agent.at, agent.last = "newms1", NEW_LIST[0]
    made(operator, ("cut off", "newms1"))
    assert world.agents.look("kvm1").at == "newms1", "silence ends no connection"
    world.units["newms1", MANAGEMENT]["active"] = False
    assert world.agents.look("kvm1").at == "newms2"
    world.units["newms2", MANAGEMENT]["active"] = False
    assert world.agents.look("kvm1").at == "" and agent.listed == [*NEW_LIST, *OLD_LIST]


def test_a_rollback_brings_all_of_them_to_the_original(operator: Operator) -> None:
    world = made(operator, UNDO)
    assert [each in world.old for each in at(world)] == [True, True] and world.record.closed
    assert world.agents.written == [], "they dial the original by themselves"


def test_they_are_taken_from_a_server_that_can_not_be_reached(operator: Operator) -> None:
    world = made(operator, ("cut off", "newms2"), UNDO)
    assert [each in world.old for each in at(world)] == [True, True]
    assert {host for host, _ in world.agents.written} == {"kvm1", "kvm2"}


@pytest.mark.parametrize("aside", [False, True])
def test_one_that_dials_that_server_again_while_hosts_are_waited_for_is_taken_again(operator: Operator, aside: bool) -> None:
    agent = operator.world.agents.by_host["kvm2"]
    agent.restless, agent.aside = True, aside
    world = made(operator, ("cut off", "newms2"), UNDO)
    assert [each in world.old for each in at(world)] == [True, True]
    assert [host for host, _ in world.agents.written].count("kvm2") == 2


def test_a_silent_host_and_a_stopped_agent_are_named_and_keep_no_user_out(operator: Operator) -> None:
    world = made(operator, ("cut off", "kvm1"), ("cut off", "newms2"), ("agent stops", "kvm2"), UNDO)
    assert operator.cloud.serving[0] == ["oldms1", "oldms2"] and not world.record.closed
    assert world.agents.look("kvm1").at == "newms2" and not world.units["kvm2", AGENT]["active"]
    operator.way_out()
    assert [each in world.old for each in at(world)] == [True, True]


@pytest.mark.parametrize(
    ("agents", "named", "wrong"),
    [
        ({"kvm1": "oldms1", "kvm2": "oldms2"}, "", 0),
        ({"kvm1": "newms1", "kvm2": "oldms2"}, "host kvm1 is not connected", 1),
        ({"kvm1": "newms1", "kvm2": "oldms2"}, "", 2),
    ],
)
def test_what_a_rollback_reports_of_them_is_checked(operator: Operator, agents: dict[str, Any], named: str, wrong: int) -> None:
    world = made(operator)
    for host, server in agents.items():
        world.units[server, MANAGEMENT]["active"] = True
        world.agents.by_host[host].at = server
    world.agents.check_rolled_back(named)
    assert len(world.wrong) == wrong
