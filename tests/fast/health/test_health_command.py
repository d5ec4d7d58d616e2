"""What `health` says while a window is open: where the stack stands, and nothing of an original that is down on purpose."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import pytest

from parallel_build.cli import DONE, FAILED, health
from parallel_build.cli.run_state import Situation
from parallel_build.errors import ConnectionFailed
from parallel_build.records.window import WindowRecord
from parallel_build.stack.state import StackState
from tests.fast.cli.test_recovery import ACCEPTED, CLOSED, FENCED, UP, situation
from tests.fast.health.test_health import facts
from tests.fast.sites import site


class Reading:
    """A stack file that was read."""

    state = StackState(found="file")

    def __init__(self, phase: str) -> None:
        self.site = site(phase=phase)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command with this record (an error: the host is gone) and situation; returns its exit code."""

    def ask(record: WindowRecord | Exception | None, found: Situation, *, phase: str = "switched", as_json: bool = False) -> int:
        class Store:
            def __init__(self, *_: Any) -> None:
                pass

            def look(self) -> WindowRecord | None:
                if isinstance(record, Exception):
                    raise record
                return record

        monkeypatch.setattr(health, "read_stack", lambda *_, **__: Reading(phase))
        monkeypatch.setattr(health, "with_recorded_keys", lambda reading: reading.site)
        monkeypatch.setattr("parallel_build.operations.record_hosts.looked_at", Store)
        monkeypatch.setattr("parallel_build.cli.run_state.gather", lambda *_: found)
        monkeypatch.setattr("parallel_build.health.gather", lambda *_: facts())
        return health.run(argparse.Namespace(stack="test", config_file=None, json=as_json))

    return ask


def test_after_the_switch_it_says_where_the_stack_stands(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(ACCEPTED, situation(FENCED, UP, record=ACCEPTED, mine=True)) == DONE
    printed = capsys.readouterr().out
    assert "The NEW side serves." in printed and "Back:" in printed
    assert "not judged" not in printed and "BLOCKS" not in printed


def test_within_the_window_too_and_it_is_no_success_while_no_side_serves(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(CLOSED, situation(FENCED, FENCED, record=CLOSED, mine=True), as_json=True) == FAILED
    reported = json.loads(capsys.readouterr().out)
    assert reported["windowOpen"] and reported["serving"] == "neither" and reported["headline"].startswith("NEITHER")


@pytest.mark.parametrize("phase", ["switched", "retired"])
def test_an_original_that_was_taken_away_is_not_judged_either(asked: Any, capsys: pytest.CaptureFixture[str], phase: str) -> None:
    assert asked(ConnectionFailed("olddb1 is gone", "", ""), situation(FENCED, UP, record_problem="olddb1 is gone"), phase=phase) == DONE
    assert "The NEW side serves." in capsys.readouterr().out


@pytest.mark.parametrize("record", [None, replace(ACCEPTED, closed="then")])
def test_without_an_open_window_the_original_is_judged(asked: Any, capsys: pytest.CaptureFixture[str], record: WindowRecord | None) -> None:
    assert asked(record, situation(UP, FENCED), phase="prepared") == DONE
    assert "Health of the original of stack test" in capsys.readouterr().out


def test_before_the_switch_an_original_that_can_not_be_read_is_judged_by_the_rules(asked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    asked(ConnectionFailed("olddb1 is gone", "", ""), situation(UP, FENCED), phase="prepared")
    assert "Health of the original of stack test" in capsys.readouterr().out
