"""The forecast: measured times only, and honest where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cli import forecast
from parallel_build.cli.forecast_page import Cloud, Figures, document, last_window, text, users_out
from parallel_build.errors import ConnectionFailed
from parallel_build.records.rehearsal import RehearsalRecord
from tests.fast.sites import site

REHEARSED = RehearsalRecord(
    True, "", "4.20.3.0", "4.22.1.0", seconds={"copy": 100.0, "fixes": 5.0, "host setting": 1.0, "setup": 10.0, "start": 60.0},
    schema={"4.22.1.0": 20.0}, ended="2026-11-20T10:00:00+00:00",
)  # fmt: skip
BUSY = Cloud((12, 240), 60, ["north", "south"], 4, 500, 100)
STEPS = {
    "UserAccess": 3.0, "Drain": 30.0, "OriginalManagement": 20.0, "DatabaseTransfer": 0.5, "OriginalDatabase": 5.0, "HostSetting": 0.5, "FirstManagement": 90.0,
    "Hypervisors": 15.0, "SystemVms": 120.0, "Acceptance": 1.0, "Routers": 200.0,
}  # fmt: skip


def lines(page: str, part: str) -> str:
    return next(line for line in page.splitlines() if line.strip().startswith(part))


def test_without_any_figure_it_says_so_and_adds_up_nothing() -> None:
    page = text("prod", site().configuration, BUSY, Figures())
    assert "Users out: no figure: rehearse first" in page and "0 s" not in page.replace("30 min 0 s", "")
    assert lines(page, "FirstManagement").endswith("no window and no rehearsal of this stack has one")
    assert "12 jobs run now, the longest for 4 min; jobs are waited for at most 10 min (window.drain)" in page
    assert "no wave: agents.upgrade is not configured; 60 hosts have an agent" in page
    assert "4 system VMs in 2 zones (north, south)" in page and "500 networks with a running router, 4 at a time; 100 idle ones" in page


def test_a_rehearsal_gives_what_it_has_and_the_rest_is_named() -> None:
    page = text("prod", site().configuration, BUSY, Figures(rehearsal=REHEARSED))
    assert "Users out: at least 2 min 56 s; without a figure: UserAccess, Drain, OriginalManagement, OriginalDatabase, Hypervisors" in page
    assert "1 min 45 s" in lines(page, "DatabaseTransfer") and "the rehearsal of 2026-11-20 and without the comparison" in page
    assert "HypervisorSteps" not in page, "nothing is configured to be done there"


def test_the_rehearsals_copy_is_no_figure_for_replication() -> None:
    found = users_out(site(transfer={"method": "replicate"}).configuration, Figures(rehearsal=REHEARSED))
    (transfer,) = [each for each in found if each.part == "DatabaseTransfer"]
    assert transfer.seconds is None and "does not" in transfer.source


def test_a_window_of_this_stack_gives_everything() -> None:
    evidence: dict[str, dict[str, Any]] = {"Agents": {"seconds": 70.0, "done": 60}, "Routers": {"renewed": 400}}
    configuration = site(agents={"upgrade": {"hosts": ["kvm1", "kvm2"]}}).configuration
    page = text("prod", configuration, BUSY, Figures("2026-11-01", STEPS, evidence, REHEARSED))
    assert "Users out: 4 min 45 s (users in: accepted)" in page and "the window of 2026-11-01" in lines(page, "FirstManagement")
    assert "2 hosts in 2 rounds (1 as a canary, then 10 at a time), about 20 s (10 s a round" in page
    assert "2 min 0 s in the window of 2026-11-01" in lines(page, "Zones:")
    assert "about 4 min 10 s (0.5 s a network in the last window): within routers.withUp, 30 min" in page


def test_when_users_come_in_decides_what_counts() -> None:
    figures = Figures("2026-11-01", STEPS)
    first = users_out(site(window={"usersIn": "first"}).configuration, figures)
    waits = users_out(site(routers={"untilRenewed": "wait"}).configuration, figures)
    assert [each.part for each in first][-1] == "Hypervisors" and [each.part for each in waits][-2:] == ["AdditionalManagement", "Routers"]
    assert sum(each.seconds or 0 for each in waits) == sum(STEPS.values())


def test_a_move_has_neither_routers_nor_old_system_vms_to_renew() -> None:
    page = text("prod", site(new={"version": "4.20.3.0"}, templates=[]).configuration, BUSY, Figures())
    assert (
        "a move of 4.20.3.0 to new servers" in page
        and "left alone: a move renews none" in page
        and "do not connect to a new server" in page
    )


def test_the_last_window_that_got_far_enough_counts_and_a_proof_that_was_repeated_does_not() -> None:
    def end(step: str, seconds: float, **more: Any) -> dict[str, Any]:
        return {"kind": "end", "step": step, "operation": "apply", "outcome": "done", "seconds": seconds, **more}

    opened = {"kind": "intent", "step": "Window", "action": "open the window"}
    journal = [
        {**opened, "time": "2026-10-01T00:00:00"}, end("Hypervisors", 9.0),
        {**opened, "time": "2026-11-01T00:00:00"}, end("DatabaseTransfer", 50.0), end("FirstManagement", 70.0, outcome="failed"),
        end("FirstManagement", 80.0), end("Hypervisors", 12.0), end("DatabaseTransfer", 0.2), end("Hypervisors", 99.0, operation="undo"),
        {**opened, "time": "2026-11-02T00:00:00"}, end("DatabaseTransfer", 51.0),
    ]  # fmt: skip
    assert last_window(journal) == ("2026-11-01", {"DatabaseTransfer": 50.0, "FirstManagement": 80.0, "Hypervisors": 12.0})
    assert last_window([]) == ("", {})


def test_what_can_not_be_asked_is_named_and_never_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any, **__: Any) -> Any:
        raise ConnectionFailed("olddb1 can't be reached over SSH", "", "")

    monkeypatch.setattr(forecast, "session", lost)
    api: Any = SimpleNamespace(
        list=lambda what, **_: [{"name": "north", "state": "Up", "hypervisor": "KVM"}] if what != "listSystemVms" else []
    )
    cloud = forecast.ask(site(), None, api)  # type: ignore[arg-type]
    assert (
        cloud.networks is None
        and cloud.jobs is None
        and cloud.zones == ["north"]
        and cloud.problems == ["olddb1 can't be reached over SSH"]
    )
    page = text("prod", site().configuration, cloud, Figures())
    assert (
        "Routers: not known: the original could not be asked" in page
        and "not asked: olddb1 can't be reached" in page
        and "job runs" not in page
    )


def test_the_command_reads_what_this_machine_has_and_prints_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = site(runs=str(tmp_path))
    journal = tmp_path / "test" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    entries = [
        {"kind": "intent", "step": "Window", "action": "open the window", "time": "2026-11-01T00:00:00"},
        {"kind": "end", "step": "Hypervisors", "operation": "apply", "outcome": "done", "seconds": 12.0},
    ]
    journal.write_text("".join(json.dumps(each) + "\n" for each in entries))
    monkeypatch.setattr(forecast, "read_stack", lambda *_, **__: SimpleNamespace(site=here))
    monkeypatch.setattr(forecast, "ask", lambda *_: BUSY)
    assert forecast.run(SimpleNamespace(stack="test", config_file=None, json=True)) == 0  # type: ignore[arg-type]
    found = json.loads(capsys.readouterr().out)
    assert found["users out"]["seconds"] == 12.0 and found["users out"]["complete"] is False
    assert found == json.loads(json.dumps(document(here.configuration, BUSY, forecast.on_record(here))))
