"""A server's shell on this machine: the commands of the tool are really run, in a test's own folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from parallel_build.errors import CommandFailed
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from tests.fast.asked_host import AskedHost


class LocalHost(AskedHost):
    """Access to this machine, as whoever runs the tests.

    Args:
        name: as the stack names the server.
        programs: a folder of stand-in programs, found first.
    """

    def __init__(self, name: str = "olddb1", programs: Path | None = None) -> None:
        super().__init__(name)
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"} if programs else dict(os.environ)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30,
        input: bytes | str | Secret | None = None,
        ok: Sequence[int] | None = (0,),
        cancellable: bool = True,
    ) -> Result:
        """Run it here."""
        given = input.reveal() if isinstance(input, Secret) else input
        text = given.decode() if isinstance(given, bytes) else given
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout, check=False, env=self._environment)
        if ok is not None and done.returncode not in ok:
            raise CommandFailed(f"{self.name}: {argv[0]} ended with exit code {done.returncode}", done.stderr, "")
        return Result(done.returncode, done.stdout, done.stderr)

    def read(self, path: str, *, timeout: float = 30, lines: int | None = None) -> bytes | None:
        """Read without a command, since there is no server between."""
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None
