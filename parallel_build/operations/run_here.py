"""The operator's own commands on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from parallel_build.cancel import CancelToken
from parallel_build.errors import StepFailed

ENDS = 5.0  # seconds that a command has to end by itself
LOOK_AGAIN = 0.2  # seconds
READ = 65536  # bytes of what it printed that are looked at


def run_here(words: Sequence[str], timeout: float, key: str, cancel: CancelToken) -> str:
    """Run one and wait for its end; with it ends what it has begun, unless that left its process group: it could act later, when nobody reckons with it.

    What it prints goes into files: a program that it leaves running would keep a pipe open, and its own end would not be seen.

    Args:
        key: of the configuration, which has the command.
        cancel: looked at while it runs.
    Returns:
        the end of what it printed.
    Raises:
        StepFailed: it did not end with exit code 0 in time.
        Cancelled: the engine asked to stop.
    """
    shown = shlex.join(words)
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=printed, stderr=errors, start_new_session=True)
        except OSError as error:
            raise StepFailed(f"the command {shown} could not be run", str(error), f"correct {key}") from None
        try:
            code = _wait(process, timeout, cancel)
        except BaseException:
            _end(process)
            raise
        if code is None:
            _end(process)
            raise StepFailed(f"the command {shown} did not end within {timeout:g} s", "it was ended then", f"correct {key}")
        out, wrong = _tail(printed), _tail(errors)
        if code != 0:
            tail = (wrong or out).splitlines()[-1:]
            raise StepFailed(f"{shown} ended with exit code {code}", " ".join(tail), f"correct {key}")
        return f"{out}\n{wrong}".strip()


def _wait(process: subprocess.Popen[bytes], timeout: float, cancel: CancelToken) -> int | None:
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        cancel.check()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, LOOK_AGAIN))
    return process.poll()


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ENDS)


def _tail(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - READ))
    return file.read().decode(errors="replace").strip()
