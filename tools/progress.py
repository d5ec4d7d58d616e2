"""One line for each piece of set-up, and running a long command without leaving the reader in the dark."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.errors import ToolError

HEARTBEAT = 30.0
"""Seconds between two lines of a command that takes long."""

LAST_LINES = 15
"""How much of a failed command's output goes into its error."""


THERE = ("found", "cached", "there already")
"""How the outcome of a piece begins for which nothing had to be done."""

Command = Sequence[str | os.PathLike[str]]


class Piece:
    """One piece of set-up; `outcome` is what its line says at the end (found, cached, built, installed ...)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcome = "done"


@dataclass
class Log:
    """Which pieces get a line.

    Attributes:
        brief: only those for which something had to be done.
        worked: there was one.
    """

    brief: bool = False
    worked: bool = False


LOG = Log()


def say(text: str) -> None:
    """Print a progress line at once (standard error, so that a program's result stays alone on standard output)."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def piece(name: str) -> Iterator[Piece]:
    """Time what is done inside and print one line about it when it is done; nothing when it failed: the error says enough."""
    started = time.monotonic()
    current = Piece(name)
    yield current
    there = current.outcome.startswith(THERE)
    LOG.worked = LOG.worked or not there
    if there and LOG.brief:
        return
    say(f"  {name:<34} {current.outcome:<44} {time.monotonic() - started:6.1f} s")


def run(
    command: Command,
    what: str,
    *,
    remedy: str = "",
    usual_seconds: int = 0,
    limit: float = 3600,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command that is expected to work, with a line every 30 s while it runs.

    Args:
        command: program and arguments.
        what: what it does, for progress and error ("building pulumi 3.259.0").
        remedy: what to do when it fails.
        usual_seconds: how long it usually takes; 0 if nobody knows.
        limit: seconds after which it is ended.
        cwd: folder to run in.
        environment: the whole environment; the caller's own by default.

    Returns:
        What it printed on standard output and standard error.

    Raises:
        ToolError: it could not be started, failed or ran past its limit; its last lines are in the error.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=None if environment is None else dict(environment),
            )
        except OSError as error:
            raise ToolError(f"{what} could not be started", f"{command[0]}: {error.strerror}", remedy) from error
        try:
            code = _wait(process, what, usual_seconds, started + limit)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read()
    if code is None:
        raise ToolError(f"{what} was not done after {limit:.0f} s and was ended", _tail(text), remedy)
    if code != 0:
        raise ToolError(f"{what} failed with exit code {code}", _tail(text), remedy)
    return text


def _wait(process: subprocess.Popen[bytes], what: str, usual_seconds: int, deadline: float) -> int | None:
    """Exit code of the process, or None when the deadline passed first."""
    started = time.monotonic()
    usually = f", usually about {usual_seconds} s" if usual_seconds else ""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        try:
            return process.wait(timeout=min(HEARTBEAT, left))
        except subprocess.TimeoutExpired:
            say(f"  {what}: {time.monotonic() - started:.0f} s{usually}")


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "it printed nothing" if not lines else "its last lines were:\n" + "\n".join(lines[-LAST_LINES:])
