"""Sessions to servers: OpenSSH with strict host keys, one multiplexed connection a server, every command with a time limit.

The OpenSSH client is used rather than a library so that the operator's own `~/.ssh/config` counts in full: jump hosts, agents, ports, hardware keys.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server, Ssh
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed
from parallel_build.secret import Secret, mask
from parallel_build.site import Site

SSH_FAILED = 255
TIMED_OUT = (124, 137)  # what coreutils' timeout(1) exits with after TERM and after KILL
GRACE = 10.0
SHORT_COMMAND = 180.0
"""Seconds that a command of milliseconds may take: a server that starts a dozen others, or an emulated one, makes it wait for minutes."""
REPLACE_FILE = (
    'umask 077; t="$1.new.$$"; cat >"$t" && chmod "$2" "$t" && chown "$3" "$t" && sync "$t" && mv -f "$t" "$1" && sync "$(dirname "$1")"'
)
ONE_WRITE = 32768  # fits into a pipe at once


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


class Host:
    """One server over SSH. Thread safe: each call is a session of its own over the shared connection.

    Args:
        server: the server.
        ssh: how servers are reached.
        folder: private folder (mode 700) for control sockets and known hosts.
        host_key: the server's public key, when the stack knows it.
        cancel: looked at while a command runs.
        secrets: masked in everything that leaves this class as an error.
    """

    def __init__(
        self,
        server: Server,
        ssh: Ssh,
        folder: Path,
        host_key: str | None,
        cancel: CancelToken,
        secrets: Sequence[Secret] = (),
    ) -> None:
        self.server, self.ssh, self.folder, self.cancel = server, ssh, folder, cancel
        self._secrets = list(secrets)
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
    def name(self) -> str:
        """The server's name in the stack."""
        return self.server.name

    @property
    def _alias(self) -> str:
        return f"stack-{self.server.name}"

    def options(self) -> list[str]:
        """OpenSSH options for this server, without the destination."""
        options = [
            "-o", "BatchMode=yes",
            "-o", "StrictHostKeyChecking=yes",
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

    @property
    def destination(self) -> str:
        """What ssh connects to."""
        return self.server.ssh_host or self.server.address

    def _ssh(self, *words: str) -> list[str]:
        return ["ssh", *self.options(), self.destination, *words]

    def command_line(self, argv: Sequence[str], timeout: float) -> str:
        """The text handed to the remote shell: quoted words, a time limit held on the server too, sudo where needed."""
        words = ["timeout", "--kill-after=10", f"{timeout:.0f}", *argv]
        if self.user != "root":
            words = ["sudo", "-n", "--", *words]
        return shlex.join(words)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = SHORT_COMMAND,
        input: bytes | str | Secret | None = None,
        ok: Sequence[int] | None = (0,),
        cancellable: bool = True,
    ) -> Result:
        """Run a command as root and wait for its end.

        Args:
            argv: the words, quoted for the remote shell here; never put a secret among them.
            timeout: seconds, those of a short command unless told; on the server timeout(1) ends the command, here ssh is ended a little later.
            input: handed to standard input; the place for secrets.
            ok: exit codes that are no error; None accepts any.
            cancellable: end the command when the engine cancels; False for short commands that must not be torn.
        Raises:
            CommandFailed: exit code not in `ok`, or out of time.
            ConnectionFailed: ssh itself failed.
            Cancelled: the engine asked to stop.
        """
        data = self._bytes(input)
        for attempt in (1, 2):
            result = self._attempt(argv, data, timeout, cancellable)
            # A multiplexed connection whose server was restarted ends with 255 at once: one fresh connection is tried.
            if result.code == SSH_FAILED and attempt == 1 and self._stale_control(result):
                continue
            break
        if result.code == SSH_FAILED and "timeout:" not in result.stderr:
            raise self._connection_failed(result.stderr)
        if result.code in TIMED_OUT and (ok is None or result.code not in ok):
            raise CommandFailed(
                f"{self.name}: {self._words(argv)} did not end within {timeout:.0f} s",
                "",
                f"look at {self.name} ({self.server.address}), then run the same command again",
            )
        if ok is not None and result.code not in ok:
            raise CommandFailed(
                f"{self.name}: {self._words(argv)} ended with exit code {result.code}",
                self._tail(result.stderr or result.stdout),
                "",
            )
        return result

    def script(
        self,
        text: str,
        args: Sequence[str] = (),
        *,
        timeout: float = SHORT_COMMAND,
        ok: Sequence[int] | None = (0,),
        cancellable: bool = True,
    ) -> Result:
        """Run a POSIX shell script (`set -eu` first), handed over on standard input so that it shows in no process list.

        Args:
            args: become `$1`, `$2`, ...
        """
        return self.run(
            ["sh", "-s", "--", *args],
            input="set -eu\n" + text,
            timeout=timeout,
            ok=ok,
            cancellable=cancellable,
        )

    def read(self, path: str, *, timeout: float = SHORT_COMMAND) -> bytes | None:
        """Return a file's content, or None where there is no such file."""
        result = self.run(["sh", "-c", 'test -e "$1" || exit 44; base64 "$1"', "sh", path], timeout=timeout, ok=(0, 44))
        if result.code == 44:
            return None
        return base64.b64decode(result.stdout)

    def write(
        self,
        path: str,
        content: bytes | str | Secret,
        *,
        mode: int = 0o600,
        owner: str = "root:root",
        timeout: float = SHORT_COMMAND,
    ) -> None:
        """Replace a file whole: written beside it, synced, then renamed; nobody ever sees half of it."""
        self.run(
            ["sh", "-c", REPLACE_FILE, "sh", path, f"{mode:o}", owner],
            input=content,
            timeout=timeout,
            cancellable=False,
        )

    def reachable(self, timeout: float = 5) -> bool:
        """Whether a command can be run there at all, right now."""
        try:
            self.run(["true"], timeout=timeout)
        except (ConnectionFailed, CommandFailed):
            return False
        return True

    @contextlib.contextmanager
    def forward(self, remote: str) -> Iterator[Path]:
        """Forward a unix socket (`/run/mysqld/mysqld.sock`) or `host:port` of the server to a local unix socket.

        Through the multiplexed connection a socket is opened by the server's own sshd session, that is by `user`:
        a database's socket authentication sees root when the session is root's.
        """
        folder = Path(tempfile.mkdtemp(prefix="f-", dir=self.folder))
        local = folder / "s"
        self.run(["true"])
        command = ["ssh", *self.options(), "-O", "forward", "-L", f"{local}:{remote}", self.destination]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SHORT_COMMAND, check=False, env=self._environment())
        if done.returncode != 0:
            raise self._connection_failed(done.stderr)
        try:
            yield local
        finally:
            cancel = ["ssh", *self.options(), "-O", "cancel", "-L", f"{local}:{remote}", self.destination]
            subprocess.run(cancel, capture_output=True, timeout=SHORT_COMMAND, check=False, env=self._environment())
            local.unlink(missing_ok=True)
            folder.rmdir()

    @contextlib.contextmanager
    def offer(self, local: Path) -> Iterator[int]:
        """Let the server's own programs reach a unix socket of this machine: a port on the server's loopback address, for the time of the block.

        The server opens no connection of its own for it: what it sends goes through the SSH connection that was opened from here.
        Yields: the port.
        Raises:
            ConnectionFailed: the server's sshd forwards nothing (AllowTcpForwarding).
        """
        self.run(["true"])
        way = ["-R", f"127.0.0.1:0:{local}"]
        command = ["ssh", *self.options(), "-O", "forward", *way, self.destination]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SHORT_COMMAND, check=False, env=self._environment())
        port = done.stdout.strip()
        if done.returncode != 0 or not port.isdigit():
            raise self._connection_failed(done.stderr or f"sshd of {self.name} gave no port: {port}")
        try:
            yield int(port)
        finally:
            # Cancelled by the words it was made with. The end of the connection ends it too.
            cancel = ["ssh", *self.options(), "-O", "cancel", *way, self.destination]
            ended = subprocess.run(cancel, capture_output=True, timeout=SHORT_COMMAND, check=False, env=self._environment())
            if ended.returncode != 0:
                self.close()

    def close(self) -> None:
        """End the shared connection, if there is one."""
        if self._control.exists():
            command = ["ssh", *self.options(), "-O", "exit", self.destination]
            subprocess.run(command, capture_output=True, timeout=SHORT_COMMAND, check=False, env=self._environment())

    def _attempt(self, argv: Sequence[str], data: bytes, timeout: float, cancellable: bool) -> Result:
        if cancellable:
            self.cancel.check()
        with self._connecting if not self._control.exists() else contextlib.nullcontext():
            process = subprocess.Popen(
                self._ssh(self.command_line(argv, timeout)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout + GRACE + self.ssh.connect_timeout.total_seconds()
        sent: bytes | None = data
        if len(data) > ONE_WRITE:
            # communicate() forgets input that its first time limit interrupts, so large input is fed beside it.
            pipe, process.stdin, sent = process.stdin, None, None
            threading.Thread(target=self._feed, args=(pipe, data), daemon=True).start()
        while True:
            try:
                stdout, stderr = process.communicate(sent, timeout=0.25)
            except subprocess.TimeoutExpired:
                sent = None
                if cancellable and self.cancel.is_set:
                    self._end(process)
                    self.cancel.check()
                if time.monotonic() > deadline:
                    self._end(process)
                    return Result(TIMED_OUT[0], "", "")
                continue
            return Result(process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    @staticmethod
    def _feed(pipe: IO[bytes], data: bytes) -> None:
        with contextlib.suppress(OSError), pipe:  # the command may end without reading it all
            pipe.write(data)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _stale_control(self, result: Result) -> bool:
        stale = any(text in result.stderr for text in ("mux_client", "Control socket", "Shared connection"))
        if stale or (not result.stderr and self._control.exists()):
            self.close()
            self._control.unlink(missing_ok=True)
            return True
        return False

    def _connection_failed(self, stderr: str) -> ConnectionFailed:
        remedy = f"check that {self.name} is up and that `ssh {self.user}@{self.destination}` works from here"
        if "Host key verification failed" in stderr or "REMOTE HOST IDENTIFICATION" in stderr:
            remedy = (
                f"put the true host key of {self.name} into ssh.knownHosts or its hostKey, after comparing it on the console; "
                "a changed key may also mean that another machine answers"
            )
        elif "Permission denied" in stderr:
            remedy = f"let the key of section ssh log in as {self.user} on {self.name}"
        return ConnectionFailed(f"{self.name} ({self.destination}) can't be reached over SSH", self._tail(stderr), remedy)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "LC_ALL": "C"}

    def _words(self, argv: Sequence[str]) -> str:
        return mask(shlex.join(argv), self._secrets)[:300]

    def _tail(self, text: str) -> str:
        lines = [line for line in mask(text, self._secrets).splitlines() if line.strip()]
        return " | ".join(lines[-5:])

    @staticmethod
    def _bytes(data: bytes | str | Secret | None) -> bytes:
        if data is None:
            return b""
        if isinstance(data, Secret):
            data = data.reveal()
        return data.encode() if isinstance(data, str) else data


class Connections:
    """The sessions of one provider process to a site's servers, made when first asked for.

    Args:
        site: the resolved stack.
        cancel: the engine's Cancel.
    """

    def __init__(self, site: Site, cancel: CancelToken) -> None:
        self.site, self.cancel = site, cancel
        self._folder = Path(tempfile.mkdtemp(prefix="cutover-"))
        self._folder.chmod(0o700)
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()
        self.held = contextlib.ExitStack()  # what a step opened for a later one; ended before the sessions are
        self.ready: dict[str, Any] = {}

    def host(self, server: Server) -> Host:
        """The session to `server`."""
        with self._lock:
            if server.name not in self._hosts:
                self._hosts[server.name] = Host(
                    server,
                    self.site.configuration.ssh,
                    self._folder,
                    self.site.host_key(server),
                    self.cancel,
                    self.site.secrets.all(),
                )
            return self._hosts[server.name]

    def close(self) -> None:
        """End every session and remove the private folder."""
        self.ready.clear()
        self.held.close()
        with self._lock:
            for host in self._hosts.values():
                host.close()
            self._hosts.clear()
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self._folder.rmdir()


__all__ = ["Cancelled", "Connections", "Host", "Result"]
