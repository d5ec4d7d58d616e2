"""Our accounts on the original's database server: dropped on every way out, listed where that server is down, left to a seed that needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import account as access
from parallel_build.database.copy import account_notes
from parallel_build.database.replicate import channel
from parallel_build.database.server import processes
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import original_accounts
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.openssh import Result
from parallel_build.remote.sql import Refused
from parallel_build.steps import database_seed
from parallel_build.steps.database_seed import DatabaseSeed
from tests.fast.asked_host import AskedHost
from tests.fast.sites import site


class Original(AskedHost):
    """The original's database host: accounts, notes of them, and a server that is up, down or out of reach."""

    def __init__(self) -> None:
        super().__init__("olddb1")
        self.accounts = [(access.COPY_USER, "10.91.0.31"), (channel.USER, "10.91.0.31"), ("cloud", "%")]
        self.notes = {access.COPY_USER, channel.USER}
        self.up = self.answers = True
        self.masked = False

    def script(self, text: str, args: Sequence[str] = (), **_: Any) -> Result:
        if not self.answers:
            raise ConnectionFailed("olddb1 can't be reached over SSH", "", "")
        if text == account_notes._LIST:
            return Result(0, "\n".join(sorted(self.notes)), "")
        assert text == account_notes._FORGET
        self.notes.discard(args[1])
        return Result(0, "", "")

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        if "mysql.user" in statement:
            return [{"h": host} for user, host in self.accounts if user == values[0]]
        return []

    def execute(self, statement: str, values: Any = None) -> int:
        if statement.startswith("DROP USER"):
            self.accounts = [each for each in self.accounts if f"`{each[0]}`@`{each[1]}`" not in statement]
        return 1

    def value(self, statement: str, values: Sequence[Any] = ()) -> int:
        return len(self.rows(statement, values))

    @property
    def host(self) -> Original:
        return self


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> Original:
    """That server, reached by everything that is tested here."""
    made = Original()

    @contextlib.contextmanager
    def session(host: Original, **_: Any) -> Iterator[Original]:
        if not made.up or not made.answers:
            raise ConnectionFailed("olddb1: no database server listens there", "", "")
        yield made

    for module in (original_accounts, database_seed):
        monkeypatch.setattr(module, "session", session)
        monkeypatch.setattr(module, "original_database", lambda context: made)
    monkeypatch.setattr(original_accounts, "down_for_good", lambda host: made.masked)
    monkeypatch.setattr(processes, "table", lambda opened: "processlist")
    return made


def context(folder: Path, reported: list[str]) -> Context:
    """A context that keeps what is reported."""
    where = site()
    return Context(where, None, RunFolder(folder, "test", where.secrets.all()), CancelToken(), reported.append, "Test")  # type: ignore[arg-type]


def test_a_server_that_refuses_to_drop_them_keeps_no_rollback_from_its_end(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(statement: str, values: Any = None) -> int:
        raise Refused("olddb1: DROP USER was refused", "(1290, super_read_only)", "", 1290)

    monkeypatch.setattr(original, "execute", refuse)
    reported: list[str] = []
    assert original_accounts.drop(context(tmp_path, reported), [access.COPY_USER]) == [access.COPY_USER]
    assert any(access.COPY_USER in line for line in reported), "what is left is named"


def test_they_are_dropped_with_their_notes_and_nobody_elses(original: Original, tmp_path: Path) -> None:
    reported: list[str] = []
    assert original_accounts.drop(context(tmp_path, reported), [access.COPY_USER]) == []
    assert [user for user, _ in original.accounts] == [channel.USER, "cloud"]
    assert original.notes == {channel.USER} and len(reported) == 1
    assert original_accounts.drop(context(tmp_path, reported), [access.COPY_USER]) == [] and len(reported) == 1, (
        "the second time does nothing"
    )


def test_on_a_server_that_is_down_what_may_be_left_is_listed_with_the_commands(original: Original, tmp_path: Path) -> None:
    reported: list[str] = []
    where = context(tmp_path, reported)
    original.up = False
    assert original_accounts.drop(where, [access.COPY_USER]) == [access.COPY_USER]
    assert "SELECT User, Host FROM mysql.user" in reported[0] and "DROP USER cutover_copy" in reported[0]
    assert where.done["accountsLeft"] == {"olddb1": [access.COPY_USER]}
    original.notes.clear()
    assert original_accounts.drop(where, [access.COPY_USER]) == [] and len(reported) == 1, "none was noted: there is nothing to tell"
    original.answers = False
    assert original_accounts.drop(where, [access.COPY_USER]) == [access.COPY_USER], "silence is not absence"


@pytest.mark.parametrize(
    ("facts", "taken", "dropped"),
    [
        ({}, None, {access.COPY_USER, channel.USER}),
        ({"copy": {}}, None, {access.COPY_USER}),
        ({"copy": {}}, "2026-01-01", {access.COPY_USER, channel.USER}),
    ],
    ids=["no seed", "a seed that follows on", "a seed that a window used up"],
)
def test_a_seed_that_follows_keeps_its_account(
    facts: dict[str, Any], taken: str | None, dropped: set[str], original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = type("Record", (), {"facts": lambda self: facts, "taken": taken})
    monkeypatch.setattr(original_accounts, "SeedRecord", lambda host, site: record())
    assert set(original_accounts.unneeded(context(tmp_path, []))) == dropped


def test_a_seed_is_undone_also_when_the_originals_server_is_down_for_good(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another method, or a destroy, after a window that has masked the original."""
    forgotten: list[bool] = []
    record = type("Record", (), {"taken": "then", "forget": lambda self: forgotten.append(True)})
    store = type("Store", (), {"read": lambda self: None})
    monkeypatch.setattr(database_seed, "SeedRecord", lambda host, site: record())
    monkeypatch.setattr(database_seed, "store", lambda context: store())
    monkeypatch.setattr(database_seed, "new_database", lambda context: original)
    monkeypatch.setattr(channel, "end", lambda host: False)
    monkeypatch.setattr(DatabaseSeed, "_empty", lambda self, context, new: None)
    reported: list[str] = []
    original.up = False
    with pytest.raises(ConnectionFailed):
        DatabaseSeed().revert(context(tmp_path, reported))
    original.masked = True
    where = context(tmp_path, reported)
    DatabaseSeed().revert(where)
    assert forgotten == [True] and set(where.done["accountsLeft"]["olddb1"]) == {access.COPY_USER, channel.USER}
