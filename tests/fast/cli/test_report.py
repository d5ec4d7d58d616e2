"""The page of a run: every operation is on it, drawn and in words, and nothing secret or foreign is in it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from parallel_build.cli import report_page
from parallel_build.secret import Secret


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


def test_a_way_back_is_a_run_of_its_own() -> None:
    there = [entry(minute, kind, "Window", operation="apply") for minute, kind in ((0, "begin"), (1, "end"))]
    back = [entry(minute, kind, "Window", operation="undo") for minute, kind in ((2, "begin"), (3, "end"))]
    again = [entry(4, "begin", "UserAccess", operation="apply")]
    groups = report_page.runs(report_page.operations([*there, *back, *again]))
    assert [[(operation.step, operation.verb) for operation in group] for group in groups] == [
        [("UserAccess", "apply")],
        [("Window", "undo")],
        [("Window", "apply")],
    ]


def test_what_was_noted_beside_operations_is_on_the_page() -> None:
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


def test_page_escapes_and_masks() -> None:
    text = report_page.page("prod", "a to b", JOURNAL, {"Window": {"note": "s3cr3t&key"}}, "log s3cr3t&key", [Secret("s3cr3t&key")])
    assert "s3cr3t" not in text
    assert text.count("[secret]") >= 3
    assert "<b>hard" not in text and "&lt;b&gt;hard" in text
    assert "http" not in text.replace("http-equiv", ""), "nothing is loaded from elsewhere"
    assert "FirstManagement" in text and "never ended" in text


def test_page_of_nothing_says_so() -> None:
    assert "Nothing has been done yet" in report_page.page("prod", "", [], {}, "", [])
