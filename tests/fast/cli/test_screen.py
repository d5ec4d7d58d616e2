"""What is looked at: the live table, its clocks, plain lines without a terminal; schema and completion."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from rich.console import Console

from parallel_build.__main__ import main
from parallel_build.cli import screen
from parallel_build.cli.board import Board, Show, of_window
from parallel_build.configuration import Secrets, StackConfiguration
from parallel_build.configuration.stack_values import names
from parallel_build.project import CODE
from parallel_build.rules import Rule, RuleFinding, Severity, examine
from tests.fast.sites import site

STEPS = {"Window": "", "UserAccess": "", "FirstManagement": "took 41 s in rehearsal", "Acceptance": ""}


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def terminal() -> Console:
    """A terminal that keeps what it shows."""
    return Console(file=io.StringIO(), force_terminal=True, width=110, color_system=None, highlight=False)


def shown(console: Console) -> str:
    """What it shows, without control characters."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_the_clocks_run_from_the_first_refused_call_to_users_in_and_until_the_first_start() -> None:
    clock = Clock()
    board = Board(STEPS, deadline=600.0, clock=clock)
    assert board.clocks() == ""
    for kind, step, now in (("begin", "Window", 100), ("end", "Window", 110), ("begin", "UserAccess", 111)):
        clock.now = now
        board.hear(kind, step, undo=False)
    clock.now = 171
    assert board.clocks() == "users are out for 1 min; until the deadline: 8 min 49 s"
    clock.now = 711
    assert "the deadline has passed" in board.clocks()
    board.hear("begin", "FirstManagement", undo=False)
    board.hear("end", "FirstManagement", undo=False)
    clock.now = 721
    board.hear("end", "Acceptance", undo=False)
    clock.now = 9999
    assert board.clocks() == "users were out for 10 min 10 s"


def test_a_rollback_has_no_deadline_and_ends_with_users_in() -> None:
    clock = Clock()
    board = Board(STEPS, deadline=600.0, clock=clock)
    board.hear("begin", "Window", undo=False)
    board.hear("begin", "UserAccess", undo=False)
    board.hear("failed", "UserAccess", undo=False)
    clock.now = 160
    board.hear("begin", "UserAccess", undo=True)
    board.hear("end", "UserAccess", undo=True)
    assert board.clocks() == "users were out for 1 min"
    assert board.rows["UserAccess"].state == "undone"


def test_the_table_shows_each_step_and_what_was_reported_last() -> None:
    console = terminal()
    show = Show(Board(STEPS, deadline=600.0), console)
    with show.live():
        show.hear("begin", "Window", False)
        show.hear("failed", "Window", False)
        show.hear("begin", "SomethingElse", False)
        for number in range(9):
            show.line(f"line {number} [red]")
    text = shown(console)
    assert re.search(r"Window\s+│ failed", text) and re.search(r"FirstManagement\s+│ waiting\s+│\s+│ took 41 s in rehearsal", text)
    assert "line 8 [red]" in text and "SomethingElse" not in text


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show = of_window(site())
    with show.live():
        show.hear("begin", "Window", False)
        show.line("window: reading both sides")
    assert capsys.readouterr().out == "window: reading both sides\n"


def test_findings_are_a_table_with_their_remedy() -> None:
    console = terminal()
    rule: Rule[None, RuleFinding] = Rule(
        "clocks_agree", Severity.BLOCKS, "source", "words", lambda _: iter([RuleFinding("oldms1 is [5] s ahead", "tokens fail", "set it")])
    )
    screen.findings(console, "Health", examine([rule], None))
    text = shown(console)
    assert "Health: 1 blocks" in text
    for word in ("clocks_agree", "oldms1 is [5] s ahead", "tokens fail", "set it"):
        assert word in text


def test_the_schema_knows_every_key_and_the_example_fits_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--project", "mine"]) == 0
    schema = json.loads(capsys.readouterr().out)
    config = schema["properties"]["config"]
    assert set(config["properties"]) == {f"mine:{name}" for name in [*names(StackConfiguration), *names(Secrets)]}
    assert set(config["required"]) == {"mine:original", "mine:new", "mine:window"}
    machine = schema["$defs"]["NewMachine"]["properties"]
    assert machine["memory"]["description"] == "in MiB." and machine["sshPort"]["description"] == "port of its ssh server."
    example = yaml.safe_load((CODE / "stacks/Pulumi.lab.yaml").read_text())["config"]
    assert {key.partition(":")[2] for key in example} <= {key.partition(":")[2] for key in config["properties"]}


@pytest.mark.processes
def test_the_shell_completes_commands() -> None:
    script = subprocess.run(
        [sys.executable, "-m", "parallel_build", "completion", "bash"], capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout
    asked = """
complete -p parallel-build
function=$(complete -p parallel-build | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(parallel-build swi); COMP_CWORD=1; $function; echo "${COMPREPLY[@]}"
COMP_WORDS=(parallel-build switch --st); COMP_CWORD=2; $function; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "--norc"], input=f"{script}\n{asked}", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["switch", "--stop-before"], done.stderr
