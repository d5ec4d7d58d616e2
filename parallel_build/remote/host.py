"""Sessions to servers: OpenSSH with strict host keys, one multiplexed connection a server, every command with a time limit.

The OpenSSH client is used rather than a library so that the operator's own `~/.ssh/config` counts in full: jump hosts, agents, ports, hardware keys.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server, Ssh
from parallel_build.errors import CommandFailed, ConnectionFailed, Fenced
from parallel_build.remote.access import Access, AccountUnfit
from parallel_build.remote.bridge import FIND, INTERPRETERS, Bridge, no_interpreter, program
from parallel_build.remote.database_login import login_of
from parallel_build.remote.frame import END, VOLATILE, Answer, Frame
from parallel_build.remote.openssh import OVERDUE, SHORT_COMMAND, SSH_FAILED, TIMED_OUT, Client, Result
from parallel_build.remote.private_folder import PrivateFolder
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret, mask

BRIDGE_SECONDS = 86400.0  # a session with a database may be as long as the copy of a large one
ENDING = 15  # seconds that a cancelled command is given to end on the server
NO_CORE_FILE = ("sh", "-c", 'ulimit -c 0; exec "$@"', "sh")  # what systemd starts meanwhile is no child of it


class Host(Access):
    """Access over SSH. Thread safe: each call is a session of its own over the shared connection.

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
        super().__init__(server, cancel)
        self.ssh, self.folder = ssh, folder
        self._secrets += secrets
        self._client = Client(server, ssh, folder, host_key, cancel)
        self.user = self._client.user

    def options(self) -> list[str]:
        """OpenSSH options for this server, without the destination."""
        return self._client.options()

    @property
    def destination(self) -> str:
        """What ssh connects to."""
        return self._client.destination

    def piped(self, argv: Sequence[str], timeout: float) -> list[str]:
        """`ssh` with a command: quoted words, a time limit held on the server too, no core file of what is given secrets, sudo."""
        return ["ssh", *self.options(), self.destination, self._login_line([*NO_CORE_FILE, *self._limited(argv, timeout)])]

    @staticmethod
    def _limited(argv: Sequence[str], timeout: float) -> list[str]:
        # To timeout(1) 0 is no limit.
        return ["timeout", "--kill-after=10", f"{max(1.0, timeout):.0f}", *argv]

    def _login_line(self, words: Sequence[str]) -> str:
        """What the login shell is given: as root."""
        return shlex.join(words if self.user == "root" else ["sudo", "-n", "--", *words])

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = SHORT_COMMAND,
        input: bytes | str | Secret | None = None,
        ok: Sequence[int] | None = (0,),
        cancellable: bool = True,
    ) -> Result:
        """Run a command as root and wait for its end: on the server timeout(1) ends one that takes too long, here ssh is ended a little later."""
        frame, started = Frame(self._bytes(input), self.token), time.monotonic()
        command = self._login_line(frame.words(self._limited(argv, timeout)))
        for attempt in (1, 2):
            raw = self._client.attempt(command, frame.input, timeout, cancellable, lambda came: self._end(frame.read(came)), frame.ended)
            answer = frame.read(raw)
            # A shared connection whose server was restarted ends at once: one fresh connection is tried, if nothing was begun over it.
            if not answer.began and attempt == 1 and self._client.drop_stale(raw):
                continue
            break
        if answer.code is None and raw.code != OVERDUE:
            raise self._unanswered(answer, raw, argv)
        code = TIMED_OUT[0] if answer.code is None else answer.code
        result = Result(code, answer.stdout, answer.stderr)
        late = raw.code == OVERDUE or (code in TIMED_OUT and time.monotonic() - started >= timeout)
        if late and (ok is None or code not in ok):
            raise CommandFailed(
                f"{self.name}: {self._words(argv)} did not end within {timeout:.0f} s",
                f"it was ended after {timeout:.0f} s: it hangs, or {self.name} is too busy for it",
                f"look at {self.name} ({self.server.address}), then run the same command again",
            )
        if ok is not None and code not in ok:
            raise CommandFailed(
                f"{self.name}: {self._words(argv)} ended with exit code {code}",
                self._tail(result.stderr or result.stdout) or f"no output; exit code {code}",
                f"fix this on {self.name} ({self.server.address}), then run the same command again",
            )
        return result

    def _unanswered(self, answer: Answer, raw: Result, argv: Sequence[str]) -> ConnectionFailed | Fenced:
        """The error for a command whose exit code did not come back."""
        if answer.end.startswith("fenced"):
            return Fenced(
                f"{self.name}: run {answer.end.split()[1]} has taken over, this is run {self.token}",
                f"another operator, or a later command, has worked on {self.name} since this run began; nothing was done by {self._words(argv)}",
                "see where the cloud stands: parallel-build recover STACK; this run must end",
            )
        if answer.end == "locked":
            return ConnectionFailed(
                f"{self.name}: commands of an earlier run still run there",
                "they were asked to end, and did not within a minute",
                f"on {self.name} `ls {VOLATILE}/running` names each by RUN-PROCESS: look at it (`ps -fp PROCESS`), end it (`kill PROCESS`), then run the same "
                "command again",
            )
        if answer.end == "torn":
            return ConnectionFailed(
                f"{self.name}: the connection broke while the input of {self._words(argv)} was sent",
                "not all of the input arrived, so nothing was begun",
                "check the network, then run the same command again",
            )
        if answer.end:
            return ConnectionFailed(
                f"{self.name}: there is no room for the input of {self._words(argv)}",
                self._tail(answer.other) or "no folder of the server takes it: /run, /dev/shm, /tmp and /var/tmp were tried",
                f"make room in /run or /tmp on {self.name}, then run the same command again",
            )
        if answer.began:
            return ConnectionFailed(
                f"{self.name}: the connection was lost while {self._words(argv)} ran",
                self._tail(answer.other) or "whether the command came to its end is not known",
                "check the network, then run the same command again: it looks at what is there first",
            )
        if raw.code == SSH_FAILED:
            return self._failure(raw.stderr)
        return AccountUnfit(
            f"{self.name} ({self._client.destination}): account {self.user} can't run commands there",
            self._tail(answer.other) or f"its login shell ended with exit code {raw.code}",
            f"let {self.user} log in with a shell"
            + ("" if self.user == "root" else ", and run commands as root by sudo without a password"),
        )

    def _end(self, answer: Answer) -> None:
        """End a command that the engine's Cancel has left without a reader: its reverse may be given next."""
        if answer.process is None or answer.end:
            return
        ending = Frame(b"")
        line = self._login_line(ending.words(["sh", "-c", END, "sh", str(answer.process), str(ENDING)]))
        self._client.attempt(line, b"", ENDING + 5, cancellable=False)

    @contextlib.contextmanager
    def forward(self, remote: str) -> Iterator[Path]:
        """A socket is opened by the server's own sshd session where that is root's, else by a program that sudo starts there."""
        folder = Path(tempfile.mkdtemp(prefix="f-", dir=self.folder))
        local = folder / "s"
        self.run(["true"])
        try:
            if remote.startswith("/") and self.user != "root":
                with contextlib.closing(self.bridge(local, remote)):
                    yield local
                return
            with self._client.forwarded("-L", f"{local}:{remote}") as made:
                if not made.ok:
                    raise self._failure(made.stderr)
                yield local
        finally:
            local.unlink(missing_ok=True)
            folder.rmdir()

    def bridge(self, local: Path, path: str) -> Bridge:
        """A local unix socket that leads to one of the server's, opened there as root.

        Raises:
            ConnectionFailed: nothing on the server can open it.
        """
        found = self.run(["sh", "-c", FIND, "sh", *INTERPRETERS], ok=(0, 1))
        if not found.ok:
            raise no_interpreter(self.name)
        interpreter = found.stdout.strip()

        def start(words: list[str]) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                self.piped(words, BRIDGE_SECONDS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )

        return Bridge(local, start, lambda mark: program(interpreter, mark, path))

    @contextlib.contextmanager
    def offer(self, local: Path) -> Iterator[int]:
        """The server opens no connection of its own for it: what it sends goes through the SSH connection that was opened from here.

        Raises:
            ConnectionFailed: the server's sshd forwards nothing (AllowTcpForwarding).
        """
        self.run(["true"])
        with self._client.forwarded("-R", f"127.0.0.1:0:{local}") as made:
            port = made.stdout.strip()
            if not made.ok or not port.isdigit():
                raise self._failure(made.stderr or f"sshd of {self.name} gave no port: {port}")
            yield int(port)

    def close(self) -> None:
        """End the shared connection, if there is one."""
        self._client.close()

    def _failure(self, stderr: str) -> ConnectionFailed:
        return self._client.failure(stderr, self._tail(stderr))

    def _words(self, argv: Sequence[str]) -> str:
        """A command for a message: a script in it is only named."""
        shown = ["..." if "\n" in word else word for word in argv]
        return mask(shlex.join(shown), self._secrets)[:300]

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
        self._folder = PrivateFolder()
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()
        self.token: int | None = None
        self.held = contextlib.ExitStack()  # what a step opened for a later one; ended before the sessions are
        self.ready: dict[str, Any] = {}

    def host(self, server: Server) -> Host:
        """The session to `server`."""
        with self._lock:
            if server.name not in self._hosts:
                self._hosts[server.name] = Host(
                    server,
                    self.site.configuration.ssh,
                    self._folder.path,
                    self.site.host_key(server),
                    self.cancel,
                    self.site.hidden(),
                )
                self._hosts[server.name].token = self.token
                self._hosts[server.name].database = login_of(self.site, server.name)
            return self._hosts[server.name]

    def carry(self, token: int) -> None:
        """Let every command from now on carry a token: see `Access.token`."""
        with self._lock:
            self.token = token
            for host in self._hosts.values():
                host.token = token

    def close(self) -> None:
        """End every session and remove the private folder."""
        self.ready.clear()
        self.held.close()
        with self._lock:
            for host in self._hosts.values():
                host.close()
            self._hosts.clear()
        self._folder.close()
