"""A server's shell on this machine: the commands of the tool are really run, in a test's own folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from parallel_build.errors import CommandFailed
from parallel_build.remote.openssh import Result


class LocalHost:
    """Enough of `connection.Host` for what works with files and commands.

    Args:
        name: as the stack names the server.
        programs: a folder of stand-in programs, found first.
    """

    def __init__(self, name: str = "olddb1", programs: Path | None = None) -> None:
        self.name = name
        self.token: int | None = None
        self._environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"} if programs else dict(os.environ)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30,
        input: str | None = None,
        ok: Sequence[int] | None = (0,),
        cancellable: bool = True,
    ) -> Result:
        done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=timeout, check=False, env=self._environment)
        if ok is not None and done.returncode not in ok:
            raise CommandFailed(f"{self.name}: {argv[0]} ended with exit code {done.returncode}", done.stderr, "")
        return Result(done.returncode, done.stdout, done.stderr)

    def script(self, text: str, args: Sequence[str] = (), *, ok: Sequence[int] | None = (0,), cancellable: bool = True) -> Result:
        return self.run(["sh", "-s", "--", *args], input="set -eu\n" + text, ok=ok)

    def read(self, path: str, *, lines: int | None = None) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None
