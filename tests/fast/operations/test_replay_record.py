"""What users created is put on record before it is gone, and is created again only by the latest run while no window is open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import created
from parallel_build.cloudstack.created import Created, Found
from parallel_build.cloudstack.created_kinds import KINDS, TABLES
from parallel_build.errors import ConnectionFailed, Fenced, GuardFailed
from parallel_build.operations import created_objects, replay_record
from parallel_build.operations.context import Context
from parallel_build.records import created as created_record
from parallel_build.records.created import CreatedFiles, CreatedRecord
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.remote.sql import Refused
from tests.fast.local_host import LocalHost
from tests.fast.memory_records import Records
from tests.fast.sites import site

WEB = Created("security groups", "u-1", "web", "ann", "/after/")


class World:
    """A rollback that has come to its end, or nearly."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host: Any = LocalHost()
        self.site = site()
        self.told: list[str] = []
        self.up, self.emptied, self.found = True, False, Found([WEB])
        facts = {"FirstManagement": {"began": 1.0}, "Window": {"highest_ids": {"security_group": 7}}}
        self.records = Records(WindowRecord("test", self.site.identity, opened="then", returning="since", number=3, facts=facts), self.site)
        self.context = Context(self.site, None, RunFolder(folder / "runs", "test", []), CancelToken(), self.told.append, "Window")  # type: ignore[arg-type]
        monkeypatch.setattr(created_record, "FOLDER", str(folder))
        for module in (created_objects, replay_record):
            monkeypatch.setattr(module, "store", lambda context: self.records)
            monkeypatch.setattr(module, "original_database", lambda context: self.host)
        monkeypatch.setattr(created_objects, "new_database", lambda context: "newdb1")
        monkeypatch.setattr(created_objects, "session", self.session)
        monkeypatch.setattr(created, "read", lambda new, original, highest: self.found)

    @contextlib.contextmanager
    def session(self, host: Any, **_: Any) -> Iterator[Any]:
        if host == "newdb1" and not self.up:
            raise ConnectionFailed("newdb1 hangs", "no answer", "")
        yield type("Session", (), {"value": lambda _, statement: 0 if self.emptied else 1})()

    @property
    def kept(self) -> CreatedRecord | None:
        return CreatedFiles(self.host).read()

    def closed(self) -> WindowRecord:
        record = self.records.record
        assert record is not None
        record.closed = "now"
        return record


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_it_is_put_on_record_once_with_the_command_that_shows_it(world: World) -> None:
    for _ in range(2):
        created_objects.keep(world.context)
    assert world.kept == CreatedRecord(3, world.site.identity, "then", Found([WEB]))
    assert world.told == ["users created on the new side: security groups: 1. See parallel-build after-rollback test"]


def test_a_new_side_that_was_never_started_or_is_emptied_leaves_nothing(world: World) -> None:
    world.emptied = True
    created_objects.keep(world.context)
    world.emptied = False
    world.records.record.facts.pop("FirstManagement")  # type: ignore[union-attr]
    created_objects.keep(world.context)
    world.records.record = None
    created_objects.keep(world.context)
    assert world.kept is None and world.told == []


def test_a_new_database_that_hangs_stops_nothing_and_is_never_taken_for_nothing_created(world: World) -> None:
    world.up = False
    created_objects.keep(world.context)
    assert world.kept is not None and "newdb1 hangs" in world.kept.unknown
    world.closed()
    with pytest.raises(GuardFailed, match=r"is not known: it could not be read.*newdb1 hangs"):
        replay_record.read(world.context)
    world.records.record.closed = None  # type: ignore[union-attr]
    world.up = True
    created_objects.keep(world.context)
    assert world.kept.found.objects == [WEB], "a later try knows more"


def test_nothing_on_record_and_another_stacks_record_are_refused(world: World) -> None:
    with pytest.raises(GuardFailed, match="has nothing on record that users created"):
        replay_record.read(world.context)
    created_objects.keep(world.context)
    assert replay_record.read(world.context).found.objects == [WEB]
    CreatedFiles(world.host).keep(CreatedRecord(4, "another", "later", Found([WEB])))
    with pytest.raises(GuardFailed, match="window another, opened later, and this stack did not open it"):
        replay_record.read(world.context)


def test_objects_are_created_again_only_by_the_latest_run_with_no_window_open(world: World) -> None:
    created_objects.keep(world.context)
    kept = world.kept
    assert kept is not None
    with pytest.raises(GuardFailed, match="a window is open since then"):
        replay_record.may_replay(world.context, kept)
    record = world.closed()
    replay_record.may_replay(world.context, kept)
    record.token, world.records.host.token = 8, 7
    with pytest.raises(Fenced, match="run 8 has taken over"):
        replay_record.may_replay(world.context, kept)
    world.records.record = replace(record, number=2)
    with pytest.raises(GuardFailed, match="is not on olddb1 any more"):
        replay_record.may_replay(world.context, kept)


class Server:
    """A database server that answers each kind's question with one row, and refuses some tables."""

    def __init__(self, refuses: str = "", known: bool = False, number: int = 1146) -> None:
        self.refuses, self.known, self.number, self.asked = refuses, known, number, list[tuple[str, Any]]()

    def rows(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        self.asked.append((statement, values))
        if self.refuses and f"cloud.`{self.refuses}` t" in statement:
            raise Refused("no such table", f"Table {self.refuses} doesn't exist", "", self.number)
        if statement.startswith("SELECT t.id AS row_id"):
            names = {name for kind in KINDS for name in kind.extra}
            row = {
                "row_id": 9,
                "uuid": "u-9",
                "name": "it",
                "identity": "u-9",
                "owner_name": "ann",
                "owner_type": 0,
                "project": None,
                "domain_path": "/",
            }
            return [{**dict.fromkeys(names), **row}]
        return [{"identity": value} for value in values] if self.known and "IN (" in statement else []


def test_what_the_original_has_and_what_an_earlier_version_did_not_note_is_no_new_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    highest = dict.fromkeys(TABLES, 5)
    found = created.read(Server(), Server(), highest)
    assert {each.kind for each in found.objects} == {kind.name for kind in KINDS} and found.unknown == {}
    assert created.read(Server(), Server(known=True), highest).objects == []
    found = created.read(Server(), Server(), {"domain": 5})
    noted = {kind.name for kind in KINDS if kind.updated or kind.table == "domain"}
    assert {each.kind for each in found.objects} == noted and set(found.unknown) == {kind.name for kind in KINDS} - noted


def test_a_table_that_a_version_does_not_have_is_named_and_any_other_refusal_is_raised() -> None:
    highest = dict.fromkeys(TABLES, 5)
    found = created.read(Server("webhook"), Server(), highest)
    assert set(found.unknown) == {"webhooks"} and "domains" in {each.kind for each in found.objects}
    with pytest.raises(Refused):
        created.read(Server("webhook", number=1142), Server(), highest)
