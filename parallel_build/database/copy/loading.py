"""One part of a table on its way into the new server: its LOAD DATA, and the named pipe that it reads.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from typing import Any, Dict, Optional

from parallel_build.database.copy.clients import TOO_LONG, Client, Failed, TooLong, widen

OPENED = 120.0  # seconds within which the server opens its end of the pipe


class Unwritten(Failed):
    """The new server refused rows."""


class Load:
    """Takes a part's rows in.

    Args:
        writer: a session on the new server.
        job: the worker's job, of which the names of the pipes are used.
        part: what is loaded.
        number: the stream's; each has a pipe of its own.
        stopped: set when the copy ends.
        undoable: in a transaction, so that what came can be taken back.
    Attributes:
        moved: bytes handed over.
    """

    def __init__(
        self, writer: Client, job: Dict[str, Any], part: Dict[str, Any], number: int, stopped: threading.Event, *, undoable: bool
    ) -> None:  # fmt: skip
        self.writer, self.part, self.stopped, self.undoable = writer, part, stopped, undoable
        self.fifo = os.path.join(job["fifo_folder"], "stream%d" % number)
        self.mark = job["fifo_mark"]
        self.moved = 0
        self._pipe: Optional[int] = None

    def take(self, data: memoryview) -> None:
        """Hand rows over."""
        if not data:
            return
        if self._pipe is None:
            # Only now: most tables are empty, and the new server has nothing to do for them.
            self._pipe = self._begin()
        left = data
        while left:
            try:
                left = left[os.write(self._pipe, left) :]
            except BrokenPipeError:
                raise self._broken() from None
        self.moved += len(data)

    def end(self, found: int) -> int:
        """All rows are handed over, as many as the original found; return how many the server has taken in."""
        begun = self._close()
        taken = int(self.writer.receive(lambda data: None)[1]) if begun else 0
        if taken != found:
            raise TooLong("%d rows were read and %d written; where some are missing, %s" % (found, taken, TOO_LONG))
        if begun and self.undoable:
            self.writer.ask("COMMIT")
        return taken

    def drop(self) -> bool:
        """Take back what came of the part; whether the session can be used for another."""
        if not self._close():
            return True
        try:
            self.writer.receive(lambda data: None)
            self.writer.ask("ROLLBACK")
        except Failed:  # a row that was cut off is refused, and the client program ends; what it wrote goes with its session
            self.writer.close()
            return False
        return True

    def release(self) -> None:
        """Close the pipe, whatever has happened."""
        self._close()

    def _close(self) -> bool:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return False
        os.close(pipe)
        return True

    def _begin(self) -> int:
        """Have the new server begin to take the part in; the writing end of the pipe that it reads."""
        if not os.path.exists(self.fifo):
            os.mkfifo(self.fifo)
            os.chmod(self.fifo, 0o666)  # the folder is the database server's own, mode 700
        if self.undoable:
            self.writer.ask("START TRANSACTION")
        self.writer.send(self.part["load"].replace(self.mark, self.fifo))
        pipe = self._open()
        widen(pipe)
        return pipe

    def _open(self) -> int:
        """The writing end, once the server has opened the reading end; a server that refuses the statement never does."""
        deadline = time.monotonic() + OPENED
        wait = 0.0002
        while True:
            try:
                descriptor = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as problem:
                if problem.errno != errno.ENXIO:
                    raise
                if self.writer.process.poll() is not None or self.writer.errors:
                    raise Unwritten(str(self.writer.failure())) from None
                if time.monotonic() > deadline or self.stopped.is_set():
                    raise Unwritten("the new server did not open its end of the pipe %s" % self.fifo) from None
                time.sleep(wait)
                wait = min(wait * 2, 0.02)
                continue
            os.set_blocking(descriptor, True)
            return descriptor

    def _broken(self) -> Unwritten:
        """The server closed its end: its client says why."""
        try:
            self.writer.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return Unwritten("the new server stopped reading")
        return Unwritten(str(self.writer.failure()))
