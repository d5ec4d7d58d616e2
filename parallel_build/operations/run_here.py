"""The operator's own commands on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO

from parallel_build.cancel import CancelToken
from parallel_build.errors import StepFailed

ENDS = 5.0  # seconds that a command has to end by itself
LOOK_AGAIN = 0.2  # seconds
READ = 65536  # bytes of what it printed that are looked at
COMES = 3.0  # seconds in which the last of it comes through its pipes


def run_here(words: Sequence[str], timeout: float, key: str, cancel: CancelToken) -> str:
    """Run one and wait for its end; with it ends what it has begun, unless that left its process group: it could act later, when nobody reckons with it.

    Its own end is what is waited for, not that of what it prints: a program that it leaves running may keep the pipes open for good.

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
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        raise StepFailed(f"the command {shown} could not be run", str(error), f"correct {key}") from None
    assert process.stdout is not None and process.stderr is not None
    printed, errors = _Printed(process.stdout), _Printed(process.stderr)
    try:
        code = _wait(process, timeout, cancel)
    except BaseException:
        _end(process)
        raise
    if code is None:
        _end(process)
        raise StepFailed(f"the command {shown} did not end within {timeout:g} s", "it was ended then", f"correct {key}")
    until = time.monotonic() + COMES
    out, wrong = printed.text(until), errors.text(until)
    if code != 0:
        tail = (wrong or out).splitlines()[-1:]
        raise StepFailed(f"{shown} ended with exit code {code}", " ".join(tail), f"correct {key}")
    return f"{out}\n{wrong}".strip()


class _Printed:
    """The end of what comes through a pipe, read as long as it is open: a program that still writes there is not cut off."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._kept = pipe, bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), READ):
                self._kept.extend(chunk)
                del self._kept[:-READ]

    def text(self, until: float) -> str:
        """What has come by a moment, or has come to its end before."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return bytes(self._kept).decode(errors="replace").strip()


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
