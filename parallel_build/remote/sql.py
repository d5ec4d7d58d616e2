"""SQL sessions to a database server, as its administrator, through the server's own socket over SSH."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pymysql
from pymysql.cursors import Cursor, DictCursor

from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.remote import session_token
from parallel_build.remote.access import Access
from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.session_settings import parse_greeting, pinned

# Numbers that say that there is no session any more, not that the server refused a statement. 0 is PyMySQL's for a session that it has lost; the others
# are the client library's (2002 to 2055), and the servers' for a shutdown, a killed session, an idle one that was ended, and broken networks.
LOST = frozenset({0, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2002, 2003, 2006, 2013, 2014, 2027, 2055, 3169, 4031})
# First words of statements that may be asked again in a new session, and of those after which a session is not what a new one would be.
REPEATABLE = frozenset({"SELECT", "SHOW", "DESCRIBE", "EXPLAIN", "CHECKSUM"})
LEAVING_STATE = frozenset({"SET", "START", "BEGIN", "LOCK", "FLUSH", "USE", "XA", "SAVEPOINT", "PREPARE"})

UNKNOWN = (1054, 1146)  # column, table
ABSENT = 1193  # the server's number for a system variable that it does not have

Row = dict[str, Any]
Connection: TypeAlias = "pymysql.Connection[DictCursor]"


class Refused(StepFailed):
    """The server refused a statement.

    Args:
        number: the server's own number of the error.
    """

    def __init__(self, fact: str, cause: str, remedy: str, number: int) -> None:
        super().__init__(fact, cause, remedy)
        self.number = number

    @property
    def unknown(self) -> bool:
        """A table or column is not there: the schema is of another version. Anything else says nothing of the schema."""
        return self.number in UNKNOWN


class Session:
    """An open session; every method runs one statement and commits by itself.

    A session that the server or the network has ended is opened again for a statement that only reads, as long as nothing was set in it; any
    other statement fails with ConnectionFailed, because nobody knows whether the server has run it.

    Args:
        reopen: opens another session of the same kind; None for a session that is not opened again.
    """

    def __init__(self, host: Access, connection: Connection, reopen: Callable[[], Connection] | None = None) -> None:
        self.host, self.connection, self._reopen = host, connection, reopen
        self._plain = True

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Run a statement with `%s` placeholders and return its rows.

        Raises:
            Refused: the server refused it; the message has the statement and the server's words.
            ConnectionFailed: the session was lost, and the statement can't be repeated in another.
        """
        try:
            return self._fetched(statement, values)
        except pymysql.err.MySQLError as error:
            if not (lost(error) and self._may_repeat(statement, error)):
                raise self._failed(statement, error) from None
        self._replace(statement)
        try:
            return self._fetched(statement, values)
        except pymysql.err.MySQLError as error:
            raise self._failed(statement, error) from None

    def row(self, statement: str, values: Sequence[Any] | None = None) -> Row | None:
        """The first row, or None."""
        rows = self.rows(statement, values)
        return rows[0] if rows else None

    def value(self, statement: str, values: Sequence[Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        row = self.row(statement, values)
        return next(iter(row.values())) if row else None

    def execute(self, statement: str, values: Sequence[Any] | None = None) -> int:
        """Run a statement and return the number of rows it changed."""
        try:
            with self._cursor(statement) as cursor:
                return cursor.execute(statement, values)
        except pymysql.err.MySQLError as error:
            raise self._failed(statement, error) from None

    def execute_in_any(self, statement: str) -> None:
        """Run a statement that may be run twice and needs nothing that was set in this session; in another where this one was lost.

        For what has to be put back at the end, whatever became of the session meanwhile.
        """
        try:
            self.execute(statement)
        except ConnectionFailed:
            if self._reopen is None:
                raise
            self._replace(statement)
            self.execute(statement)

    def execute_bytes(self, statement: bytes) -> None:
        """Run a statement given in the bytes of the session's character_set_client."""
        text = statement.decode(errors="replace")
        try:
            with self._cursor(text) as cursor:
                cursor.execute(statement)  # type: ignore[call-overload]  # PyMySQL takes bytes, its stubs don't say so
        except pymysql.err.MySQLError as error:
            raise self._failed(text, error) from None

    def _fetched(self, statement: str, values: Sequence[Any] | None) -> list[Row]:
        with self._cursor(statement) as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def _cursor(self, statement: str) -> DictCursor:
        words = statement.split(None, 2)
        if words and words[0].upper() in LEAVING_STATE and words[1:2] != ["GLOBAL"]:
            self._plain = False
        return self.connection.cursor()

    def _may_repeat(self, statement: str, error: pymysql.err.MySQLError) -> bool:
        """Whether another session would give the same answer; one that did not come in time is not waited for twice."""
        first = statement.split(None, 1)[0].upper()
        return self._reopen is not None and self._plain and first in REPEATABLE and "timed out" not in str(error)

    def _replace(self, statement: str) -> None:
        assert self._reopen is not None
        with contextlib.suppress(pymysql.err.MySQLError):
            self.connection.close()
        try:
            self.connection = self._reopen()
        except pymysql.err.MySQLError as error:
            raise self._went_away(statement, error) from None

    def close(self) -> None:
        """End the session; nothing happens where it was lost."""
        with contextlib.suppress(pymysql.err.MySQLError):
            self.connection.close()

    def _failed(self, statement: str, error: pymysql.err.MySQLError) -> Exception:
        if lost(error):
            return self._went_away(statement, error)
        words = " ".join(statement.split())[:200]
        return Refused(
            f"{self.host.name}: the database server refused: {words}",
            str(error),
            f"fix what the server names on {self.host.name}, then run the same command again",
            error.args[0],
        )

    def _went_away(self, statement: str, error: pymysql.err.MySQLError) -> ConnectionFailed:
        return ConnectionFailed(
            f"{self.host.name}: the session with the database server was lost during: {' '.join(statement.split())[:200]}",
            str(error),
            f"look at `systemctl status mariadb mysql mysqld` on {self.host.name}, then run the same command again",
        )


def lost(error: pymysql.err.MySQLError) -> bool:
    """Whether an error says that the session is gone, or PyMySQL can't make sense of what came: no server's word then."""
    number = error.args[0] if error.args else 0
    return number in LOST or not isinstance(number, int)


def quote(name: str) -> str:
    """An identifier in backticks, safe whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def _pin(host: Access, connection: Connection, settings: Mapping[str, str] | None, writing: bool, user: str) -> None:
    """Pin the session's settings; one that this server says it does not have changes nothing there."""
    family, version = parse_greeting(str(connection.get_server_info()))  # type: ignore[no-untyped-call]
    absent: set[str] = set()
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute(pinned(family, version, settings, writing=writing, without=absent))
            return
        except pymysql.err.MySQLError as error:
            if lost(error):
                raise
            named = re.search(r"'(\w+)'", str(error.args[-1])) if error.args[0] == ABSENT else None
            if named is None or named[1] in absent:
                connection.close()
                raise ConnectionFailed(
                    f"{host.name}: the database server refuses the settings that every session of this program begins with",
                    str(error),
                    f"let {user} have all privileges there, or report this server's version as an issue of this project",
                ) from None
            absent.add(named[1])


class _Plain:
    """A connection for the few statements of `session_token`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def row(self, statement: str) -> Sequence[Any]:
        with self._connection.cursor(Cursor) as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchone() or ())

    def value(self, statement: str) -> Any:
        return self.row(statement)[0]

    def kill(self, session: int) -> None:
        try:
            with self._connection.cursor(Cursor) as cursor:
                cursor.execute(f"KILL {session}")
        except pymysql.err.MySQLError as error:
            if not error.args or error.args[0] != session_token.NO_SUCH_THREAD:
                raise


@contextlib.contextmanager
def session(
    host: Access,
    schema: str | None = None,
    *,
    timeout: float = 3600,
    writing: bool = False,
    settings: Mapping[str, str] | None = None,
    socket: str | None = None,
) -> Iterator[Session]:
    """Open a session as the server's administrator through its socket, with every setting pinned that changes what a statement means.

    Args:
        host: the database server's machine; the SSH user is root there, or becomes root by sudo. `host.database` says which account logs in.
        schema: database to use.
        timeout: seconds one statement may take to answer.
        writing: it makes tables or writes rows of the original's.
        settings: values of its own for some settings, see `session_settings`.
        socket: of another server on that machine than the configured one; root is let in there.
    Raises:
        ConnectionFailed: the server is down or refuses the account.
    """
    login = DatabaseLogin() if socket else host.login()
    socket = socket or find_socket(host, login)
    if socket is None:
        raise ConnectionFailed(
            f"{host.name}: no database server listens there",
            f"there is no socket at {login.socket}" if login.socket else "no running server has a socket, and none is in a usual place",
            f"look at `systemctl status mariadb mysql mysqld` on {host.name}",
        )
    with host.forward(socket) as local:

        def opening(*, tls: bool) -> Connection:
            return pymysql.connect(
                unix_socket=str(local),
                user=login.user,
                password=login.password.reveal() if login.password else "",
                database=schema,
                charset="utf8mb4",
                connect_timeout=15,
                read_timeout=timeout,
                write_timeout=timeout,
                cursorclass=DictCursor,
                autocommit=None,
                ssl_disabled=not tls,
            )

        def connect() -> Connection:
            # Inside SSH, TLS keeps nothing from anybody, and getting ready for it takes longer than the login; an account may insist on it.
            try:
                connection = opening(tls=False)
            except (pymysql.err.MySQLError, RuntimeError) as error:
                if isinstance(error, pymysql.err.MySQLError) and lost(error):
                    raise
                try:
                    connection = opening(tls=True)
                except pymysql.err.MySQLError as second:
                    # No handshake between two versions of TLS: then the server's own word is what there is to say.
                    raise (error if lost(second) else second) from None
            _pin(host, connection, settings, writing, f"{login.user}@localhost")
            if host.token is not None:
                session_token.carry(_Plain(connection), f"{host.name}/{host.server.address}/{socket}", host.token)
            return connection

        try:
            connection = connect()
        except (pymysql.err.MySQLError, RuntimeError) as error:  # RuntimeError: it wants a way to log in that needs a library
            if isinstance(error, pymysql.err.MySQLError) and lost(error):
                raise ConnectionFailed(
                    f"{host.name}: the database server does not answer through {socket}",
                    str(error),
                    f"it is starting, or it has crashed: look at `systemctl status mariadb mysql mysqld` on {host.name}, then run the same command again",
                ) from None
            raise login.refused(host.name, socket, str(error)) from None
        opened = Session(host, connection, connect)
        try:
            yield opened
        finally:
            opened.close()
