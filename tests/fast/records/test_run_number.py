"""Runs take numbers: each a higher one, whatever else is full, gone or at work at the same moment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import GuardFailed
from parallel_build.records import run_number
from parallel_build.records.run_number import Claims
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote import frame
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

HERE = site()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The record's host."""
    monkeypatch.setattr(run_number, "FOLDER", str(tmp_path / "lib"))
    monkeypatch.setattr(run_number, "VOLATILE", str(tmp_path / "run"))
    found: Any = LocalHost()
    return found


def on_record(monkeypatch: pytest.MonkeyPatch, record: WindowRecord | None) -> None:
    monkeypatch.setattr(WindowStore, "read", lambda self: record)


def test_each_run_takes_a_higher_number_and_keeps_it(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on_record(monkeypatch, None)
    one = Claims()
    assert [one.take(host, HERE), one.take(host, HERE)] == [1, 1]
    assert Claims().take(host, HERE) == 2
    on_record(monkeypatch, WindowRecord("test", HERE.identity, token=40))
    assert Claims().take(host, HERE) == 41, "the folder may be new, the record knows better"


@pytest.mark.processes
def test_runs_that_begin_at_one_moment_take_different_numbers(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on_record(monkeypatch, None)
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: Claims().take(host, HERE), range(8))) == list(range(1, 9))


def test_a_server_that_has_seen_a_number_gives_no_lower_one(host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_record(monkeypatch, None)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/token").write_text("17".ljust(127) + "\n")
    assert Claims().take(host, HERE) == 18


def test_who_goes_back_does_not_wait_for_the_commands_of_the_run_before(host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_record(monkeypatch, None)
    text = frame.FRAME.replace(frame.FOLDER, str(tmp_path / "lib")).replace(frame.VOLATILE, str(tmp_path / "run"))
    slow = subprocess.Popen(
        ["sh", "-c", text, "mark", "-", "7", "sh", "-c", f"touch {tmp_path / 'begun'}; exec sleep 60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for("the slow command", (tmp_path / "begun").exists, timeout=20, cancel=CancelToken())
        started = time.monotonic()
        assert Claims().take(host, HERE) == 8
        assert time.monotonic() - started < 10 and slow.poll() is None, "that it ends, the first command with the new number sees to"
    finally:
        os.killpg(slow.pid, signal.SIGKILL)
        slow.wait()


def test_where_nothing_can_be_written_the_number_is_kept_in_memory(host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_record(monkeypatch, None)
    (tmp_path / "lib").write_text("a file where the folder should be")
    assert [Claims().take(host, HERE), Claims().take(host, HERE)] == [1, 2]


def test_no_number_is_taken_next_to_a_record_that_can_not_be_read(host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreadable(self: WindowStore) -> None:
        raise GuardFailed("window.json can't be used", "", "")

    monkeypatch.setattr(WindowStore, "read", unreadable)
    with pytest.raises(GuardFailed):
        Claims().take(host, HERE)
    assert not (tmp_path / "lib").exists()
