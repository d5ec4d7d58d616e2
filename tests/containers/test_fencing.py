"""The side that must not serve can't come back: not by a reboot, not by a job that starts its services; and what is lost is named, not passed over."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.files import Lab
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
from tests.containers.conftest import LabRunner, tell

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

OLD = {
    "oldms1": ("cloudstack-usage", "cloudstack-management"),
    "oldms2": ("cloudstack-management",),
    "olddb1": ("mariadb",),
    "olddb2": ("mariadb",),
}
NEW = {"newms1": ("cloudstack-usage", "cloudstack-management"), "newms2": ("cloudstack-management",)}


@pytest.fixture
def original_serving(lab: LabRunner) -> Iterator[LabRunner]:
    """The lab in phase prepared; machines that the test lost are on again."""
    yield lab
    place = Lab(lab.name)
    for name in ("oldms1", "oldms2"):
        namespace.inside(place.namespace, lambda name=name: container.power_on(place.original, name))  # type: ignore[misc]
    lab.run("back", check=False)


def eventually(what: str, holds: Callable[[], bool], timeout: float = 300) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.5)


def reboot(lab: LabRunner, machines: dict[str, tuple[str, ...]]) -> None:
    """Reboot machines and wait until each has booted as far as it goes."""
    started = {name: lab.shell(name, "systemctl show -p UserspaceTimestampMonotonic --value; stat -c %Y /run/systemd") for name in machines}
    for name in machines:
        lab.run("shell", name, "systemctl reboot", check=False)
    for name in machines:
        state = "systemctl is-system-running; systemctl show -p UserspaceTimestampMonotonic --value; stat -c %Y /run/systemd"

        def booted(name: str = name, state: str = state) -> bool:
            printed = lab.run("shell", name, state, check=False).stdout.split("\n", 1)
            return printed[0] in ("running", "degraded") and printed[1] != started[name]

        eventually(f"the reboot of {name}", booted)


def assert_down(lab: LabRunner, machines: dict[str, tuple[str, ...]]) -> None:
    """No unit runs, and nothing that tries starts one."""
    for name, units in machines.items():
        for unit in units:
            for command in (f"systemctl start {unit}", f"systemctl restart {unit}", f"service {unit} start", f"invoke-rc.d {unit} start"):
                lab.run("shell", name, command, check=False)
            assert lab.shell(name, f"systemctl is-active {unit}", check=False).strip() in ("inactive", "failed"), f"{unit} on {name}"
            assert lab.shell(name, f"systemctl show -p LoadState --value {unit}").strip() == "masked"
        listening = lab.shell(name, "ss -Hltn | awk '{print $4}'")
        assert not [line for line in listening.splitlines() if line.rpartition(":")[2] in ("8080", "8250", "9090", "3306")]


def forensics(lab: LabRunner) -> set[Path]:
    """What has been kept of new sides so far, a folder each."""
    return set((lab.folder / "runs/lab/forensics").glob("*"))


def assert_kept(lab: LabRunner, earlier: set[Path]) -> None:
    """What an investigation needs was kept, for the operator only, before the new databases were emptied."""
    (folder,) = forensics(lab) - earlier
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    kept = {path.name: gzip.decompress(path.read_bytes()).decode() for path in folder.iterdir()}
    assert "4.22.1.0" in kept["newms1-management-server.log.gz"]
    assert "newms2-cloudstack-management.journal.gz" in kept
    state = json.loads(kept["newdb1-state.json.gz"])
    assert {"4.20.3.0", "4.22.1.0"} <= {row["version"] for row in state["cloud.version"]}
    assert len(state["tables"]) > 300
    assert {row["service_ip"] for row in state["cloud.mshost"]} >= {"10.91.0.41", "10.91.0.42"}
    tables = lab.sql("newdb1", 'SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ("cloud", "cloud_usage")')
    assert tables == "0"


def test_the_side_that_was_left_stays_down_over_reboots_and_the_one_that_serves_comes_back(original_serving: LabRunner) -> None:
    lab = original_serving
    earlier = forensics(lab)
    tell("switch")
    lab.run("switch")
    assert lab.status()["serving"] == "new"
    tell("reboot of all the original's servers")
    reboot(lab, OLD)
    assert_down(lab, OLD)
    assert lab.status()["serving"] == "new"
    tell("reboot of the new management servers")
    reboot(lab, NEW)
    eventually("the new side to serve again", lambda: {server["version"] for server in lab.status()["new"]} == {"4.22.1.0"})
    tell("back, while oldms2 has no power")
    place = Lab(lab.name)
    namespace.inside(place.namespace, lambda: container.kill(place.original, "oldms2"))
    failed = lab.run("back", check=False)
    assert failed.returncode != 0
    assert "rolled back: the original is in service and users are in, except" in failed.stdout
    assert "oldms2" in failed.stdout
    found = lab.status()
    assert (found["serving"], found["original"][0]["users"]) == ("original", True)
    tell("oldms2 is back, the same command again")
    namespace.inside(place.namespace, lambda: container.power_on(place.original, "oldms2"))
    lab.run("back")
    eventually("both servers of the original to serve", lambda: {server["version"] for server in lab.status()["original"]} == {"4.20.3.0"})
    assert_kept(lab, earlier)
    tell("reboot of the new management servers, which were left")
    reboot(lab, NEW)
    assert_down(lab, NEW)
    assert lab.status()["serving"] == "original"
