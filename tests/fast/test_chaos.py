"""The fault matrix: its cells, how they are grouped, and how a step's moment is found in journal and log."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab.chaos import cells, results
from lab.chaos.__main__ import main
from lab.chaos.cells import BACK, FIRST, FORWARD, LAST, Cell
from lab.chaos.dispatch import Dispatch
from lab.chaos.watching import Growing, Moment, descendants
from lab.errors import LabError
from parallel_build.cancel import CancelToken, wait_for


def test_the_matrix_has_every_step_fault_and_direction_once() -> None:
    found = cells.matrix()
    assert len(found) == len({cell.name for cell in found}) == 12 * 7 * 2
    assert len(cells.instants()) == 12 * 2 * 2 * 2
    assert {cell.fault for cell in cells.instants()} == {"kill-provider", "kill-cli"}
    assert all((cell.step, cell.direction) in cells.PLACES for cell in found)


def test_steps_are_those_of_the_window() -> None:
    from components.cutover import ORDER

    assert tuple(step.__name__ for _, step in ORDER) == cells.STEPS


def test_a_cell_is_read_as_it_is_written() -> None:
    for cell in [*cells.matrix(), *cells.instants()]:
        assert Cell.parse(cell.name) == cell


@pytest.mark.parametrize("text", ["Window", "Window:power", "Window:power:up", "Door:power:back", "Window:power:back:noon", "a:b:c:d:e"])
def test_what_is_no_cell_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="is no cell"):
        Cell.parse(text)


def test_a_sample_is_drawn_by_its_seed() -> None:
    first, again, other = cells.sample(20, 1), cells.sample(20, 1), cells.sample(20, 2)
    assert first == again != other
    assert len(set(first)) == 20
    assert len(cells.journeys(first)) == 1
    assert len(cells.sample(1000, 1)) == 264


def test_a_journey_has_one_fault_a_step_and_direction_in_the_order_of_the_way() -> None:
    planned = cells.journeys([*cells.matrix(), *cells.instants()])
    assert sum(len(journey) for journey in planned) == 168 + 96
    for journey in planned:
        assert len({(cell.step, cell.direction) for cell in journey}) == len(journey)
        forward = [cells.STEPS.index(cell.step) for cell in journey if cell.direction == FORWARD]
        back = [cells.STEPS.index(cell.step) for cell in journey if cell.direction == BACK]
        assert forward == sorted(forward)
        assert back == sorted(back, reverse=True)
        assert [cell.direction for cell in journey] == [FORWARD] * len(forward) + [BACK] * len(back)
    assert len(planned) == 11


def write(folder: Path, *entries: dict[str, str], log: str = "") -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
    with (folder / "run.log").open("a") as file:
        file.write(log)


BEGIN = {"kind": "begin", "step": "UserAccess", "operation": "apply"}
END = {"kind": "end", "step": "UserAccess", "operation": "apply"}
INTENT = {"kind": "intent", "step": "UserAccess", "action": "users out"}


def test_the_middle_is_the_first_intent_after_the_begin(tmp_path: Path) -> None:
    write(tmp_path, BEGIN, INTENT, END)  # an earlier run counts for nothing
    moment = Moment(Cell("UserAccess", "power", FORWARD), tmp_path)
    assert not moment.reached()
    write(tmp_path, {**INTENT, "step": "Window"}, {**BEGIN, "operation": "undo"}, INTENT)
    assert not moment.reached()
    write(tmp_path, BEGIN)
    assert not moment.reached()
    write(tmp_path, INTENT)
    assert moment.reached()
    assert moment.hit == "intent: users out"


def test_the_middle_may_be_a_line_of_progress(tmp_path: Path) -> None:
    moment = Moment(Cell("FirstManagement", "power", FORWARD), tmp_path)
    begin = {**BEGIN, "step": "FirstManagement"}
    write(tmp_path, begin, {**INTENT, "step": "FirstManagement"}, log="2026-11-22T21:00:00.000+00:00 FirstManagement: newms1: logging in\n")
    assert not moment.reached()
    write(tmp_path, log="2026-11-22T21:00:00.000+00:00 FirstManagement: schema upgrade to 4.21.0.0\n")
    assert moment.reached()


@pytest.mark.parametrize(("moment", "hit"), [(FIRST, "begin"), (LAST, "end")])
def test_first_and_last_instants_are_the_journals_own_lines(tmp_path: Path, moment: str, hit: str) -> None:
    watched = Moment(Cell("UserAccess", "kill-cli", FORWARD, moment), tmp_path)
    write(tmp_path, BEGIN, INTENT, END)
    assert watched.reached()
    assert watched.hit == hit


def test_a_step_without_intent_and_progress_is_hit_at_its_end(tmp_path: Path) -> None:
    watched = Moment(Cell("Hypervisors", "kill-cli", BACK), tmp_path)
    write(
        tmp_path, {"kind": "begin", "step": "Hypervisors", "operation": "undo"}, {"kind": "end", "step": "Hypervisors", "operation": "undo"}
    )
    assert watched.reached()
    assert watched.hit == "end"


def test_half_a_line_is_not_read_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    growing = Growing(path)
    path.write_text("one\ntw")
    assert growing.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert growing.lines() == ["two"]
    assert growing.lines() == []


def test_descendants_are_found() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 30 & wait"]) as process:
        try:

            def grandchild() -> list[int]:
                return [pid for pid, command in descendants(os.getpid()).items() if command.startswith("sleep 30")]

            assert wait_for("the child of a child", grandchild, timeout=5, cancel=CancelToken()) != [process.pid]
        finally:
            for pid in descendants(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.kill()


def test_the_list_names_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--all", "--list"]) == 0
    assert len(set(capsys.readouterr().out.split())) == 264


def outcome(cell: str, verdict: str, cause: str = "") -> dict[str, Any]:
    return {"cell": cell, "verdict": verdict, "causes": [cause] if cause else [], "hit": "", "told": "", "commands": [], "seconds": 10.0}


def test_of_a_cell_that_was_run_twice_the_last_result_counts(tmp_path: Path) -> None:
    file, name = tmp_path / "r.jsonl", "Window:power:back"
    wanted = [Cell.parse(name), Cell.parse("Window:disk:back")]
    results.append(file, outcome(name, "failed", "no power"))
    assert "no power" in results.table(wanted, results.read(file), 20)
    before = file.stat().st_size
    results.append(file, outcome(name, "passed"))
    assert results.read(file)[name]["verdict"] == "passed"
    assert results.read(file, before)[name]["verdict"] == "passed"
    assert results.read(file, file.stat().st_size) == {}
    assert results.table(wanted, results.read(file), 20) == "2 cells: 1 passed, 1 not tried; 20 s"


class Played(Dispatch):
    """Journeys that are only written down: every cell gets the verdict that `verdicts` has next for it, passed without one."""

    def __init__(self, labs: list[str], file: Path, verdicts: dict[str, list[str]], down: set[str]) -> None:
        super().__init__(labs, file)
        self.verdicts, self.not_up, self.file = verdicts, down, file
        self.journeys: list[tuple[str, list[str]]] = []
        self.commands: list[tuple[str, str]] = []

    def _command(self, lab: str, words: list[str], limit: float) -> int:
        if words[0] == "lab":
            self.commands.append((lab, words[3]))
            return 1 if words[3] == "up" and lab in self.not_up else 0
        names = [word for before, word in itertools.pairwise(words) if before == "--cell"]
        self.journeys.append((lab, names))
        told = [self.verdicts[name].pop(0) if self.verdicts.get(name) else "passed" for name in names]
        for name, verdict in zip(names, told, strict=True):
            if verdict:
                results.append(self.file, outcome(name, verdict))
        return 1 if "" in told else 3 if "failed" in told else 0


def test_every_cell_goes_to_one_of_the_labs_and_what_was_not_come_to_is_tried_again(tmp_path: Path) -> None:
    wanted = [*cells.matrix(), *cells.instants()]
    missed, never, broken, failed = (wanted[number].name for number in (0, 1, 30, 31))
    verdicts = {missed: ["not hit"], never: ["not hit"] * 9, broken: [""], failed: ["failed"]}
    results.append(tmp_path / "r", outcome(broken, "failed", "in an earlier run"))
    played = Played(["one", "two"], tmp_path / "r", verdicts, set())
    played.run(wanted)
    tried = Counter(name for _, names in played.journeys for name in names)
    assert {name: number for name, number in tried.items() if number != 1} == {missed: 2, never: 3, broken: 2}
    assert len(tried) == 264
    assert [command for _, command in played.commands].count("down") == 1
    found = results.read(tmp_path / "r")
    assert (found[missed]["verdict"], found[never]["verdict"], found[broken]["verdict"], found[failed]["verdict"]) == (
        "passed",
        "not hit",
        "passed",
        "failed",
    )


def test_a_lab_that_does_not_come_up_twice_ends_the_run(tmp_path: Path) -> None:
    played = Played(["one"], tmp_path / "r", {}, {"one"})
    with pytest.raises(LabError, match="does not come up"):
        played.run(cells.matrix())
    assert [command for _, command in played.commands] == ["up", "down", "up"]
    assert not played.journeys
