"""The record is asked right before each API call that changes something, and before none that only reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import Fenced, GuardFailed
from parallel_build.operations import asked_cloud
from parallel_build.operations.asked_cloud import asked
from parallel_build.records.window import WindowRecord
from tests.fast.memory_records import Records
from tests.fast.sites import site

HERE = site()


class Client:
    """A cloud that only notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, command: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append(command)
            return [] if parameters.get("fetch_list") else {}

        return call


class Stage:
    """A step with an API in a window; another operator may come between two calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, undoing: bool = False) -> None:
        self.record: WindowRecord | None = WindowRecord("test", HERE.identity, opened="then", token=3)
        self.asked = 0
        context: Any = SimpleNamespace(site=HERE, undoing=undoing)

        def store(_: Any) -> Records:
            self.asked += 1
            return Records(self.record, HERE, token=3)

        monkeypatch.setattr(asked_cloud, "store", store)
        self.cloud = asked(context, Cloud.new(HERE))
        self.client = Client()
        self.cloud._client = self.client  # type: ignore[assignment]


def test_each_call_that_changes_something_asks_and_none_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.cloud.list("listHosts", type="Routing")
    stage.cloud.call("listCapabilities")
    stage.cloud.call("queryAsyncJobResult", jobid="1")
    assert stage.asked == 0
    for number, command in enumerate(("destroySystemVm", "restartNetwork", "restartVPC", "updateConfiguration", "registerTemplate"), 1):
        stage.cloud.call(command, id="1")
        assert stage.asked == number


def test_a_step_that_was_overtaken_makes_no_further_call(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.cloud.call("restartNetwork", id="1")
    assert stage.record is not None
    stage.record.token = 4
    with pytest.raises(Fenced):
        stage.cloud.call("restartNetwork", id="2")
    assert stage.client.calls == ["restartNetwork"]


@pytest.mark.parametrize("change", ["closed", "returning", "identity", "gone"])
def test_no_call_is_made_once_the_window_is_not_this_steps_any_more(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    stage = Stage(monkeypatch)
    if change == "gone":
        stage.record = None
    else:
        setattr(stage.record, change, "since then")
    with pytest.raises(GuardFailed):
        stage.cloud.call("destroySystemVm", id="1")
    assert stage.client.calls == []


def test_a_rollback_makes_its_calls_while_it_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, undoing=True)
    assert stage.record is not None
    stage.record.returning = "now"
    stage.cloud.call("updateConfiguration", name="host", value="x")
    assert stage.client.calls == ["updateConfiguration"]
