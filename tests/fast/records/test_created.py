"""What users created is on record once, and how far it was created again survives torn lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack.created import Created, Found
from parallel_build.errors import GuardFailed
from parallel_build.records import created
from parallel_build.records.created import BEGUN, DONE, CreatedFiles, CreatedRecord
from parallel_build.records.record_file import RecordFile
from tests.fast.local_host import LocalHost

WEB = Created("security groups", "u-1", "web", "ann", "/after/", details={"description": "Web"})
KEY = Created("SSH key pairs", "u-2", "desk", "ann", "/after/", details={"publicKey": "ssh-ed25519 A"})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CreatedFiles:
    host: Any = LocalHost()
    monkeypatch.setattr(created, "FOLDER", str(tmp_path))
    return CreatedFiles(host)


def of(*objects: Created, number: int = 3, unknown: str = "") -> CreatedRecord:
    return CreatedRecord(number, "stack-1", f"opened-{number}", Found(list(objects), {}), unknown)


def test_it_is_kept_once_and_read_back_as_it_was(files: CreatedFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.read() is None
    assert files.keep(of(WEB, KEY))
    assert files.read() == of(WEB, KEY)
    monkeypatch.setattr(RecordFile, "write", lambda *_, **__: pytest.fail("nothing is written the second time"))
    assert not files.keep(of(WEB, KEY))


def test_a_later_try_of_the_same_rollback_takes_nothing_away(files: CreatedFiles) -> None:
    files.keep(of(WEB))
    assert not files.keep(of(unknown="newdb1 hangs")), "what is known stays"
    assert files.keep(of(KEY))
    assert files.read() == of(WEB, KEY)


def test_a_later_window_takes_its_place_and_the_earlier_text_is_kept(files: CreatedFiles, tmp_path: Path) -> None:
    files.keep(of(WEB))
    files.keep(of(KEY, number=4))
    assert files.read() == of(KEY, number=4)
    assert [path for path in tmp_path.glob("created-*.json") if '"web"' in path.read_text()]


def test_a_text_that_says_nothing_is_never_taken_for_none(files: CreatedFiles, tmp_path: Path) -> None:
    (tmp_path / "created.json").write_text('{"number": 3}\n')
    with pytest.raises(GuardFailed, match=r"can't be used.*KeyError"):
        files.read()


def test_a_line_that_was_torn_spoils_neither_the_one_before_nor_the_one_after(files: CreatedFiles, tmp_path: Path) -> None:
    files.note(3, WEB.key, BEGUN)
    with (tmp_path / "replayed-3.jsonl").open("a") as file:
        file.write('{"key": "security gr')
    files.note(3, WEB.key, DONE, "id-9", new="203.0.113.9")
    files.note(3, KEY.key, BEGUN)
    found = files.entries(3)
    assert (found[WEB.key].stage, found[WEB.key].id, found[WEB.key].note) == (DONE, "id-9", {"new": "203.0.113.9"})
    assert found[KEY.key].stage == BEGUN and files.entries(4) == {}
