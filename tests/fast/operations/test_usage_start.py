"""The usage server counts as up when this very start says so: not because its unit is active, and not by the words of an earlier start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import setup
from parallel_build.cloudstack.log import LogFollower
from parallel_build.cloudstack.services import USAGE, UnitState
from parallel_build.errors import StepFailed
from parallel_build.operations import prove_original_down, start_gate, start_usage
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.remote.host import Connections
from tests.fast.local_host import LocalHost
from tests.fast.memory_records import Records
from tests.fast.sites import site

READY = "2026-11-22 16:50:30,084 INFO  [c.c.u.UsageServer] (main:[]) (logid:) UsageServer ready...\n"
STARTING = "2026-11-22 16:50:29,084 INFO  [c.c.u.UsageManagerImpl] (main:[]) (logid:) Starting Usage Manager\n"
REFUSED = "2026-11-22 16:50:29,084 ERROR [c.c.u.UsageManagerImpl] (main:[]) (logid:) missing configuration values for usage job\n"


@dataclass
class Moment:
    """What is to be seen at one look.

    Attributes:
        log: written since the look before.
        pid: of the process, 0 between two starts of the unit.
    """

    log: str = ""
    start: str = "first"
    pid: int = 7
    active: bool = True


@dataclass
class Usage:
    """A usage server whose moments pass, one at each look at its log."""

    host: LocalHost
    path: Path
    moments: list[Moment]
    done: list[str] = field(default_factory=list)

    @property
    def now(self) -> Moment:
        return self.moments[0]

    def state(self, unit: str) -> UnitState:
        assert unit == USAGE
        return UnitState(unit, True, self.now.active, True, False, self.now.pid)

    def invocation(self, unit: str) -> str:
        return self.now.start

    def stop_and_fence(self, unit: str) -> bool:
        self.done.append("fenced")
        return True

    def start(self, unit: str) -> bool:
        self.done.append("started")
        return True


@pytest.fixture
def arranged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def arrange(*moments: Moment) -> tuple[Context, Usage]:
        log = tmp_path / "usage.log"
        log.write_text(STARTING + READY)  # of an earlier start
        usage = Usage(LocalHost("newms1"), log, list(moments))
        here = site()
        records = Records(WindowRecord("test", here.identity, opened="then"), here)
        monkeypatch.setattr(start_usage, "Services", lambda host: usage)
        monkeypatch.setattr(start_usage, "USAGE_LOG", str(log))
        monkeypatch.setattr(setup, "link_usage", lambda host: None)
        monkeypatch.setattr(prove_original_down, "prove", lambda context: usage.done.append("original down"))
        monkeypatch.setattr(start_usage, "store", lambda context: records)
        monkeypatch.setattr(start_gate, "release", lambda context, host, unit, *, enable: usage.done.append("released"))
        read = LogFollower.lines

        def lines(follower: LogFollower) -> list[str]:
            with log.open("a") as file:
                file.write(usage.now.log)
            found = read(follower)
            if len(usage.moments) > 1:
                usage.moments.pop(0)
            return found

        monkeypatch.setattr(LogFollower, "lines", lines)
        cancel = CancelToken()
        monkeypatch.setattr(cancel, "wait", lambda seconds: None)
        here = site()
        return Context(here, Connections(here, cancel), RunFolder(tmp_path, "test", []), cancel, lambda _: None), usage

    return arrange


def test_it_is_up_once_it_says_so(arranged: Any) -> None:
    context, usage = arranged(Moment(), Moment(STARTING), Moment(), Moment(READY))
    assert start_usage.start_usage(context) == "newms1"
    assert usage.done == ["fenced", "original down", "released", "started"]


@pytest.mark.processes
def test_one_that_dies_long_after_its_start_is_not_up(arranged: Any) -> None:
    context, _ = arranged(*[Moment(STARTING)] * 20, Moment(REFUSED, pid=0))
    with pytest.raises(StepFailed, match=r"newms1 does not stay up.*missing configuration values for usage job"):
        start_usage.start_usage(context)


@pytest.mark.parametrize("next_start", [Moment(READY, start="second", pid=8), Moment(READY, pid=8), Moment("", active=False, pid=0)])
def test_words_of_the_next_start_do_not_count_for_this_one(arranged: Any, next_start: Moment) -> None:
    context, _ = arranged(Moment(STARTING), Moment(), next_start)
    with pytest.raises(StepFailed, match="does not stay up"):
        start_usage.start_usage(context)


@pytest.mark.processes
def test_one_that_says_nothing_is_not_up(arranged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_usage, "UP_WITHIN", 0.2)
    context, _ = arranged(Moment(STARTING))
    with pytest.raises(StepFailed, match="waiting for cloudstack-usage on newms1 to be ready"):
        start_usage.start_usage(context)
