"""What `recover` prints of each broken run: which side serves, what is half done, one command forward and one back - or why not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cli import recovery_advice
from parallel_build.cli.run_state import Database, Management, Situation, copies_in_words, never_started, unfinished
from parallel_build.cloudstack.services import MANAGEMENT, UnitState
from parallel_build.errors import ConnectionFailed
from parallel_build.project import PROJECT
from parallel_build.records.host_copy import Both, Copy
from parallel_build.records.record_file import Text
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.touched import MANAGEMENT as MANAGEMENT_ROLE
from parallel_build.records.touched import NEW, START, TouchedServer
from parallel_build.records.window import WindowRecord
from parallel_build.stack.state import StackState
from tests.fast.sites import site

UP = UnitState(MANAGEMENT, known=True, active=True, enabled=True, masked=False)
FENCED = UnitState(MANAGEMENT, known=True, active=False, enabled=False, masked=True)
OPEN = WindowRecord("prod", "me", opened="2026-01-01T00:00:00+00:00", holder="ann@here")
AHEAD = {"Back": {"ahead": True}}
ALL_DONE = dict.fromkeys(recovery_advice.ORDER, "done")


def management(name: str, unit: UnitState | None, **more: Any) -> Management:
    return Management(name, unit=unit, answers=unit is UP, **more)


def situation(old: UnitState | None, new: UnitState | None, **more: Any) -> Situation:
    base = Situation(
        "prod",
        "switched",
        StackState(found="file"),
        original=[management("oldms1", old)],
        new=[management("newms1", new)],
        original_database=Database("olddb1", unit=UP, answers=True, versions=["4.20.3.0 Complete"]),
        new_database=Database("newdb1", unit=UP, answers=True),
    )
    return replace(base, **more)


def state(**steps: str) -> StackState:
    return StackState(steps={name.replace("_", "-"): status for name, status in steps.items()}, found="file")


CASES: dict[str, tuple[Situation, str, str, str, list[str]]] = {
    "nothing was begun": (
        situation(UP, FENCED), "original", "(opens the window)", "", ["No window was ever opened"],
    ),
    "stopped in the middle": (
        situation(FENCED, FENCED, record=OPEN, mine=True, seconds_left=600.0, state=state(window="done", original_management="partial: oldms2 is gone")),
        "neither", "resumes where it stopped", "nothing is lost",
        ["half done: original-management: partial: oldms2 is gone", "Until the deadline: 10 min"],
    ),
    "the deadline has passed": (
        situation(FENCED, FENCED, record=OPEN, mine=True, seconds_left=-5.0, state=state(window="done")),
        "neither", "window.deadline LONGER", "nothing is lost", ["The deadline has passed"],
    ),
    "switched": (
        situation(FENCED, UP, record=replace(OPEN, switched="2026-01-01T01:00:00+00:00"), mine=True, state=StackState(steps=ALL_DONE)),
        "new", "", "what users changed since the switch is lost", ["switched to at 2026-01-01T01:00:00"],
    ),
    "switched, not finished": (
        situation(FENCED, UP, record=replace(OPEN, switched="x"), mine=True, state=state(window="done", first_management="done")),
        "new", "resumes where it stopped", "lost", [],
    ),
    "both run": (
        situation(UP, UP, record=OPEN, mine=True, state=state(window="done")),
        "both", "resumes where", "the original serves again", ["BOTH sides run"],
    ),
    "the state is gone": (
        situation(FENCED, FENCED, record=OPEN, mine=True, state=StackState(problem="there is no state of stack prod in /x")),
        "neither", "resumes where", "back prod --without-pulumi", ["there is no state of stack prod"],
    ),
    "the engine died before it wrote the window down": (
        situation(UP, FENCED, record=OPEN, mine=True, state=StackState(pending=["creating window"])),
        "original", "resumes where", "back prod --without-pulumi", ["cut off: creating window"],
    ),
    "a rollback is ahead of the state": (
        situation(UP, FENCED, record=replace(OPEN, switched="x", returning="z", facts=AHEAD), mine=True, state=StackState(steps=ALL_DONE)),
        "original", "refused until the rollback that has begun", "parallel-build back prod ",
        ["A rollback began z, ahead of the state: no step goes forward"],
    ),
    "the state does not know of a rollback without pulumi": (
        situation(UP, FENCED, record=replace(OPEN, closed="z"), mine=True, state=StackState(steps=ALL_DONE)),
        "original", "after what stands under First: pulumi config set phase switched", "",
        ["the state still has steps of a window that is closed", "pulumi config set phase prepared --stack prod && pulumi up --stack prod"],
    ),
    "half a rollback by pulumi up": (
        situation(UP, FENCED, record=replace(OPEN, returning="z"), mine=True, state=state(window="done", user_access="done")),
        "original", "refused until the rollback that has begun", "parallel-build back prod ",
        ["A rollback began z: no step goes forward until it has finished"],
    ),
    "another stack holds it": (
        situation(FENCED, FENCED, record=replace(OPEN, stack="other"), mine=False),
        "neither", "", "only with the stack and state that hold the window",
        ["It is not held by this stack", "the state and the stack file of stack other",
         f"back prod --window {OPEN.identity}", f"recover prod --adopt {OPEN.identity}"],
    ),
    "retired": (
        situation(FENCED, UP, record=replace(OPEN, switched="x", retired="y"), mine=True, state=StackState(steps=ALL_DONE)),
        "new", "", "refused: the stack is retired", ["Retired y"],
    ),
    "a lock was left": (
        situation(FENCED, FENCED, record=OPEN, mine=True, state=replace(state(window="done"), locks=["ann@here, process 7, since then"])),
        "neither", "resumes where", "nothing is lost", ["locked by ann@here, process 7", "pulumi cancel --stack prod"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    found, serving, forward, back, words = CASES[name]
    explained = recovery_advice.explain(found)
    assert explained.serving == serving
    assert (forward in explained.forward) and bool(forward) == bool(explained.forward)
    assert (back in explained.back) and bool(back) == bool(explained.back)
    for word in words:
        assert word in explained.text()


def test_servers_that_can_not_be_asked_are_named_and_not_taken_for_down() -> None:
    gone = Management("oldms1", problem="oldms1 can't be reached over SSH")
    found = replace(situation(None, None), original=[gone], new=[replace(gone, name="newms1")])
    explained = recovery_advice.explain(found)
    assert explained.serving == "unknown"
    assert "bring oldms1 back; or switch it off yourself, and say so" in explained.text()
    assert "'window.confirmedDown[0]' oldms1 --stack prod" in explained.text()
    assert "'window.confirmedDown[1]' newms1 --stack prod" in explained.text(), "the second command keeps the first name"
    later = recovery_advice.explain(replace(found, confirmed_down=["oldms2"]))
    assert "'window.confirmedDown[1]' oldms1 --stack prod" in later.text()
    answering = recovery_advice.explain(replace(found, new=[replace(gone, name="newms1", answers=True)]))
    assert "its API ANSWERS" in answering.text()


STARTING = UnitState(MANAGEMENT, known=True, active=True, enabled=True, masked=False, main_pid=7)  # not UP: its API does not answer
CLOSED = replace(OPEN, facts={"UserAccess": {"closed": True}})
ACCEPTED = replace(CLOSED, switched="x", facts={**CLOSED.facts, "Acceptance": {"accepted": True}})


@pytest.mark.parametrize(
    ("found", "serving", "words"),
    [
        (situation(FENCED, STARTING, record=CLOSED, mine=True), "neither",
         "NEITHER side serves: the new side runs on newms1, and its API does not answer: its first start is under way, or has failed."),
        (situation(FENCED, UP, record=CLOSED, mine=True), "neither", "NEITHER side serves users: the NEW side answers, and users are kept out."),
        (situation(UP, FENCED, record=CLOSED, mine=True), "neither", "NEITHER side serves users: the ORIGINAL answers, and users are kept out."),
        (situation(FENCED, UP, record=ACCEPTED, mine=True), "new", "The NEW side serves."),
        (situation(UP, FENCED, record=replace(CLOSED, closed="then")), "original", "The ORIGINAL serves."),
        (situation(UP, FENCED, record=replace(CLOSED, returning="z", facts={**CLOSED.facts, **AHEAD}), mine=True), "original", "The ORIGINAL serves."),
        (situation(STARTING, FENCED), "neither", "NEITHER side serves: the original runs on oldms1, and its API does not answer yet, or no more."),
        (situation(STARTING, STARTING), "both", "BOTH sides run: two clouds give orders to the same hypervisors. Go back or forward at once. "
         "The API of the ORIGINAL and of the NEW side does not answer."),
        (situation(UP, FENCED, original=[management("oldms1", UP), management("oldms2", FENCED)]), "original",
         "The ORIGINAL serves. In part: oldms2 does not answer."),
        (situation(UP, FENCED, original=[management("oldms1", UP), management("oldms2", UP, users_out=True)]), "original",
         "The ORIGINAL serves. In part: users are kept out of oldms2."),
        (situation(UP, FENCED, original=[management("oldms1", UP, users_out=True), management("oldms2", STARTING)]), "neither",
         "NEITHER side serves users: the ORIGINAL answers, and users are kept out. oldms2 does not answer."),
        (replace(situation(FENCED, FENCED), new=[management("newms1", UP, not_trusted="its certificate has expired")]), "unknown",
         "Which side serves is not known: something answers on newms1 that is not proved to be its API."),
    ],
)  # fmt: skip
def test_the_headline_is_what_is_proved(found: Situation, serving: str, words: str) -> None:
    explained = recovery_advice.explain(found)
    assert (explained.serving, explained.headline) == (serving, words)
    assert explained.text().splitlines()[0] == words
    assert "nothing to do, the original serves" not in explained.text()


SILENT = Management("x", problem="x can't be reached over SSH")
OFF = replace(SILENT, proved_down="window.confirmedDown says so")


@pytest.mark.parametrize(
    ("old", "new", "serving"),
    [
        ([UP], [FENCED, SILENT], "unknown"),
        ([FENCED], [FENCED, SILENT], "unknown"),
        ([FENCED, SILENT], [FENCED], "unknown"),
        ([FENCED, SILENT], [UP], "unknown"),
        ([UP, SILENT], [FENCED], "original"),
        ([FENCED], [UP, SILENT], "new"),
        ([UP, SILENT], [UP, SILENT], "both"),
        ([FENCED], [replace(SILENT, answers=True)], "new"),
        ([UP], [replace(SILENT, answers=True)], "both"),
        ([UP], [FENCED, OFF], "original"),
        ([FENCED], [FENCED, OFF], "neither"),
        ([FENCED, OFF], [UP], "new"),
    ],
)
def test_one_silent_server_that_may_serve_leaves_no_certainty(old: list[Any], new: list[Any], serving: str) -> None:
    def side(name: str, servers: list[Any]) -> list[Management]:
        return [server if isinstance(server, Management) else management(f"{name}{i}", server) for i, server in enumerate(servers)]

    found = replace(situation(None, None), original=side("oldms", old), new=side("newms", new))
    assert recovery_advice.explain(found).serving == serving


def test_what_is_known_of_new_servers_that_can_not_be_asked() -> None:
    here = site()
    opened = WindowRecord("test", here.identity, opened="now", facts={"FirstManagement": {"began": 1.0}})
    assert set(never_started(here, opened)) == {"newms2"}, "the first was started in this window, the second never"
    assert set(never_started(here, replace(opened, facts={}))) == {"newms1", "newms2"}
    assert set(never_started(here, replace(opened, closed="then"))) == {"newms1", "newms2"}
    assert set(never_started(here, None)) == {"newms1", "newms2"}
    assert never_started(here, replace(opened, identity="another's", facts={})) == {}
    gone = TouchedServer("newms3", "10.91.0.43", NEW, MANAGEMENT_ROLE, (START,))
    assert "newms3" not in never_started(here, replace(opened, servers={"newms3": gone}))
    assert "newms3" in never_started(here, replace(opened, servers={"newms3": replace(gone, done=())}))


def test_an_api_that_is_not_trusted_is_named_and_not_taken_for_silence() -> None:
    found = situation(UP, FENCED)
    strange = [
        replace(server, answers=True, not_trusted="the certificate of https://10.91.0.41:8443/client/api has expired")
        for server in found.new
    ]
    reported = recovery_advice.explain(replace(found, new=strange))
    assert reported.serving == "both"
    assert "API ANSWERS, and is not trusted: the certificate of https://10.91.0.41:8443/client/api has expired" in reported.text()


def test_fences_at_databases_are_reported_with_what_they_keep_out() -> None:
    facts = {
        "OriginalLocks": {"olddb1": {"accounts": [{"user": "cloud", "host": "%", "locked": False}]}, "olddb2": {}},
        "DatabaseFence": {"newdb1": {"how": "killed and masked", "unit": "mysql"}},
        "CutOff": {"servers": {"newms2": "10.91.0.42"}},
    }
    text = recovery_advice.explain(situation(FENCED, FENCED, record=replace(OPEN, facts=facts, returning="now"), mine=True)).text()
    for words in (
        "By the record CloudStack's accounts are locked on olddb1, which keep running for others.",
        "By the record the database on newdb1 is closed to the new side (killed and masked).",
        "By the record newms2 could not be proved down, and is fenced at its database alone.",
    ):
        assert words in text
    assert "By the record" not in recovery_advice.explain(situation(FENCED, FENCED, record=OPEN, mine=True)).text()


def test_a_record_that_can_not_be_read_is_reported() -> None:
    assert "record can't be read: olddb1 is gone" in recovery_advice.explain(situation(UP, FENCED, record_problem="olddb1 is gone")).text()


LOST = Database("olddb1", "olddb1 can't be reached")
STOPPED = replace(OPEN, switched="x", facts={"OriginalDatabase": {"units": {"olddb1": "mariadb"}}})


def test_both_copies_of_the_record_are_shown_and_what_one_alone_allows() -> None:
    lines = [
        "olddb1, /x/window.json: can't be read: no route",
        "newdb1, /x/window-copy.json: window 1, run 4, revision 9: the only one that can be read",
    ]
    alone = situation(
        FENCED, UP, record=STOPPED, mine=True, state=state(window="done"), copies=lines, alone="olddb1", original_database=LOST, replica_lacks="",
        confirmed_down=["oldms2"],
    )  # fmt: skip
    reported = recovery_advice.explain(alone)
    assert [f"The record on {line}." for line in lines] == reported.findings[2:4]
    assert any("bring olddb1 back" in line and "window.confirmedDown[1]' olddb1" in line for line in reported.first)
    assert reported.forward.startswith("after what stands under First: pulumi config set phase switched")
    assert reported.back.startswith("after what stands under First: parallel-build back prod --from-replica")
    confirmed = recovery_advice.explain(replace(alone, alone="", confirmed_down=["olddb1"]))
    assert (
        confirmed.first == []
        and confirmed.forward.startswith("pulumi")
        and confirmed.back.startswith("parallel-build back prod --from-replica")
    )
    behind = recovery_advice.explain(replace(alone, alone="", replica_lacks="711 bytes of the source's binary log"))
    assert behind.back.startswith("only once olddb1 is back") and "711 bytes" in behind.back


def test_which_copy_is_right_and_why() -> None:
    def copy(name: str, revision: int = 3, **changes: Any) -> Copy:
        file: Any = SimpleNamespace(host=SimpleNamespace(name=name), path=f"/x/{name}")
        document = {"identity": "me", "number": 1, "token": 4, "revision": revision, "holders": {"olddb1": {}, "newdb1": {}}}
        return replace(Copy(file, Text(b"{}"), document), **changes)

    def words(*copies: Copy) -> list[str]:
        return [line.partition(": ")[2] for line in copies_in_words(Both(None, copies))]

    at = "window 1, run 4, revision"
    assert words(copy("olddb1"), copy("newdb1")) == [f"{at} 3: right, both say the same"] * 2
    higher, lower = (
        f"{at} 5: right, the higher of the two",
        f"{at} 3: behind; it is brought up to date by the next command that changes anything",
    )
    assert words(copy("olddb1"), copy("newdb1", 5)) == [lower, higher]
    gone = copy("olddb1", document={}, text=Text(None), problem=ConnectionFailed("olddb1 can't be reached", "no route", ""))
    assert words(gone, copy("newdb1")) == ["can't be read: olddb1 can't be reached: no route", f"{at} 3: the only one that can be read"]
    assert words(copy("olddb1", document={}, text=Text(None)), copy("newdb1"))[0] == "is missing"
    assert words(copy("olddb1")) == [], "one host alone has to have it"


def test_the_journal_shows_what_never_ended(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "prod", [])
    run.record("begin", step="Window", operation="apply")
    run.record("end", step="Window", operation="apply", outcome="done", seconds=1)
    assert unfinished(run) == {}
    run.record("begin", step="FirstManagement", operation="apply")
    run.record("intent", step="FirstManagement", action="start")
    found = unfinished(run)
    assert (found["step"], found["intent"]) == ("FirstManagement", "start")
    text = recovery_advice.explain(situation(FENCED, FENCED, running=found)).text()
    assert "FirstManagement (apply) began" in text and "it was about to: start" in text


NEWER = replace(
    OPEN, switched="x", steps=["Window", "Routers"], facts={"Routers": {"done": 412, "total": 500, "failed": {"network/7": {"name": "n"}}}}
)


@pytest.mark.parametrize(
    ("record", "steps", "forward"),
    [
        (NEWER, {**ALL_DONE, "routers": "partial: 88 of 500 networks left"}, "parallel-build routers"),
        (NEWER, {name: "done" for name in ALL_DONE if name != "routers"}, "pulumi up"),
        (NEWER, ALL_DONE, "nothing to do"),
        (replace(OPEN, switched="x"), {name: "done" for name in ALL_DONE if name != "routers"}, "nothing to do"),
    ],
)
def test_routers_that_are_left_are_the_commands(record: WindowRecord, steps: dict[str, str], forward: str) -> None:
    """A window that an earlier version opened has no such step, and is whole without it."""
    found = recovery_advice.explain(situation(FENCED, UP, record=record, mine=True, state=StackState(steps=steps)))
    line = next(line for line in found.text().splitlines() if line.startswith("Forward:"))
    assert forward in line
    assert ("412 of 500 networks renewed, 1 failed" in found.text()) is (record is NEWER)


def test_the_order_is_the_components() -> None:
    from parallel_build.components.cutover import ORDER

    assert tuple(label for label, _ in ORDER) == recovery_advice.ORDER


@pytest.mark.engine
def test_the_script_is_the_command() -> None:
    done = subprocess.run([str(PROJECT / "scripts/recover"), "no such stack"], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no name of a stack" in done.stderr
