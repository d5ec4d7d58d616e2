"""A server's socket reached through a program that is started there: every byte, nothing of what the login printed, and an end on both sides."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import ConnectionFailed
from parallel_build.remote import bridge
from parallel_build.remote.host import Host
from tests.fast.ssh_server import SshServer

pytestmark = pytest.mark.engine

NOISY = 'sh -c \'echo "Welcome to olddb1"; eval "$SSH_ORIGINAL_COMMAND"\''
UNENDED = NOISY.replace("echo", "printf")  # a line that does not end


class Echo:
    """A service behind a unix socket that says hello first, as a database server does, and then repeats what it is sent."""

    def __init__(self, folder: Path) -> None:
        self.path, self.open = folder / "service.sock", 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._repeat, args=(connection,), daemon=True).start()

    def _repeat(self, connection: socket.socket) -> None:
        self.open += 1
        with contextlib.suppress(OSError):
            connection.sendall(b"hello\n")
            while data := connection.recv(65536):
                connection.sendall(data)
        connection.close()
        self.open -= 1


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: the path of a socket has a limit."""
    made = Path(tempfile.mkdtemp(prefix="b-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["", NOISY, UNENDED], ids=["quiet", "noisy", "unended"])
def host(folder: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    with (
        contextlib.closing(SshServer(folder, request.param)) as server,
        contextlib.closing(server.host()) as opened,
    ):
        yield opened


def read(connection: socket.socket, number: int) -> bytes:
    found = b""
    while len(found) < number and (data := connection.recv(65536)):
        found += data
    return found


@pytest.mark.parametrize("interpreter", [sys.executable, shutil.which("perl") or "perl"])
def test_every_byte_comes_through_and_nothing_else(folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch, interpreter: str) -> None:
    if not Path(interpreter).exists():
        pytest.skip(f"no {interpreter} on this machine")
    monkeypatch.setattr("parallel_build.remote.host.INTERPRETERS", (interpreter,))
    service, data = Echo(folder), os.urandom(300_000)
    with contextlib.closing(host.bridge(folder / "local", str(service.path))):
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            for connection in (one, two):
                connection.settimeout(60)
                connection.connect(str(folder / "local"))
                assert read(connection, 6) == b"hello\n", "the service's own first word"
            threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
            two.sendall(b"beside it")
            assert read(one, len(data)) == data and read(two, 9) == b"beside it"
        wait_for("the service's connections to end", lambda: service.open == 0, timeout=30, cancel=CancelToken())


def test_a_service_that_is_not_there_ends_the_connection(folder: Path, host: Host) -> None:
    with contextlib.closing(host.bridge(folder / "local", str(folder / "nothing"))), socket.socket(socket.AF_UNIX) as one:
        one.settimeout(60)
        one.connect(str(folder / "local"))
        assert one.recv(10) == b""


def test_closing_ends_what_is_open(folder: Path, host: Host) -> None:
    service = Echo(folder)
    made = host.bridge(folder / "local", str(service.path))
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(60)
        one.connect(str(folder / "local"))
        assert read(one, 6) == b"hello\n"
        made.close()
        assert one.recv(10) == b""
    with pytest.raises(OSError, match=r"refused|No such file"), socket.socket(socket.AF_UNIX) as late:
        late.connect(str(folder / "local"))


def test_a_server_without_any_interpreter_is_named(folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parallel_build.remote.host.INTERPRETERS", ("no-such-program",))
    with pytest.raises(ConnectionFailed, match="olddb1: its database's socket can't be reached as root"):
        host.bridge(folder / "local", "/run/x")


def test_the_programs_are_what_old_servers_understand() -> None:
    """No f-string, no annotation, nothing that Python 2 would refuse."""
    assert bridge.program("/usr/bin/python2", "m", "/s")[1] == "-c" and bridge.program("/usr/bin/perl", "m", "/s")[1] == "-e"
    for word in ('f"', "nonlocal", "print(", ":="):
        assert word not in bridge.PYTHON
