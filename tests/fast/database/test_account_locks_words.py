"""What is shown of an account that is given its password back: never the statement, which holds the password's hash."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from parallel_build.database.server import account_locks
from parallel_build.database.server.account_locks import AccountLock
from parallel_build.database.server.state import Account
from parallel_build.errors import ConnectionFailed, ParallelBuildError
from parallel_build.remote.sql import Refused, Session

HASH = "*0123456789ABCDEF0123456789ABCDEF01234567"
LOCK = AccountLock(Account("cloud", "%"), restore=f"ALTER USER 'cloud'@'%' IDENTIFIED BY PASSWORD '{HASH}'")


class Ill:
    """A connection on which only that statement fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def cursor(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept."""

    def execute(self, statement: str, values: Any = None) -> int:
        if HASH in statement:
            raise self.error
        return 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pymysql.err.ProgrammingError(1064, f"You have an error near 'PASSWORD '{HASH}'' at line 1"), Refused),
        (pymysql.err.OperationalError(1290, "running with --skip-grant-tables"), Refused),
        (pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query"), ConnectionFailed),
    ],
)
def test_no_error_has_the_hash(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[ParallelBuildError]) -> None:
    host: Any = SimpleNamespace(name="newdb1")

    @contextlib.contextmanager
    def session(*_: Any, **__: Any) -> Iterator[Session]:
        connection: Any = Ill(error)
        yield Session(host, connection)

    monkeypatch.setattr(account_locks, "session", session)
    with pytest.raises(kind) as reported:
        account_locks.put_back(host, [LOCK], timeout=1)
    assert HASH not in str(reported.value) and "cloud" in str(reported.value) and reported.value.cause and reported.value.remedy
    if isinstance(reported.value, Refused):
        assert reported.value.number == error.args[0]


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (LOCK.restore.replace("ALTER", "CREATE"), ["'cloud'@'%' is not locked"]),
        ("CREATE USER 'cloud'@'%' IDENTIFIED BY PASSWORD '*FFFF'", []),
        (Refused("no such account", "", "", account_locks.NO_SUCH_ACCOUNT), []),
    ],
    ids=["its own password again", "ours", "dropped"],
)
def test_where_a_server_can_not_lock_an_account_with_its_own_password_is_open(
    monkeypatch: pytest.MonkeyPatch, shown: str | Exception, found: list[str]
) -> None:
    def row(statement: str, values: Any = None) -> dict[str, str]:
        assert statement.startswith("SHOW CREATE USER")
        if isinstance(shown, Exception):
            raise shown
        return {"CREATE USER for cloud@%": shown}

    database = SimpleNamespace(row=row, value=lambda statement: None if "proxy" in statement else "root@localhost")
    monkeypatch.setattr(account_locks, "session", lambda *_, **__: contextlib.nullcontext(database))
    monkeypatch.setattr(account_locks, "_sessions", lambda *_: [])
    host: Any = None
    assert account_locks.closed(host, [LOCK], timeout=1) == found
    with pytest.raises(Refused):
        shown = Refused("not allowed", "", "", 1142)
        account_locks.closed(host, [LOCK], timeout=1)
