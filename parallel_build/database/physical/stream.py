"""One program's output on one server handed to programs on others, through the SSH connections of this machine. Nothing of it is kept here."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from parallel_build.cancel import CancelToken
from parallel_build.database.copy.progress import TELL_EVERY, size
from parallel_build.durations import roughly
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.openssh import environment
from parallel_build.remote.piped import begun, marked

BLOCK = 1 << 20
LIMIT = 24 * 3600.0  # seconds for one stream
ENDS = 30.0  # seconds for a program that is asked to end
LAST_LINES = 4


@dataclass(frozen=True)
class Program:
    """A program of a stream.

    Attributes:
        host: where it runs.
        argv: its words.
    """

    host: Access
    argv: Sequence[str]


class _Running:
    """A program that was started, with what it prints as errors kept in a file: it may be long, and nobody reads it meanwhile."""

    def __init__(self, program: Program, *, reads: bool) -> None:
        self.host = program.host
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self.mark, words = ("", program.argv) if reads else marked(program.argv)
        self.process = subprocess.Popen(
            program.host.piped(words, LIMIT),
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=self._words,
            env=environment(),
            start_new_session=True,
        )

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def input(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(ENDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def printed(self) -> str:
        self._words.seek(0)
        return self._words.read().decode(errors="replace")

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # the other end may be gone
                    pipe.close()
        self.end()
        self._words.close()

    def failed(self) -> StepFailed:
        lines = [line for line in self.printed().splitlines() if line.strip()][-LAST_LINES:]
        return StepFailed(
            f"{self.host.name}: the stream of files broke off",
            " | ".join(lines) or f"the program there ended with exit code {self.process.returncode} without a word",
            f"see the disk of {self.host.name} and the network to it, then run the same command again: it begins again",
        )


def hand_over(source: Program, targets: Sequence[Program], *, done: str, cancel: CancelToken, tell: Callable[[int], None]) -> int:
    """Run a program and hand its output to all the others as it comes; return how many bytes that were.

    Args:
        done: what the source prints among its errors when all was well.
        tell: takes the bytes so far, now and then.
    Raises:
        StepFailed: one of them failed; with its last words.
        Cancelled: stopping was asked for.
    """
    for program in (source, *targets):
        program.host.run(["true"])  # the shared connection is there before the stream begins
    with contextlib.ExitStack() as stack:
        writers = [_Running(program, reads=True) for program in targets]
        reader = _Running(source, reads=False)
        running = [reader, *writers]
        for each in running:
            stack.callback(each.close)
        ended = threading.Event()
        stack.callback(ended.set)
        watcher = threading.Thread(target=_end_when_cancelled, args=(cancel, ended, running), daemon=True)
        watcher.start()
        first = begun(reader.process, reader.mark)
        if first is None:
            reader.end()
            cancel.check()
            raise reader.failed()
        count, broken = _pump(first, reader, writers, tell)
        if broken is None:
            for writer in writers:
                with contextlib.suppress(OSError):  # its exit code says what became of the last block
                    writer.input.close()
            codes = [each.process.wait() for each in running]
        else:
            broken.process.wait()
            reader.end()
            codes = []
        cancel.check()
        if broken is not None:
            raise broken.failed()
        failed = [each for each, code in zip(running, codes, strict=True) if code != 0]
        if failed:
            raise failed[0].failed()  # what broke off at its source is no fault of those that it did not reach
        if done not in reader.printed():
            raise reader.failed()
        return count


def _pump(first: bytes, reader: _Running, writers: Sequence[_Running], tell: Callable[[int], None]) -> tuple[int, _Running | None]:
    """Bytes handed over, those that were read already to begin with, and the program that does not take any more."""
    count, shown_at = 0, time.monotonic()
    for block in itertools.chain([first] if first else [], iter(lambda: reader.output.read(BLOCK), b"")):
        for writer in writers:
            try:
                writer.input.write(block)
            except OSError:
                return count, writer
        count += len(block)
        if time.monotonic() - shown_at >= TELL_EVERY:
            shown_at = time.monotonic()
            tell(count)
    return count, None


def _end_when_cancelled(cancel: CancelToken, ended: threading.Event, running: Sequence[_Running]) -> None:
    """A program that is waited for may never say anything again: its end ends the waiting."""
    while not ended.wait(0.25):
        if cancel.is_set:
            for each in running:
                with contextlib.suppress(ProcessLookupError):
                    each.process.terminate()
            return


def progress_of(expected: int, progress: Callable[[str], None]) -> Callable[[int], None]:
    """Turns bytes into a progress line with the expected end."""
    began = time.monotonic()

    def tell(count: int) -> None:
        share, elapsed = min(1.0, count / max(1, expected)), time.monotonic() - began
        words = f"{size(count)} of about {size(expected)} arrived, {share:.0%}"
        if 0.03 < share < 1:
            words += f"; about {roughly(elapsed * (1 - share) / share)} left"
        progress(words)

    return tell
