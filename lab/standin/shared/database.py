"""The connection to CloudStack's databases.

Every thread has a connection of its own, at READ COMMITTED and with the sql_mode of CloudStack's url.params, and is
connected again when the server was gone. Times are UTC without a zone, as CloudStack writes them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pymysql
import pymysql.cursors

Row = dict[str, Any]

SQL_MODE = "STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
CONNECT_SECONDS = 5
#: 2006, 2013: the server has gone away; 2055: the connection was lost.
GONE = (0, 2006, 2013, 2055)


def utcnow() -> datetime:
    """Return the time as the database holds it: UTC, whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


class Database:
    """One database on one server, for as many threads as want it."""

    def __init__(self, host: str, port: int, user: str, password: str, name: str) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.name = name
        self._password = password
        self._threads = threading.local()
        self._columns: dict[str, frozenset[str]] = {}

    def connect(self) -> pymysql.connections.Connection[pymysql.cursors.DictCursor]:
        """Open a connection of its own; raises pymysql.MySQLError."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self._password,
            database=self.name,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            cursorclass=pymysql.cursors.DictCursor,
            init_command=f"SET SESSION sql_mode='{SQL_MODE}', SESSION time_zone='+00:00'",
        )

    def _connection(self) -> pymysql.connections.Connection[pymysql.cursors.DictCursor]:
        connection = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self.connect()
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            self._threads.connection = connection
            self._threads.depth = 0
        return connection

    def _run(self, sql: str, arguments: Any) -> pymysql.cursors.DictCursor:
        for last_try in (False, True):
            connection = self._connection()
            cursor = connection.cursor()
            try:
                cursor.execute(sql, arguments)
                return cursor
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError) as failure:
                code = failure.args[0] if failure.args else 0
                if code not in GONE:
                    raise
                in_transaction = self._threads.depth > 0
                self.close()
                if last_try or in_transaction:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._threads, "connection", None)
        self._threads.connection = None
        if connection is not None:
            try:
                connection.close()
            except pymysql.MySQLError:
                return

    def rows(self, sql: str, *arguments: Any) -> list[Row]:
        """Return all rows of a query."""
        with self._run(sql, arguments or None) as cursor:
            return list(cursor.fetchall())

    def row(self, sql: str, *arguments: Any) -> Row | None:
        """Return the first row of a query, or None."""
        with self._run(sql, arguments or None) as cursor:
            return cursor.fetchone()

    def value(self, sql: str, *arguments: Any) -> Any:
        """Return the first column of the first row, or None."""
        row = self.row(sql, *arguments)
        return next(iter(row.values())) if row else None

    def execute(self, sql: str, *arguments: Any) -> int:
        """Run a statement; returns how many rows it changed."""
        with self._run(sql, arguments or None) as cursor:
            return int(cursor.rowcount)

    def insert(self, table: str, **values: Any) -> int:
        """Insert a row and return its id. Columns that this version of the table does not have are left out."""
        present = {name: value for name, value in values.items() if name in self.columns(table)}
        names = ", ".join(f"`{name}`" for name in present)
        marks = ", ".join(["%s"] * len(present))
        with self._run(f"INSERT INTO `{table}` ({names}) VALUES ({marks})", list(present.values())) as cursor:
            return int(cursor.lastrowid)

    def update(self, table: str, key: int, **values: Any) -> int:
        """Update the row of this id; columns that the table does not have are left out."""
        present = {name: value for name, value in values.items() if name in self.columns(table)}
        if not present:
            return 0
        names = ", ".join(f"`{name}` = %s" for name in present)
        return self.execute(f"UPDATE `{table}` SET {names} WHERE id = %s", *present.values(), key)

    def columns(self, table: str) -> frozenset[str]:
        """Return the columns of a table; empty where there is no such table."""
        if table not in self._columns:
            rows = self.rows(
                "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s", self.name, table
            )
            self._columns[table] = frozenset(row["name"] for row in rows)
        return self._columns[table]

    def forget_columns(self) -> None:
        """Look at the tables again; the upgrade has changed them."""
        self._columns.clear()

    def has(self, table: str) -> bool:
        """Tell whether there is such a table."""
        return bool(self.columns(table))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything in the block one transaction."""
        connection = self._connection()
        connection.begin()
        self._threads.depth += 1
        try:
            yield
        except BaseException:
            if getattr(self._threads, "connection", None) is connection:
                connection.rollback()
            raise
        else:
            connection.commit()
        finally:
            self._threads.depth = 0

    @contextmanager
    def lock(self, name: str, seconds: int) -> Iterator[bool]:
        """Hold a lock of the server (GET_LOCK) on a connection of its own; yields whether it was got in time."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT GET_LOCK(%s, %s) AS got", (name, seconds))
                row = cursor.fetchone()
                yield bool(row and row["got"] == 1)
        finally:
            connection.close()
