"""Drain: servers are asked where that is safe, rest is waited for, and at the limit users are in again or what is cut off is on record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import work
from parallel_build.cloudstack.api import ApiUnavailable, Cloud
from parallel_build.cloudstack.services import UnitState
from parallel_build.cloudstack.work import Work
from parallel_build.errors import StepFailed
from parallel_build.operations import drain, open_calls
from parallel_build.operations.context import Context
from parallel_build.records.touched import MANAGEMENT, ORIGINAL, STOP, TouchedServer
from parallel_build.records.window import WindowRecord
from parallel_build.steps import drain as steps_drain
from tests.fast.memory_records import Records
from tests.fast.sites import site

JOB = Work("job", 11, "StartVMCmd", "VirtualMachine 3", 30, 9)
ORPHAN = Work("job", 12, "StopVMCmd", "VirtualMachine 4", 90000, 8, left=True)


class Original:
    """The original cloud: its servers' states, what is at work, and a clock that moves when somebody waits.

    Args:
        version: CloudStack's.
        busy: asked at a time, gives what is not at rest then.
        window: keys of the section.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, version: str, busy: Callable[[float], list[Work]], **window: Any) -> None:
        self.here = site(original={"version": version}, new={"version": "4.23.0.0"}, window=window)
        self.work, self.now, self.calls, self.reported = busy, 1000.0, list[str](), list[str]()
        self.states = {"a": "Up", "b": "Up"}
        self.records = Records(WindowRecord("test", self.here.identity, opened="then"), self.here)
        self.silent, self.refuses = False, False
        self.gone: set[str] = set()
        self.units = {"oldms1": True, "oldms2": True}
        cancel = cast(Any, CancelToken())
        cancel.wait = self.wait
        self.context = cast(
            Context,
            SimpleNamespace(
                site=self.here, configuration=self.here.configuration, cancel=cancel, progress=self.reported.append,
                intend=lambda *_, **__: None, host=lambda server: server.name,
            ),
        )  # fmt: skip
        monkeypatch.setattr(drain, "store", lambda _: self.records)
        monkeypatch.setattr(drain, "original_database", lambda _: None)
        monkeypatch.setattr(drain, "session", lambda _: contextlib.nullcontext(self))
        monkeypatch.setattr(work, "read", lambda _: self.work(self.now - 1000))
        monkeypatch.setattr(work, "due", lambda *_: ["snapshot of volume 7 at 02:00 UTC"])
        self.queued: Callable[[float], int] = lambda _: 0
        monkeypatch.setattr(work, "queued", lambda _: self.queued(self.now - 1000))
        monkeypatch.setattr(Cloud, "original", lambda _, server=None: Gone() if getattr(server, "name", "") in self.gone else self)
        self.answered = False
        monkeypatch.setattr(open_calls, "await_answered", self.answer)
        monkeypatch.setattr(drain, "let_users_in", lambda _: self.noted("users in"))
        monkeypatch.setattr(drain, "let_users_out", lambda _: self.noted("users out"))
        monkeypatch.setattr(
            drain,
            "Services",
            lambda name: SimpleNamespace(state=lambda unit: UnitState(unit, True, self.units[name], True, not self.units[name])),
        )

    def answer(self, *_: Any) -> None:
        assert self.calls in ([], ["users out"]), "before servers take no more jobs: a call may still begin one"
        self.answered = True

    def noted(self, what: str) -> list[str]:
        self.calls.append(what)
        return []

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for name, state in self.states.items():
            if state == "PreparingForShutDown" and not self.work(self.now - 1000):
                self.states[name] = "ReadyToShutDown"

    def value(self, statement: str) -> float:
        return self.now

    def list(self, command: str) -> list[dict[str, str]]:
        if self.silent:
            raise ApiUnavailable("no answer", "down", "start it", None)
        return [{"id": name, "name": f"oldms-{name}", "state": state} for name, state in self.states.items()]

    def call(self, command: str, managementserverid: str = "") -> dict[str, Any]:
        if command == "listCapabilities":
            if self.silent:
                raise ApiUnavailable("no answer", "down", "start it", None)
            return {"capability": {"cloudstackversion": str(self.here.configuration.original.version)}}
        self.calls.append(f"{command} {managementserverid}")
        if command == "prepareForShutdown":
            assert "PreparingForShutDown" not in self.states.values(), "refused while another server is at it"
            assert managementserverid in self.records.facts(drain.DRAIN)["asked"], "on record before it is asked"
            self.states[managementserverid] = "PreparingForShutDown"
        elif not self.refuses:
            self.states[managementserverid] = "Up"
        return {}


class Gone:
    """An address at which nobody answers any more."""

    def call(self, command: str, **_: Any) -> Any:
        raise ApiUnavailable("no answer", "down", "start it", None)

    list = call


def ends_after(seconds: float, *found: Work) -> Callable[[float], list[Work]]:
    return lambda now: list(found) if now < seconds else []


def test_a_job_that_a_call_begins_after_users_are_out_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call was received before, and is answered later; the packet filter waits for it itself."""
    for version in ("4.20.3.0", "4.22.1.0"):
        access = {"administrators": ["10.91.0.1/32"], "method": "cidr"}
        cloud = Original(monkeypatch, version, lambda now: [JOB] if cloud.answered and now < 20 else [], userAccess=access)  # noqa: B023 - used at once
        assert drain.drain(cloud.context)["most at once"] == 1


def test_servers_are_asked_one_after_the_other_from_421_on(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(30, JOB))
    out = drain.drain(cloud.context)
    assert cloud.calls == ["prepareForShutdown a", "prepareForShutdown b"] and set(cloud.states.values()) == {"ReadyToShutDown"}
    assert out["most at once"] == 1 and out["cut"] == [] and 30 <= out["seconds"] < 60
    assert any("snapshot of volume 7" in line for line in cloud.reported)


@pytest.mark.parametrize("version", ["4.18.0.0", "4.19.1.0", "4.20.3.0"])
def test_before_421_nobody_is_asked_since_running_jobs_would_fail(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    cloud = Original(monkeypatch, version, ends_after(20, JOB))
    assert drain.drain(cloud.context)["cut"] == [] and cloud.calls == []


def test_at_the_limit_users_are_in_and_jobs_allowed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(10**6, JOB), drain="1m")
    with pytest.raises(
        StepFailed, match=r"after 1 min 1 job, the longest for 30 s: job StartVMCmd .*users are in again.*window.drainThen to cut"
    ):
        drain.drain(cloud.context)
    assert cloud.calls[-2:] == ["cancelShutdown a", "users in"] and set(cloud.states.values()) == {"Up"}
    cloud.calls.clear()
    cloud.work = ends_after(0)
    assert drain.drain(cloud.context)["cut"] == []
    assert cloud.calls[0] == "users out", "the next try begins with users out again"


def test_what_is_cut_off_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.20.3.0", ends_after(10**6, JOB, ORPHAN), drain="1m", drainThen="cut")
    out = drain.drain(cloud.context)
    assert len(out["cut"]) == 2 and "users in" not in cloud.calls
    assert [Work.of(each) for each in cloud.records.facts(drain.DRAIN)["cut"]] == [JOB, ORPHAN]


def test_a_job_whose_server_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.20.3.0", ends_after(10**6, ORPHAN))
    assert drain.drain(cloud.context)["seconds"] == 0
    assert [each["id"] for each in cloud.records.facts(drain.DRAIN)["cut"]] == [12]


def test_a_try_that_is_begun_again_does_not_wait_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.20.3.0", ends_after(10**6, JOB), drain="1m", drainThen="cut")
    cloud.records.remember(drain.DRAIN, began=1000.0)
    cloud.now = 1055.0
    assert drain.drain(cloud.context)["seconds"] < 65


def test_what_this_window_has_stopped_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(10**6, JOB))
    for server in cloud.here.configuration.original.management:
        assert cloud.records.record is not None
        cloud.records.record.servers[server.name] = TouchedServer.of(server, ORIGINAL, MANAGEMENT, STOP)
    cloud.units["oldms1"] = False
    with pytest.raises(StepFailed):
        drain.drain(cloud.context)
    cloud.units["oldms2"] = False
    assert drain.drain(cloud.context) == {"adopted": True}


def test_jobs_are_allowed_again_only_where_they_were_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(0))
    assert drain.allow_jobs(cloud.context) == [] and cloud.calls == []
    drain.drain(cloud.context)
    cloud.states["b"] = "Up"  # it was restarted since
    cloud.calls.clear()
    assert drain.allow_jobs(cloud.context) == [] and cloud.calls == ["cancelShutdown a"]
    cloud.silent = True
    assert "nobody can tell" in drain.allow_jobs(cloud.context)[0]


def test_queued_jobs_are_taken_up_before_servers_take_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", lambda _: [])
    asked_at: list[float] = []
    cloud.queued = lambda now: int(now < 40)
    call = cloud.call

    def timed(command: str, **parameters: str) -> dict[str, Any]:
        asked_at.append(cloud.now - 1000)
        return call(command, **parameters)

    monkeypatch.setattr(cloud, "call", timed)
    drain.drain(cloud.context)
    assert asked_at and min(asked_at) >= 40


def test_a_queue_that_does_not_get_shorter_takes_half_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", lambda _: [], drain="1m")
    cloud.queued = lambda _: 3
    assert 30 <= drain.drain(cloud.context)["seconds"] < 40 and "prepareForShutdown a" in cloud.calls


def test_jobs_are_allowed_by_whichever_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured address may be that of a server that is lost."""
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(0))
    drain.drain(cloud.context)
    cloud.calls.clear()

    def silent(*_: Any, **__: Any) -> None:
        raise ApiUnavailable("no answer", "down", "start it", None)

    lost = SimpleNamespace(call=silent, list=silent)
    monkeypatch.setattr(Cloud, "original", lambda _, server=None: cloud if server and server.name == "oldms2" else lost)
    assert drain.allow_jobs(cloud.context) == [] and cloud.calls == ["cancelShutdown a", "cancelShutdown b"]


@pytest.mark.parametrize("held", [True, False])
def test_a_server_that_still_refuses_jobs_keeps_no_user_out(monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(0), **({"stopBefore": "Drain"} if held else {}))
    monkeypatch.setattr(steps_drain, "allow_jobs", lambda _: ["oldms2 still refuses jobs"])
    with pytest.raises(StepFailed, match="oldms2") if held else contextlib.nullcontext():
        steps_drain.Drain().revert(cloud.context)
    assert cloud.reported == ([] if held else ["oldms2 still refuses jobs"])


def test_jobs_are_allowed_again_by_whichever_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(monkeypatch, "4.21.0.0", ends_after(0))
    drain.drain(cloud.context)
    cloud.calls.clear()
    cloud.gone = {"", "oldms1"}  # the configured address, and the first server
    assert drain.allow_jobs(cloud.context) == []
    assert cloud.calls == ["cancelShutdown a", "cancelShutdown b"]
