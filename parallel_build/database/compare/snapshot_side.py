"""One server's sessions in one snapshot, for a comparison while users work on it: nobody waits long for their locks.

As in a copy (`copy.reading`): a session releases a table when it has read it, and is ended when somebody waits for one that it reads. What can't
be read in this snapshot any more is `Moved`: it is compared at a later position.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.database.compare.session_pool import Moved, Side, open_sessions
from parallel_build.database.copy.clients import Failed
from parallel_build.database.copy.detached import ties
from parallel_build.database.copy.job import spare_sessions
from parallel_build.database.copy.reading import Pool, Reading
from parallel_build.database.copy.unchanged import CHANGED, LOCKED
from parallel_build.database.schema import definitions
from parallel_build.database.schema.definitions import Table
from parallel_build.database.server import processes, snapshot, waiting
from parallel_build.database.server.dialects import identify
from parallel_build.errors import ParallelBuildError, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Refused, Session, session

SPARE = 16
PATIENCE = 600.0  # seconds for which somebody may lock a table before the comparison gives it up
BETWEEN = 0.5


class _GaveWay(Moved):
    """Somebody waits for the table, or holds it locked; another session may read it."""


class _Reader:
    """A session as `Pool` knows it."""

    def __init__(self, opened: Session) -> None:
        self.opened = opened

    def ask(self, statement: str) -> str:
        try:
            return ask(self.opened, statement)
        except ParallelBuildError as problem:
            raise Failed(str(problem)) from None

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it was ended, or its server is gone
            self.opened.connection.close()

    def lives(self) -> bool:
        return bool(self.opened.connection.open)


def ask(opened: Session, statement: str) -> str:
    """What a statement answers, as lines, values parted by tabs."""
    rows = opened.rows(statement)
    return "\n".join("\t".join("NULL" if value is None else str(value) for value in row.values()) for row in rows)


class SnapshotSide(Side):
    """A side whose sessions are all in one snapshot.

    Args:
        sessions: all of them, spare ones too.
        threads: how many are in use at a time.
        watch: who waited for them.
    """

    def __init__(self, sessions: Sequence[Session], threads: int, watch: waiting.Watch) -> None:
        super().__init__(sessions[:threads])
        self.watch = watch
        readers = [_Reader(opened) for opened in sessions]
        self.reading: Pool[_Reader] = Pool(readers, threads, savepoints=self.server.family == "mysql", watched=True)
        self.own = {reading.number for reading in self.reading.spare}
        self.fault: ParallelBuildError | None = None
        self._slots: list[Reading[_Reader] | None] = [None] * threads
        self._free_slots = threading.Semaphore(threads)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lent(self, table: Table | None = None) -> Iterator[Session]:
        """A session for one piece of work, which reads no other table than `table`.

        Raises:
            Moved: not in this snapshot.
        """
        name = (table.schema, table.name) if table else ("", "")
        if self.fault:
            raise self.fault
        with self._free_slots:
            with self._lock:
                slot = self._slots.pop()
            try:
                slot = self.reading.before(slot, ".".join(name))
                if slot is None:
                    raise Moved(name)
                with self._judged(slot, name):
                    yield slot.reader.opened
            finally:
                with self._lock:
                    self._slots.append(slot)

    @contextlib.contextmanager
    def _judged(self, slot: Reading[_Reader], name: tuple[str, str]) -> Iterator[None]:
        """What an error means for the snapshot."""
        try:
            yield
        except ParallelBuildError as problem:
            number = problem.number if isinstance(problem, Refused) else 0
            if slot.ended:
                raise _GaveWay(name) from None
            if number not in CHANGED | {LOCKED}:
                raise
            self.reading.still(slot)
            raise (_GaveWay if number == LOCKED else Moved)(name) from None
        self.reading.after(slot)

    def ask(self, work: Callable[[Session], Any], table: Table | None = None) -> Future[Any]:
        """Run `work` with a session, in the background; once more with another where it was ended for somebody who waited."""

        def run() -> Any:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    with self.lent(table) as opened:
                        return work(opened)
                except _GaveWay:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(BETWEEN)

        return self.pool.submit(run)

    def look(self, control: Session, statement: str) -> None:
        """See who waits, and end the sessions for it."""
        found = [one for one in waiting.parse(ask(control, statement)) if one.number not in self.own]
        ending = self.watch.look(found, self.reading.held(), time.monotonic())
        self.reading.give_way(ending)
        for number in ending:
            with contextlib.suppress(Refused):  # ended by itself since
                control.execute(f"KILL {number}")


@contextlib.contextmanager
def open_snapshot(host: Access, threads: int, schemas: Sequence[str], cancel: CancelToken) -> Iterator[tuple[SnapshotSide, snapshot.Taken]]:
    """Sessions to one server, all in one snapshot, watched for the time of the block.

    Raises:
        StepFailed: no moment for the snapshot came; the message says which statement was in its way.
    """
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(session(host, timeout=86400))
        server = identify(control)
        names = definitions.existing(control, schemas)
        found = [definitions.Schema(name, "", "", definitions.read_tables(control, name)) for name in names]
        tables = [(table.schema, table.name) for one in found for table in one.tables]
        spare = min(SPARE, spare_sessions(control, server.family))
        sessions = open_sessions(host, threads + spare, stack)
        for opened in sessions:
            opened.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        which = snapshot.Server(server.family, server.dialect.log_status, processes.table(control), "", *server.dialect.lock)
        asks = [_Reader(opened).ask for opened in sessions]
        try:
            taken = snapshot.begin(which, _Reader(control).ask, asks, cancel.wait, Failed)
        except (snapshot.Busy, Failed) as problem:
            raise StepFailed(
                f"{host.name}: no snapshot could begin", str(problem), "run the same command again at a quieter time"
            ) from None
        side = SnapshotSide(sessions, threads, waiting.Watch(tables, ties(found)))
        stack.callback(side.pool.shutdown)
        ended = threading.Event()
        statement = waiting.STATEMENTS.format(table=which.processes, own="")

        def watch() -> None:
            try:
                while not ended.wait(waiting.EVERY):
                    side.look(control, statement)
            except ParallelBuildError as problem:
                side.fault = problem

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)
        yield side, taken
