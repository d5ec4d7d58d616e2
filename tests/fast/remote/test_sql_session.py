"""A lost session is opened again for what only reads, and is never taken for a server's refusal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import pymysql
import pytest

from parallel_build.errors import ConnectionFailed
from parallel_build.remote import sql
from parallel_build.remote.host import Host
from parallel_build.remote.openssh import Result
from parallel_build.remote.sql import LOST, Connection, Refused, Session, lost
from tests.fast.asked_host import AskedHost

GONE = pymysql.err.InterfaceError(0, "")


class Server:
    """A connection that answers each statement with the next thing of a list: rows, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked, self.closed = list(answers), list[str](), False

    def cursor(self) -> Server:
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def execute(self, statement: str, values: Any = None) -> int:
        self.asked.append(statement)
        self.answer = self.answers.pop(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return len(self.answer)

    def fetchall(self) -> Any:
        return self.answer

    def close(self) -> None:
        self.closed = True


class Named:
    name = "olddb1"


def opened(first: Server, *others: Any) -> Session:
    waiting = list(others)

    def reopen() -> Connection:
        following = waiting.pop(0)
        if isinstance(following, Exception):
            raise following
        return cast(Connection, following)

    return Session(cast(Host, Named()), cast(Connection, first), reopen)


@pytest.mark.parametrize("number", sorted(LOST))
def test_a_lost_session_is_no_refusal(number: int) -> None:
    session = opened(Server(pymysql.err.OperationalError(number, "gone")))
    with pytest.raises(ConnectionFailed, match="lost during: DROP USER x"):
        session.execute("DROP USER x")


def test_what_pymysql_can_not_make_sense_of_is_a_lost_session() -> None:
    assert lost(pymysql.err.InternalError("Packet sequence number wrong - got 3 expected 1"))
    assert lost(GONE)
    assert not lost(pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"))


def test_a_refusal_keeps_its_number() -> None:
    session = opened(Server(pymysql.err.ProgrammingError(1146, "no such table")))
    with pytest.raises(Refused) as raised:
        session.rows("SELECT 1 FROM x")
    assert raised.value.unknown


@pytest.mark.parametrize("statement", ["SELECT 1", "  show tables", "CHECKSUM TABLE x"])
def test_what_only_reads_is_asked_again_in_another_session(statement: str) -> None:
    first, second = Server(GONE), Server([{"a": 1}])
    session = opened(first, second)
    assert session.rows(statement) == [{"a": 1}]
    assert first.closed and second.asked == [statement]


@pytest.mark.parametrize("statement", ["SET SESSION sql_log_bin = 0", "START TRANSACTION", "FLUSH TABLES WITH READ LOCK", "USE cloud"])
def test_a_session_that_something_was_set_in_is_not_replaced(statement: str) -> None:
    second = Server([{"a": 1}])
    session = opened(Server([], GONE), second)
    session.execute(statement)
    with pytest.raises(ConnectionFailed):
        session.rows("SELECT 1")
    assert not second.asked


def test_a_global_setting_leaves_nothing_in_the_session() -> None:
    session = opened(Server([], GONE), Server([{"a": 1}]))
    session.execute("SET GLOBAL sync_binlog = 1")
    assert session.value("SELECT 1") == 1


def test_a_change_is_not_repeated() -> None:
    second = Server([])
    session = opened(Server(GONE), second)
    with pytest.raises(ConnectionFailed):
        session.rows("DELETE FROM x RETURNING id")
    assert not second.asked


def test_an_answer_that_did_not_come_in_time_is_not_waited_for_again() -> None:
    second = Server([])
    session = opened(Server(pymysql.err.OperationalError(2013, "Lost connection (The read operation timed out)")), second)
    with pytest.raises(ConnectionFailed):
        session.rows("SELECT 1")
    assert not second.asked


def test_a_server_that_is_down_is_named() -> None:
    session = opened(Server(GONE), pymysql.err.OperationalError(2003, "Connection refused"))
    with pytest.raises(ConnectionFailed, match="olddb1"):
        session.rows("SELECT 1")


def test_what_is_put_back_at_the_end_is_done_in_any_session() -> None:
    second = Server([])
    session = opened(Server([], GONE), second)
    session.execute("SET SESSION sql_log_bin = 0")
    session.execute_in_any("START SLAVE 'original'")
    assert second.asked == ["START SLAVE 'original'"]


def test_what_is_put_back_is_not_tried_a_third_time() -> None:
    session = opened(Server(GONE), Server(GONE))
    with pytest.raises(ConnectionFailed):
        session.execute_in_any("START SLAVE 'original'")


class Socketed(AskedHost):
    """A host with a database's socket, forwarded to nowhere."""

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        return Result(0, "port\t/run/mysqld/mysqld.sock\tmariadb\n", "")

    def forward(self, remote: str) -> AbstractContextManager[Path]:
        return nullcontext(Path("/nowhere/s"))


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Exception | None) -> list[bool]:
    """Logins are answered in turn; returns for each whether it was without TLS."""
    tried: list[bool] = []
    left = list(answers)

    def connect(**options: Any) -> Any:
        tried.append(bool(options["ssl_disabled"]))
        answer = left.pop(0)
        if answer is not None:
            raise answer
        return object()

    monkeypatch.setattr(pymysql, "connect", connect)
    monkeypatch.setattr(sql, "_pin", lambda *_: None)
    monkeypatch.setattr(Session, "close", lambda self: None)
    return tried


def test_inside_ssh_no_tls_is_made_ready_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = answering(monkeypatch, None)
    with sql.session(Socketed()):
        assert tried == [True]


@pytest.mark.parametrize("refusal", [pymysql.err.OperationalError(1045, "Access denied"), RuntimeError("cryptography is required")])
def test_an_account_may_insist_on_tls(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    tried = answering(monkeypatch, refusal, None)
    with sql.session(Socketed()):
        assert tried == [True, False]


def test_a_server_that_does_not_answer_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = answering(monkeypatch, pymysql.err.OperationalError(2003, "Connection refused"))
    with pytest.raises(ConnectionFailed, match="does not answer"), sql.session(Socketed()):
        raise AssertionError
    assert tried == [True]


def test_where_tls_does_not_come_about_the_servers_own_word_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old server's TLS and ours may have no version in common; PyMySQL has one number for that and for a server that is down."""
    handshake = pymysql.err.OperationalError(2003, "Can't connect to MySQL server on 'localhost' ([SSL: UNSUPPORTED_PROTOCOL])")
    tried = answering(monkeypatch, pymysql.err.OperationalError(1045, "Access denied for user 'root'"), handshake)
    with pytest.raises(ConnectionFailed, match=r"does not let root in through .*Access denied"), sql.session(Socketed()):
        raise AssertionError
    assert tried == [True, False]


def test_a_second_refusal_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [pymysql.err.OperationalError(number, "refused") for number in (1045, 1130)]
    answering(monkeypatch, *refusals)
    with pytest.raises(ConnectionFailed, match="1130"), sql.session(Socketed()):
        raise AssertionError
