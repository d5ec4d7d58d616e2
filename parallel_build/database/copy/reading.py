"""The sessions of one snapshot on the original, so that none of them holds a lock for long, and any may be ended.

A session holds the metadata lock of every table that it has read until its transaction ends. MySQL's release it by a savepoint after each part; on
MariaDB a session that continues with another table is replaced by a spare one, which is in the same snapshot and holds nothing. Where somebody waits for a
table, the sessions that hold it are ended (`give_way`), and spare ones read on; without spare ones the snapshot is used up, and the rest is read in a new one.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Dict, Generic, List, Optional, Sequence, Set, TypeVar

from parallel_build.database.copy.clients import Failed

SAVEPOINT = "SAVEPOINT cutover"
RELEASE = "ROLLBACK TO SAVEPOINT cutover"
SHORT = 0.4  # seconds for which a session may continue with other tables without releasing those before


if TYPE_CHECKING:
    from typing import Protocol  # of Python 3.8

    class Session(Protocol):
        """What there is to a session here."""

        def ask(self, statement: str) -> str:
            """Run a statement and return what it answers."""

        def lives(self) -> bool:
            """Whether nobody has ended it here."""

        def close(self) -> None:
            """End it."""


Reader = TypeVar("Reader", bound="Session")


class Reading(Generic[Reader]):
    """One session in the snapshot.

    Attributes:
        reader: the session.
        number: the server's number of it; 0 where nobody asks.
        tables: what it holds.
        since: when it took the first of them.
        ended: it was ended for somebody who waited.
    """

    def __init__(self, reader: Reader, number: int) -> None:
        self.reader, self.number = reader, number
        self.tables: Set[str] = set()
        self.since = 0.0
        self.ended = False


class Pool(Generic[Reader]):
    """All sessions of one snapshot.

    Args:
        readers: the sessions.
        streams: so many are in use at a time; the others are spare.
        savepoints: the server releases locks by a savepoint.
        watched: locks are released, and sessions may be ended for others.
    """

    def __init__(self, readers: Sequence[Reader], streams: int, *, savepoints: bool, watched: bool) -> None:
        self.streams, self.savepoints, self.watched = streams, savepoints, watched
        self.lock = threading.Lock()
        self.spare = [Reading(reader, int(reader.ask("SELECT CONNECTION_ID()")) if watched else 0) for reader in readers]
        self.used: List[Reading[Reader]] = []
        if watched:
            for reading in self.spare:
                reading.reader.ask(SAVEPOINT)

    def take(self) -> Optional[Reading[Reader]]:
        """A session that holds nothing; None when the snapshot is used up."""
        with self.lock:
            if not self.spare:
                return None
            reading = self.spare.pop()
            self.used.append(reading)
            return reading

    def before(self, reading: Optional[Reading[Reader]], table: str) -> Optional[Reading[Reader]]:
        """The session to read a part of `table` with, after `reading`; None when there is none."""
        if reading is not None and reading.ended:
            self.leave(reading)
            reading = None
        if reading is None:
            reading = self.take()
        elif self.watched and reading.tables - {table} and time.monotonic() - reading.since > SHORT and len(self.spare) > self.streams:
            self.leave(reading)
            reading = self.take()
        if reading is not None:
            with self.lock:
                reading.since = reading.since if reading.tables else time.monotonic()
                reading.tables = {*reading.tables, table}
        return reading

    def after(self, reading: Reading[Reader]) -> None:
        """A part is read."""
        if self.watched and self.savepoints:
            self.still(reading)

    def still(self, reading: Reading[Reader]) -> None:
        """Go back to where the session held nothing; one that was ended, or has lost its snapshot, is not used again."""
        try:
            reading.reader.ask(RELEASE)
        except Failed:
            reading.ended = True
        if self.savepoints:
            with self.lock:
                reading.tables = set()

    def leave(self, reading: Reading[Reader]) -> None:
        """End a session, and with it its locks."""
        reading.reader.close()
        with self.lock:
            if reading in self.used:
                self.used.remove(reading)

    def held(self) -> Dict[int, Set[str]]:
        """What each session holds, by its number."""
        with self.lock:
            return {reading.number: reading.tables for reading in self.used if reading.tables}

    def give_way(self, numbers: Sequence[int]) -> None:
        """These are about to be ended for somebody who waits."""
        with self.lock:
            for reading in self.used:
                reading.ended = reading.ended or reading.number in numbers

    def lives(self) -> int:
        """How many sessions the original must still have, as far as is known here."""
        with self.lock:
            return sum(1 for reading in [*self.spare, *self.used] if not reading.ended and reading.reader.lives())

    def close(self) -> None:
        """End them all."""
        with self.lock:
            readings, self.spare, self.used = [*self.spare, *self.used], [], []
        for reading in readings:
            reading.reader.close()
