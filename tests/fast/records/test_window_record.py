"""The window's record: whoever writes, nobody's word is lost, and of a step and a rollback at one moment the rollback wins."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import Fenced, GuardFailed
from parallel_build.records import window
from parallel_build.records.record_file import RecordFile, Text
from parallel_build.records.window import WindowRecord, WindowStore
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

HERE = site()

pytestmark = pytest.mark.processes


class File(RecordFile):
    """The real one; something may come between its reading and its writing."""

    between: Callable[[], Any] | None = None

    def read(self) -> Text:
        text = super().read()
        if self.between is not None:
            between, self.between = self.between, None
            between()
        return text


class Store(WindowStore):
    """The real one, on a folder of this machine."""

    def __init__(self, folder: Path, between: Callable[[], Any] | None = None, token: int | None = None) -> None:
        super().__init__(LocalHost(), HERE)
        self.file = File(self.host, str(folder))
        self.file.between, self.host.token = between, token


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder on the database host, with an open window of this stack."""
    monkeypatch.setattr(window, "FOLDER", str(tmp_path))
    record = WindowRecord("test", HERE.identity, opened="then")
    (tmp_path / "window.json").write_text(record.to_json() + "\n")
    return tmp_path


def test_facts_of_steps_that_run_at_once_are_all_kept(folder: Path) -> None:
    def write(writer: int) -> None:
        for number in range(6):
            Store(folder).remember(f"Step{writer}", **{f"fact{number}": number})

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(write, writer) for writer in range(4)]:
            future.result()
    facts = Store(folder).mine().facts
    assert facts == {f"Step{writer}": {f"fact{number}": number for number in range(6)} for writer in range(4)}
    assert (folder / "window.json").stat().st_mode & 0o777 == 0o600


def test_a_rollback_that_begins_while_a_step_writes_is_not_erased(folder: Path) -> None:
    Store(folder, between=lambda: Store(folder).mark_returning()).remember("HostSetting", previous="10.91.0.11")
    record = Store(folder).mine()
    assert record.returning and record.facts["HostSetting"] == {"previous": "10.91.0.11"}


def test_of_a_start_and_a_rollback_at_one_moment_the_rollback_wins(folder: Path) -> None:
    late = Store(folder, between=lambda: Store(folder).mark_returning())
    with pytest.raises(GuardFailed, match=r"a rollback has begun .* parallel-build back test"):
        late.note({"FirstManagement": {"began": 1.0}}, forward=True)
    assert "FirstManagement" not in Store(folder).mine().facts
    Store(folder).note({"FirstManagement": {"touched": True}})
    assert Store(folder).facts("FirstManagement") == {"touched": True}, "what an undo has to know is kept all the same"


def test_marks_are_kept_and_reported_once(folder: Path) -> None:
    assert not Store(folder).mine().ahead
    Store(folder).mark_returning()
    first = Store(folder).mine().returning
    Store(folder).mark_returning()
    assert (Store(folder).mine().returning, Store(folder).mine().ahead) == (first, False)
    Store(folder).mark_returning(ahead=True)
    assert (Store(folder).mine().returning, Store(folder).mine().ahead) == (first, True)
    Store(folder).close()
    reported = [json.loads(line)["what"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert reported == ["going back", "going back", "window closed"]
    with pytest.raises(GuardFailed, match="no window is open"):
        Store(folder).remember("Step", fact=1)


def test_a_record_that_was_taken_by_another_stack_is_not_written(folder: Path) -> None:
    def taken() -> None:
        (folder / "window.json").write_text(WindowRecord("other", "another's", opened="now").to_json())

    with pytest.raises(GuardFailed, match="held by stack other"):
        Store(folder, between=taken).remember("Step", fact=1)


def test_a_record_of_any_size_is_written(folder: Path) -> None:
    hosts = {f"host-{number:05}": "x" * 40 for number in range(5000)}
    Store(folder).remember("Window", hosts_up=hosts)
    assert Store(folder).facts("Window")["hosts_up"] == hosts


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is empty"),
        (b"\n" * 4096, "it is empty"),
        (b'{"stack": "test", "identity": "x", "fac', "JSONDecodeError"),
        (b"\xff\xfe\n", "UnicodeDecodeError"),
        (b"[]\n", "it is no JSON object"),
        (b'{"opened": "then"}\n', "it does not say stack and identity"),
        (b'{"stack": "test", "identity": "x", "facts": []}\n', "of another kind"),
    ],
)
def test_a_record_that_says_nothing_is_never_taken_for_none(folder: Path, raw: bytes, why: str) -> None:
    (folder / "window.json").write_bytes(raw)
    for ask in (
        lambda: Store(folder).read(),
        lambda: Store(folder).facts("FirstManagement"),
        lambda: Store(folder).open(),
        lambda: Store(folder).mark_returning(),
    ):
        with pytest.raises(GuardFailed, match=rf"can't be used: .*{why}.*window.json.1"):
            ask()
    assert (folder / "window.json").read_bytes() == raw


def test_what_a_later_version_has_written_is_kept(folder: Path) -> None:
    later = {**json.loads((folder / "window.json").read_text()), "version": 9, "fenced": ["newms1"], "routers": {"wave": 3}}
    (folder / "window.json").write_text(json.dumps(later) + "\n")
    Store(folder).remember("Step", fact=1)
    written = json.loads((folder / "window.json").read_text())
    assert (written["version"], written["fenced"], written["routers"]) == (9, ["newms1"], {"wave": 3})


def test_a_record_of_version_1_is_read_and_continued(folder: Path) -> None:
    old = {"stack": "test", "identity": HERE.identity, "opened": "then", "facts": {"Window": {"hosts_up": {"1": "kvm1"}}}}
    (folder / "window.json").write_text(json.dumps(old))
    Store(folder, token=3).remember("Step", fact=1)
    record = Store(folder).mine()
    assert (record.token, record.revision, record.facts) == (3, 1, {"Window": {"hosts_up": {"1": "kvm1"}}, "Step": {"fact": 1}})


def test_what_it_reported_before_stays_next_to_it(folder: Path) -> None:
    for number in range(4):
        before = (folder / "window.json").read_bytes().partition(b"\n")[0]
        Store(folder).remember("Step", fact=number)
        assert (folder / "window.json.1").read_bytes().partition(b"\n")[0] == before
    assert json.loads((folder / "window.json").read_text())["facts"] == {"Step": {"fact": 3}}


def test_an_earlier_run_writes_nothing_any_more(folder: Path) -> None:
    Store(folder, token=8).mark_returning()
    before = (folder / "window.json").read_bytes()
    for late in (lambda: Store(folder, token=7).remember("Step", fact=1), lambda: Store(folder, token=7).close()):
        with pytest.raises(Fenced, match="run 8 has taken over the window on olddb1, this is run 7"):
            late()
    assert (folder / "window.json").read_bytes() == before
    Store(folder, token=8).close()
    with pytest.raises(GuardFailed, match="no window is open"):
        Store(folder, token=7).remember("Step", fact=1)


def test_each_window_has_a_number_and_the_last_one_is_kept(folder: Path) -> None:
    Store(folder).close()
    assert Store(folder, token=9).open().number == 1
    Store(folder, token=9).close()
    assert Store(folder, token=10).open().number == 2
    assert len(list(folder.glob("window-*.json"))) >= 1


@pytest.mark.parametrize("missing", ["stack_of_another_state", "closed"])
def test_facts_of_another_stacks_open_window_are_an_error_and_not_empty(folder: Path, missing: str) -> None:
    closed = "now" if missing == "closed" else None
    record = WindowRecord("other", "0" * 24, opened="then", closed=closed, facts={"FirstManagement": {"began": 1}})
    (folder / "window.json").write_text(record.to_json() + "\n")
    if closed:
        assert Store(folder).facts("FirstManagement") == {}
    else:
        with pytest.raises(GuardFailed, match="held by stack other"):
            Store(folder).facts("FirstManagement")


@pytest.mark.skipif(os.getuid() != 0, reason="a small file system of its own needs root")
def test_a_full_disk_keeps_nobody_from_writing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        Store(small, token=1).open()
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        Store(small, token=2).mark_returning(ahead=True)
        hosts = {f"host-{number:05}": "x" * 40 for number in range(1000)}
        Store(small, token=2).remember("Window", hosts_up=hosts)
        record = Store(small).mine()
        assert record.returning and record.facts["Window"]["hosts_up"] == hosts
        Store(small, token=2).close()
        assert (Store(small).read() or record).closed
    finally:
        subprocess.run(["umount", small], check=True)
