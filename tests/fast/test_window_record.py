"""The window's record: whoever writes, nobody's word is lost, and of a step and a way back at one moment the way back wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.records import window
from parallel_build.records.window import WindowRecord, WindowStore
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

HERE = site()


class Store(WindowStore):
    """The real one, on a folder of this machine; something may come between its reading and its writing."""

    def __init__(self, folder: Path, between: Callable[[], Any] | None = None) -> None:
        super().__init__(LocalHost(), HERE)  # type: ignore[arg-type]
        self._folder, self._between = folder, between
        self.host.read = self._read  # type: ignore[method-assign, assignment]

    @property
    def path(self) -> str:
        return str(self._folder / "window.json")

    def _read(self, path: str) -> bytes:
        raw = Path(path).read_bytes()
        if self._between is not None:
            between, self._between = self._between, None
            between()
        return raw


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder on the database host, with an open window of this stack."""
    monkeypatch.setattr(window, "FOLDER", str(tmp_path))
    record = WindowRecord("test", HERE.identity, opened="then")
    (tmp_path / "window.json").write_text(json.dumps(record.__dict__) + "\n")
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


def test_a_way_back_that_begins_while_a_step_writes_is_not_erased(folder: Path) -> None:
    Store(folder, between=lambda: Store(folder).mark_returning()).remember("HostSetting", previous="10.91.0.11")
    record = Store(folder).mine()
    assert record.returning and record.facts["HostSetting"] == {"previous": "10.91.0.11"}


def test_of_a_start_and_a_way_back_at_one_moment_the_way_back_wins(folder: Path) -> None:
    late = Store(folder, between=lambda: Store(folder).mark_returning())
    with pytest.raises(GuardFailed, match=r"a way back has begun .* python -m parallel_build back test"):
        late.note({"FirstManagement": {"began": 1.0}}, forward=True)
    assert "FirstManagement" not in Store(folder).mine().facts
    Store(folder).note({"FirstManagement": {"touched": True}})
    assert Store(folder).facts("FirstManagement") == {"touched": True}, "what an undo has to know is kept all the same"


def test_marks_are_kept_and_told_once(folder: Path) -> None:
    assert not Store(folder).mine().ahead
    Store(folder).mark_returning()
    first = Store(folder).mine().returning
    Store(folder).mark_returning()
    assert (Store(folder).mine().returning, Store(folder).mine().ahead) == (first, False)
    Store(folder).mark_returning(ahead=True)
    assert (Store(folder).mine().returning, Store(folder).mine().ahead) == (first, True)
    Store(folder).close()
    told = [json.loads(line)["what"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert told == ["going back", "going back", "window closed"]
    with pytest.raises(GuardFailed, match="no window is open"):
        Store(folder).remember("Step", fact=1)


def test_a_record_that_was_taken_by_another_stack_is_not_written(folder: Path) -> None:
    def taken() -> None:
        (folder / "window.json").write_text(json.dumps(WindowRecord("other", "another's", opened="now").__dict__))

    with pytest.raises(GuardFailed, match="held by stack other"):
        Store(folder, between=taken).remember("Step", fact=1)


def test_a_record_of_any_size_is_written(folder: Path) -> None:
    hosts = {f"host-{number:05}": "x" * 40 for number in range(5000)}
    Store(folder).remember("Window", hosts_up=hosts)
    assert Store(folder).facts("Window")["hosts_up"] == hosts
