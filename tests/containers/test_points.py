"""On a lab: the plan of its stack over SSH, and rollback points: the test upgrade is run, everything is put back, and it is run again."""

from __future__ import annotations

import json

import pytest

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
