"""The main job on containers: switch, prove, go back, and the ways it may fail on the way. Slow: prints what it waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.conftest import LabRunner

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

STEPS = (
    "Window", "UserAccess", "OriginalManagement", "DatabaseTransfer", "OriginalDatabase", "HostSetting", "HypervisorSteps",
    "FirstManagement", "Hypervisors", "SystemVms", "AdditionalManagement", "Acceptance",
)  # fmt: skip
# What the original's own servers write when they make system VMs and routers anew at the end of a rollback.
WRITTEN_BY_RENEWING = {
    f"cloud.{name}"
    for name in (
        "console_proxy", "domain_router", "nics", "op_dc_ip_address_alloc", "op_dc_link_local_ip_address_alloc", "op_networks",
        "router_network_ref", "secondary_storage_vm", "user_ip_address", "volumes", "vm_instance", "alert", "event",
        "op_host_capacity", "sequence", "nic_details", "template_spool_ref", "resource_count",
    )
}  # fmt: skip


def tell(text: str) -> None:
    """Say what a slow test is doing."""
    print(f"  [{time.strftime('%H:%M:%S')}] {text}", flush=True)


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
    status = lab.status()
    assert status["serving"] == "new", status
    vms = [*lab.run("status").stdout.splitlines()]
    assert not [line for line in vms if "-VM on" in line and "4.20" in line], vms
    marker = str(time.time_ns())
    lab.sql(
        "newdb1",
        f'INSERT INTO cloud.configuration (category, instance, component, name, value) VALUES ("Advanced", "DEFAULT", "x", "m{marker}", "{marker}")',
    )
    deadline = time.monotonic() + 30
    while lab.sql("newdb2", f'SELECT value FROM cloud.configuration WHERE name = "m{marker}"') != marker:
        assert time.monotonic() < deadline, "a row written on the new source did not reach its replica in 30 s"
    lab.sql("newdb1", f'DELETE FROM cloud.configuration WHERE name = "m{marker}"')


def assert_original_serves(lab: LabRunner) -> None:
    status = lab.status()
    assert status["serving"] == "original", status


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
    before = Path(lab.folder) / "before.json"
    before.write_text(lab.run("checksums").stdout)
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
    assert_original_serves(lab)
    changed = {
        name
        for name, value in json.loads(lab.run("checksums").stdout).items()
        if json.loads(before.read_text()).get(name, "absent") != value
    }
    from lab.checksums import WRITTEN_BY_SERVERS

    tell(f"tables that the original's own servers wrote meanwhile: {', '.join(sorted(changed))}")
    assert changed <= WRITTEN_BY_SERVERS | WRITTEN_BY_RENEWING


def test_schema_upgrade_that_fails_is_resumed_with_a_fresh_copy(original_serving: LabRunner) -> None:
    lab = original_serving
    lab.run("fault", "newms1", "fail_step", "4.22.1.0")
    tell("switch, whose schema upgrade fails at its third step")
    failed = lab.run("switch", check=False)
    assert failed.returncode != 0
    assert "a statement of the schema upgrade failed" in failed.stdout
    state = lab.run("pulumi", "stack", "export").stdout
    first = next(r for r in json.loads(state)["deployment"]["resources"] if r["type"] == "cutover:index:FirstManagement")
    assert first["outputs"]["status"].startswith("partial")
    assert lab.sql("newdb1", 'SELECT COUNT(*) FROM cloud.version WHERE version = "4.22.1.0" AND step = "Complete"') == "0"
    lab.run("shell", "newms1", "rm -f /etc/cloudstack/standin.json")
    tell("the cause is removed, switch again")
    again = lab.run("switch")
    assert "importing it again" in again.stdout
    assert_new_serves(lab)


def test_failed_switch_is_rolled_back_by_destroy_and_built_again(original_serving: LabRunner) -> None:
    lab = original_serving
    lab.run("fault", "newms1", "fail_step", "4.22.0.0")
    tell("switch, whose schema upgrade fails at its second step")
    assert lab.run("switch", check=False).returncode != 0
    tell("destroy")
    lab.run("destroy")
    assert_original_serves(lab)
    tell("up again")
    lab.run("up", "--hosts", "containers")


def test_start_killed_in_the_views_looks_good_and_is_not(original_serving: LabRunner) -> None:
    lab = original_serving
    lab.run("fault", "newms1", "views_seconds", "20")
    lab.run("shell", "newms1",
            "(for i in $(seq 600); do grep -q 'Executing VIEW scripts' /var/log/cloudstack/management/management-server.log && "
            "sleep 2 && systemctl kill -s KILL cloudstack-management && break; sleep 0.2; done) >/dev/null 2>&1 &")  # fmt: skip
    tell("switch, killed in the views")
    failed = lab.run("switch", check=False)
    assert failed.returncode != 0, "the server died during its first start"
    lab.run("shell", "newms1", "rm -f /etc/cloudstack/standin.json; systemctl start cloudstack-management")
    deadline = time.monotonic() + 60
    while (
        "401"
        not in lab.run("shell", "newms1", "curl -s -o /dev/null -w %{http_code} localhost:8080/client/api?command=x", check=False).stdout
    ):
        assert time.monotonic() < deadline, "started by hand, the server looks healthy after some seconds"
    tell("a start by hand looks healthy; switch again")
    again = lab.run("switch")
    assert "importing it again" in again.stdout
    assert_new_serves(lab)


def test_modules_that_failed_behind_a_401_are_seen(original_serving: LabRunner) -> None:
    lab = original_serving
    lab.run("fault", "newms1", "fail_modules", '["backup", "quota"]')
    tell("switch, with two modules failing")
    failed = lab.run("switch", check=False)
    assert failed.returncode != 0
    assert "modules failed to start" in failed.stdout
    lab.run("shell", "newms1", "rm -f /etc/cloudstack/standin.json")
    tell("modules mended, switch again")
    lab.run("switch")
    assert_new_serves(lab)


def test_wrong_node_address_is_seen_after_the_upgrade(original_serving: LabRunner) -> None:
    lab = original_serving
    # What a configuration management of the house may do to the file just before the start.
    lab.run("shell", "newms1", "mkdir -p /etc/systemd/system/cloudstack-management.service.d && printf '[Service]\\nExecStartPre=+/bin/sed -i "
            "s/^cluster.node.IP=.*/cluster.node.IP=127.0.1.1/ /etc/cloudstack/management/db.properties\\n' "
            "> /etc/systemd/system/cloudstack-management.service.d/house.conf && systemctl daemon-reload")  # fmt: skip
    try:
        tell("switch, with a node address that is not the server's")
        failed = lab.run("switch", check=False)
        assert failed.returncode != 0
        assert "cluster.node.IP is not an address of this server" in failed.stdout
        assert lab.sql("newdb1", 'SELECT step FROM cloud.version WHERE version = "4.22.1.0"') == "Complete", "the schema was upgraded first"
    finally:
        lab.run("shell", "newms1", "rm -r /etc/systemd/system/cloudstack-management.service.d/house.conf; systemctl daemon-reload")
    tell("the address is right, switch again")
    again = lab.run("switch")
    assert "importing it again" in again.stdout
    assert_new_serves(lab)


def test_retired_stack_names_the_original_no_more_and_does_not_go_back(original_serving: LabRunner) -> None:
    lab = original_serving
    tell("switch, then retire")
    lab.run("switch")
    originals = ("10.91.0.11", "10.91.0.12")
    agent_file = "grep ^host= /etc/cloudstack/agent/agent.properties"
    assert all(address in lab.shell("kvm1", agent_file) for address in originals)
    lab.run("retire")
    assert lab.sql("newdb1", 'SELECT value FROM cloud.configuration WHERE name = "host"') == "10.91.0.41,10.91.0.42"
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
    assert_original_serves(lab)
