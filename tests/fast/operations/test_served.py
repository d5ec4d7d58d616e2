"""Databases that users work on carry a mark from the switch on: nobody drops them, with or without a record, until their own window is rolled back."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import cleanup, copy, empty
from parallel_build.database.schema import definitions
from parallel_build.database.server import bookkeeping
from parallel_build.errors import GuardFailed
from parallel_build.machines.existing import undo
from parallel_build.operations import original_accounts, served, transfer
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.steps import database_seed
from parallel_build.steps.database_seed import DatabaseSeed
from tests.fast.memory_records import Records
from tests.fast.sites import site

SITE = site()
VALUE = f"{SITE.identity} then"


class Server:
    """The new source: its databases, and the tool's marks."""

    def __init__(self) -> None:
        self.host = SimpleNamespace(name="newdb1")
        self.marks: dict[str, str] = {}
        self.rows = {"cloud": 336, "cloud_usage": 20}
        self.printed: list[str] = []


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    for module in (served, database_seed, copy):
        monkeypatch.setattr(module, "session", lambda host, **_: contextlib.nullcontext(server))
    monkeypatch.setattr(bookkeeping, "marks", lambda session: dict(session.marks))
    monkeypatch.setattr(bookkeeping, "mark", lambda session, name, value: session.marks.update({name: value}))
    monkeypatch.setattr(bookkeeping, "unmark", lambda session, name: session.marks.pop(name))
    monkeypatch.setattr(definitions, "existing", lambda opened, names: names)
    monkeypatch.setattr(definitions, "defaults", lambda opened, name: ("utf8mb4", "utf8mb4_general_ci"))
    monkeypatch.setattr(empty, "_objects_in", lambda opened, name: server.rows[name])
    monkeypatch.setattr(cleanup, "settle", lambda host: None)
    monkeypatch.setattr(cleanup, "forget", lambda host, schemas: None)
    monkeypatch.setattr(database_seed, "never_serving", lambda context: None)

    def execute(statement: str) -> None:
        if statement.startswith("DROP DATABASE"):
            server.rows[statement.split("`")[1]] = 0

    server.execute = execute  # type: ignore[attr-defined]
    return server


def at(folder: Path, record: WindowRecord | None, monkeypatch: pytest.MonkeyPatch) -> Context:
    records = Records(record, SITE)
    for module in (served, transfer, database_seed):
        monkeypatch.setattr(module, "store", lambda context: records)
    for module in (served, transfer, database_seed):
        monkeypatch.setattr(module, "new_database", lambda context: SimpleNamespace(name="newdb1"))
    reported: list[str] = []
    return Context(SITE, None, RunFolder(folder, "test", []), CancelToken(), reported.append, "Test")  # type: ignore[arg-type]


def window(**changes: Any) -> WindowRecord:
    return WindowRecord("test", SITE.identity, opened="then", facts={"DatabaseTransfer": {"copied": {"tables": 336}}}, **changes)


def test_it_is_set_once_with_the_window_that_switched(new: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = at(tmp_path, window(), monkeypatch)
    served.mark(context)
    assert new.marks == {"served": VALUE}
    monkeypatch.setattr(bookkeeping, "mark", lambda *_: pytest.fail("it is marked"))
    served.mark(context)


@pytest.mark.parametrize(
    "record", [None, window(), window(closed="now"), window(returning="now")], ids=["lost", "open", "closed", "going back"]
)
def test_marked_databases_are_dropped_by_no_copy_whatever_the_record_says(
    new: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: WindowRecord | None
) -> None:
    at(tmp_path, record, monkeypatch)
    new.marks["served"] = VALUE
    target: Any = new.host
    with pytest.raises(GuardFailed, match="the databases on newdb1 were switched to"):
        copy.empty(target, ["cloud", "cloud_usage"])
    with pytest.raises(GuardFailed, match="the databases on newdb1 were switched to"):
        empty.make(target, new, ["cloud"], [])  # type: ignore[arg-type]
    assert new.rows == {"cloud": 336, "cloud_usage": 20}


def test_the_rollback_of_its_own_window_takes_it_away_and_empties_them(
    new: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original_accounts, "unneeded", lambda context: [])
    monkeypatch.setattr(original_accounts, "drop", lambda context, users: [])
    new.marks["served"] = VALUE
    transfer.empty(at(tmp_path, window(returning="now"), monkeypatch))
    assert new.marks == {} and new.rows == {"cloud": 0, "cloud_usage": 0}


@pytest.mark.parametrize(
    ("record", "value", "kept"),
    [
        (window(), VALUE, True),
        (None, VALUE, True),
        (window(returning="now"), "another then", True),
        (WindowRecord("test", "another", opened="then", closed="now"), "another then", True),
        (window(closed="now"), VALUE, False),
        (window(returning="now"), VALUE, False),
    ],
    ids=["open", "lost", "of a different window", "of a different stack", "rolled back", "going back"],
)
def test_it_is_given_up_only_with_its_own_window(
    new: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: WindowRecord | None, value: str, kept: bool
) -> None:
    new.marks["served"] = value
    served.give_up(at(tmp_path, record, monkeypatch))
    assert (new.marks == {"served": value}) is kept


@pytest.mark.parametrize("kept", [True, False])
def test_the_undo_of_a_seed_leaves_them_without_a_record_too(
    new: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    if kept:
        new.marks["served"] = VALUE
    target: Any = new.host
    DatabaseSeed._empty(at(tmp_path, None, monkeypatch), target)
    assert new.rows == ({"cloud": 336, "cloud_usage": 20} if kept else {"cloud": 0, "cloud_usage": 0})


@pytest.mark.parametrize("kept", [True, False])
def test_the_tools_own_database_stays_as_long_as_it_has_the_mark(new: Server, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(bookkeeping, "drop", dropped.append)
    if kept:
        new.marks["served"] = VALUE
    assert bookkeeping.drop_unused(new) is not kept  # type: ignore[arg-type]
    assert dropped == ([] if kept else [new])


def test_the_refusal_has_the_command_that_rolls_its_window_back(new: Server) -> None:
    new.marks["served"] = VALUE
    with pytest.raises(
        GuardFailed, match=f"set by the window {SITE.identity}, opened then;.*parallel-build back STACK --window {SITE.identity};"
    ):
        bookkeeping.check_unused(new)  # type: ignore[arg-type]


def test_an_existing_server_that_was_switched_to_is_not_given_back_without_its_record(new: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is connected at the moment, and the window's record is lost."""
    new.marks["served"] = VALUE
    monkeypatch.setattr(undo, "find_socket", lambda host: "/run/mysqld/mysqld.sock")
    monkeypatch.setattr(undo, "session", lambda host: contextlib.nullcontext(new))
    monkeypatch.setattr(undo, "sessions_of", lambda session, user: [])
    monkeypatch.setattr(undo, "Services", lambda host: SimpleNamespace(state=lambda unit: SimpleNamespace(active=False)))
    server: Any = new.host
    leaving = undo.Leaving(server, [], [], True, "test", lambda *_, **__: None, lambda text: None)
    with pytest.raises(GuardFailed, match="the databases on newdb1 were switched to"):
        leaving.run(SimpleNamespace())  # type: ignore[arg-type]
    new.marks.clear()
    leaving._not_serving()
