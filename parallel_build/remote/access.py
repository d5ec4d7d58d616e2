"""A server as every room asks it: for commands, files and sessions with its database, whoever the account is that logs in there.

`parallel_build.remote.host.Host` is what answers over SSH. Whatever else can run a command on a server is one too, as in tests: what is asked for
in more than one way stands here, in words of `run`.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.remote.openssh import SHORT_COMMAND, Result
from parallel_build.remote.whole_files import REPLACE_FILE
from parallel_build.secret import Secret

READ_FILE = 'test -e "$1" || exit 44; if [ $# = 2 ]; then head -n "$2" "$1" | base64; else base64 "$1"; fi'


class AccountUnfit(ConnectionFailed):
    """The server was reached, and the account that logs in may not run commands there as root."""


class Access(ABC):
    """Access to one server, as root: a command (`run`, `script`), a file (`read`, `write`), a socket (`forward`, `offer`).

    A session with its database is opened by `parallel_build.remote.sql.session`, which asks for `login` and `forward`.
    An answer holds what the command itself has printed: what a login shell, a banner or ssh prints is never a part of it.

    Args:
        server: the server.
        cancel: looked at while a command runs.

    Attributes:
        user: the account that logs in; commands are run as root whoever that is.
        token: number of the run that this access belongs to: where a later run has given a command, its own are refused. None only looks.
        database: how sessions with the database server there are opened.
    """

    user = "root"

    def __init__(self, server: Server, cancel: CancelToken) -> None:
        self.server, self.cancel = server, cancel
        self.token: int | None = None
        self.database = DatabaseLogin()
        self._secrets: list[Secret] = []

    @property
    def name(self) -> str:
        """The server's name in the stack."""
        return self.server.name

    @abstractmethod
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
            timeout: seconds, by default those of a short command; the command is ended then.
            input: handed to standard input; the place for secrets.
            ok: exit codes that are no error; None accepts any.
            cancellable: end the command when the engine cancels; False for short commands that must not be torn.
        Raises:
            CommandFailed: exit code not in `ok`, or out of time.
            ConnectionFailed: the server can't be reached, or the connection was lost before the exit code came.
            AccountUnfit: it was reached, and the account may not do this there.
            Fenced: a later run has taken over.
            Cancelled: the engine asked to stop.
        """

    @abstractmethod
    def piped(self, argv: Sequence[str], timeout: float) -> list[str]:
        """The words that run a command as root there, as a program of this machine: for a pipe of the caller's own.

        Args:
            argv: its words; what is given to it leaves no core file.
            timeout: seconds, held on the server too.
        """

    @abstractmethod
    def forward(self, remote: str) -> AbstractContextManager[Path]:
        """Forward a unix socket (`/run/mysqld/mysqld.sock`) or `host:port` of the server to a local unix socket, for the time of the block.

        A socket is opened as root, as a database's socket authentication wants it.

        Raises:
            ConnectionFailed: nothing can be forwarded.
        """

    @abstractmethod
    def offer(self, local: Path) -> AbstractContextManager[int]:
        """Let the server's own programs reach a unix socket of this machine: a port on the server's loopback address, for the time of the block.

        Yields: the port.
        Raises:
            ConnectionFailed: the server forwards nothing.
        """

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
        return self.run(["sh", "-s", "--", *args], input="set -eu\n" + text, timeout=timeout, ok=ok, cancellable=cancellable)

    def read(self, path: str, *, timeout: float = SHORT_COMMAND, lines: int | None = None) -> bytes | None:
        """Return a file's content, or None where there is no such file.

        Args:
            lines: only so many lines of it.
        """
        words = ["sh", "-c", READ_FILE, "sh", path, *([] if lines is None else [str(lines)])]
        result = self.run(words, timeout=timeout, ok=(0, 44))
        if result.code == 44:
            return None
        return base64.b64decode("".join(result.stdout.split()), validate=True)

    def write(
        self,
        path: str,
        content: bytes | str | Secret,
        *,
        mode: int = 0o600,
        owner: str = "root:root",
        timeout: float = SHORT_COMMAND,
    ) -> None:
        """Replace a file whole: written next to it, synced, then renamed; nobody ever sees half of it."""
        words = ["sh", "-c", REPLACE_FILE, "sh", path, f"{mode:o}", owner]
        self.run(words, input=content, timeout=timeout, cancellable=False)

    def login(self) -> DatabaseLogin:
        """How to log in to the database server there; its option file is read each time, since a password may be changed while a run lasts.

        Raises:
            ConnectionFailed: the option file is of no use.
        """
        if self.database.option_file is None:
            return self.database
        found = self.database.resolved(self.name, self.read(self.database.option_file))
        if found.password:
            self._secrets.append(found.password)
        return found

    def reachable(self, timeout: float = 5) -> bool:
        """Whether a command can be run there at all, right now."""
        try:
            self.run(["true"], timeout=timeout)
        except (ConnectionFailed, CommandFailed):
            return False
        return True
