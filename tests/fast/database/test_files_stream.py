"""One program's output handed to others: all of it arrives, and what breaks off is named after the one at fault."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.physical.stream import Program, hand_over, progress_of
from parallel_build.errors import Cancelled, StepFailed
from tests.fast.local_host import LocalHost

DONE = "completed OK!"


class PipedHost(LocalHost):
    """Whose programs of a pipe run here as well."""

    def piped(self, argv: Sequence[str], timeout: float) -> list[str]:
        return list(argv)


def program(name: str, script: str) -> Program:
    return Program(PipedHost(name), ["sh", "-c", script])


def hand(source: str, *targets: str, cancel: CancelToken | None = None) -> int:
    writers = [program(f"newdb{number}", script) for number, script in enumerate(targets, 1)]
    return hand_over(program("olddb1", source), writers, done=DONE, cancel=cancel or CancelToken(), tell=lambda count: None)


def test_every_target_gets_all_of_it(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(hashlib.sha512(b"x").digest() * 60000)
    count = hand(f"cat {sent}; echo '{DONE}' >&2", f"cat >{tmp_path}/one", f"cat >{tmp_path}/two")
    assert count == sent.stat().st_size
    assert (tmp_path / "one").read_bytes() == sent.read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("noise", ["echo 'Welcome to olddb1'", "printf 'Welcome '", "head -c 300000 /dev/zero"])
def test_what_a_login_shell_prints_is_no_part_of_it(tmp_path: Path, noise: str) -> None:
    class Noisy(PipedHost):
        def piped(self, argv: Sequence[str], timeout: float) -> list[str]:
            return ["sh", "-c", f'{noise}; exec "$@"', "sh", *argv]

    writer = program("newdb1", f"cat >{tmp_path}/one")
    script = ["sh", "-c", f"printf 'the stream'; echo '{DONE}' >&2"]
    assert hand_over(Program(Noisy("olddb1"), script), [writer], done=DONE, cancel=CancelToken(), tell=lambda count: None) == 10
    assert (tmp_path / "one").read_text() == "the stream"


@pytest.mark.parametrize(
    ("source", "target", "name", "words"),
    [
        ("echo half; echo 'lost the server' >&2; exit 1", "cat >/dev/null; echo 'stream ended' >&2; exit 1", "olddb1", "lost the server"),
        ("echo whole", "cat >/dev/null", "olddb1", "without a word"),  # it never printed that all was well
        (f"echo whole; echo '{DONE}' >&2", "cat >/dev/null; echo 'No space left on device' >&2; exit 1", "newdb1", "No space left"),
        ("exit 1", "cat >/dev/null", "olddb1", "without a word"),
        (f"yes; echo '{DONE}' >&2", "head -c 10 >/dev/null; echo 'No space left on device' >&2; exit 1", "newdb1", "No space left"),
    ],
)
def test_who_is_at_fault_is_named(source: str, target: str, name: str, words: str) -> None:
    with pytest.raises(StepFailed) as caught:
        hand(source, target)
    assert caught.value.fact.startswith(name)
    assert words in caught.value.cause
    assert "begins again" in caught.value.remedy


def test_a_cancel_ends_a_stream_that_stands_still() -> None:
    cancel = CancelToken()
    threading.Timer(0.3, lambda: cancel.set("a test")).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        hand("exec sleep 60", "cat >/dev/null", cancel=cancel)
    assert time.monotonic() - began < 20


def test_progress_has_bytes_and_an_end() -> None:
    lines: list[str] = []
    tell = progress_of(1000 << 20, lines.append)
    tell(250 << 20)
    tell(1000 << 20)
    assert "250 MiB of about 1000 MiB arrived, 25%; about" in lines[0]
    assert "left" in lines[0]
    assert "left" not in lines[1]
