"""The main job on containers: switch, prove, go back, and the ways it may fail on the way. Slow: prints what it waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

STEPS = (
    "Window", "UserAccess", "OriginalManagement", "DatabaseTransfer", "OriginalDatabase", "HostSetting", "HypervisorSteps",
    "FirstManagement", "Hypervisors", "SystemVms", "Acceptance", "AdditionalManagement", "Routers",
)  # fmt: skip
HOST_SETTING = 'SELECT value FROM cloud.configuration WHERE name = "host"'


@pytest.fixture
def original_serving(lab: LabRunner) -> Iterator[LabRunner]:
    """The lab in phase prepared; whatever the test did is undone, and faults are removed."""
    for machine in ("newms1", "newms2"):
        lab.run("shell", machine, "rm -f /etc/cloudstack/standin.json", check=False)
    yield lab
    for machine in ("newms1", "newms2"):
        lab.run("shell", machine, "rm -f /etc/cloudstack/standin.json", check=False)
    lab.run("back", check=False)


def assert_new_serves(lab: LabRunner) -> None:
    assert "serving: new" in lab.run("verify", "new").stdout
    marker = str(time.time_ns())
    lab.sql(
        "newdb1",
        f'INSERT INTO cloud.configuration (category, instance, component, name, value) VALUES ("Advanced", "DEFAULT", "x", "m{marker}", "{marker}")',
    )
    deadline = time.monotonic() + 120
    while lab.sql("newdb2", f'SELECT value FROM cloud.configuration WHERE name = "m{marker}"') != marker:
        assert time.monotonic() < deadline, "a row written on the new source did not reach its replica in 120 s"
        time.sleep(0.3)
    lab.sql("newdb1", f'DELETE FROM cloud.configuration WHERE name = "m{marker}"')


def test_preview_is_the_change_review(original_serving: LabRunner) -> None:
    lab = original_serving
    tell("preview of the switch")
    lab.run("pulumi", "config", "set", "phase", "switched")
    try:
        shown = lab.run("pulumi", "preview", "--diff").stdout
    finally:
        lab.run("pulumi", "config", "set", "phase", "prepared")
    places = [shown.find(f"cutover:index:{step}:") for step in STEPS]
    assert -1 not in places and places == sorted(places), "every step is shown, in its order"
    for words in ("cloudstack-setup-databases cloud:[secret]@10.91.0.31:3306", "never --deploy-as", "undo", "not rehearsed"):
        assert words in shown
    secrets = json.loads((lab.folder / "secrets.json").read_text())
    assert not [name for name, value in secrets.items() if isinstance(value, str) and len(value) > 7 and value in shown]


def test_switch_and_back(original_serving: LabRunner) -> None:
    lab = original_serving
    assert_original_serves(lab)
    before = keep_reading(lab)
    tell("switch")
    began = time.monotonic()
    lab.run("switch")
    tell(f"switched after {time.monotonic() - began:.0f} s")
    assert_new_serves(lab)
    again = lab.run("pulumi", "preview", "--diff", "--expect-no-changes")
    assert "unchanged" in again.stdout
    tell("back")
    began = time.monotonic()
    lab.run("back")
    tell(f"back after {time.monotonic() - began:.0f} s")
    assert_original_serves(lab, before)


def failing_switch(lab: LabRunner, *words: str) -> str:
    """A switch that must fail with these words; what it printed."""
    failed = lab.run("switch", check=False)
    assert failed.returncode != 0
    for each in words:
        assert each in failed.stdout, each
    return failed.stdout


def test_starts_that_fail_or_only_look_good_are_reported_and_the_copy_is_imported_again(original_serving: LabRunner) -> None:
    lab = original_serving
    upgraded = 'SELECT COUNT(*) FROM cloud.version WHERE version = "4.22.1.0" AND step = "Complete"'
    forget = "rm -f /etc/cloudstack/standin.json"
    before = keep_reading(lab)

    lab.run("fault", "newms1", "fail_step", "4.22.1.0")
    tell("switch, whose schema upgrade fails at its third step")
    failing_switch(lab, "a statement of the schema upgrade failed")
    state = json.loads(lab.run("pulumi", "stack", "export").stdout)
    first = next(r for r in state["deployment"]["resources"] if r["type"] == "cutover:index:FirstManagement")
    assert first["outputs"]["status"].startswith("partial"), "the state knows"
    assert lab.sql("newdb1", upgraded) == "0"

    lab.run("shell", "newms1", forget)
    lab.run("fault", "newms1", "views_seconds", "20")
    lab.run("shell", "newms1",
            "(n=$(grep -c 'Executing VIEW scripts' /var/log/cloudstack/management/management-server.log); for i in $(seq 900); do "
            "[ $(grep -c 'Executing VIEW scripts' /var/log/cloudstack/management/management-server.log) -gt $n ] && "
            "sleep 2 && systemctl kill -s KILL cloudstack-management && break; sleep 0.2; done) >/dev/null 2>&1 &")  # fmt: skip
    tell("the cause is removed, switch again; killed in the views")
    failing_switch(lab, "importing it again")
    assert lab.sql("newdb1", upgraded) == "1", "every version step is complete, only the views are not"
    lab.run("shell", "newms1", f"{forget}; systemctl start cloudstack-management")
    deadline = time.monotonic() + 60
    probe = "curl -s -o /dev/null -w %{http_code} localhost:8080/client/api?command=x"
    while "401" not in lab.run("shell", "newms1", probe, check=False).stdout:
        assert time.monotonic() < deadline, "started by hand, the server looks healthy after some seconds"
        time.sleep(0.3)

    lab.run("fault", "newms1", "fail_modules", '["backup", "quota"]')
    tell("a start by hand looks healthy; switch again, with two modules failing behind a 401")
    failing_switch(lab, "importing it again", "modules failed to start")
    lab.run("shell", "newms1", forget)

    # What a configuration management of the house may do to the file just before the start.
    house = "/etc/systemd/system/cloudstack-management.service.d/house.conf"
    lab.run("shell", "newms1", f"mkdir -p $(dirname {house}) && printf '[Service]\\nExecStartPre=+/bin/sed -i "
            "s/^cluster.node.IP=.*/cluster.node.IP=127.0.1.1/ /etc/cloudstack/management/db.properties\\n' "
            f"> {house} && systemctl daemon-reload")  # fmt: skip
    try:
        tell("modules repaired, switch again, with a node address that is not the server's")
        failing_switch(lab, "importing it again", "cluster.node.IP is not an address of this server")
        assert lab.sql("newdb1", upgraded) == "1", "the schema was upgraded first"
    finally:
        lab.run("shell", "newms1", f"rm -f {house}; systemctl daemon-reload")
    tell("the address is right, switch again")
    assert "importing it again" in lab.run("switch").stdout
    assert_new_serves(lab)
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)


def test_failed_switch_is_rolled_back_by_destroy_and_built_again(original_serving: LabRunner) -> None:
    lab = original_serving
    before = keep_reading(lab)
    lab.run("fault", "newms1", "fail_step", "4.22.0.0")
    tell("switch, whose schema upgrade fails at its second step")
    assert lab.run("switch", check=False).returncode != 0
    tell("destroy")
    lab.run("destroy")
    assert_original_serves(lab, before, destroyed=True)
    assert lab.sql("olddb1", HOST_SETTING) == "10.91.0.11,10.91.0.12"
    tell("up again")
    lab.run("up", "--hosts", "containers")


def test_retired_stack_names_the_original_no_more_and_does_not_go_back(original_serving: LabRunner) -> None:
    lab = original_serving
    before = keep_reading(lab)
    tell("switch, then retire")
    lab.run("switch")
    originals = ("10.91.0.11", "10.91.0.12")
    agent_file = "grep ^host= /etc/cloudstack/agent/agent.properties"
    assert all(address in lab.shell("kvm1", agent_file) for address in originals)
    lab.run("retire")
    assert lab.sql("newdb1", HOST_SETTING) == "10.91.0.41,10.91.0.42"
    for host in ("kvm1", "kvm2"):
        assert not any(address in lab.shell(host, agent_file) for address in originals)
    lab.run("pulumi", "preview", "--expect-no-changes")
    tell("going back is refused")
    refused = lab.run("back", check=False)
    assert refused.returncode != 0
    assert "going back is refused: the stack is retired" in refused.stdout
    assert lab.status()["serving"] == "new"
    tell("and is possible for an operator who says so")
    lab.run("pulumi", "config", "set", "--path", "window.forceRollback", "true")
    try:
        lab.run("pulumi", "config", "set", "phase", "retired")
        lab.run("pulumi", "up", "--yes", "--skip-preview")
        lab.run("back")
    finally:
        lab.run("pulumi", "config", "set", "--path", "window.forceRollback", "false")
    assert_original_serves(lab, before)


def test_routers_come_after_users_and_a_failure_blocks_nobody(original_serving: LabRunner) -> None:
    """Users in first; what can't be restarted is listed; the command does the rest; in a rollback the original brings every router back."""
    lab = original_serving
    names = 'SELECT GROUP_CONCAT(name ORDER BY name) FROM cloud.networks WHERE state IN ("Implemented", "Setup") AND guest_type IS NOT NULL AND vpc_id IS NULL'
    first, *_, last = lab.sql("olddb1", names).split(",")
    running = 'SELECT COUNT(*) FROM cloud.vm_instance WHERE type = "DomainRouter" AND state = "Running" AND removed IS NULL'
    before = lab.sql("olddb1", running)
    lab.run("fault", "newms1", "restart_fails", json.dumps([last]))
    lab.run("pulumi", "config", "set", "--path", "window.usersIn", "first")
    try:
        tell("switch, users in as soon as the first server and its hosts are good; one network can't be restarted")
        shown = lab.run("switch").stdout
    finally:
        lab.run("pulumi", "config", "set", "--path", "window.usersIn", "accepted")
    assert "users in" in shown and "planted fault restart_fails" in shown
    journal = [json.loads(line) for line in (lab.folder / "runs/lab/journal.jsonl").read_text().splitlines()]
    order = [entry["action"] if entry["kind"] == "intent" else f"{entry['kind']} {entry.get('step', '')}" for entry in journal]
    order = order[max(place for place, text in enumerate(order) if text == "begin Window") :]
    assert order.index("end Hypervisors") > order.index("users in on the new side") > order.index("begin Hypervisors")
    assert order.index("begin SystemVms") > order.index("users in on the new side")
    assert order.index("begin Routers") > order.index("end AdditionalManagement")
    plan = lab.run("tool", "routers", "lab", "--plan").stdout
    assert f"failed: {last}" in plan and first != last
    tell("the cause is removed; the command does the rest")
    lab.run("shell", "newms1", "rm -f /etc/cloudstack/standin.json; systemctl restart cloudstack-management")
    deadline = time.monotonic() + 60
    while (
        "401"
        not in lab.run("shell", "newms1", "curl -s -o /dev/null -w %{http_code} localhost:8080/client/api?command=x", check=False).stdout
    ):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    done = lab.run("tool", "routers", "lab", "--retry").stdout
    assert "networks renewed" in done and "left" not in done.splitlines()[-1]
    tell("back")
    lab.run("back")
    assert_original_serves(lab)
    assert lab.sql("olddb1", running) == before
