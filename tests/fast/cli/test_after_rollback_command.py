"""The command: a plan unless it is asked for more, the run's number before the first write, and no secret on standard output."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_build import __main__
from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED, after_rollback
from parallel_build.cloudstack import api
from parallel_build.cloudstack.created import Found
from parallel_build.operations import replay_record
from parallel_build.operations.context import Context
from parallel_build.records import created as created_record
from parallel_build.records.created import CreatedFiles, CreatedRecord
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.replay import report
from tests.fast.local_host import LocalHost
from tests.fast.memory_records import Records
from tests.fast.replay.test_replay import OBJECTS, Cloud
from tests.fast.sites import site


class Operator:
    """Somebody at a workstation, after a rollback."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud, self.site, self.host = Cloud(), site(), LocalHost()
        self.claimed: list[int] = []
        self.run_folder = RunFolder(folder / "runs", "test", [])
        self.records = Records(WindowRecord("test", self.site.identity, opened="then", closed="now", number=3), self.site)
        monkeypatch.setattr(created_record, "FOLDER", str(folder))
        CreatedFiles(self.host).keep(CreatedRecord(3, self.site.identity, "then", Found(OBJECTS, {"webhooks": "no such table"})))
        monkeypatch.setattr(after_rollback, "read_stack", lambda stack, config_file: self.site)
        monkeypatch.setattr(after_rollback, "with_recorded_keys", lambda site: site)
        monkeypatch.setattr(after_rollback, "undoing", self.undoing)
        monkeypatch.setattr(after_rollback, "claim", lambda context: self.claimed.append(len(self.cloud.calls)))
        monkeypatch.setattr(api.Cloud, "original", lambda site: self.cloud)
        monkeypatch.setattr(replay_record, "store", lambda context: self.records)
        monkeypatch.setattr(replay_record, "original_database", lambda context: self.host)

    @contextlib.contextmanager
    def undoing(self, site: Any, step: str) -> Iterator[Context]:
        yield Context(self.site, None, self.run_folder, CancelToken(), print, step)  # type: ignore[arg-type]


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(tmp_path, monkeypatch)


def test_a_plan_is_the_default_and_takes_no_number(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["after-rollback", "test"]) == DONE
    shown = capsys.readouterr().out
    assert "users: 3" in shown and "+ bob of /after/ann: to replay" in shown and "not known: webhooks: no such table" in shown
    assert "esx1: govc vm.power -off -force i-9-9-VM" in shown and "nothing was changed" in shown
    assert operator.cloud.calls == [] and operator.claimed == [] and not (operator.run_folder.path / report.FILE).exists()


@pytest.mark.processes
def test_a_replay_takes_a_number_first_and_a_second_one_changes_nothing(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["after-rollback", "test", "--replay"]) == DONE
    shown, calls = capsys.readouterr().out, len(operator.cloud.calls)
    assert operator.claimed == [0] and calls > 10 and "give each its password" in shown
    passwords = json.loads((operator.run_folder.path / report.FILE).read_text())["then"]["users"]
    assert len(passwords) == 2 and all(text not in shown for text in passwords.values())
    kept = (operator.run_folder.path / "evidence/after-rollback.json").read_text()
    assert '"replayed"' in kept and all(text not in kept for text in passwords.values())
    assert __main__.main(["after-rollback", "test", "--replay", "--json"]) == DONE
    assert len(operator.cloud.calls) == calls
    document = json.loads(capsys.readouterr().out)
    assert {each["verdict"] for each in document["objects"]} == {"replayed", "there", "not replayed"}


@pytest.mark.processes
def test_what_the_cloud_refuses_gives_an_exit_code_of_its_own(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.cloud.refuse = {"createNetwork"}
    assert __main__.main(["after-rollback", "test", "--replay"]) == FAILED
    assert "- lonely of /after/ann: not replayed: the cloud refused it: it is not free" in capsys.readouterr().out


def test_while_a_window_is_open_nothing_is_created(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.records.record.closed = None  # type: ignore[union-attr]
    assert __main__.main(["after-rollback", "test", "--replay"]) == FAILED
    assert "a window is open since then" in capsys.readouterr().err and operator.cloud.calls == []
    assert __main__.main(["after-rollback", "test", "--plan"]) == DONE, "a look is always allowed"
