"""A server's unix socket reached as root by an account that becomes root: sshd itself would open it as that account.

A database's socket authentication looks at who opens the socket. So each connection is a small program on the server, run as root, that copies
between the socket and its own input and output. It says a mark, on a line of its own, once it has the socket; whatever a login shell printed before
is no answer.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from parallel_build.errors import ConnectionFailed

BLOCK = 65536
NOISE = 1 << 20  # bytes before the mark, at most
WITHIN = 30.0  # seconds for the mark to come
# As old as the Python or the Perl of any server that this project meets: Enterprise Linux 7 has Python 2.
PYTHON = r"""
import os, select, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[2])
os.write(1, ("\n" + sys.argv[1] + "\n").encode())
while True:
    for ready in select.select([0, s], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else s.recv(65536)
        if not data:
            sys.exit(0)
        if ready == 0:
            s.sendall(data)
        while ready != 0 and data:
            data = data[os.write(1, data):]
"""
PERL = r"""
use Socket;
sub put { my ($to, $data) = @_; while (length $data) { my $n = syswrite($to, $data); exit 0 unless $n; substr($data, 0, $n) = ""; } }
my $s;
socket($s, PF_UNIX, SOCK_STREAM, 0) && connect($s, sockaddr_un($ARGV[1])) or die "$!\n";
put(*STDOUT, "\n$ARGV[0]\n");
while (1) {
    my $all = ""; vec($all, 0, 1) = 1; vec($all, fileno($s), 1) = 1;
    select(my $ready = $all, undef, undef, undef);
    for my $pair ([*STDIN, $s, 0], [$s, *STDOUT, fileno($s)]) {
        next unless vec($ready, $pair->[2], 1);
        exit 0 unless sysread($pair->[0], my $data, 65536);
        put($pair->[1], $data);
    }
}
"""
INTERPRETERS = ("python3", "/usr/libexec/platform-python", "python2", "python", "perl")
FIND = 'for p; do command -v "$p" && exit 0; done; exit 1'


def program(interpreter: str, mark: str, path: str) -> list[str]:
    """The words that copy between a socket and standard input and output, and say the mark first."""
    return [interpreter, *(("-e", PERL) if interpreter.endswith("perl") else ("-c", PYTHON)), mark, path]


class Bridge:
    """A local unix socket behind which every connection is a program on the server.

    Args:
        local: where the socket is made.
        start: starts `ssh` with the program that `words` name, its input and output piped.
        words: the program, for a mark.
    """

    def __init__(self, local: Path, start: Callable[[list[str]], subprocess.Popen[bytes]], words: Callable[[str], list[str]]) -> None:
        self._start, self._words = start, words
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(local))
        self._listening.listen(16)
        self._open: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._accept, name="bridge", daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that are open."""
        with self._lock:
            self._closed = True
            left = list(self._open)
        # Closing alone would leave the thread in its accept.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for process in left:
            process.terminate()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(connection,), name="bridge", daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        mark = f"open-{secrets.token_hex(8)}"
        with connection, self._running(self._words(mark)) as process:
            if process is None or process.stdin is None or process.stdout is None:
                return
            rest = after_mark(process.stdout, mark, process)
            if rest is None:
                return
            connection.sendall(rest)
            threading.Thread(target=self._send, args=(connection, process.stdin), name="bridge", daemon=True).start()
            with contextlib.suppress(OSError):
                while data := process.stdout.read1(BLOCK):  # type: ignore[attr-defined]  # it is buffered
                    connection.sendall(data)
                connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _running(self, words: list[str]) -> Iterator[subprocess.Popen[bytes] | None]:
        with self._lock:
            process = None if self._closed else self._start(words)
            if process is not None:
                self._open.add(process)
        try:
            yield process
        finally:
            if process is not None:
                process.terminate()
                process.wait()
                with self._lock:
                    self._open.discard(process)

    @staticmethod
    def _send(connection: socket.socket, into: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := connection.recv(BLOCK):
                into.write(data)
                into.flush()
        with contextlib.suppress(OSError, ValueError):
            into.close()


def after_mark(output: IO[bytes], mark: str, process: subprocess.Popen[bytes]) -> bytes | None:
    """What came behind the mark's line in what has been read so far; None where the mark does not come."""
    ending = threading.Timer(WITHIN, process.terminate)
    ending.start()
    seen, line = b"", f"{mark}\n".encode()
    try:
        while line not in seen and len(seen) < NOISE:
            data = output.read1(BLOCK)  # type: ignore[attr-defined]  # it is buffered
            if not data:
                return None
            seen += data
    finally:
        ending.cancel()
    before, found, rest = seen.partition(line)
    return rest if found and (not before or before.endswith(b"\n")) else None


def no_interpreter(name: str) -> ConnectionFailed:
    """The error for a server on which nothing can copy."""
    return ConnectionFailed(
        f"{name}: its database's socket can't be reached as root",
        f"the account becomes root by sudo, and none of {', '.join(INTERPRETERS)} is there to open the socket for it",
        f"log in to {name} as root (sshUser), or install python3 there",
    )
