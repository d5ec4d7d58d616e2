"""Sessions of an earlier run are ended before a later one does anything on the server; its own and CloudStack's are left alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from parallel_build.remote import session_token


class Server:
    """Named locks as a database server has them."""

    def __init__(self) -> None:
        self.locks: dict[str, int] = {"cloud.maint": 7}
        self.sessions = {7}

    def open(self) -> Session:
        number = max(self.sessions, default=0) + 1
        self.sessions.add(number)
        return Session(self, number)


class Session:
    """One session."""

    def __init__(self, server: Server, number: int) -> None:
        self.server, self.number = server, number

    def value(self, statement: str) -> Any:
        return self.row(statement)[0]

    def row(self, statement: str) -> Sequence[Any]:
        assert self.number in self.server.sessions, "an ended session asks nothing"
        names = re.findall(r"\('([^']+)'", statement)
        if "GET_LOCK" in statement:
            return [int(self.server.locks.setdefault(names[0], self.number) == self.number)]
        return [self.server.locks.get(name) for name in names]

    def kill(self, session: int) -> None:
        self.server.sessions.discard(session)
        self.server.locks = {name: holder for name, holder in self.server.locks.items() if holder != session}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_token, "_cleared", set())


def test_a_later_run_ends_the_sessions_of_earlier_ones_and_no_others() -> None:
    server = Server()
    old = [server.open() for _ in range(3)]
    for each in old:
        session_token.carry(each, "olddb1", 4)
    new = server.open()
    session_token.carry(new, "olddb1", 6)
    assert server.sessions == {7, new.number}
    other = server.open()
    session_token.carry(other, "olddb1", 6)
    assert server.sessions == {7, new.number, other.number}
    assert server.locks == {
        "cloud.maint": 7,
        session_token.name(6, 0): new.number,
        session_token.name(6, 1): other.number,
    }


def test_a_late_session_of_an_earlier_run_does_not_end_the_later_ones() -> None:
    server = Server()
    new = server.open()
    session_token.carry(new, "olddb1", 6)
    late = server.open()
    session_token.carry(late, "olddb1", 5)
    assert {new.number, late.number} <= server.sessions


def test_each_server_is_cleared_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[int] = []
    monkeypatch.setattr(session_token, "end_earlier", lambda session, token: cleared.append(token))
    server = Server()
    for _ in range(3):
        session_token.carry(server.open(), "olddb1", 9)
    session_token.carry(server.open(), "newdb1", 9)
    assert cleared == [9, 9]
