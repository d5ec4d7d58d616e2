"""The rehearsal on containers: isolated, stopped by a hole, failing on an operator's own row, passing with a fix, replayed in the window."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.files import Lab
from lab.machines import REHEARSAL
from lab.network import ISOLATED, isolate
from tests.containers.conftest import UP_LIMIT, LabRunner, tell

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

# Server, port: each kind of thing that a management server would contact, and the server that packages come from.
NEIGHBOURS = (
    ("10.91.0.11", 8080), ("10.91.0.11", 22), ("10.91.0.13", 3306), ("10.91.0.14", 3306), ("10.91.0.21", 22), ("10.91.0.22", 22),
    ("10.91.0.31", 3306), ("10.91.0.41", 22), ("10.91.0.1", 80), ("10.91.0.1", 8000),
)  # fmt: skip
OWN_ROW = (
    "INSERT INTO cloud.guest_os (id, uuid, category_id, display_name, is_user_defined) "
    "SELECT 10001, UUID(), MIN(id), 'Our own appliance', 1 FROM cloud.guest_os_category; "
    "INSERT INTO cloud.guest_os_hypervisor (uuid, hypervisor_type, hypervisor_version, guest_os_name, guest_os_id) "
    "VALUES (UUID(), 'KVM', 'default', 'Our own appliance', 10001)"
)
FIX = """-- reason: our own guest OS has an id that 4.22 gives to another one; ours moves away with all that names it
SET SESSION foreign_key_checks = 0;
UPDATE guest_os SET id = 20001 WHERE id = 10001 AND is_user_defined = 1;
UPDATE guest_os_hypervisor SET guest_os_id = 20001 WHERE guest_os_id = 10001;
UPDATE vm_template SET guest_os_id = 20001 WHERE guest_os_id = 10001;
UPDATE vm_instance SET guest_os_id = 20001 WHERE guest_os_id = 10001;
"""
SSH_FAILED = 255


@pytest.fixture(scope="module")
def rehearsing() -> Iterator[LabRunner]:
    """A lab of its own with a rehearsal's server, in phase `prepared`: one rehearsal has passed."""
    runner = LabRunner(os.environ.get("CUTOVER_TEST_LAB", "test") + "r")
    runner.run("down")
    try:
        tell("a lab with a rehearsal")
        up = runner.run("up", "--hosts", "containers", "--management", "1", "--rehearsal", timeout=UP_LIMIT)
        print(up.stderr)
        yield runner
    finally:
        runner.run("down", check=False)


def record(lab: LabRunner, which: str = "last") -> dict[str, Any]:
    """The record in the run folder."""
    found: dict[str, Any] = json.loads((lab.folder / "runs/lab/rehearsal.json").read_text())[which]
    return found


def starts(lab: LabRunner) -> str:
    """What tells one start of the rehearsal's management server from another."""
    return lab.shell("rehearsal", "systemctl show cloudstack-management -p ExecMainStartTimestampMonotonic,ExecMainPID,InvocationID; "
                     "stat -c '%i %s' /var/log/cloudstack/management/management-server.log")  # fmt: skip


def reached(lab: LabRunner) -> str:
    """Which neighbours the server reaches from inside."""
    tries = " ".join(f"{address}/{port}" for address, port in NEIGHBOURS)
    return lab.shell(
        "rehearsal", f'for t in {tries}; do (timeout 2 bash -c "</dev/tcp/$t" 2>/dev/null && echo $t) & done; wait; true'
    ).strip()


def fenced(lab: LabRunner) -> None:
    """CloudStack there is stopped, masked, and was never set up."""
    shown = lab.shell("rehearsal", "systemctl is-active cloudstack-management; systemctl is-enabled cloudstack-management; "
                      "test -e /etc/cloudstack/management/key && echo key; ss -Hltn", check=False)  # fmt: skip
    assert "masked" in shown and "\nactive" not in f"\n{shown}" and "key" not in shown.split() and ":8250" not in shown, shown


def rehearse(lab: LabRunner, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m parallel_build rehearse`."""
    return lab.run("tool", "rehearse", "lab", *words, check=False)


def test_prepared_rehearses_and_the_change_review_says_how_long(rehearsing: LabRunner) -> None:
    lab = rehearsing
    found = record(lab)
    assert found["passed"] and list(found["schema"]) == ["4.21.0.0", "4.22.0.0", "4.22.1.0", "views"]
    assert found["isolation"]["held by"] == "firewall and network" and found["isolation"]["tried"] > 25
    fenced(lab)
    assert "unchanged" in lab.run("pulumi", "preview", "--diff", "--expect-no-changes").stdout
    lab.run("pulumi", "config", "set", "phase", "switched")
    try:
        shown = lab.run("pulumi", "preview", "--diff").stdout
    finally:
        lab.run("pulumi", "config", "set", "phase", "prepared")
    first = shown[shown.find("cutover:index:FirstManagement:") :]
    assert re.search(r'rehearsed : "took [\d.]+ s in rehearsal \(schema: 4\.21\.0\.0 [\d.]+ s, ', first), first[:3000]
    assert "in rehearsal (copy" in shown and "not rehearsed" in shown
    assert rehearse(lab, "--show").returncode == 0


def test_nothing_is_reached_from_inside_also_after_a_reboot(rehearsing: LabRunner) -> None:
    lab = rehearsing
    assert reached(lab) == ""
    tell("reboot of the rehearsal's server")
    began = "cut -d' ' -f22 /proc/1/stat"  # when its first process began, in ticks since the computer's own start
    boot = lab.shell("rehearsal", began).split()
    lab.run("shell", "rehearsal", "systemctl reboot", check=False)
    deadline = time.monotonic() + 120
    while True:
        again = lab.run("shell", "rehearsal", f"{began}; systemctl is-system-running --wait; true", check=False)
        if again.returncode == 0 and again.stdout.split()[:1] != boot:
            break
        if again.returncode == SSH_FAILED and time.monotonic() > deadline - 90:
            lab.run("up", "--hosts", "containers", "--management", "1", "--rehearsal")  # switches on what is off
        assert time.monotonic() < deadline, again.stdout + again.stderr
    assert "policy drop" in lab.shell("rehearsal", "nft list table inet cloudstack_parallel_build_rehearsal | grep 'hook output'")
    assert reached(lab) == ""
    fenced(lab)


def test_a_hole_stops_it_before_cloudstack_starts(rehearsing: LabRunner) -> None:
    lab, network = rehearsing, Lab(rehearsing.name)
    before = starts(lab)
    subprocess.run(["ip", "netns", "exec", network.namespace, "nft", "delete", "table", "bridge", ISOLATED], check=True, timeout=30)
    try:
        tell("rehearse with a network that has a way out")
        stopped = rehearse(lab)
        assert stopped.returncode == 1, stopped.stdout
        tell(stopped.stderr.strip())
        for words in ("rehearsal reached", "olddb1 (10.91.0.13:3306)", "the network has a way out", "CloudStack has not been started"):
            assert words in stopped.stderr
        assert "copying" not in stopped.stdout
        assert reached(lab) == "", "its firewall still keeps it in"
        tell("rehearse with a hole in its firewall too")
        lab.run("pulumi", "config", "set", "--path", "rehearsal.allow[0]", "10.91.0.13/32")
        stopped = rehearse(lab)
        assert stopped.returncode == 1, stopped.stdout
        tell(stopped.stderr.strip())
        assert "database server olddb1 (10.91.0.13:3306)" in stopped.stderr and "take the cloud's hypervisors" in stopped.stderr
        assert "kvm1" not in stopped.stderr and "10.91.0.13/3306" in reached(lab), "the hole is real, and the only one"
    finally:
        lab.run("pulumi", "config", "rm", "--path", "rehearsal.allow")
        isolate(network, REHEARSAL)
    assert starts(lab) == before
    refused = lab.run("tool", "check", "lab", check=False)
    assert refused.returncode == 1 and "the last rehearsal failed" in refused.stdout


def test_it_fails_on_an_operators_own_row_and_passes_with_a_fix(rehearsing: LabRunner) -> None:
    lab = rehearsing
    lab.sql("olddb1", OWN_ROW)
    tell("rehearse with a guest OS of the operator's own")
    failed = rehearse(lab)
    assert failed.returncode == 1, failed.stdout
    tell(failed.stderr.strip())
    for words in (
        "the rehearsal of 4.20.3.0 -> 4.22.1.0 failed in the schema upgrade to 4.22.0.0", "a statement of the schema upgrade failed",
        "INSERT INTO `cloud`.`guest_os`", "Duplicate entry '10001' for key 'PRIMARY'", "-- reason:",
    ):  # fmt: skip
        assert words in failed.stderr, failed.stderr
    fenced(lab)
    assert list(record(lab)["schema"]) == ["4.21.0.0"] and record(lab, "passed")["passed"]
    folder = Path(lab.folder) / "fixes"
    folder.mkdir()
    (folder / "10-own-guest-os.sql").write_text(FIX)
    assert "the fixes are others since: new: 10-own-guest-os.sql" in rehearse(lab, "--show").stdout
    tell("pulumi up, with a fix: it rehearses again")
    lab.run("pulumi", "config", "set", "--path", "rehearsal.housekeeping.events", "1d")
    again = lab.run("pulumi", "up", "--yes", "--skip-preview")
    assert "fix 10-own-guest-os.sql changed 2 rows" in again.stdout, again.stdout[-4000:]
    found = record(lab)
    assert found["passed"] and list(found["fixes"]) == ["10-own-guest-os.sql"] and found["deleted"]["cloud.event"] > 0
    assert lab.sql("olddb1", "SELECT id FROM cloud.guest_os WHERE display_name = 'Our own appliance'") == "10001"


def test_the_window_replays_it_and_takes_as_long(rehearsing: LabRunner) -> None:
    lab = rehearsing
    events = int(lab.sql("olddb1", "SELECT COUNT(*) FROM cloud.event"))
    tell("switch")
    done = lab.run("switch")
    assert "fix 10-own-guest-os.sql changed 2 rows" in done.stdout and "in rehearsal" in done.stdout
    assert lab.sql("newdb1", "SELECT id, display_name FROM cloud.guest_os WHERE id IN (10001, 20001) ORDER BY id") == (
        "10001\tRocky Linux 10\n20001\tOur own appliance"
    )
    assert int(lab.sql("newdb1", "SELECT COUNT(*) FROM cloud.event")) < events, "housekeeping was done on the copy"
    assert lab.status()["serving"] == "new"
    evidence = json.loads((lab.folder / "runs/lab/evidence/FirstManagement.json").read_text())
    start, rehearsed = evidence["result"]["start"], record(lab)
    window = {step["version"]: step["seconds"] for step in start["steps"]} | {"views": start["views_seconds"]}
    assert set(window) == set(rehearsed["schema"])
    tell(f"{'':12} rehearsal window")
    for name, seconds in window.items():
        tell(f"{name:12} {rehearsed['schema'][name]:7.2f} s {seconds:7.2f} s")
    tell(f"{'start':12} {rehearsed['seconds']['start']:7.2f} s {start['seconds']:7.2f} s")
    assert rehearsed["fingerprint"] == start["fingerprint"], "the same views and procedures came of it"
