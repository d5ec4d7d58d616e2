"""Files of this tool that a crash has left empty or torn, or a later version has written: no traceback, and no "there is nothing" where that counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parallel_build.database.schema import meanings
from parallel_build.database.schema.prints import Known
from parallel_build.errors import StepFailed
from parallel_build.machines.existing.manifest import FOLDER, Manifest, Record
from parallel_build.records.run_folder import RunFolder
from tests.fast.files_host import Files

TORN = (b"", b"{", b"null", b"[1]", b'"x"', b"\xff\xfe\x00", b'{"taken": "then"}')


@pytest.mark.parametrize("content", TORN)
def test_a_manifest_that_can_not_be_read_is_not_none(content: bytes) -> None:
    host = Files("newms1")
    assert Manifest(host).record() is None
    host.files[f"{FOLDER}/record.json"] = content
    with pytest.raises(StepFailed, match=rf"newms1: {FOLDER}/record\.json can't be read.*install the server again"):
        Manifest(host).record()


def test_a_manifest_of_a_later_version_is_read() -> None:
    host = Files("newms1")
    host.files[f"{FOLDER}/record.json"] = json.dumps({"stack": "test", "taken": "then", "added later": 1}).encode()
    assert Manifest(host).record() == Record("test", "then")


@pytest.mark.parametrize("content", TORN)
def test_judgements_that_can_not_be_read_are_made_again(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    host, opened = Files("newdb1"), Any
    monkeypatch.setattr(meanings, "identity", lambda opened: "10.11")
    meanings.keep(host, Known("mariadb 10.11", {"print": "meaning"}))
    assert meanings.known(opened, host, "mariadb").stable == {"print": "meaning"}  # type: ignore[arg-type]
    host.files[meanings.FILE] = content
    assert meanings.known(opened, host, "mariadb") == Known("mariadb 10.11")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", TORN)
def test_evidence_that_can_not_be_read_keeps_no_undo_from_its_end(content: bytes, tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "test", [])
    assert run.evidence("tidying") is None
    run.keep("tidying", {"kept": 1})
    assert run.evidence("tidying") is not None
    (run.path / "evidence" / "tidying.json").write_bytes(content)
    assert not (run.evidence("tidying") or {}).get("kept")
