"""A usage server on a host of its own, or none at all: stopped first of everything, proved down, and as it was found after a rollback."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import load
from parallel_build.errors import StepFailed
from parallel_build.facts.management_node import DatabaseTarget, ManagementNode
from parallel_build.guards import world as around
from parallel_build.guards.original import nothing_waits_on_the_peer
from parallel_build.operations import known_servers, prove_original_down
from parallel_build.operations.start_usage import start_usage
from parallel_build.records.touched import STOP
from parallel_build.records.touched import USAGE as USAGE_ROLE
from parallel_build.steps import retirement
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.operations.test_all_in_one import not_opened
from tests.fast.operations.test_touched_servers import Cloud, switched_cloud, undo
from tests.fast.sites import site, values

SERVERS = [{"name": "oldms1", "address": "10.91.0.11"}, {"name": "oldms2", "address": "10.91.0.12"}]
APART: dict[str, Any] = {"original": {"management": SERVERS, "usage": [{"name": "usage1", "address": "10.91.0.19"}]}}
NONE: dict[str, Any] = {"original": {"management": SERVERS}}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud whose usage server has a host of its own, before the window."""
    made = switched_cloud(monkeypatch, **APART)
    made.world.old |= dict.fromkeys(("oldms1", "oldms2"), (MANAGEMENT,))
    not_opened(made, monkeypatch)
    return made


def test_it_is_stopped_first_and_comes_back_as_it_was_found(cloud: Cloud) -> None:
    world = cloud.world
    world.units["usage1", USAGE]["enabled"] = False
    found = dict(world.units["usage1", USAGE])
    OriginalManagement().apply(world.context)
    OriginalDatabase().apply(world.context)
    assert next(action for action in world.actions if action.startswith("stop ")) == f"stop {USAGE} on usage1"
    assert world.down("usage1") and world.record.servers["usage1"].role == USAGE_ROLE
    prove_original_down.prove(world.context)
    undo(cloud)
    assert world.units["usage1", USAGE] == found and world.wrong == []


def test_nothing_of_the_new_side_starts_while_it_may_run(cloud: Cloud) -> None:
    world = cloud.world
    OriginalManagement().apply(world.context)
    OriginalDatabase().apply(world.context)
    world.units["usage1", USAGE] = {"active": False, "masked": False}
    for prove in (prove_original_down.prove, prove_original_down.prove_management):
        with pytest.raises(StepFailed, match="cloudstack-usage on usage1 is not masked"):
            prove(world.context)


def test_one_that_can_not_be_reached_is_asked_by_its_ssh_port(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    world = cloud.world
    world.lost.add("usage1")
    with pytest.raises(StepFailed, match=r"usage1 .* it may still be running"):
        OriginalManagement().apply(world.context)
    cloud.configure(**APART, window={"userAccess": values()["window"]["userAccess"], "confirmedDown": ["usage1"]})
    asked: list[list[int]] = []

    def silent(context: Any, server: Any, ports: list[int]) -> bool:
        asked.append(ports)
        return False

    monkeypatch.setattr(prove_original_down, "answers", silent)
    found = OriginalManagement().apply(world.context)
    assert (found["stopped"], found["confirmed down"]) == (["oldms1", "oldms2"], ["usage1"])
    assert asked == [[22]], "it listens nowhere else"


def test_one_that_left_the_stack_file_is_still_known(cloud: Cloud) -> None:
    touched = known_servers.touch(cloud.world.context, cloud.world.site.configuration.original.usage[0], STOP)
    cloud.world.record.servers["usage1"] = touched
    assert [each.name for each in known_servers.original_usage(load(values(), "test"), cloud.world.record)] == ["usage1"]


def test_the_change_review_names_it_both_ways() -> None:
    configuration = site(**APART).configuration
    assert OriginalManagement().plan(configuration)[0] == f"on usage1 (10.91.0.19): systemctl disable, stop and mask {USAGE}"
    assert f"on usage1 (10.91.0.19): systemctl unmask and start {USAGE}, as it was found" in OriginalManagement().undo(configuration)
    assert f"left on usage1: {USAGE}, masked" in retirement._left(configuration)
    assert configuration.original.has_usage and "usage1" in {server.name for server in configuration.asked_servers()}


def test_a_cloud_without_usage_gets_none_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    without = load(values(**NONE, new={"usage": False}), "test")
    assert without.usage_server is None
    assert AdditionalManagement().plan(without)[-1] == "no usage server is started (new.usage)"
    assert not any(USAGE in line for line in AdditionalManagement().undo(without))
    plan = "\n".join(ManagementInstalled({"name": "newms1"}).plan(without))
    assert "install cloudstack-management 4.22.1.0 by" in plan
    made = switched_cloud(monkeypatch, **NONE, new={"usage": False})
    assert start_usage(made.world.context) is None
    asked = load(values(**NONE), "test")
    assert "the original has none (new.usage: false leaves it out)" in AdditionalManagement().plan(asked)[-1]


def test_its_own_db_properties_must_lead_to_the_source() -> None:
    node = ManagementNode(targets=(DatabaseTarget("db.usage.host", "10.91.0.99"),))
    with pytest.raises(Exception, match=r"db\.usage\.host of usage1 is 10\.91\.0\.99"):
        around.management_servers_use_the_source(
            site(**APART), GOOD_OLD.__class__(**{**GOOD_OLD.__dict__, "nodes": {"usage1": node}}), GOOD_NEW
        )


def test_a_marked_usage_server_that_runs_is_known() -> None:
    runs = {"oldms1": ManagementNode(usage=True)}
    around.usage_servers_are_known(site(), GOOD_OLD.__class__(**{**GOOD_OLD.__dict__, "nodes": runs}), GOOD_NEW)


def test_a_source_without_peers_waits_on_nobody() -> None:
    nothing_waits_on_the_peer(site(), GOOD_OLD, GOOD_NEW)
