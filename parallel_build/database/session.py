"""SQL sessions to a database server, as its administrator, through the server's own socket over SSH."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from parallel_build.connection import Host
from parallel_build.errors import ConnectionFailed, StepFailed

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108 - where servers put it
CONNECT_ERRORS = (2002, 2003, 2006, 2013)

UNKNOWN = (1054, 1146)  # column, table

Row = dict[str, Any]


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
    """An open session; every method runs one statement and commits by itself."""

    def __init__(self, host: Host, connection: pymysql.Connection[DictCursor]) -> None:
        self.host, self.connection = host, connection

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Run a statement with `%s` placeholders and return its rows.

        Raises:
            Refused: the server refused it; the message has the statement and the server's words.
        """
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
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
            with self.connection.cursor() as cursor:
                return cursor.execute(statement, values)
        except pymysql.err.MySQLError as error:
            raise self._failed(statement, error) from None

    def execute_bytes(self, statement: bytes) -> None:
        """Run a statement given in the bytes of the session's character_set_client."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)  # type: ignore[call-overload]  # PyMySQL takes bytes, its stubs don't say so
        except pymysql.err.MySQLError as error:
            raise self._failed(statement.decode(errors="replace"), error) from None

    def _failed(self, statement: str, error: pymysql.err.MySQLError) -> Exception:
        words = " ".join(statement.split())[:200]
        number = error.args[0] if error.args else 0
        if number in CONNECT_ERRORS:
            return ConnectionFailed(
                f"{self.host.name}: the database server went away during: {words}",
                str(error),
                f"look at `systemctl status mariadb mysql` on {self.host.name}, then run the same command again",
            )
        return Refused(
            f"{self.host.name}: the database server refused: {words}",
            str(error),
            f"mend what the server names on {self.host.name}, then run the same command again",
            number,
        )


def quote(name: str) -> str:
    """An identifier in backticks, safe whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def find_socket(host: Host) -> str | None:
    """The database server's socket on `host`, or None when none listens (the server is down)."""
    found = host.run(["sh", "-c", 'for s; do [ -S "$s" ] && echo "$s" && exit 0; done; exit 1', "sh", *SOCKETS],
                     ok=(0, 1))  # fmt: skip
    return found.stdout.strip() or None


@contextlib.contextmanager
def session(host: Host, schema: str | None = None, *, timeout: float = 3600, socket: str | None = None) -> Iterator[Session]:
    """Open a session as root through the server's socket.

    Args:
        host: the database server's machine; the SSH user must be root there, or the session would not be root's.
        schema: database to use.
        timeout: seconds one statement may take to answer.
        socket: of another server on that machine than the usual one.
    Raises:
        ConnectionFailed: the server is down or refuses root over its socket.
    """
    socket = socket or find_socket(host)
    if socket is None:
        raise ConnectionFailed(
            f"{host.name}: no database server listens there",
            f"none of {', '.join(SOCKETS)} exists",
            f"look at `systemctl status mariadb mysql` on {host.name}",
        )
    with host.forward(socket) as local:
        try:
            connection = pymysql.connect(
                unix_socket=str(local),
                user="root",
                database=schema,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=15,
                read_timeout=timeout,
                write_timeout=timeout,
                cursorclass=DictCursor,
            )
        except pymysql.err.MySQLError as error:
            if error.args and error.args[0] in CONNECT_ERRORS:
                raise ConnectionFailed(
                    f"{host.name}: the database server does not answer through {socket}",
                    str(error),
                    f"it is starting, or it has crashed: look at `systemctl status mariadb mysql` on {host.name}, then run the same command again",
                ) from None
            raise ConnectionFailed(
                f"{host.name}: the database server does not let root in through {socket}",
                str(error),
                "let root@localhost log in by socket authentication (unix_socket on MariaDB, auth_socket on MySQL)",
            ) from None
        try:
            yield Session(host, connection)
        finally:
            with contextlib.suppress(pymysql.err.MySQLError):
                connection.close()
