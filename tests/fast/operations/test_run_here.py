"""The operator's own commands on this machine end in time, and nothing of them acts later."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import Cancelled, StepFailed
from parallel_build.operations import run_here as run_here_module
from parallel_build.operations.run_here import run_here

pytestmark = pytest.mark.processes

LONG = 600  # seconds


def lasting() -> str:
    """Seconds for a `sleep` that is told from every other by them."""
    return f"{LONG}.{uuid.uuid4().int}"


def runs(word: str) -> bool:
    """Whether a process has this word among its own."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in each.read_bytes().split(b"\0"):
                return True
    return False


def ends(word: str) -> bool:
    """Whether no such process is left within a while."""
    end = time.monotonic() + 20
    while runs(word):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_what_it_printed_comes_back() -> None:
    assert run_here(["sh", "-c", "echo turned; echo slowly >&2"], 60, "key", CancelToken()).split() == ["turned", "slowly"]
    assert run_here(["sh", "-c", "cat; printf '\\377'"], 60, "key", CancelToken()) == "\N{REPLACEMENT CHARACTER}", (
        "it is asked nothing, and may print anything"
    )


def test_a_failure_has_its_last_line() -> None:
    with pytest.raises(StepFailed) as caught:
        run_here(["sh", "-c", "echo out; echo first >&2; printf 'no backend \\377' >&2; exit 3"], 60, "original.frontend", CancelToken())
    assert "ended with exit code 3" in caught.value.fact and caught.value.cause.startswith("no backend")
    assert caught.value.remedy == "correct original.frontend"


def test_a_program_that_it_leaves_running_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_here_module, "COMES", 1.0)
    word, began = lasting(), time.monotonic()
    pid = int(run_here(["sh", "-c", f"sleep {word} & echo $!"], LONG, "key", CancelToken()))
    assert time.monotonic() - began < LONG / 2
    os.kill(pid, signal.SIGKILL)  # it is there: whoever ran it wanted it to stay
    assert ends(word)


def test_one_that_hangs_is_ended_with_all_that_it_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_here_module, "ENDS", 0.3)
    word = lasting()
    with pytest.raises(StepFailed, match=r"did not end within 0\.5 s"):
        run_here(["sh", "-c", f"trap '' TERM; sleep {word} & wait; echo late >{tmp_path}/late"], 0.5, "key", CancelToken())
    assert ends(word) and not (tmp_path / "late").exists()


def test_one_that_hangs_is_ended_when_the_engine_stops() -> None:
    cancel, word = CancelToken(), lasting()
    threading.Timer(0.3, cancel.set, ["the test asks for it"]).start()
    with pytest.raises(Cancelled):
        run_here(["sleep", word], LONG, "key", cancel)
    assert ends(word)
