"""One server's sessions for a comparison: opened side by side, all giving answers that depend on nothing but the data."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from parallel_build.database.compare import fingerprint
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.remote.host import Host
from parallel_build.remote.sql import Session, session


class Side:
    """One server with its open sessions; a session is lent to one piece of work at a time.

    Args:
        sessions: open sessions, all seeing the same data.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = list(sessions)
        self._free: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for opened in self.sessions:
            self._free.put(opened)
        self.server: DatabaseServer = identify(self.sessions[0])
        self.pool = ThreadPoolExecutor(max_workers=len(self.sessions), thread_name_prefix=self.server.name)

    @contextlib.contextmanager
    def lent(self) -> Iterator[Session]:
        """A session for one piece of work."""
        opened = self._free.get()
        try:
            yield opened
        finally:
            self._free.put(opened)

    def ask(self, work: Callable[[Session], Any]) -> Future[Any]:
        """Run `work` with a session, in the background."""

        def run() -> Any:
            with self.lent() as opened:
                return work(opened)

        return self.pool.submit(run)


@contextlib.contextmanager
def open_side(host: Host, threads: int) -> Iterator[Side]:
    """Sessions to one server, opened side by side."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(max_workers=threads) as pool:
        lock = threading.Lock()

        def one() -> Session:
            manager = session(host, timeout=86400, settings=fingerprint.SETTINGS)
            opened = manager.__enter__()
            with lock:
                stack.push(manager.__exit__)
            return opened

        sessions = [future.result() for future in [pool.submit(one) for _ in range(threads)]]
        side = Side(sessions)
        stack.callback(side.pool.shutdown)
        yield side
