"""Sessions of the copy's worker that go through the servers' own client programs.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

# ruff: noqa: UP006, UP035 - the Python of a database server may be older than the project's own
from __future__ import annotations

import collections
import contextlib
import fcntl
import subprocess
import threading
from typing import Callable, List

READ_SIZE = 1 << 20
SET_PIPE_SIZE = 1031  # fcntl's number on Linux; Python names it since 3.10
PIPE_SIZE = 1 << 20  # bytes; with the usual 64 KiB two busy servers are woken for each other's every page
# A row that a server can't put together in one text is NULL.
TOO_LONG = "a row is longer than the original's max_allowed_packet: raise that there (SET GLOBAL max_allowed_packet = 1073741824)"
Sink = Callable[[memoryview], None]  # takes rows' text, which is there for the time of the call only


class Failed(Exception):
    """The copy can't continue; the text is for the operator."""


class TooLong(Failed):
    """A row that the original can't put together."""


class Unfit(Failed):
    """A session that can't be opened however often it is tried."""


def widen(pipe: int) -> None:
    """Let a pipe hold more; a system that grants less copies the same, only slower."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, SET_PIPE_SIZE, PIPE_SIZE)


class Client:
    """One session through the server's client program, kept open; answers are read up to a marker that nothing else can contain."""

    def __init__(self, argv: List[str], marker: str, name: str) -> None:
        self.name = name
        self.marker = marker.encode()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        assert self.process.stdout is not None
        widen(self.process.stdout.fileno())
        self.errors: collections.deque[str] = collections.deque(maxlen=20)
        self.reader = threading.Thread(target=self._read_errors, daemon=True)
        self.reader.start()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.decode(errors="replace").strip())

    def send(self, statement: str) -> None:
        """Hand over a statement, and one that answers the marker and the number of rows found before it."""
        text = statement.rstrip(";\n") + f";\nSELECT CONCAT('{self.marker.decode()} ', FOUND_ROWS(), ' ', ROW_COUNT());\n"
        assert self.process.stdin is not None
        try:
            data = text.encode()
            while data:
                data = data[self.process.stdin.write(data) :]
        except OSError:
            raise self.failure() from None

    def receive(self, sink: Sink) -> List[str]:
        """Hand everything up to the marker to `sink`; return the words after it."""
        assert self.process.stdout is not None
        held = b""
        keep = len(self.marker) + 64
        while True:
            data = self.process.stdout.read(READ_SIZE)
            if not data:
                raise self.failure()
            held += data
            # The marker's line is the last that comes before the session falls silent.
            found = held.rfind(self.marker, max(0, len(held) - keep))
            if found >= 0 and held.endswith(b"\n"):
                sink(memoryview(held)[:found])
                return held[found + len(self.marker) :].decode().split()
            if len(held) > keep:
                sink(memoryview(held)[:-keep])
                held = held[-keep:]

    def ask(self, statement: str) -> str:
        """Run a statement and return what it prints."""
        parts: List[bytes] = []
        self.send(statement)
        self.receive(lambda data: parts.append(bytes(data)))
        return b"".join(parts).decode(errors="replace")

    def rows(self, statement: str, sink: Sink, *, unique: bool) -> int:
        """Hand the rows of a SELECT to `sink`; return how many the server found."""
        self.send(statement)
        return int(self.receive(sink)[0])

    def lives(self) -> bool:
        """Whether its program still runs."""
        return self.process.poll() is None

    def failure(self) -> Failed:
        """What the client printed when it ended."""
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.reader.join(2)
        words = " | ".join(self.errors) or "the session ended without a word"
        return Failed(f"{self.name}: {words}")

    def end(self) -> None:
        """End the session at once; whoever waits for its answer fails."""
        self.process.kill()

    def close(self) -> None:
        """End the session and give back what it holds."""
        self.end()
        self.process.wait()
