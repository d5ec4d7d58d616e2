"""Users of the original while its databases are brought over: numbered rounds of statements, counted as the server confirms them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session


class Users:
    """Writes rounds of statements to a server until asked to stop; `{n}` in them is the round's number.

    Args:
        host: the server.
        statements: one round.
        pause: seconds between two rounds.
        patient: a server that is away is waited for; else its failure is raised by `stop`.

    Attributes:
        tried: number of the last round begun.
        confirmed: rounds that the server confirmed to their end.
    """

    def __init__(self, host: Host, statements: Sequence[str], pause: float, *, patient: bool = False) -> None:
        self.host, self.statements, self.pause, self.patient = host, statements, pause, patient
        self.tried = self.confirmed = 0
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, or continue where it stopped."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def stop(self) -> None:
        """End after the present round.

        Raises:
            ParallelBuildError: what ended it before.
        """
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failure:
            raise self._failure

    def rounds(self, count: int) -> None:
        """Wait until so many more are confirmed."""
        goal = self.confirmed + count
        wait_for(f"{count} rounds", lambda: self.confirmed >= goal, timeout=120, cancel=CancelToken())

    def _write(self) -> None:
        while not self._stop.is_set():
            try:
                self._rounds()
            except (ParallelBuildError, OSError) as failure:
                if not self.patient:
                    self._failure = failure
                    return
            self._stop.wait(0.2)

    def _rounds(self) -> None:
        with session(self.host, timeout=20 if self.patient else 3600) as opened:
            while not self._stop.is_set():
                self.tried += 1
                for statement in self.statements:
                    opened.execute(statement.format(n=self.tried))
                self.confirmed += 1
                self._stop.wait(self.pause)

    def __enter__(self) -> Users:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
