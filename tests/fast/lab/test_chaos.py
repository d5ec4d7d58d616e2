"""The fault matrix: its cells, how they are grouped, and how a step's moment is found in journal and log."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lab import stack
from lab.chaos import cells, edits, results, trial
from lab.chaos.__main__ import main
from lab.chaos.cells import BACK, FIRST, FORWARD, LAST, MIDDLE, Cell
from lab.chaos.dispatch import Dispatch
from lab.chaos.watching import Growing, Watch, descendants, release
from lab.errors import LabError
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.operations import confirmed_down
from tests.fast.sites import site


def test_the_matrix_has_every_step_fault_and_direction_once() -> None:
    found = cells.matrix()
    assert len(found) == len({cell.name for cell in found}) == len(cells.STEPS) * 7 * 2
    assert len(cells.instants()) == len(cells.STEPS) * 2 * 2 * 2
    assert {cell.fault for cell in cells.instants()} == {"kill-provider", "kill-cli"}
    assert all((cell.step, cell.direction) in cells.PLACES for cell in found)


def test_steps_are_those_of_the_window() -> None:
    from parallel_build.components.cutover import ORDER

    assert tuple(step.__name__ for _, step in ORDER) == cells.STEPS


def test_a_cell_is_read_as_it_is_written() -> None:
    for cell in [*cells.matrix(), *cells.instants()]:
        assert Cell.parse(cell.name) == cell


@pytest.mark.parametrize("text", ["Window", "Window:power", "Window:power:up", "Door:power:back", "Window:power:back:noon", "a:b:c:d:e"])
def test_what_is_no_cell_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="is no cell"):
        Cell.parse(text)


def test_a_turn_is_a_journey_of_its_own_and_hit_on_the_way_there() -> None:
    found = cells.turns()
    assert len({cell.name for cell in found}) == len(cells.STEPS) * 7
    assert all(Cell.parse(cell.name) == cell for cell in found)
    assert all(cell.place == Cell(cell.step, cell.fault, FORWARD).place for cell in found)
    assert cells.journeys([*found[:3], *cells.sample(20, 1)])[1:] == [[cell] for cell in found[:3]]
    assert cells.some_turns(3, 1) == cells.some_turns(3, 1) != cells.some_turns(3, 2)


@pytest.mark.parametrize(
    "words", [[], ["--all", "--turns", "2"], ["--all", "--cell", "Window:power:turn"], ["--cell", "Window:power:turn", "--sample", "2"]]
)
def test_which_cells_is_reported_once(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)


def test_a_sample_is_drawn_by_its_seed() -> None:
    first, again, other = cells.sample(20, 1), cells.sample(20, 1), cells.sample(20, 2)
    assert first == again != other
    assert len(set(first)) == 20
    assert len(cells.journeys(first)) == 1
    assert len(cells.sample(1000, 1)) == len(cells.STEPS) * 22


def test_a_journey_has_one_fault_a_step_moment_and_direction_in_the_order_of_the_way() -> None:
    planned = cells.journeys([*cells.matrix(), *cells.instants()])
    assert sum(len(journey) for journey in planned) == len(cells.STEPS) * 22
    for journey in planned:
        assert len({(cell.step, cell.direction, cell.moment) for cell in journey}) == len(journey)
        assert len({(cell.step, cell.direction, cell.fault) for cell in journey}) == len(cells.STEPS) * 2
        forward = [cells.STEPS.index(cell.step) for cell in journey if cell.direction == FORWARD]
        back = [cells.STEPS.index(cell.step) for cell in journey if cell.direction == BACK]
        assert forward == sorted(forward)
        assert back == sorted(back, reverse=True)
        assert [cell.direction for cell in journey] == [FORWARD] * len(forward) + [BACK] * len(back)
    assert sorted(map(len, planned)) == [2 * len(cells.STEPS)] * 5 + [6 * len(cells.STEPS)] * 2
    assert [cell.moment for cell in planned[0][:3]] == [FIRST, MIDDLE, LAST]


def write(folder: Path, *entries: dict[str, str], log: str = "") -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
    with (folder / "run.log").open("a") as file:
        file.write(log)


def watch(folder: Path, *cells: Cell) -> Watch:
    """Of a run whose engine has started no provider."""
    return Watch(cells, folder, os.getpid())


def hit(watched: Watch) -> str:
    found = watched.reached()
    assert found
    return found.hit


BEGIN = {"kind": "begin", "step": "UserAccess", "operation": "apply"}
END = {"kind": "end", "step": "UserAccess", "operation": "apply", "outcome": "done"}
INTENT = {"kind": "intent", "step": "UserAccess", "action": "users out"}


def test_the_middle_is_the_first_intent_after_the_begin(tmp_path: Path) -> None:
    write(tmp_path, BEGIN, INTENT, END)  # an earlier run counts for nothing
    moment = watch(tmp_path, Cell("UserAccess", "power", FORWARD))
    assert moment.reached() is None
    write(tmp_path, {**INTENT, "step": "Window"}, {**BEGIN, "operation": "undo"}, INTENT)
    assert moment.reached() is None
    write(tmp_path, BEGIN)
    assert moment.reached() is None
    write(tmp_path, INTENT)
    assert hit(moment) == "intent: users out"


def test_the_middle_may_be_a_line_of_progress(tmp_path: Path) -> None:
    moment = watch(tmp_path, Cell("FirstManagement", "power", FORWARD))
    begin = {**BEGIN, "step": "FirstManagement"}
    write(tmp_path, begin, {**INTENT, "step": "FirstManagement"}, log="2026-11-22T21:00:00.000+00:00 FirstManagement: newms1: logging in\n")
    assert moment.reached() is None
    write(tmp_path, log="2026-11-22T21:00:00.000+00:00 FirstManagement: schema upgrade to 4.21.0.0\n")
    assert hit(moment).startswith("schema upgrade to")


@pytest.mark.parametrize(("moment", "where"), [(FIRST, "begin"), (LAST, "end")])
def test_first_and_last_instants_are_the_journals_own_lines(tmp_path: Path, moment: str, where: str) -> None:
    watched = watch(tmp_path, Cell("UserAccess", "kill-cli", FORWARD, moment))
    write(tmp_path, BEGIN, INTENT, END)
    assert hit(watched) == where


def test_a_moment_that_was_passed_by_does_not_hide_the_later_ones(tmp_path: Path) -> None:
    watched = watch(
        tmp_path, Cell("Hypervisors", "kill-cli", FORWARD), Cell("SystemVms", "power", FORWARD), Cell("Acceptance", "power", FORWARD)
    )
    write(tmp_path, {**BEGIN, "step": "SystemVms"}, {**END, "step": "SystemVms"})
    found = watched.reached()
    assert found
    assert found.cell.step == "SystemVms"
    watched.passed(found)
    assert [moment.cell.step for moment in watched.moments] == ["Acceptance"]


@pytest.mark.parametrize("moment", [MIDDLE, LAST])
def test_a_step_that_failed_before_its_moment_is_waited_for_again(tmp_path: Path, moment: str) -> None:
    watched = watch(tmp_path, Cell("UserAccess", "kill-cli", FORWARD, moment))
    write(tmp_path, BEGIN, {**END, "outcome": "oldms1 can't be reached"})
    assert watched.reached() is None
    write(tmp_path, END)
    assert watched.reached() is None
    write(tmp_path, BEGIN, END)
    assert hit(watched) == "end"


def test_a_run_that_has_ended_is_not_hit_any_more(tmp_path: Path) -> None:
    watched = watch(tmp_path, Cell("UserAccess", "kill-cli", FORWARD, LAST))
    write(tmp_path, BEGIN, END)
    assert watched.wait(lambda: True, 5) is None


def test_a_provider_is_held_at_the_moment(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as process:
        try:
            watched = watch(tmp_path, Cell("UserAccess", "kill-cli", FORWARD, LAST))
            watched.provider = process.pid
            write(tmp_path, BEGIN, END)
            assert watched.wait(lambda: False, 5)
            wait_for("it to stop", lambda: state(process.pid) == "T", timeout=5, cancel=CancelToken())
            release(process.pid)
            wait_for("it to continue", lambda: state(process.pid) == "S", timeout=5, cancel=CancelToken())
        finally:
            process.kill()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_step_without_intent_and_progress_is_hit_at_its_end(tmp_path: Path) -> None:
    watched = watch(tmp_path, Cell("Hypervisors", "kill-cli", BACK))
    write(tmp_path, {"kind": "begin", "step": "Hypervisors", "operation": "undo"}, {**END, "step": "Hypervisors", "operation": "undo"})
    assert hit(watched) == "end"


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
    assert len(set(capsys.readouterr().out.split())) == len(cells.STEPS) * (22 + 8 + 2 * 7 + 2)


def test_the_parts_of_the_matrix_are_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    found: list[str] = []
    for number in range(1, 6):
        assert main(["--all", "--list", "--shard", f"{number}/5"]) == 0
        found += capsys.readouterr().out.split()
    assert main(["--all", "--list"]) == 0
    assert sorted(found) == sorted(capsys.readouterr().out.split())
    for wrong in ("0/5", "6/5", "1", "a/b", "1/0"):
        assert main(["--all", "--list", "--shard", wrong]) == 1
        assert f"'{wrong}' is no part" in capsys.readouterr().err


def test_what_nobody_repairs_is_a_journey_of_its_own_and_drawn_of_each_kind() -> None:
    found = cells.kinds()
    assert all(Cell.parse(cell.name) == cell for cell in found)
    assert cells.journeys([*found[:3], *cells.sample(20, 1)])[1:] == [[cell] for cell in found[:3]]
    drawn = cells.some_kinds(6, 1)
    assert drawn == cells.some_kinds(6, 1) != cells.some_kinds(6, 2)
    assert [cell.fault.partition("-")[0] for cell in drawn] == ["lost", "edited", "asleep"] * 2
    assert {cell.fault for cell in found} == set(cells.KINDS)


@pytest.mark.parametrize("text", ["Window:lost-olddb1:back", "Drain:asleep:forward", "Drain:edited-added:back"])
def test_a_kind_that_is_not_made_there_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="one of its cells"):
        Cell.parse(text)


def test_what_a_message_has_an_operator_confirm_is_found_in_it() -> None:
    found = trial.CONFIRM.search(
        f"error: it is silent. Remedy: {confirmed_down.command(site().configuration, 'lab', 'newdb1')}; then again"
    )
    assert found and found.groups() == ("window.confirmedDown[0]", "newdb1")


@pytest.mark.parametrize("edited", [each for each in cells.EDITED if each not in ("edited-password", "edited-key")])
def test_an_edit_changes_the_labs_stack_file_and_nothing_else(tmp_path: Path, edited: str) -> None:
    lab: Any = SimpleNamespace(stack_file=tmp_path / "Pulumi.lab.yaml")
    before = yaml.safe_load(stack.TEMPLATE.read_text())
    lab.stack_file.write_text(yaml.safe_dump(before))
    assert edits.make(lab, edited)
    after = yaml.safe_load(lab.stack_file.read_text())
    assert [name for name in before["config"] if before["config"][name] != after["config"][name]].__len__() == 1


def outcome(cell: str, verdict: str, cause: str = "") -> dict[str, Any]:
    return {"cell": cell, "verdict": verdict, "causes": [cause] if cause else [], "hit": "", "fault": "", "commands": [], "seconds": 10.0}


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
        reported = [self.verdicts[name].pop(0) if self.verdicts.get(name) else "passed" for name in names]
        for name, verdict in zip(names, reported, strict=True):
            if verdict:
                results.append(self.file, outcome(name, verdict))
        return 1 if "" in reported else 3 if "failed" in reported else 0


def test_every_cell_goes_to_one_of_the_labs_and_what_was_not_come_to_is_tried_again(tmp_path: Path) -> None:
    wanted = [*cells.matrix(), *cells.instants()]
    missed, never, broken, failed = (wanted[number].name for number in (0, 1, 30, 31))
    verdicts = {missed: ["not hit"], never: ["not hit"] * 9, broken: [""], failed: ["failed"]}
    results.append(tmp_path / "r", outcome(broken, "failed", "in an earlier run"))
    played = Played(["one", "two"], tmp_path / "r", verdicts, set())
    played.run(wanted)
    tried = Counter(name for _, names in played.journeys for name in names)
    assert {name: number for name, number in tried.items() if number != 1} == {missed: 2, never: 3, broken: 2}
    assert len(tried) == len(cells.STEPS) * 22
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
