"""Rollback points of a lab: whole or not there, named once, and a restore leaves exactly what the point has."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import libvirtd, network, points
from lab.errors import LabError
from lab.files import Lab, Options
from lab.standin.agent import daemon
from lab.standin.shared import paths
from parallel_build.configuration import Phase
from parallel_build.machines.container import machine as container


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Machines that were switched off, in that order."""
    done: list[str] = []
    running = {"oldms1", "olddb1", "kvm1", "newdb1", "newms1"}
    monkeypatch.setattr(network, "exists", lambda lab: True)
    monkeypatch.setattr(
        container, "names", lambda folder: sorted(name for name in running if name.startswith("new") == (folder.name == "new"))
    )
    monkeypatch.setattr(container, "running", lambda folder, name: name not in done)
    monkeypatch.setattr(container, "power_off", lambda folder, name: done.append(name))
    monkeypatch.setattr(container, "delete", lambda folder, name: done.append(f"delete {name}"))
    for name in ("stop", "power_off"):
        monkeypatch.setattr(libvirtd, name, lambda *_: None)
    return done


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = Lab("one")
    found.begin(Options(hosts="containers"))
    (found.original / "olddb1/upper").mkdir(parents=True)
    (found.original / "olddb1/upper/rows").write_text("before")
    return found


def content(lab: Lab) -> dict[str, str]:
    return {
        str(path.relative_to(lab.folder)): path.read_text()
        for path in lab.folder.rglob("*")
        if path.is_file() and points.FOLDER not in path.parts
    }


def test_a_restore_leaves_exactly_what_the_point_has_as_often_as_wanted(lab: Lab, off: list[str]) -> None:
    before = content(lab)
    point = points.take(lab, "before", Phase.PREPARED)
    assert points.points(lab) == [point] and (point.phase, point.bytes > 0) == ("prepared", True)
    assert set(off[:2]) == {"oldms1", "newms1"} and off[2] == "kvm1" and set(off[3:]) == {"olddb1", "newdb1"}, "databases last"
    for _ in range(3):
        (lab.original / "olddb1/upper/rows").write_text("after")
        (lab.folder / ".done-switched").write_text("")
        (lab.folder / "new/newms9").mkdir(parents=True)
        points.restore(lab, "before")
        assert content(lab) == before and not (lab.folder / "new/newms9").exists()
        assert points.points(lab) == [point]


def test_system_vms_and_routers_come_back_with_their_hosts(lab: Lab, off: list[str]) -> None:
    mark = lab.original / "kvm1/root" / points.CONNECTED_BEFORE
    mark.parent.mkdir(parents=True)
    mark.write_text("")
    points.take(lab, "before", Phase.PREPARED)
    assert not mark.exists() and paths.AGENT_STATE / "connected-before" == daemon.CONNECTED_BEFORE
    assert str(daemon.CONNECTED_BEFORE).lstrip("/") == points.CONNECTED_BEFORE


def test_names_and_points_that_are_none_are_refused(lab: Lab, off: list[str]) -> None:
    for name in ("", "../x", "A", "a b"):
        with pytest.raises(LabError, match="can't be a point's name"):
            points.take(lab, name, Phase.BUILT)
    points.take(lab, "one", Phase.BUILT)
    with pytest.raises(LabError, match="has a point one already"):
        points.take(lab, "one", Phase.BUILT)
    with pytest.raises(LabError, match=r"has no point two. Cause: it has one"):
        points.restore(lab, "two")
    assert not any(name.startswith("delete") for name in off), "nothing was removed"


def test_a_snapshot_that_was_cut_off_is_no_point_and_is_taken_again(lab: Lab, off: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(words: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
        return real(["false"], **given) if words[0] == "cp" else real(words, **given)

    real = subprocess.run
    monkeypatch.setattr(points.subprocess, "run", full)  # type: ignore[attr-defined]
    with pytest.raises(LabError, match="could not be written"):
        points.take(lab, "one", Phase.BUILT)
    monkeypatch.setattr(points.subprocess, "run", real)  # type: ignore[attr-defined]
    assert points.points(lab) == []
    points.take(lab, "one", Phase.BUILT)
    assert (lab.folder / "points/one/content/original/olddb1/upper/rows").read_text() == "before"


def test_a_point_that_has_no_room_is_refused_with_the_machines_on(lab: Lab, off: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0})())  # type: ignore[attr-defined]
    with pytest.raises(LabError, match="0 MiB are free"):
        points.take(lab, "one", Phase.BUILT)
    assert off == []


def test_a_removed_point_is_gone_and_the_others_stay(lab: Lab, off: list[str]) -> None:
    points.take(lab, "one", Phase.BUILT)
    points.take(lab, "two", Phase.PREPARED)
    points.remove(lab, "one")
    assert [point.name for point in points.points(lab)] == ["two"] and not (lab.folder / "points/one").exists()
    assert "two" in points.words(points.points(lab)) and "phase prepared" in points.words(points.points(lab))
