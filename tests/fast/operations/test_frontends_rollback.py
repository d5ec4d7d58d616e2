"""A rollback leads what stands before the original back, in the order in which it is of use: the database's before management starts, users' when it serves."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.configuration import Frontend
from parallel_build.errors import ConnectionFailed, RollbackIncomplete
from parallel_build.records.front_place import CLOSED, NEW_SIDE, FrontPlace, places_of
from parallel_build.remote.openssh import Result
from tests.fast.operations.test_frontends import BALANCER, PROXY
from tests.fast.operations.test_touched_servers import WAYS, Cloud, back, switched_cloud, undo

LOST: set[str] = set()
HANGING: dict[str, threading.Event] = {}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A switched cloud whose balancer leads to the new side, and whose database proxy is closed; the stack file does not name either any more."""
    made = switched_cloud(monkeypatch)
    made.world.context.undoing = True
    LOST.clear()
    HANGING.clear()
    places = {}
    for section, leads in ((BALANCER, NEW_SIDE), (PROXY, CLOSED)):
        door = Frontend.model_validate(section)
        for host in door.hosts:
            place = FrontPlace.of(door, host, None)
            places[place.mark] = {**place.document(), "leads": leads, "done": True}
    made.world.record.facts["Frontend"] = places

    def run(machine: Any, argv: Any, **_: Any) -> Result:
        if machine.name in HANGING and argv[-1] == "closed":
            HANGING[machine.name].wait(20)
        if machine.name in LOST:
            raise ConnectionFailed(f"{machine.name} can't be reached over SSH", "", "")
        made.world.act(f"{' '.join(argv)} on {machine.name}")
        return Result(0, "", "")

    monkeypatch.setattr("tests.fast.window_world.Machine.run", run, raising=False)
    return made


def place_of(cloud: Cloud, what: str) -> int:
    """When something was done first."""
    return cloud.world.actions.index(what)


def closed(cloud: Cloud) -> bool:
    """Whether the window has been given back."""
    return cloud.world.record.closed is not None


@WAYS
def test_it_is_led_back_by_the_record_in_its_order(cloud: Cloud, way: Any) -> None:
    way(cloud)
    served = place_of(cloud, f"start {MANAGEMENT} on oldms1")
    for host in ("front1", "front2"):
        assert place_of(cloud, f"turn closed on {host}") < place_of(cloud, f"turn original on {host}") > served
    assert place_of(cloud, "start mariadb on olddb1") < place_of(cloud, "hostgroup original on sql1") < served
    assert cloud.serving == (["oldms1", "oldms2"], []) and not cloud.world.wrong
    assert places_of(cloud.world.record.facts["Frontend"]) == {}
    done = len(cloud.world.actions)
    undo(cloud)
    assert not [each for each in cloud.world.actions[done:] if "turn" in each or "hostgroup" in each]


def test_a_machine_that_hangs_keeps_the_original_from_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    served = HANGING["front1"] = threading.Event()
    start = cloud.world.act

    def act(what: str, *more: Any) -> Any:
        if what == f"start {MANAGEMENT} on oldms1":
            served.set()
        return start(what, *more)

    monkeypatch.setattr(cloud.world, "act", act)
    back(cloud)
    assert served.is_set() and place_of(cloud, f"start {MANAGEMENT} on oldms1") < place_of(cloud, "turn closed on front1")
    assert place_of(cloud, "turn closed on front1") < place_of(cloud, "turn original on front1")


def test_a_machine_that_is_lost_keeps_nobody_waiting_and_the_window_open(cloud: Cloud) -> None:
    LOST.update({"front2", "sql1"})
    back(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], []) and "turn original on front1" in cloud.world.actions
    with pytest.raises(RollbackIncomplete) as caught:
        undo(cloud)
    assert "haproxy at 10.91.0.60 on front2" in caught.value.fact and "proxysql at 10.91.0.70 on sql1" in caught.value.fact
    assert not closed(cloud)
    LOST.clear()
    undo(cloud)
    assert closed(cloud) and "turn original on front2" in cloud.world.actions
