"""After a failed upgrade the new databases are dumped before they are emptied, by default; where users wait only small ones, and never without room."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.startup import StartFailed
from parallel_build.operations import forensics, reimport, start_management
from parallel_build.operations.start_management import NOT_GOOD, ManagementStart
from parallel_build.records.window import WindowRecord
from tests.fast.memory_records import Records
from tests.fast.sites import site
from tests.fast.window_world import World, arrange

GIB = 2**30


class Side:
    """A new side that was started, and what is done to keep it."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        wanted: str | None,
        *,
        failed: str | None,
        size: int = 10,
        free: int = 100 * GIB,
    ) -> None:
        self.site = site(**({} if wanted is None else {"window": {"forensics": wanted}}))
        facts: dict[str, Any] = {"FirstManagement": {"began": 1.0}, "Forensics": {"kept": None, "failed": failed}}
        self.record = WindowRecord("test", self.site.identity, opened="then", facts=facts)
        self.dumped: list[str] = []
        self.told: list[str] = []
        monkeypatch.setattr(forensics, "store", lambda _: Records(self.record, self.site))
        monkeypatch.setattr(forensics, "_dump", lambda context, folder, source: self.dumped.append(folder.name))
        for name in ("_texts", "_state"):
            monkeypatch.setattr(forensics, name, lambda *_: None)
        monkeypatch.setattr(forensics, "session", lambda _: contextlib.nullcontext(SimpleNamespace(value=lambda *_: size)))
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
        self.context: Any = SimpleNamespace(
            site=self.site, configuration=self.site.configuration, cancel=CancelToken(), progress=self.told.append, step="Window",
            host=lambda server: SimpleNamespace(name=server.name), run=SimpleNamespace(path=tmp_path, record=lambda *_, **__: None),
        )  # fmt: skip


@pytest.mark.parametrize(("wanted", "failed", "dumped"), [
    (None, "a statement was refused", True), (None, NOT_GOOD, True), (None, None, False), ("logs", "a statement was refused", False),
    ("dump", None, True), ("none", "a statement was refused", False),
])  # fmt: skip
def test_what_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str | None, failed: str | None, dumped: bool) -> None:
    side = Side(monkeypatch, tmp_path, wanted, failed=failed)
    forensics.collect_once(side.context)
    assert bool(side.dumped) is dumped and bool(side.record.facts["Forensics"]["kept"]) is (wanted != "none")
    forensics.collect_once(side.context)
    assert len(side.dumped) == dumped, "once"


@pytest.mark.parametrize(("wanted", "size", "waiting", "dumped"), [
    (None, GIB, True, True), (None, GIB + 1, True, False), (None, 200 * GIB, False, True), ("dump", 200 * GIB, True, True),
])  # fmt: skip
def test_users_do_not_wait_for_a_large_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str | None, size: int, waiting: bool, dumped: bool
) -> None:
    side = Side(monkeypatch, tmp_path, wanted, failed="x", size=size)
    forensics.collect_once(side.context, waiting=waiting)
    assert bool(side.dumped) is dumped
    assert dumped or any("users would wait for it; window.forensics: dump" in text for text in side.told)


def test_without_room_it_is_reported_and_not_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    side = Side(monkeypatch, tmp_path, None, failed="x", size=30 * GIB, free=10 * GIB)
    forensics.collect_once(side.context)
    assert side.dumped == [] and any("has no room for a dump of 32,212,254,720 bytes" in text for text in side.told)


@pytest.mark.parametrize("failing", [True, False])
def test_the_record_says_whether_the_upgrade_has_failed(monkeypatch: pytest.MonkeyPatch, failing: bool) -> None:
    arrange(monkeypatch)
    world = World()
    world.failing = failing
    start = ManagementStart(world.context, world.context.configuration.new.management[0], "FirstManagement", upgrade=True)
    with contextlib.suppress(StartFailed):
        start.run()
    assert bool(world.record.facts["Forensics"]["failed"]) is failing
    start.forget()
    assert bool(world.record.facts["Forensics"]["failed"]) is failing, "what undoes the start leaves it"


def test_it_is_kept_before_the_copy_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)
    world = World()
    world.failing = True
    start = start_management.first_start(world.context)
    with contextlib.suppress(StartFailed):
        start.run()
    monkeypatch.setattr(forensics, "collect_once", lambda context, *, waiting: world.act(f"keep it, waiting {waiting}"))
    reimport.make_whole(world.context, lambda _: {})
    assert world.actions.index("keep it, waiting True") < world.actions.index("empty")
