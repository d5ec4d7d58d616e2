"""The lab's own promises: it comes up whole, a second `up` changes nothing, its network leads nowhere, and `down` leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.files import Lab
from parallel_build.machines.container import cgroups, namespace
from parallel_build.project import PROJECT
from tests.containers.conftest import LabRunner

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]


def test_the_original_is_whole(lab: LabRunner) -> None:
    status = lab.status()
    assert (status["phase"], status["serving"]) == ("prepared", "original")
    assert set(status["machines"].values()) == {"on"}
    assert {server["version"] for server in status["original"]} == {"4.20.3.0"}
    assert all(server["users"] for server in status["original"])
    assert {server["version"] for server in status["new"]} == {None}
    for agent in status["agents"]:
        assert agent["state"] == "Up"
        assert agent["connected_to"] == agent["managed_by"] in ("oldms1", "oldms2")
    assert {vm["state"] for vm in status["system_vms"]} == {"Running"}
    assert {vm["version_appliance"] for vm in status["system_vms"]} == {"4.20.2"}
    for pair in status["replication"].values():
        assert pair["receiving"] and pair["applying"] and pair["error"] is None


def test_a_second_up_changes_nothing(lab: LabRunner) -> None:
    booted = lab.shell("oldms1", "cut -d' ' -f22 /proc/1/stat; systemctl show -p MainPID cloudstack-management")
    lab.run("up")
    assert lab.shell("oldms1", "cut -d' ' -f22 /proc/1/stat; systemctl show -p MainPID cloudstack-management") == booted
    lab.run("pulumi", "preview", "--expect-no-changes")


def test_another_lab_of_the_name_is_refused(lab: LabRunner) -> None:
    refused = lab.run("up", "--management", "1", check=False)
    assert refused.returncode == 1
    assert "exists with another management" in refused.stderr


def test_the_command_of_a_shell_gives_its_exit_code(lab: LabRunner) -> None:
    assert lab.command("shell", "kvm1", "exit 7").returncode == 7
    assert lab.shell("olddb1", "hostname --fqdn").strip() == "olddb1.cloud.internal"
    assert "it has oldms1" in lab.run("shell", "nobody", check=False).stderr


def test_a_fault_is_set_shown_and_removed(lab: LabRunner) -> None:
    assert json.loads(lab.run("fault", "newms1", "step_seconds", '{"4.21.0.0": 2}').stdout) == {"step_seconds": {"4.21.0.0": 2}}
    assert json.loads(lab.run("fault", "newms1").stdout) == {"step_seconds": {"4.21.0.0": 2}}
    assert json.loads(lab.run("fault", "newms1", "step_seconds").stdout) == {}
    assert lab.run("fault", "newms1", "step_seconds", check=False).returncode == 1


def test_only_what_running_servers_write_differs_on_an_idle_lab(lab: LabRunner, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(lab.run("checksums").stdout)
    time.sleep(5)  # heartbeats and statistics shall be written in between
    found = json.loads(lab.run("checksums", "--compare", str(before)).stdout)
    assert found["tables"] > 300
    assert found["different"] == found["written_by_renewing"] == []
    lab.sql("olddb1", "UPDATE cloud.account SET default_zone_id = default_zone_id + 1 WHERE id = 2 AND default_zone_id IS NOT NULL")
    lab.sql("olddb1", "CREATE TABLE cloud.left_behind (id INT PRIMARY KEY)")
    try:
        different = lab.run("checksums", "--compare", str(before), check=False)
        assert different.returncode == 3
        assert "cloud.left_behind" in json.loads(different.stdout)["different"]
    finally:
        lab.sql("olddb1", "DROP TABLE cloud.left_behind")
        lab.sql("olddb1", "UPDATE cloud.account SET default_zone_id = default_zone_id - 1 WHERE id = 2 AND default_zone_id IS NOT NULL")


def test_a_damaged_row_of_a_user_is_told_from_what_servers_write(lab: LabRunner, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(lab.run("checksums").stdout)
    damages = {
        "cloud.vm_instance": ('type = "User"', "power_state_update_count = power_state_update_count"),
        "cloud.volumes": ('instance_id IN (SELECT id FROM cloud.vm_instance WHERE type = "User")', "size = size"),
        "cloud.user_ip_address": ("source_nat = 1", "mac_address = mac_address"),
    }
    keys = {table: lab.sql("olddb1", f"SELECT MIN(id) FROM {table} WHERE {where}") for table, (where, _) in damages.items()}
    try:
        for table, (_, change) in damages.items():
            lab.sql("olddb1", f"UPDATE {table} SET {change} + 1 WHERE id = {keys[table]}")
        compared = lab.run("checksums", "--compare", str(before), check=False)
        assert compared.returncode == 3
        found = json.loads(compared.stdout)
        assert found["different"] == sorted(damages)
        assert {table: changes["changed"] for table, changes in found["damaged"].items()} == {table: [key] for table, key in keys.items()}
    finally:
        for table, (_, change) in damages.items():
            lab.sql("olddb1", f"UPDATE {table} SET {change} - 1 WHERE id = {keys[table]}")
    assert json.loads(lab.run("checksums", "--compare", str(before)).stdout)["different"] == []


def test_the_original_is_proved_to_serve_whole(lab: LabRunner) -> None:
    assert "serving: original" in lab.run("verify", "original").stdout
    lab.shell("oldms1", "systemctl stop cloudstack-usage")
    try:
        wrong = lab.run("verify", "original", "--patience", "2", check=False)
        assert wrong.returncode == 1
        assert "usage on oldms1 is" in wrong.stderr
    finally:
        lab.shell("oldms1", "systemctl start cloudstack-usage")
    assert "the serving side is original, not new" in lab.run("verify", "new", "--patience", "2", check=False).stderr


def test_the_labs_network_leads_nowhere(lab: LabRunner) -> None:
    assert lab.shell("oldms1", "ip route").split()[:3] == ["10.91.0.0/24", "dev", "eth0"]
    assert "default" not in lab.shell("newms1", "ip route")


def test_templates_are_served_on_a_port_that_cloudstack_takes(lab: LabRunner) -> None:
    name = "systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2"
    quick, slow = (
        lab.shell("oldms1", f"curl -s -o /dev/null -w '%{{http_code}} %{{time_total}}' http://10.91.0.1/{folder}/{name}").split()
        for folder in ("templates", "slow")
    )
    assert quick[0] == slow[0] == "200"
    assert float(slow[1]) > 2


def test_secrets_are_in_no_list_of_processes_and_only_their_owner_reads_them(lab: LabRunner) -> None:
    kept = json.loads((lab.folder / "secrets.json").read_text())
    for name in ("secrets.json", "passphrase", "Pulumi.lab.yaml", "id_ed25519"):
        assert (lab.folder / name).stat().st_mode & 0o077 == 0, name
    stack = (lab.folder / "Pulumi.lab.yaml").read_text()
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_text(errors="replace"))
    commands = "\n".join(found)
    for name, value in kept.items():
        assert value not in stack, name
        assert value not in commands, name


def test_an_up_that_was_killed_is_taken_down_whole() -> None:
    lab = Lab(f"killed{os.getpid() % 1000}")
    words = [sys.executable, "-m", "lab", "--name", lab.name]
    process = subprocess.Popen(
        [*words, "up", "--hosts", "containers"], cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(lab.original.glob("*/supervisor.json")):  # in the middle of making machines
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([*words, "down"], cwd=PROJECT, check=True, timeout=120)
    assert not lab.folder.exists()
    assert not lab.run_folder.exists()
    assert not [path for path in namespace.FOLDER.iterdir() if path.name.startswith(lab.namespace)]
    assert str(lab.folder) not in Path("/proc/self/mountinfo").read_text()
    assert not [path for mount in cgroups.tracking() for path in mount.iterdir() if path.name.startswith(lab.namespace)]
