"""The page of a run: every operation is on it, drawn and in words, and nothing secret or foreign is in it."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cli import report, report_numbers, report_page
from parallel_build.cli.report_rollback import rollback_cost, rollback_plan
from parallel_build.records.run_folder import RunFolder
from parallel_build.secret import Secret
from tests.fast.sites import site


def entry(minute: int, kind: str, step: str, **more: Any) -> dict[str, Any]:
    return {
        "time": f"2026-01-01T{minute // 60:02d}:{minute % 60:02d}:00.000+00:00",
        "operator": "me@here",
        "kind": kind,
        "step": step,
        **more,
    }


JOURNAL = [
    entry(0, "begin", "Window", operation="apply"),
    entry(1, "end", "Window", operation="apply", outcome="done", seconds=60),
    entry(1, "begin", "FirstManagement", operation="apply"),
    entry(2, "intent", "FirstManagement", action="start"),
    entry(5, "end", "FirstManagement", operation="apply", outcome="the start failed <b>hard</b> with s3cr3t&key", seconds=240),
    entry(90, "begin", "Window", operation="undo"),
]


def test_runs_are_parted_by_a_long_pause_newest_first() -> None:
    groups = report_page.runs(report_page.operations(JOURNAL))
    assert [[operation.step for operation in group] for group in groups] == [["Window"], ["Window", "FirstManagement"]]
    assert groups[0][0].outcome == report_page.OPEN
    assert groups[1][1].intents[0][1] == "start"


def test_how_long_users_were_out_stands_at_the_top() -> None:
    times = [
        {"out": 1767225600.0, "clock": "the user probe's", "in": 1767225634.25, "side": "new", "seconds": 34.25},
        {"out": 1767226000.0, "clock": "the original database host's"},
    ]
    first, second = report_page.outages({"users-out": {"times": times}})
    assert "for 34 s, by the user probe's clock; then the new side served them" in first and second.startswith("Users are out since")
    assert report_page.outages({}) == []
    assert "34 s, by the user probe" in report_page.page("prod", "", JOURNAL, {"users-out": {"times": times}}, "", []).split("<details")[0]


def test_what_failed_and_what_never_ended_are_counted_apart() -> None:
    text = report_page.page("prod", "", JOURNAL, {}, "", [])
    assert "forward, 2 operations, 5 min, 1 failed<" in text and "back, 1 operation, 0 s, 1 never ended<" in text


def test_a_rollback_is_a_run_of_its_own() -> None:
    there = [entry(minute, kind, "Window", operation="apply") for minute, kind in ((0, "begin"), (1, "end"))]
    back = [entry(minute, kind, "Window", operation="undo") for minute, kind in ((2, "begin"), (3, "end"))]
    again = [entry(4, "begin", "UserAccess", operation="apply")]
    groups = report_page.runs(report_page.operations([*there, *back, *again]))
    assert [[(operation.step, operation.verb) for operation in group] for group in groups] == [
        [("UserAccess", "apply")],
        [("Window", "undo")],
        [("Window", "apply")],
    ]


def test_what_was_noted_next_to_operations_is_on_the_page() -> None:
    noted = entry(5, "confirmed down", "", server="newms1", error="no route to <host>, s3cr3t&key")
    text = report_page.page("prod", "", [*JOURNAL, noted], {}, "", [Secret("s3cr3t&key")])
    assert "confirmed down" in text and "server: newms1" in text and "no route to &lt;host&gt;" in text
    assert "s3cr3t" not in text
    assert "Noted" not in report_page.page("prod", "", JOURNAL, {}, "", [])


def test_drawing_is_well_formed_and_to_scale() -> None:
    group = report_page.runs(report_page.operations(JOURNAL))[1]
    root = ElementTree.fromstring(report_page.drawing(group))  # noqa: S314 - our own drawing
    window, first = root.findall("rect")
    assert float(first.get("width", 0)) / float(window.get("width", 1)) == 4.0
    assert float(first.get("x", 0)) > float(window.get("x", 0))
    assert (window.get("class"), first.get("class")) == ("done", "failed")
    assert len([line for line in root.findall("line") if line.get("class") == "intent"]) == 1


def test_a_long_name_is_shortened_in_the_drawing_and_whole_in_the_table() -> None:
    long = "SystemVmTemplate-" + "-".join(f"part{number}" for number in range(20))
    text = report_page.page("prod", "", [entry(0, "begin", long, operation="apply")], {}, "", [])
    root = ElementTree.fromstring(report_page.drawing(report_page.operations([entry(0, "begin", long, operation="apply")])))  # noqa: S314
    shown = next(each.text or "" for each in root.findall("text") if each.get("class") == "name")
    assert "…" in shown and len(shown) <= report_page.LONGEST and f"<td>{long}</td>" in text


def test_page_escapes_and_masks() -> None:
    text = report_page.page("prod", "a to b", JOURNAL, {"Window": {"note": "s3cr3t&key"}}, "log s3cr3t&key", [Secret("s3cr3t&key")])
    assert "s3cr3t" not in text
    assert text.count("[secret]") >= 3
    assert "<b>hard" not in text and "&lt;b&gt;hard" in text
    assert "http" not in text.replace("http-equiv", ""), "nothing is loaded from elsewhere"
    assert "FirstManagement" in text and "never ended" in text


def test_page_of_nothing_says_so() -> None:
    assert "Nothing has been done yet" in report_page.page("prod", "", [], {}, "", [])


def at(minute: int, second: int = 0) -> str:
    return f"2026-01-01T00:{minute:02d}:{second:02d}+00:00"


def done(began: str, ended: str, **result: Any) -> dict[str, Any]:
    return {"outcome": "done", "timing": {"started": began, "ended": ended}, "result": result}


EVIDENCE = {
    "Window": done(at(0), at(1)),
    "UserAccess": done(at(1), at(2)),
    "OriginalManagement": done(at(2), at(3)),
    "DatabaseTransfer": done(at(3), at(4), **{"tables": 310, "compared rows": 1234567, "not comparable": ["cloud.x: no key"]}),
    "FirstManagement": done(
        at(5),
        at(8),
        start={"steps": [{"version": "4.21.0.0"}, {"version": "4.22.1.0"}]},
        rehearsal=[{"part": "start", "rehearsed": 41.0, "window": 44.0}],
    ),
    "SystemVms": done(at(8), at(9), proofs={"s-1-VM": {"api": "4.22.0", "database": "4.22.0", "appliance": None}}),
    "Acceptance": done(at(9), at(11, 30)),
}


def test_what_a_change_board_asks_for_stands_at_the_top() -> None:
    text = report_page.page("prod", "", JOURNAL, EVIDENCE, "", [], versions="4.20.3.0 to 4.22.1.0")
    head = text.split("Timeline</h2>")[0]
    for words in (
        "10 min 30 s; then the new side served",
        "5 min 0 s; then the new side served",
        "310 tables, 1,234,567 rows, and every object of the databases: all the same; not comparable: cloud.x: no key",
        "4.20.3.0 to 4.22.1.0",
        "4.21.0.0, 4.22.1.0",
        "<td>start</td><td>41 s</td><td>44 s</td>",
        "<td>me@here</td><td>did Window, FirstManagement</td>",
        "<td>me@here</td><td>rolled back Window</td>",
    ):
        assert words in head, words
    assert head.count("4.22.0<") == 2 and "not on record" in head, "the appliance itself was not asked"


def test_objects_are_counted_where_the_comparison_did() -> None:
    transfer = done(at(3), at(4), **{"tables": 310, "compared rows": 12, "compared objects": 1402})
    figures = dict(report_numbers.numbers([], {"DatabaseTransfer": transfer}, "a to b").figures)
    assert figures["Compared"] == "310 tables, 12 rows, and 1,402 objects (tables, views, routines, triggers, events): all the same"


def test_users_that_were_let_in_by_the_undo_came_back_to_the_original() -> None:
    undone = {**EVIDENCE, "UserAccess.undo": done(at(6), at(7))}
    del undone["Acceptance"]
    figures = dict(report_numbers.numbers([], undone, "a to b").figures)
    assert "6 min 0 s; then the original served" in figures["Users out"]
    assert dict(report_numbers.numbers([], {}, "a to b").figures)["Users out"] == "no"
    half = {"UserAccess": {**EVIDENCE["UserAccess"], "outcome": "failed"}}
    assert dict(report_numbers.numbers([], half, "a to b").figures)["Users out"] == "not on record"


def test_the_rollback_plan_has_what_stands_the_last_first() -> None:
    configuration = site().configuration
    steps = [step for step, lines in rollback_plan(configuration, {**EVIDENCE, "SystemVms.undo": done(at(12), at(13))}) if lines]
    assert steps[0] == "Acceptance" and steps[-1] == "Window" and "SystemVms" not in steps
    page = report_page.page("prod", "", [], EVIDENCE, "", [], plan=rollback_plan(configuration, EVIDENCE))
    assert "parallel-build back prod does this" in page and page.index("<li>Acceptance") < page.index("<li>Window")


def moment(minute: int) -> datetime:
    return datetime.fromisoformat(at(0)) + timedelta(minutes=minute)


def test_what_a_rollback_would_cost_is_reported_as_it_stands_at_that_moment() -> None:
    configuration = site().configuration
    cost = dict(rollback_cost(configuration, EVIDENCE, [], moment(30)))
    assert cost["Allowed"].startswith("until ") and cost["Allowed"].endswith("23 h 38 min left")
    assert cost["What users lose"].startswith("what they made or changed on the new side since ")
    assert cost["System VMs"].startswith("renewed once more") and cost["Networks"].startswith("none")
    later = dict(rollback_cost(configuration, EVIDENCE, [], moment(30) + timedelta(days=1)))
    assert later["Allowed"].startswith("no longer, since ")
    before = {name: EVIDENCE[name] for name in ("Window", "UserAccess")}
    cost = dict(rollback_cost(configuration, before, [], moment(30)))
    assert cost["Allowed"].startswith("yes") and cost["What users lose"].startswith("nothing") and cost["System VMs"] == "as they are"
    assert rollback_cost(configuration, {**EVIDENCE, "Window.undo": done(at(20), at(21))}, [], moment(30)) == []


@pytest.mark.parametrize(
    ("renewed", "words"),
    [(0, "none is restarted"), (7, "7 whose routers"), (None, "all whose routers")],
    ids=["none", "some", "failed half way"],
)
def test_networks_that_the_new_side_renewed_are_counted(renewed: int | None, words: str) -> None:
    routers = done(at(12), at(14), **({} if renewed is None else {"renewed": renewed}))
    cost = dict(rollback_cost(site().configuration, {**EVIDENCE, "Routers": routers}, [], moment(30)))
    assert cost["Networks"].startswith(words)


def test_users_that_the_record_saw_on_the_new_side_count_before_the_acceptance() -> None:
    times = {"times": [{"out": 1767225600.0, "in": 1767225634.0, "side": "new", "clock": "c"}]}
    cost = dict(rollback_cost(site().configuration, {"Window": EVIDENCE["Window"], "users-out": times}, [], moment(30)))
    assert cost["What users lose"].startswith("what they made or changed")


def test_a_rollback_takes_as_long_as_the_last_one_that_came_to_its_end() -> None:
    cut = entry(90, "begin", "Acceptance", operation="undo")
    whole = [
        entry(40, "begin", "Acceptance", operation="undo"),
        entry(41, "end", "Acceptance", operation="undo", outcome="done"),
        entry(41, "begin", "Window", operation="undo"),
        entry(44, "end", "Window", operation="undo", outcome="done"),
    ]
    runs = report_page.runs(report_page.operations([*whole, cut]))
    assert "took 4 min 0 s, on " in dict(rollback_cost(site().configuration, EVIDENCE, runs, moment(95)))["Time"]
    assert dict(rollback_cost(site().configuration, EVIDENCE, runs[:1], moment(95)))["Time"].startswith("not measured")


def test_a_run_that_is_followed_is_written_again_until_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = site(runs=str(tmp_path))
    folder = RunFolder(where.configuration.runs, where.stack, where.hidden())
    monkeypatch.setattr(report, "read_stack", lambda *_, **__: SimpleNamespace(site=where))
    seen: list[str] = []

    class Pause:
        """Each look comes at once; at the second one the step ends."""

        def wait(self, seconds: float) -> None:
            seen.append((tmp_path / "page.html").read_text())
            if len(seen) == 1:
                folder.record("begin", step="Window", operation="apply")
            if len(seen) == 3:
                folder.record("end", step="Window", operation="apply", outcome="done")

    monkeypatch.setattr(report, "PAUSE", Pause())
    given = argparse.Namespace(stack="test", config_file=None, output=tmp_path / "page.html", follow=True)
    assert report.run(given) == 0
    assert len(seen) == 2 + report.QUIET / report.REFRESH and all('http-equiv="refresh"' in text for text in seen)
    assert "never ended" in seen[1] and "never ended" not in seen[-1]
    last = (tmp_path / "page.html").read_text()
    assert 'http-equiv="refresh"' not in last and (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
