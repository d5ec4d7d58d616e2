"""A whole stack whose original's databases are three real Galera nodes: a window, its rollback, destroy; and nodes whose power is cut on the way.

A lab of its own. Prints what it does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from lab import stack
from lab.chaos.run import Run
from lab.chaos.watching import Growing, hold, provider_of, release
from lab.files import Lab
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.machines.container import namespace
from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.test_lost_for_good import MARK, destroy, record, restore
from tests.containers.whole_stack import ACCOUNTS, assert_new_serves, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
NODES = ("olddb1", "olddb2", "olddb3")
LIMIT = 400  # seconds for one command, on a busy computer
LAST_ROW = 'SELECT value FROM cloud.configuration WHERE name = "last.row"'


@dataclass(frozen=True)
class Moment:
    """A line of the run's log at which a node's power is cut.

    Attributes:
        line: a pattern for it.
        joins: the node is one of its cluster again once it is back, while the window is still open.
    """

    line: str
    joins: bool = False


def forward(node: str) -> list[Moment]:
    """Steps 2, 5 and 6 of the runbook, each in its middle."""
    return [
        Moment("OriginalManagement: stopping cloudstack-management on oldms1", joins=True),
        Moment("DatabaseTransfer: (?!looking|emptying|making)", joins=True),
        Moment(
            f"OriginalDatabase: stopping mariadb on {node}", joins=node != NODES[0]
        ),  # the others have left before the node that is written to
    ]


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own: power is cut there."""
    with own_lab("galera", "--galera") as made:
        made.run("shell", "olddb1", f'mysql -e "{MARK}"')
        yield made


def states(lab: LabRunner) -> list[str]:
    """Of each node whether its unit runs, and how it is enabled."""
    command = "systemctl is-active mariadb; systemctl is-enabled mariadb"
    return [" ".join(lab.shell(name, command, check=False).split()) for name in NODES]


def assert_whole(lab: LabRunner) -> None:
    """Three nodes in one cluster, with the last row that users had seen stored, and no account of the copy."""
    assert lab.status()["nodes"] == dict.fromkeys(NODES, "Synced of 3")
    assert states(lab) == ["active enabled"] * 3
    assert [lab.sql(name, LAST_ROW) for name in NODES] == ["acknowledged"] * 3
    assert [lab.sql(name, ACCOUNTS) for name in NODES] == ["0"] * 3


def until(what: str, holds: object) -> None:
    """Wait for something that comes by itself."""
    assert callable(holds)
    wait_for(what, holds, timeout=180, cancel=CancelToken(), interval=0.5)


def power_back(lab: LabRunner, node: str, *, joins: bool) -> None:
    """Switch a node on again.

    Args:
        joins: its unit has it join by itself, which is waited for.
    """
    restore(lab, node)
    if joins:
        state = "mariadb -NBe \"SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'\" 2>/dev/null"
        until(f"{node} to be in its cluster again", lambda: "Synced" in lab.shell(node, state, check=False))


class Command:
    """`parallel-build` under way, and what it writes to the run's log."""

    def __init__(self, lab: LabRunner, *words: str) -> None:
        place = Lab(lab.name)
        self.log = Growing(lab.folder / "runs/lab/run.log")
        argv = stack.tool_words(place, words)
        self.run = namespace.inside(place.namespace, lambda: Run(place, lab.folder / "galera.log", argv))

    def reaches(self, moment: Moment) -> list[int]:
        """Wait until the moment comes or the command ends; the processes that are held still then, none where it has ended."""
        deadline = time.monotonic() + LIMIT
        while not self.run.over():
            if any(re.search(moment.line, line) for line in self.log.lines()):
                held = [self.run.process.pid, *filter(None, [provider_of(self.run.process.pid)])]
                for pid in held:
                    hold(pid)
                return held
            assert time.monotonic() < deadline, f"neither at {moment.line!r} nor at its end after {LIMIT} s: {self.run.printed()[-3000:]}"
            time.sleep(0.002)
        return []


def killed_on_the_way(lab: LabRunner, words: Sequence[str], node: str, moments: Sequence[Moment]) -> list[str]:
    """Run a command until it succeeds, and cut a node's power at each moment in turn.

    The node is switched on again when the command has ended, or has come to the next moment in spite of it.

    Returns:
        what each command has printed.
    """
    left, off, printed = list(moments), False, []
    joins = False
    while True:
        command = Command(lab, *words)
        while left and (held := command.reaches(left[0])):
            try:
                if off:
                    power_back(lab, node, joins=joins)
                moment = left.pop(0)
                tell(f"{node} loses its power at {moment.line!r}")
                destroy(lab, node)
                off, joins = True, moment.joins
            finally:
                for pid in held:
                    release(pid)
        command.run.end(LIMIT)
        printed.append(command.run.printed())
        code = command.run.process.returncode
        tell(f"{' '.join(words)} ended with exit code {code}")
        if off:
            power_back(lab, node, joins=joins)
            off = False
        if code == 0:
            assert not left, f"never came to {left[0].line!r}: {printed[-1][-3000:]}"
            return printed
        assert len(printed) <= len(moments), f"failed once more than {node} was killed: {printed[-1][-6000:]}"


def test_a_window_its_rollback_and_all_taken_away(lab: LabRunner) -> None:
    assert_whole(lab)
    assert "guards hold" in lab.run("tool", "check", "lab").stdout
    before = keep_reading(lab)
    tell("switch")
    lab.run("switch")
    assert_new_serves(lab)
    assert states(lab) == ["inactive masked"] * 3
    noted = record(lab, "newdb1")["facts"]["OriginalGalera"]
    assert {name: each["lacks"] for name, each in noted.items()} == dict.fromkeys(NODES, "")
    assert [name for name in NODES if noted[name]["stopped"]["safe"]] == ["olddb1"]
    assert "olddb1 alone starts the cluster again" in lab.run("tool", "recover", "lab", check=False).stdout
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    assert_whole(lab)
    tell("destroy")
    lab.run("destroy")
    assert_original_serves(lab, before, destroyed=True)
    assert_whole(lab)
    tell("up again")
    lab.run("up")


@pytest.mark.parametrize("node", ["olddb2", "olddb1"], ids=["a stand-by node", "the node that is written to"])
def test_a_node_is_killed_in_steps_2_5_6_and_in_the_rollback(lab: LabRunner, node: str) -> None:
    before = keep_reading(lab)
    printed = killed_on_the_way(lab, ["switch", "lab"], node, forward(node))
    assert all(f"{node}" in text and "can't be reached" in text for text in printed[:-1]), printed
    assert len(printed) == (3 if node == "olddb2" else 4), "a stand-by node that dies before it is to be stopped holds nothing up"
    assert_new_serves(lab)
    assert states(lab) == ["inactive masked"] * 3
    moment = "olddb1 starts the original's cluster" if node == "olddb1" else f"{node} joins the original's cluster"
    failed, done = killed_on_the_way(lab, ["back", "lab"], node, [Moment(moment)])
    assert node in failed
    assert ("users are in, except" in failed) == (node == "olddb2"), failed
    assert "the original serves" in done
    assert_original_serves(lab, before)
    assert_whole(lab)
