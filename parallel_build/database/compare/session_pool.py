"""One server's sessions for a comparison: opened side by side, all giving answers that depend on nothing but the data."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from parallel_build.database.compare import fingerprint
from parallel_build.database.schema.definitions import Table
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Session, session

OPENED_AT_ONCE = 8


class Moved(Exception):
    """A table can't be read in this snapshot any more.

    Attributes:
        table: its schema and name.
    """

    def __init__(self, table: tuple[str, str]) -> None:
        super().__init__(".".join(table))
        self.table = table


class Side:
    """One server with its open sessions; a session is lent to one piece of work at a time.

    Args:
        sessions: open sessions, all seeing the same data.
    Attributes:
        packet: what its server can put together in one text, in bytes.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = list(sessions)
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for opened in self.sessions:
            self._free.put(opened)
        self.server: DatabaseServer = identify(self.sessions[0])
        self.packet = int(self.sessions[0].value("SELECT @@SESSION.max_allowed_packet"))
        self.pool = Workers(len(self.sessions), name=self.server.name)

    @contextlib.contextmanager
    def lent(self, table: Table | None = None) -> Iterator[Session]:
        """A session for one piece of work.

        Args:
            table: the one that it reads; matters in a snapshot, see `snapshot_side`.
        """
        opened = self._free.get()
        try:
            yield opened
        finally:
            self._free.put(opened)

    def ask(self, work: Callable[[Session], Any], table: Table | None = None) -> Future[Any]:
        """Run `work` with a session, in the background; `table` as for `lent`."""

        def run() -> Any:
            with self.lent(table) as opened:
                return work(opened)

        return self.pool.submit(run)


@contextlib.contextmanager
def open_side(host: Access, threads: int) -> Iterator[Side]:
    """Sessions to one server, opened side by side."""
    with contextlib.ExitStack() as stack:
        side = Side(open_sessions(host, threads, stack))
        stack.callback(side.pool.shutdown)
        yield side


def open_sessions(host: Access, count: int, stack: contextlib.ExitStack) -> list[Session]:
    """Sessions to one server that end with `stack`."""
    lock = threading.Lock()

    def one() -> Session:
        manager = session(host, timeout=86400, settings=fingerprint.SETTINGS)
        opened = manager.__enter__()
        with lock:
            stack.push(manager.__exit__)
        return opened

    with Workers(min(count, OPENED_AT_ONCE)) as pool:
        return [future.result() for future in [pool.submit(one) for _ in range(count)]]
