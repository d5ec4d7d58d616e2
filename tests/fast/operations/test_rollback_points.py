"""Rollback points of a stack: of all machines or of none, off meanwhile, never under users; storage's own by a hook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import ConfigurationError, GuardFailed, StepFailed
from parallel_build.machines import snapshots
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import Virsh
from parallel_build.machines.snapshots import LibvirtSnapshots
from parallel_build.operations import record_hosts
from parallel_build.operations.rollback_points import Points
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from tests.fast.memory_records import Records
from tests.fast.sites import site

NEW = ["newdb1", "newdb2", "newms1", "newms2"]


class Machine:
    """A machine whose content is a word."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.content, self.kept, self.running = "empty", dict[str, str](), True

    def names(self) -> list[str]:
        return list(self.kept)

    def off(self) -> None:
        if self.running:
            self.world.log.append(f"{self.name} off")
        self.running = False

    def on(self) -> None:
        self.running = True

    def take(self, point: str) -> None:
        assert not self.running
        if self.name == self.world.fails:
            raise MachineFailed("no room", "", "")
        self.world.log.append(f"{self.name} take")
        self.kept[point] = self.content

    def restore(self, point: str) -> None:
        assert not self.running
        self.content = self.kept[point]

    def remove(self, point: str) -> None:
        self.world.log.append(f"{self.name} remove")
        del self.kept[point]


class World:
    """A stack's machines and its window's record."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log, self.fails, self.folder = list[str](), "", folder
        self.machines = {name: Machine(self, name) for name in NEW}
        self.without: set[str] = set()
        self.records = Records(None, site())
        monkeypatch.setattr(record_hosts, "looked_at", lambda site, connections: self.records)
        monkeypatch.setattr(snapshots, "of", lambda site, machine: None if machine.name in self.without else self.machines[machine.name])

    def points(self, hook: str = "") -> Points:
        return Points(site(), None, RunFolder(self.folder, "test", []), lambda text: None, hook)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_machines_are_put_back_as_often_as_wanted(world: World) -> None:
    world.points().take("before")
    assert world.points().names() == {"before": NEW}
    assert [line for line in world.log if line.endswith("off")] == ["newms2 off", "newms1 off", "newdb2 off", "newdb1 off"], (
        "databases last"
    )
    for _ in range(3):
        for machine in world.machines.values():
            machine.content = "upgraded"
        world.points().restore("before")
        assert {(machine.content, machine.running) for machine in world.machines.values()} == {("empty", True)}
    world.points().remove("before")
    taken = list(world.log)
    world.points().remove("before")
    assert world.points().names() == {} and world.log == taken, "the second time nothing is removed"


def test_a_point_that_was_cut_off_is_completed_and_never_restored_in_part(world: World) -> None:
    world.fails = "newms1"
    with pytest.raises(MachineFailed):
        world.points().take("before")
    with pytest.raises(GuardFailed, match=r"newms1, newms2 has no snapshot before"):
        world.points().restore("before")
    world.fails = ""
    world.points().take("before")
    assert [line for line in world.log if line.endswith("take")] == [f"{name} take" for name in NEW], "each once"
    with pytest.raises(GuardFailed, match="there is a point before already"):
        world.points().take("before")


@pytest.mark.parametrize("switched", [None, "2026-11-30T02:00:00"])
def test_machines_that_users_may_work_on_are_left_alone(world: World, switched: str | None) -> None:
    world.points().take("before")
    world.records.record = WindowRecord("test", site().identity, opened="then", switched=switched)
    for act in (world.points().restore, world.points().take):
        with pytest.raises(GuardFailed, match=r"(switched to at 2026|in a window since then).*is refused"):
            act("before")
    assert all(machine.running for machine in world.machines.values())
    world.records.record.closed = "later"
    world.points().restore("before")


def test_names_that_are_none_are_refused(world: World) -> None:
    for name in ("", "../x", "A", "a b"):
        with pytest.raises(ConfigurationError, match="can't be a point's name"):
            world.points().take(name)
    assert world.log == []


def test_storage_is_asked_while_the_machines_are_off(world: World, tmp_path: Path) -> None:
    world.without = {"newdb1"}
    with pytest.raises(GuardFailed, match=r"newdb1: its platform takes no snapshots.*--hook"):
        world.points().take("before")
    hook = tmp_path / "san"
    hook.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n')
    hook.chmod(0o755)
    world.points(f"{hook} --lun 7").take("before")
    world.points(f"{hook} --lun 7").restore("before")
    names = " ".join(NEW)
    assert (tmp_path / "asked").read_text().splitlines() == [f"--lun 7 take before {names}", f"--lun 7 restore before {names}"]
    with pytest.raises(StepFailed, match="ended with exit code 1"):
        world.points("false").restore("before")
    assert not world.machines["newms1"].running, "what storage did not put back is not started"


def test_libvirt_is_asked_by_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "virsh"
    program.write_text(
        f'#!/bin/sh\nshift 2\necho "$*" >>{tmp_path}/asked\ncase "$1" in\nshutdown) touch {tmp_path}/off;;\nstart) rm {tmp_path}/off;;\n'
        f'domstate) [ -e {tmp_path}/off ] && echo "shut off" || echo running;;\nsnapshot-list) printf "one\\ntwo\\n";;\nesac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    guest: Any = LibvirtSnapshots(Virsh("qemu:///system"), "test-newdb1")
    assert guest.names() == ["one", "two"]
    for _ in range(2):
        guest.off()
    guest.take("three")
    guest.restore("one")
    for _ in range(2):
        guest.on()
    guest.remove("two")
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if not line.startswith("domstate")]
    assert asked == [
        "snapshot-list test-newdb1 --name", "shutdown test-newdb1", "snapshot-create-as test-newdb1 --name three --atomic",
        "snapshot-revert test-newdb1 one", "start test-newdb1", "snapshot-delete test-newdb1 two",
    ]  # fmt: skip
