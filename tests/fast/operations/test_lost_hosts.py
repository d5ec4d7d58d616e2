"""Either host of the record lost before every single action of the window's second half: with a proof everything continues, without one nothing is done."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import pytest

from parallel_build.errors import ConnectionFailed, GuardFailed, ParallelBuildError
from parallel_build.operations import open_ports, original_database, record_hosts, start_gate
from parallel_build.operations.context import Context
from parallel_build.records.copies import SECOND, RecordCopies
from parallel_build.records.host_copy import HostNotes
from parallel_build.records.record_file import Text
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from tests.fast import window_world
from tests.fast.window_world import Copy, Machine, World

STEPS = (HostSetting, FirstManagement, AdditionalManagement)


class Lost(BaseException):
    """A host is gone from here on."""


class MemoryFile:
    """The record's file on a machine of the world: a write is an action."""

    limit = None

    def __init__(self, world: Disks, host: str, name: str) -> None:
        self.world, self.host, self.name = world, Machine(world, host), name
        self.folder, self.path = "/var/lib", f"/var/lib/{name}"

    def raw(self) -> Text:
        if self.host.name in self.world.lost:
            raise ConnectionFailed(f"{self.host.name} can't be reached over SSH", "", "")
        return Text(self.world.files.get(self.host.name))

    read = raw

    def write(self, seen: Text, text: str, *, keep: bool = False) -> bool:
        if self.raw().digest != seen.digest:
            return False
        self.world.act(f"write the record on {self.host.name}")
        self.raw()
        self.world.files[self.host.name] = text.encode() + b"\n"
        self.world.record = WindowRecord.from_json(text)
        return True

    def unusable(self, why: str) -> GuardFailed:
        return GuardFailed(why, "", "")


class Disks(World):
    """A world whose record is on two disks, one of which is lost before a certain action."""

    def __init__(self, losing: str = "", after: int = -1, **changes: Any) -> None:
        super().__init__(**changes)
        self.losing, self.after = losing, -1
        self.record.number, self.record.revision = 1, 1
        self.files: dict[str, bytes] = {"olddb1": self.record.to_json().encode() + b"\n"}
        store(self.context).keep_copy()
        self.actions.clear()
        self.after = after

    def act(self, what: str, server: str = "") -> None:
        super().act(what, server)
        if self.after >= 0 and len(self.actions) == self.after + 1:
            self.lost.add(self.losing)


class Store(WindowStore):
    """The real one, without a journal."""

    def journal(self, what: str) -> None:
        """Kept nowhere."""


def store(context: Context) -> WindowStore:
    """As `record_hosts.both` has it, over the world's disks."""
    world: Any = context.connections
    first, second = MemoryFile(world, "olddb1", "window.json"), MemoryFile(world, "newdb1", SECOND)
    notes = world.ready.setdefault("record hosts", HostNotes())
    copies = RecordCopies(first, second, partial(record_hosts.proved_down, context), notes)  # type: ignore[arg-type]
    return Store(first.host, context.site, copies)


@pytest.fixture(autouse=True)
def arranged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's servers, with the record on its disks."""
    window_world.arrange(monkeypatch)
    for name, module in list(sys.modules.items()):
        if name.startswith(("parallel_build.operations", "parallel_build.steps")) and hasattr(module, "store"):
            monkeypatch.setattr(module, "store", store)
    monkeypatch.setattr(record_hosts, "both", store)
    monkeypatch.setattr(open_ports, "answers", lambda context, server, ports: False)

    def release(context: Context, host: Machine, unit: str, *, enable: bool) -> None:
        store(context).note({}, forward=True)
        host.world.act(f"unmask {unit} on {host.name}")
        host.world.units[host.name, unit].update(masked=False, **({"enabled": True} if enable else {}))

    monkeypatch.setattr(start_gate, "release", release)


def forward(world: World) -> None:
    """The steps in their order, each from wherever it stands."""
    for step in STEPS:
        step().apply(world.context)


def whole() -> int:
    """Actions of a run that nothing happens to."""
    world = Disks()
    forward(world)
    assert world.wrong == [] and world.serving
    assert world.files["olddb1"] == world.files["newdb1"]
    return len(world.actions)


def confirm(world: Disks, name: str) -> None:
    """The operator's word, in the next run."""
    world.context.site.configuration.window.confirmed_down.append(name)
    world.ready.clear()


@pytest.mark.processes
def test_the_original_lost_before_every_action() -> None:
    for action in range(whole()):
        world = Disks("olddb1", action)
        with pytest.raises(ParallelBuildError):
            forward(world)
            raise ConnectionFailed("it was the last action, and the next run finds it gone", "", "")
        running = {key for key, unit in world.units.items() if unit["active"]}
        with pytest.raises(ParallelBuildError, match="it may still be running"):
            forward(world)
        assert {key for key, unit in world.units.items() if unit["active"]} == running, f"something was started at {world.actions[action]}"
        confirm(world, "olddb1")
        if world.copy != Copy() and not world.serving:
            with pytest.raises(ParallelBuildError):  # the copy has to be made again, and there is nothing to make it from
                forward(world)
        else:
            forward(world)
            assert world.serving and world.units["newms2", "cloudstack-management"]["active"], world.actions[action]
        assert world.wrong == [], world.actions[action]
        stale, right = (WindowRecord.from_json(world.files[name]) for name in ("olddb1", "newdb1"))
        assert stale.revision <= right.revision
        world.lost.clear()
        world.ready.clear()
        store(world.context).level()
        assert world.files["olddb1"] == world.files["newdb1"], "a host that comes back is brought up to date"


@pytest.mark.processes
def test_the_new_source_lost_before_every_action_and_back() -> None:
    for action in range(whole()):
        world = Disks("newdb1", action)
        with pytest.raises(ParallelBuildError):
            forward(world)
            raise ConnectionFailed("it was the last action, and the next run finds it gone", "", "")
        with pytest.raises(ParallelBuildError, match="it may still be running"):
            store(world.context).mark_returning()
        assert WindowRecord.from_json(world.files["olddb1"]).returning is None
        confirm(world, "newdb1")
        assert store(world.context).mark_returning().returning
        original_database.start(world.context)
        assert world.units["olddb1", "mariadb"]["active"]
        with pytest.raises(GuardFailed, match="a rollback has begun"):
            store(world.context).note({}, forward=True)
        world.lost.clear()
        world.ready.clear()
        assert store(world.context).read().returning, "its old copy does not count"  # type: ignore[union-attr]
        store(world.context).level()
        assert world.files["olddb1"] == world.files["newdb1"]
