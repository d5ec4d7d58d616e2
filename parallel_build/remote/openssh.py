"""The OpenSSH client program: its options for one server, one command run with it, and what its errors mean.

`parallel_build.remote.host` is what everything else uses.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration import Server, Ssh
from parallel_build.errors import ConnectionFailed, TimedOut

SSH_FAILED = 255
TIMED_OUT = (124, 137)  # what coreutils' timeout(1) exits with after TERM and after KILL
OVERDUE = -1  # no exit code of a program: ssh itself did not end in time
GRACE = 10.0
ENDS = 5.0  # seconds for a shared connection to end
ONE_WRITE = 32768  # fits into a pipe at once
SHORT_COMMAND = 180.0
"""Seconds that a command of milliseconds may take: a server that starts a dozen others, or an emulated one, makes it wait for minutes."""


@dataclass(frozen=True)
class Result:
    """How a remote command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Exit code 0."""
        return self.code == 0


class Client:
    """The `ssh` program for one server, over one shared connection. Thread safe.

    Args:
        server: the server.
        ssh: how servers are reached.
        folder: private folder (mode 700) for control sockets and known hosts.
        host_key: the server's public key, when the stack knows it.
        cancel: looked at while a command runs.
    """

    def __init__(self, server: Server, ssh: Ssh, folder: Path, host_key: str | None, cancel: CancelToken) -> None:
        self.server, self.ssh, self.cancel = server, ssh, cancel
        self.user = server.ssh_user or ssh.user
        # A control socket's path is limited to about 100 bytes, so the name is a digest.
        digest = hashlib.sha256(f"{self.user}@{server.name}/{server.address}/{host_key}".encode()).hexdigest()[:12]
        self._control = folder / f"c-{digest}"
        self._known_hosts = folder / f"k-{digest}"
        if host_key:
            self._known_hosts.write_text(f"{self._alias} {' '.join(host_key.split()[:2])}\n")
        self._has_key = host_key is not None
        self._connecting = threading.Lock()

    @property
    def _alias(self) -> str:
        return f"stack-{self.server.name}"

    @property
    def destination(self) -> str:
        """What ssh connects to."""
        return self.server.ssh_host or self.server.address

    def options(self) -> list[str]:
        """OpenSSH options for this server, without the destination."""
        options = [
            "-o", "BatchMode=yes",
            "-o", "StrictHostKeyChecking=yes",
            # Whatever the operator's own configuration says: a server that is not trusted yet must not use his keys or his display.
            "-o", "ForwardAgent=no",
            "-o", "ForwardX11=no",
            "-o", "ForwardX11Trusted=no",
            "-o", "PermitLocalCommand=no",
            "-o", f"ConnectTimeout={max(1, int(self.ssh.connect_timeout.total_seconds()))}",
            "-o", "ServerAliveInterval=5",
            "-o", "ServerAliveCountMax=3",
            "-o", "ControlMaster=auto",
            "-o", "ControlPersist=60",
            "-o", f"ControlPath={self._control}",
            "-o", f"User={self.user}",
        ]  # fmt: skip
        if self._has_key:
            options += ["-o", f"HostKeyAlias={self._alias}", "-o", f"UserKnownHostsFile={self._known_hosts}"]
        elif self.ssh.known_hosts:
            options += ["-o", f"UserKnownHostsFile={self.ssh.known_hosts}"]
        if self.ssh.config_file:
            options += ["-F", str(self.ssh.config_file)]
        if self.ssh.identity_file:
            options += ["-i", str(self.ssh.identity_file), "-o", "IdentitiesOnly=yes"]
        if self.server.ssh_port:
            options += ["-p", str(self.server.ssh_port)]
        return options

    def attempt(
        self,
        command: str,
        data: bytes,
        timeout: float,
        cancellable: bool,
        stopped: Callable[[Result], None] = lambda came: None,
        ended: Callable[[bytes, bytes], bool] = lambda out, err: False,
    ) -> Result:
        """Run a command once and wait for its end.

        Args:
            command: for the remote shell.
            data: its standard input.
            timeout: seconds; ssh is ended a little later, when the server has not ended the command itself.
            cancellable: end it when the engine cancels.
            stopped: given what had come by then, ends the command on the server as well: a closed connection ends nothing there.
            ended: given what has come, whether that is all: ssh itself waits for every program that the command has left running.
        Returns:
            what came; its code is OVERDUE where ssh had to be ended.
        Raises:
            Cancelled: the engine asked to stop.
        """
        if cancellable:
            self.cancel.check()
        with self._connecting if not self._control.exists() else contextlib.nullcontext():
            process = subprocess.Popen(
                ["ssh", *self.options(), self.destination, command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout + GRACE + self.ssh.connect_timeout.total_seconds()
        sent: bytes | None = data
        looks = 0  # at an answer that is whole
        if len(data) > ONE_WRITE:
            # communicate() forgets input that its first time limit interrupts, so large input is fed by a thread.
            pipe, process.stdin, sent = process.stdin, None, None
            threading.Thread(target=_feed, args=(pipe, data), daemon=True).start()
        while True:
            try:
                stdout, stderr = process.communicate(sent, timeout=0.25)
            except subprocess.TimeoutExpired as waiting:
                sent = None
                looks = looks + 1 if ended(waiting.output or b"", waiting.stderr or b"") else 0
                if looks > 1:  # ssh has had the time to end by itself
                    return _text(SSH_FAILED, *_end(process))
                if cancellable and self.cancel.is_set:
                    stopped(_text(SSH_FAILED, *_end(process)))
                    self.cancel.check()
                if time.monotonic() > deadline:
                    return _text(OVERDUE, *_end(process))
                continue
            return _text(process.returncode, stdout, stderr)

    def control(self, *words: str) -> Result:
        """Tell the shared connection something (`-O` and its words)."""
        command = ["ssh", *self.options(), "-O", *words, self.destination]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SHORT_COMMAND, check=False, env=environment())
        return Result(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """End the shared connection, if there is one, and wait until its socket is gone: the folder may be removed next."""
        if self._control.exists() and self.control("exit").ok:
            with contextlib.suppress(TimedOut):
                wait_for(
                    f"the connection to {self.server.name} to end", lambda: not self._control.exists(), timeout=ENDS, cancel=CancelToken(),
                    interval=0.02,
                )  # fmt: skip

    def drop_stale(self, result: Result) -> bool:
        """Where a command failed because the shared connection's server was restarted: end what is left of it; whether that was so."""
        stale = any(text in result.stderr for text in ("mux_client", "Control socket", "Shared connection"))
        if stale or (not result.stderr and self._control.exists()):
            self.close()
            self._control.unlink(missing_ok=True)
            return True
        return False

    def failure(self, stderr: str, masked: str) -> ConnectionFailed:
        """The error for what ssh itself printed.

        Args:
            masked: the same without secrets, for the operator.
        """
        name = self.server.name
        remedy = f"check that {name} is up and that `ssh {self.user}@{self.destination}` works from here"
        if "Host key verification failed" in stderr or "REMOTE HOST IDENTIFICATION" in stderr:
            remedy = (
                f"put the true host key of {name} into ssh.knownHosts or its hostKey, after comparing it on the console; "
                "a changed key may also mean that another machine answers"
            )
        elif "Permission denied" in stderr:
            remedy = f"let the key of section ssh log in as {self.user} on {name}"
        return ConnectionFailed(f"{name} ({self.destination}) can't be reached over SSH", masked, remedy)

    @contextlib.contextmanager
    def forwarded(self, *way: str) -> Iterator[Result]:
        """A forwarding of the shared connection (`-L` or `-R` and its words) for the time of the block.

        Yields: how making it ended; the caller looks whether it did. It is cancelled by the words it was made with.
        """
        made = self.control("forward", *way)
        try:
            yield made
        finally:
            # What a server may still use of this machine must end: with the connection, where it can't be ended by itself.
            if made.ok and not self.control("cancel", *way).ok and way[0] == "-R":
                self.close()


def environment() -> dict[str, str]:
    """Of every ssh: its messages are compared, so they are English."""
    return {**os.environ, "LC_ALL": "C"}


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError), pipe:  # the command may end without reading it all
        pipe.write(data)


def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    process.terminate()
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def _text(code: int, stdout: bytes, stderr: bytes) -> Result:
    return Result(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))
