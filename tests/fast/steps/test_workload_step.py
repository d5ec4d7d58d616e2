"""The step Workload: made once, looked at without a change, removed, and refused in a window."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import api
from parallel_build.errors import ConnectionFailed, GuardFailed, StepFailed
from parallel_build.operations import context_helpers, workload_window
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.steps.workload import Workload
from parallel_build.workload import kept
from tests.fast.memory_records import Records
from tests.fast.sites import site
from tests.fast.workload.test_workload import Cloud

PROFILE = {"accounts": 2, "users": 1, "networks": 2, "vms": 3, "disks": 1, "snapshots": 0}


class World:
    """A cloud in memory and the window's record."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        where = site()
        self.cloud = Cloud()
        self.records = Records(None, where)
        self.context = Context(where, None, RunFolder(folder, "test", []), CancelToken(), lambda text: None, "Workload")  # type: ignore[arg-type]
        self.step = Workload({"profile": PROFILE, "zone": ""})
        monkeypatch.setattr(api.Cloud, "original", lambda site: self.cloud)
        for module in (workload_window, context_helpers):
            monkeypatch.setattr(module, "store", lambda context: self.records)

    def open(self) -> None:
        self.records.record = WindowRecord("test", self.context.site.identity, opened="then")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_it_is_made_once_and_removed_with_its_passwords(world: World) -> None:
    world.step.before_apply(world.context)
    made = world.step.apply(world.context)
    assert {kind: made["there"][kind] for kind in ("network", "VM", "disk", "snapshot")} == {
        "network": 2,
        "VM": 3,
        "disk": 1,
        "snapshot": 0,
    }
    assert made["left out"] == {}
    assert (world.context.run.path / kept.FILE).exists()
    calls = list(world.cloud.calls)
    assert world.step.verify(world.context)["there"] == made["there"] and world.cloud.calls == calls, "a second time nothing is made"
    world.step.before_revert(world.context)
    world.step.revert(world.context)
    assert world.cloud.objects["listDomains"] == [{"id": "root", "name": "ROOT", "level": 0}]
    assert not (world.context.run.path / kept.FILE).exists()
    calls = list(world.cloud.calls)
    world.step.revert(world.context)
    assert world.cloud.calls == calls, "nothing is removed twice"


def test_it_is_neither_made_nor_removed_in_a_window(world: World) -> None:
    world.open()
    with pytest.raises(GuardFailed, match="`workload create` is refused"):
        world.step.before_apply(world.context)
    with pytest.raises(GuardFailed, match="`workload remove` is refused"):
        world.step.before_revert(world.context)
    assert world.step.verify(world.context) == {} and world.cloud.calls == []


def test_a_record_that_cant_be_asked_is_never_taken_for_no_window(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None:
        raise ConnectionFailed("olddb1 can't be reached", "", "")

    monkeypatch.setattr(world.records, "look", silent)
    monkeypatch.setattr(world.records, "read", silent)
    for ask in (world.step.before_apply, world.step.before_revert):
        with pytest.raises(ConnectionFailed):
            ask(world.context)
    assert world.step.verify(world.context) == {} and world.cloud.calls == []


def test_what_others_put_there_stays_and_is_named(world: World) -> None:
    world.step.apply(world.context)
    domain = next(item for item in world.cloud.objects["listDomains"] if item["id"] != "root")
    world.cloud.objects["listNetworks"].append({"id": "x", "name": "theirs", "account": "wl-account-0", "domainid": domain["id"]})
    with pytest.raises(StepFailed, match="network theirs"):
        world.step.revert(world.context)
    assert any(item["name"] == "theirs" for item in world.cloud.objects["listNetworks"])


def test_a_different_profile_is_refused_with_the_way_out(world: World) -> None:
    world.step.apply(world.context)
    with pytest.raises(GuardFailed, match=r"workload of another profile.*remove it first"):
        Workload({"profile": {**PROFILE, "vms": 1}}).apply(world.context)
