"""A secret shows nowhere unless it is asked to."""

from __future__ import annotations

import json
import logging
import pickle

import pytest

from parallel_build.records.run_folder import RunFolder
from parallel_build.secret import Secret, mask
from tests.fast.sites import SECRETS, site


def test_secret_is_masked_wherever_it_is_formatted(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2hunter2")
    logging.getLogger("x").warning("%s %r", secret, secret)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>40}", str([secret]), str({"a": secret}), caplog.text]
    assert not any("hunter2" in text for text in shown)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps({"a": secret})


def test_configuration_and_errors_hold_no_secret() -> None:
    text = repr(site()) + str(site().secrets) + site().secrets.model_dump_json()
    assert not any(value in text for value in SECRETS.values())


def test_mask_takes_the_longer_of_two_that_overlap() -> None:
    assert mask("a=passwordpassword", [Secret("password"), Secret("passwordpassword")]) == "a=[secret]"


def test_run_folder_is_private_and_masked(tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = RunFolder(tmp_path, "lab", [Secret("hunter2hunter2")])
    run.record("intent", action="use hunter2hunter2")
    run.log("Step", "hunter2hunter2 went by")
    run.keep("Step", {"value": "hunter2hunter2"})
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert "hunter2" not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


def test_torn_last_line_of_the_journal_is_left_out(tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = RunFolder(tmp_path, "lab", [])
    run.record("intent", action="one")
    with (run.path / "journal.jsonl").open("a") as file:
        file.write('{"kind": "int')
    assert [entry["action"] for entry in run.journal()] == ["one"]
