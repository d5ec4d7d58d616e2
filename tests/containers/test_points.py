"""On a lab: the plan of its stack over SSH, and rollback points: the test upgrade is run, everything is put back, and it is run again.

The last test is the article's lab: a workload of 200 things, tests of users' functions before and after, three times from the same point.
"""

from __future__ import annotations

import json

import pytest

from parallel_build.acceptance.results import FAILED, read
from parallel_build.workload.profile import BUILT_IN
from parallel_build.workload.things import counted
from tests.containers.conftest import LabRunner, tell

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
ROW = "SELECT value FROM cloud.configuration WHERE name = 'alert.wait'"


def test_the_plan_of_a_stack_reads_the_original_over_ssh_and_changes_nothing(lab: LabRunner) -> None:
    rows = "SELECT COUNT(*), MAX(id) FROM cloud.event"
    before = lab.sql("olddb1", rows)
    planned = json.loads(lab.run("tool", "plan", "lab", "--json", check=False).stdout)
    assert (planned["from"], planned["to"], planned["steps"][-1]) == ("4.20.3.0", "4.22.1.0", "4.22.1.0")
    assert planned["package"], "read from a new server"
    assert planned["templates"] and all(
        each["name"].startswith("systemvm-kvm-4.22") for each in planned["templates"] if each["hypervisor"] == "KVM"
    )
    assert planned["work"] and {"not hit"} < {each["verdict"] for each in planned["faults"]} | {"hit"}
    assert planned["problems"] == []
    text = lab.run("tool", "plan", "lab", check=False).stdout
    assert "Plan of " in text and "Tables" in text and "To read" in text
    assert lab.sql("olddb1", rows) == before, "nothing was written, and no API call that leaves an event was made"


def test_a_lab_is_put_back_and_the_test_upgrade_run_again(lab: LabRunner) -> None:
    before = lab.sql("olddb1", ROW)
    tell("snapshot")
    lab.run("snapshot", "before")
    assert "before" in lab.run("points").stdout and "phase prepared" in lab.run("points").stdout
    assert "has a point before already" in lab.run("snapshot", "before", check=False).stderr
    assert lab.status()["serving"] == "original", "it was brought up again"
    for run in (1, 2):
        lab.sql("olddb1", f"UPDATE cloud.configuration SET value = '{run}' WHERE name = 'alert.wait'")
        lab.shell("kvm1", "touch /root/since")
        tell(f"switch, {run}")
        lab.run("switch")
        assert lab.status()["serving"] == "new"
        tell(f"restore, {run}")
        lab.run("restore", "before")
        status = lab.status()
        assert (status["phase"], status["serving"], set(status["machines"].values())) == ("prepared", "original", {"on"})
        assert lab.sql("olddb1", ROW) == before and lab.shell("kvm1", "ls /root/since 2>/dev/null", check=False) == ""
        lab.run("verify", "original")
    lab.run("pulumi", "preview", "--expect-no-changes")
    assert "no points" in lab.run("points", "--remove", "before").stdout


ROUNDS = ("after-1", "after-2", "after-3")


@pytest.mark.timeout(2700)
def test_a_workload_of_200_things_is_upgraded_tested_and_put_back_three_times(lab: LabRunner) -> None:
    wanted = counted(BUILT_IN["acceptance"])
    assert sum(wanted.values()) == 200
    tell("workload")
    create = ("tool", "workload", "lab", "create", "--profile", "acceptance")
    assert "left out" not in lab.run(*create).stdout
    there = json.loads(lab.run("tool", "workload", "lab", "status", "--profile", "acceptance").stdout)
    assert {kind: of["ours"] for kind, of in there["kinds"].items() if wanted.get(kind)} == wanted | {
        "user": wanted["user"] + wanted["account"]
    }
    tell("tests before")
    lab.run("tool", "acceptance", "lab", "before", "--vlan", "1299")
    lab.run(*create)
    lab.run("snapshot", "workload")
    for name in ROUNDS:
        tell(f"switch, {name}")
        lab.run("switch")
        tell(f"tests {name}")
        printed = lab.run("tool", "acceptance", "lab", name, "--side", "new", "--vlan", "1299", "--against", "before").stdout
        assert "fails now" not in printed
        tell(f"restore, {name}")
        lab.run("restore", "workload")
        assert lab.status()["serving"] == "original"
        assert json.loads(lab.run("tool", "workload", "lab", "status", "--profile", "acceptance").stdout) == there
    runs = read(lab.folder / "runs" / "lab")
    assert [run.name for run in runs] == ["before", *ROUNDS] and all(run.whole for run in runs)
    assert not [name for run in runs for name, of in run.tests.items() if of.outcome == FAILED]
    assert len({tuple(run.tests) for run in runs}) == 1, "the same tests each time"
    page = lab.folder / "report.html"
    lab.run("tool", "report", "lab", "--output", str(page))
    text = page.read_text()
    assert (
        all(f'<th scope="col">{name}</th>' in text for name in ("before", *ROUNDS))
        and "a new vm is made stopped started and deleted" in text
    )
    lab.run("points", "--remove", "workload")
    lab.run("tool", "workload", "lab", "remove")
