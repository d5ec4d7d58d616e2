"""The sessions of a copy, on the original and on the new server.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, TypeVar, Union

from parallel_build.database.copy.clients import Client, Failed, Unfit

if TYPE_CHECKING:
    from parallel_build.database.copy.wire import Wire

    Reader = Union[Client, Wire]

Opened = TypeVar("Opened", bound="Reader")
READING = "reading from the original"
SPARE_CLIENTS = 8  # of spare sessions where each is a program of its own
AT_ONCE = 4  # that are opened
# Whatever else it does: no user waits behind a lock that one of these waits for.
IMPATIENT = "SET SESSION lock_wait_timeout = 1"


class Opening:
    """Opens sessions, and ends all that it opened.

    Args:
        folder: the worker's.
        job: its job.
        stopped: set when the copy ends.
    """

    def __init__(self, folder: str, job: Dict[str, Any], stopped: threading.Event) -> None:
        self.folder, self.job, self.stopped = folder, job, stopped
        self.read_by = "client program"
        self._lock = threading.RLock()  # a signal may come while it is held
        self._opened: List[Reader] = []

    def source(self, compress: bool = False) -> Client:
        """A session on the original through the client program."""
        argv = self.job["source"] + (self.job["compress_options"] if compress else [])
        return self._patiently(lambda: Client(argv, self.job["marker"], READING), self.job["source_settings"])

    def target(self) -> Client:
        """A session on the new server."""
        return self._patiently(
            lambda: Client(self.job["target"], self.job["marker"], "writing to the new server"), self.job["target_settings"]
        )

    def readers(self, compress: bool) -> List[Reader]:
        """The sessions that read, and the spare ones: rows as they come over the wire, or through the client program, which alone can compress."""
        count, spare = self.job["streams"], self.job["spare"]
        if self.job["wire"] and not compress:
            try:
                first = self.wire()
            except Failed as problem:
                self.read_by = "client program: %s" % problem
            else:
                self.read_by = "wire"
                return [first, *(self.wire() for _ in range(count - 1)), *self._spare(self.wire, spare)]
        return [*(self.source(compress) for _ in range(count)), *self._spare(lambda: self.source(compress), min(spare, SPARE_CLIENTS))]

    @staticmethod
    def _spare(opening: Callable[[], Reader], count: int) -> List[Reader]:
        """As many as the original grants."""
        found: List[Reader] = []

        def share(number: int) -> None:
            with contextlib.suppress(Failed):
                for _ in range(number, count, AT_ONCE):
                    found.append(opening())

        threads = [threading.Thread(target=share, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def wire(self) -> Wire:
        """A session on the original that takes rows as they come over the wire."""
        try:
            from parallel_build.database.copy import wire  # the Python of this server may be too old for it
        except (ImportError, SyntaxError) as problem:
            raise Unfit("%s: %s" % (type(problem).__name__, problem)) from None
        options, job = os.path.join(self.folder, "source.cnf"), self.job["wire"]
        return self._patiently(lambda: wire.Wire(options, job["tls"], bytes.fromhex(job["start"]), READING), self.job["source_settings"])

    def _patiently(self, opening: Callable[[], Opened], settings: List[str]) -> Opened:
        """A session with its settings. A busy server gives up on those who are slow to greet it: nothing is lost by asking again."""
        attempt = 1
        while True:
            try:
                return self._prepared(opening(), settings)
            except Unfit:
                raise
            except Failed:
                if attempt >= self.job["session_attempts"] or self.stopped.is_set():
                    raise
            if self.stopped.wait(attempt):
                raise Failed("stopped")
            attempt += 1

    def _prepared(self, session: Opened, settings: List[str]) -> Opened:
        """The session, ended with all others, and its settings made."""
        with self._lock:
            self._opened.append(session)
        try:
            for statement in settings:
                session.ask(statement)
        except Failed:
            with self._lock:
                self._opened.remove(session)
            session.close()
            raise
        return session

    def end(self) -> None:
        """End them all: streams wait inside reads that only the end of their sessions ends."""
        with self._lock:
            for session in self._opened:
                session.end()

    def slow_network(self, client: Client) -> bool:
        """Whether compressing pays: the network carries less than the servers could feed it."""
        best = 0.0
        for _ in range(4):
            started = time.monotonic()
            size = len(client.ask("SELECT REPEAT('x', 4194304)"))
            best = max(best, size / max(time.monotonic() - started, 1e-6))
            if best > self.job["compress_below"]:
                return False
        return True


class Control:
    """A session on the original besides those that read; one that is lost is opened again at the next question.

    Args:
        opening: opens sessions.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._session: Optional[Reader] = None

    def __call__(self, statement: str) -> str:
        """Run a statement and return what it answers."""
        with self._lock:
            if self._session is None:
                self._session = self._open()
            try:
                return self._session.ask(statement)
            except Failed:
                # A client program ends at a refused statement; a session over the wire may be gone.
                self._session.close()
                self._session = None
                raise

    @property
    def open(self) -> bool:
        """Whether it has a session now."""
        return self._session is not None

    def _open(self) -> Reader:
        session: Reader
        try:
            session = self._opening.wire() if self._opening.job["wire"] else self._opening.source()
        except Unfit:
            session = self._opening.source()
        session.ask(IMPATIENT)
        return session

    def close(self) -> None:
        """End its session."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None
