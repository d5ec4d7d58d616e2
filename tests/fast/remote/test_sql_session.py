"""A lost session is opened again for what only reads, and is never taken for a server's refusal."""

from __future__ import annotations

from typing import Any, cast

import pymysql
import pytest

from parallel_build.errors import ConnectionFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import LOST, Connection, Refused, Session, lost

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
