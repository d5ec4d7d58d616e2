"""What comes between two steps of the window: an import that is cut off, a colleague, a rollback from elsewhere. Neither both sides serve, nor is a row lost.

About six minutes besides the lab's own start. Prints what it does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lab.chaos.watching import hold, provider_of, release
from parallel_build.project import PROJECT
from tests.containers.conftest import LabRunner, tell
from tests.containers.test_commands import await_line, begin

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

ROW = "INSERT INTO cloud.configuration (category, instance, component, name, value) VALUES ('Advanced', 'DEFAULT', 'x', 'colleague', 'was here')"


@pytest.fixture(autouse=True)
def original_serving(lab: LabRunner) -> Iterator[None]:
    """Every test begins and ends with the original serving in phase prepared."""
    yield
    lab.run("shell", "newms1", "rm -f /etc/cloudstack/standin.json", check=False)
    lab.run("tool", "back", "lab", check=False)
    lab.run("shell", "olddb1", "mysql -e \"DELETE FROM cloud.configuration WHERE name = 'colleague'\"", check=False)
    lab.run("pulumi", "config", "rm", "--path", "window.stopBefore", check=False)


def masked(lab: LabRunner, machine: str, unit: str) -> bool:
    """Whether a unit is down and can't be started."""
    shown = lab.shell(machine, f"systemctl show {unit} -p LoadState,ActiveState").split()
    return "LoadState=masked" in shown and not {"ActiveState=active", "ActiveState=activating"} & set(shown)


def test_an_import_that_is_cut_off_is_begun_again_and_the_original_proved_down(lab: LabRunner) -> None:
    lab.run("fault", "newms1", "fail_step", "4.22.1.0")
    tell("switch, whose schema upgrade fails at its third step")
    failed = lab.run("tool", "switch", "lab", check=False)
    assert failed.returncode == 1 and "a statement of the schema upgrade failed" in failed.stdout
    lab.run("shell", "newms1", "rm -f /etc/cloudstack/standin.json")

    going = begin(lab, "switch", "lab")
    await_line(going, "mariadb started on olddb1")
    tell("switch again; its provider is killed while the copy is imported again")
    provider = provider_of(going.pid)
    assert provider is not None
    os.kill(provider, signal.SIGKILL)
    going.communicate(timeout=300)
    assert not masked(lab, "olddb1", "mariadb"), "cut off with the original's database up"

    tell("up to the hold point before FirstManagement, whose undo forgets the start")
    lab.run("tool", "switch", "lab", "--stop-before", "FirstManagement", check=False)
    tell("a colleague unmasks a management server of the original; on")
    lab.run("shell", "oldms2", "systemctl unmask cloudstack-management")
    refused = lab.run("tool", "switch", "lab", check=False)
    assert refused.returncode == 1
    assert "the original is not down: cloudstack-management on oldms2 is not masked" in refused.stdout
    assert masked(lab, "newms1", "cloudstack-management")
    lab.run("shell", "oldms2", "systemctl mask --now cloudstack-management")
    done = lab.run("tool", "switch", "lab")
    assert "importing it again" in done.stdout
    assert lab.status()["serving"] == "new"
    assert all(
        masked(lab, name, unit) for name, unit in (("olddb1", "mariadb"), ("olddb2", "mariadb"), ("oldms2", "cloudstack-management"))
    )
    assert lab.sql("newdb1", 'SELECT COUNT(*) FROM cloud.version WHERE version = "4.22.1.0" AND step = "Complete"') == "1"
    assert lab.sql("newdb1", 'SELECT value FROM cloud.configuration WHERE name = "host"').startswith("10.91.0.41")


def test_what_the_original_wrote_at_a_hold_point_is_brought_over(lab: LabRunner) -> None:
    tell("switch to the hold point before FirstManagement")
    lab.run("tool", "switch", "lab", "--stop-before", "FirstManagement")
    tell("a colleague has the original's database up for a moment, writes a row, and masks it again")
    lab.run("shell", "olddb1", "systemctl unmask mariadb && systemctl start mariadb")
    lab.run("shell", "olddb1", f'mysql -e "{ROW}"')
    lab.run("shell", "olddb1", "systemctl mask --now mariadb")
    done = lab.run("tool", "switch", "lab")
    assert "the original's database has run since it was made: importing it again" in done.stdout
    assert lab.status()["serving"] == "new"
    assert lab.sql("newdb1", 'SELECT value FROM cloud.configuration WHERE name = "colleague"') == "was here"


def test_a_start_that_is_held_up_comes_too_late_for_a_rollback(lab: LabRunner) -> None:
    going = begin(lab, "switch", "lab")
    await_line(going, "cloudstack-setup-databases")
    provider = provider_of(going.pid)
    hold(provider)
    try:
        tell("the rollback from elsewhere, while a step of the switch is held up just before the first start")
        assert "the original serves" in lab.run("tool", "back", "lab", "--without-pulumi").stdout
    finally:
        release(provider)
    rest, _ = going.communicate(timeout=300)
    assert going.returncode == 1, rest
    assert masked(lab, "newms1", "cloudstack-management"), rest
    assert lab.status()["serving"] == "original"


def test_a_rollback_from_elsewhere_is_not_passed_over_by_pulumi(lab: LabRunner) -> None:
    lab.run("tool", "switch", "lab", "--stop-before", "OriginalManagement")
    lab.run("pulumi", "preview", "--expect-no-changes")
    tell("the rollback from elsewhere; the stack file is still in phase switched")
    printed = lab.run("tool", "back", "lab", "--without-pulumi").stdout
    assert "pulumi config set phase prepared --stack lab && pulumi up --stack lab" in printed
    for words in (("preview",), ("up", "--yes", "--skip-preview")):
        began = time.monotonic()
        refused = lab.run("pulumi", *words, check=False)
        shown = " ".join((refused.stdout + refused.stderr).split())
        assert refused.returncode and "by the record on olddb1 no window is open" in shown, shown
        print(f"refused after {time.monotonic() - began:.1f} s")
    explained = lab.run("tool", "recover", "lab", check=False).stdout
    assert "the state still has steps of a window that is closed" in explained
    lab.run("pulumi", "config", "set", "phase", "prepared")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    assert lab.status()["serving"] == "original"
    lab.run("pulumi", "preview", "--expect-no-changes")


def test_half_a_rollback_by_pulumi_is_led_to_its_end(lab: LabRunner) -> None:
    lab.run("tool", "switch", "lab", "--stop-before", "HostSetting")
    lab.run("pulumi", "config", "set", "phase", "prepared")
    log = lab.folder / "runs/lab/run.log"
    seen = log.stat().st_size
    words = [sys.executable, "-m", "lab", "--name", lab.name, "pulumi", "up", "--yes", "--skip-preview"]
    going = subprocess.Popen(words, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while b"mariadb started on olddb1" not in log.read_bytes()[seen:]:
        assert time.monotonic() < deadline and going.poll() is None, log.read_bytes()[seen:].decode()
        time.sleep(0.05)
    tell("pulumi up to phase prepared, its provider killed halfway")
    provider = provider_of(going.pid)
    assert provider is not None
    os.kill(provider, signal.SIGKILL)
    going.communicate(timeout=300)
    refused = lab.run("tool", "switch", "lab", check=False)
    assert refused.returncode == 1
    assert "a rollback has begun" in refused.stdout
    explained = lab.run("tool", "recover", "lab", check=False).stdout
    assert "Forward: refused until the rollback" in explained
    tell("back leads it to its end")
    lab.run("tool", "back", "lab")
    assert lab.status()["serving"] == "original"


def test_jobs_that_do_not_end_bring_users_back_or_are_cut_off_and_closed_in_the_copy(lab: LabRunner) -> None:
    msid = lab.sql("olddb1", 'SELECT MIN(msid) FROM cloud.mshost WHERE state = "Up" AND removed IS NULL')
    vm = lab.sql("olddb1", 'SELECT MIN(id) FROM cloud.vm_instance WHERE type = "User" AND state = "Running" AND removed IS NULL')
    lab.sql("olddb1", f'UPDATE cloud.vm_instance SET state = "Stopping", update_time = UTC_TIMESTAMP() WHERE id = {vm}')
    lab.sql(
        "olddb1",
        "INSERT INTO cloud.async_job (user_id, account_id, instance_type, instance_id, job_cmd, job_status, job_init_msid, job_executing_msid, "
        'created, uuid, related, job_type, job_dispatcher) VALUES (2, 2, "VirtualMachine", '
        f'{vm}, "org.apache.cloudstack.api.command.StopVMCmd", 0, {msid}, {msid}, UTC_TIMESTAMP(), UUID(), "", '
        '"ApiAsyncJobDispatcher", "ApiAsyncJobDispatcher")',
    )
    job = lab.sql("olddb1", "SELECT MAX(id) FROM cloud.async_job")
    lab.run("pulumi", "config", "set", "--path", "window.drain", "6s")
    try:
        tell("switch while a job runs: it is waited for behind the barrier, then users are in again")
        refused = lab.run("tool", "switch", "lab", check=False)
        assert refused.returncode == 1 and "users are in again" in refused.stdout and "StopVMCmd" in refused.stdout
        assert not masked(lab, "oldms1", "cloudstack-management")
        assert lab.shell("oldms1", "nft list tables; iptables -S INPUT 2>/dev/null", check=False).count("cloudstack_parallel_build") == 0
        tell("switch again, with what still runs cut off")
        lab.run("pulumi", "config", "set", "--path", "window.drainThen", "cut")
        done = lab.run("tool", "switch", "lab")
        assert "cut off, on record" in done.stdout and lab.status()["serving"] == "new"
        assert lab.sql("newdb1", f"SELECT job_status, job_result_code FROM cloud.async_job WHERE id = {job}") == "2\t530"
        assert lab.sql("newdb1", f"SELECT state FROM cloud.vm_instance WHERE id = {vm}") in ("Stopped", "Running")
        tell("back: the original's own server clears up what it left")
        lab.run("tool", "back", "lab")
        assert lab.sql("olddb1", f"SELECT job_status FROM cloud.async_job WHERE id = {job}") == "2"
        assert lab.sql("olddb1", f"SELECT state FROM cloud.vm_instance WHERE id = {vm}") == "Running"
    finally:
        for key in ("window.drain", "window.drainThen"):
            lab.run("pulumi", "config", "rm", "--path", key, check=False)
        lab.sql("olddb1", f"UPDATE cloud.async_job SET job_status = 2, removed = UTC_TIMESTAMP() WHERE id = {job}")
