"""The agents' wave on many KVM hosts, each with real packages: nobody waits for it, hosts that die are listed, a failing canary touches one.

`CUTOVER_SCALE_HOSTS` is how many there are, 6 by default; 60 need 6 GB of memory and half an hour of two processors.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from lab.files import Lab
from lab.machines import ALL_KVM_HOSTS
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.machines.container import machine as container
from parallel_build.project import PROJECT
from tests.containers.conftest import LabRunner, tell
from tests.containers.scale_stand import LIMIT
from tests.containers.whole_stack import evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(5400)]

HOSTS = int(os.environ.get("CUTOVER_SCALE_HOSTS", "6"))
OLD, NEW = "4.20.3.0", "4.22.1.0"
NAMES = [host.name for host in ALL_KVM_HOSTS[:HOSTS]]
DEAD = NAMES[-max(1, HOSTS // 20) - 1 : -1]  # the first and the last have system VMs and routers
VERSION = "dpkg-query -W -f '${Version}' cloudstack-agent; echo; systemctl show cloudstack-agent -P ActiveEnterTimestampMonotonic"
ASIDE = "SELECT name FROM cloud.host WHERE type = 'Routing' AND resource_state = 'Disabled' AND removed IS NULL"
UP = "SELECT COUNT(*) FROM cloud.host WHERE type = 'Routing' AND status = 'Up' AND removed IS NULL"
# Whoever else works with packages there holds this lock: dpkg refuses at once.
LOCK = (
    "systemd-run --quiet --collect --unit=locker python3 -c \"import fcntl, time; held = [open('/var/lib/dpkg/' + name, 'w') for name in "
    "('lock-frontend', 'lock')]; [fcntl.lockf(each, fcntl.LOCK_EX) for each in held]; time.sleep(3600)\""
)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own with many hosts, whose stack brings agents to the new version by the wave."""
    with own_lab("hosts", "--agents", "--kvm-hosts", str(HOSTS), "--rows", "200") as runner:
        runner.run("pulumi", "config", "set", "--path", "agents.upgrade.atOnce", str(max(4, HOSTS // 6)))
        yield runner


def agents(lab: LabRunner, names: list[str]) -> dict[str, list[str]]:
    """Version of each host's agent, and when it was started."""
    return {name: lab.shell(name, VERSION).split() for name in names}


def times(lab: LabRunner, step: str) -> tuple[float, float]:
    """When a step began and ended."""
    timing = evidence(lab, step)["timing"]
    return datetime.fromisoformat(timing["started"]).timestamp(), datetime.fromisoformat(timing["ended"]).timestamp()


def there(lab: LabRunner, name: str) -> bool:
    """Whether a host can be logged in to."""
    return lab.run("shell", name, "true", check=False).returncode == 0


def test_hosts_that_die_are_listed_and_nobody_waits_for_the_others(lab: LabRunner) -> None:
    folder = Lab(lab.name).original
    tell(f"switch; {', '.join(DEAD)} lose their power once the original's management has stopped")
    words = [sys.executable, "-m", "lab", "--name", lab.name, "switch"]
    going = subprocess.Popen(words, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stopped() -> bool:
        assert going.poll() is None, going.communicate()[0][-3000:]
        return lab.shell("oldms1", "systemctl is-active cloudstack-management || true").strip() != "active"

    wait_for("the original's management to be stopped", stopped, timeout=600, cancel=CancelToken(), interval=0.1)
    for name in DEAD:
        container.kill(folder, name)
    shown, _ = going.communicate(timeout=LIMIT)
    assert going.returncode == 0, shown[-4000:]
    wave = evidence(lab, "Agents")
    (began, ended), (transfer, _), (first, _), (hosts, _) = (
        times(lab, step) for step in ("Agents", "DatabaseTransfer", "FirstManagement", "Hypervisors")
    )
    tell(
        f"the wave took {ended - began:.1f} s; from its begin on: transfer after {transfer - began:.1f} s, first server after {first - began:.1f} s, "
        f"hosts after {hosts - began:.1f} s; {wave['result']}"
    )
    assert began <= transfer + 1, "it begins before the transfer, or with it"
    assert first < ended or HOSTS < 30, "the new server starts without waiting for it; a few hosts are done before"
    assert ended <= hosts
    assert sorted(wave["result"]["not renewed"]) == sorted(DEAD) and wave["result"]["done"] == HOSTS - len(DEAD)
    assert all(name in shown for name in DEAD) and "keep their old agent and take no new VMs" in shown
    assert {version for version, _ in agents(lab, [name for name in NAMES if name not in DEAD]).values()} == {NEW}
    assert sorted(lab.sql("newdb1", ASIDE).split()) == sorted(DEAD) and lab.status()["serving"] == "new"
    tell("they have power again; up does them")
    for name in DEAD:
        container.power_on(folder, name)
    wait_for("them to be there", lambda: all(there(lab, name) for name in DEAD), timeout=120, cancel=CancelToken())
    lab.run("pulumi", "up", "--yes", "--skip-preview", timeout=LIMIT)
    assert {version for version, _ in agents(lab, NAMES).values()} == {NEW} and lab.sql("newdb1", ASIDE) == ""
    began = time.monotonic()
    lab.run("back", timeout=LIMIT)
    tell(f"back after {time.monotonic() - began:.0f} s; the old agents are there again")
    assert {version for version, _ in agents(lab, NAMES).values()} == {OLD} and lab.status()["serving"] == "original"
    wait_for("every host to be Up", lambda: lab.sql("olddb1", UP) == str(HOSTS), timeout=120, cancel=CancelToken())


def test_a_failing_canary_touches_one_host(lab: LabRunner) -> None:
    before = agents(lab, NAMES)
    lab.shell(NAMES[0], LOCK)
    failed = lab.run("tool", "switch", "lab", check=False, timeout=LIMIT)
    assert failed.returncode == 1 and "the canary has failed" in failed.stdout, failed.stdout[-3000:]
    after = agents(lab, NAMES)
    assert [name for name in NAMES if after[name] != before[name]] == [NAMES[0]], "its agent alone was stopped, and is started again"
    assert {version for version, _ in after.values()} == {OLD}
    assert f"0 of {HOSTS} hosts have the new agent" in failed.stdout
    lab.shell(NAMES[0], "systemctl stop locker")
    tell("the lock is gone: the same command again")
    lab.run("switch", timeout=LIMIT)
    assert {version for version, _ in agents(lab, NAMES).values()} == {NEW} and lab.status()["serving"] == "new"
    lab.run("back", timeout=LIMIT)
    assert {version for version, _ in agents(lab, NAMES).values()} == {OLD}
