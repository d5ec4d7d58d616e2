"""The rehearsal on containers: isolated, stopped by a hole, from dump files, failing on an operator's own row, passing with a fix, replayed in the window,
where agents are left behind and brought over, and gone when the stack is retired."""

from __future__ import annotations

import gzip
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
from parallel_build.machines.container import machine as container
from parallel_build.records.rehearsal_times import GRAIN, SHARE, Pair
from tests.containers.conftest import UP_LIMIT, LabRunner, tell

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

# Server, port: each kind of thing that a management server would contact, and the server that packages come from.
NEIGHBOURS = (
    ("10.91.0.11", 8080), ("10.91.0.11", 22), ("10.91.0.13", 3306), ("10.91.0.14", 3306), ("10.91.0.21", 22), ("10.91.0.22", 22),
    ("10.91.0.31", 3306), ("10.91.0.41", 22), ("10.91.0.1", 80), ("10.91.0.1", 8000),
    STORAGE := ("10.91.0.1", 2049), MAIL := ("10.91.0.1", 25),
)  # fmt: skip
OWN_ROW = (
    "INSERT INTO cloud.guest_os (id, uuid, category_id, display_name, is_user_defined) "
    "SELECT 10001, UUID(), MIN(id), 'Our own appliance', 1 FROM cloud.guest_os_category; "
    "INSERT INTO cloud.guest_os_hypervisor (uuid, hypervisor_type, hypervisor_version, guest_os_name, guest_os_id) "
    "VALUES (UUID(), 'KVM', 'default', 'Our own appliance', 10001)"
)
FIX = """-- reason: our own guest OS has an id that 4.22 gives to another one; ours moves away with all that names it
-- mends: guest_os 10001
SET SESSION foreign_key_checks = 0;
UPDATE guest_os SET id = 20001 WHERE id = 10001 AND is_user_defined = 1;
UPDATE guest_os_hypervisor SET guest_os_id = 20001 WHERE guest_os_id = 10001;
UPDATE vm_template SET guest_os_id = 20001 WHERE guest_os_id = 10001;
UPDATE vm_instance SET guest_os_id = 20001 WHERE guest_os_id = 10001;
"""
SSH_FAILED = 255
# Seconds that the stand-in is given for each part of the upgrade besides its real statements, as the tables of a cloud in use would make it. Long
# enough that of what a part may differ by (a quarter and a second) the quarter is the larger piece by far.
SET_TIMES: dict[str, Any] = {"step_seconds": {"4.21.0.0": 20, "4.22.0.0": 16, "4.22.1.0": 16}, "views_seconds": 16}
GIVEN = {**SET_TIMES["step_seconds"], "views": SET_TIMES["views_seconds"]}
HOUSEKEEPING = {"events": "1d", "alerts": "1d", "usageEvents": "1d", "usage": "1d", "statistics": "1d", "jobs": "1d", "batch": "5000"}
AGENT_FILE = "/etc/cloudstack/agent/agent.properties"


@pytest.fixture(scope="module")
def rehearsing() -> Iterator[LabRunner]:
    """A lab of its own with a rehearsal's server, in phase `prepared`: one rehearsal has passed."""
    name = os.environ.get("CUTOVER_TEST_LAB", "test")
    if os.environ.get("CUTOVER_TEST_LAB_KEEP"):  # While a test is written: a lab that is up already, and stays.
        yield LabRunner(name)
        return
    runner = LabRunner(name + "r")
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


def reached(lab: LabRunner, machine: str = "rehearsal") -> set[str]:
    """Which neighbours a server reaches. A refusal is an answer too: nothing listens for NFS or mail in the lab, but their addresses are there."""
    tries = " ".join(f"{address}/{port}" for address, port in NEIGHBOURS)
    one = 'said=$(timeout 5 bash -c "</dev/tcp/$t" 2>&1); code=$?; case "$code $said" in 0*|*refused*) echo $t;; esac'
    return set(lab.shell(machine, f"for t in {tries}; do ({one}) & done; wait; true").split())


def fenced(lab: LabRunner) -> None:
    """CloudStack there is stopped, masked, and was never set up."""
    shown = lab.shell("rehearsal", "systemctl is-active cloudstack-management; systemctl is-enabled cloudstack-management; "
                      "test -e /etc/cloudstack/management/key && echo key; ss -Hltn", check=False)  # fmt: skip
    assert "masked" in shown and "\nactive" not in f"\n{shown}" and "key" not in shown.split() and ":8250" not in shown, shown


def take_time(lab: LabRunner, machine: str) -> None:
    """Make the upgrade on a machine take its time."""
    for key, value in SET_TIMES.items():
        lab.run("fault", machine, key, json.dumps(value))


def rehearse(lab: LabRunner, *words: str) -> subprocess.CompletedProcess[str]:
    """`parallel-build rehearse`."""
    return lab.run("tool", "rehearse", "lab", *words, check=False)


def test_prepared_rehearses_and_the_change_review_says_how_long(rehearsing: LabRunner) -> None:
    lab = rehearsing
    found = record(lab)
    assert found["passed"] and list(found["schema"]) == ["4.21.0.0", "4.22.0.0", "4.22.1.0", "views"]
    assert found["isolation"]["held by"] == "firewall and network" and found["isolation"]["tried"] > 25
    assert found["isolation"]["kinds"].items() >= {"mail server": 3, "primary storage": 2}.items(), found["isolation"]
    assert {"hypervisor", "management server", "database server", "SecondaryStorageVM"} <= found["isolation"]["kinds"].keys()
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
    assert reached(lab, "oldms1") == {f"{address}/{port}" for address, port in NEIGHBOURS}, "the same asked where nothing is kept in"
    assert reached(lab) == set()
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
    assert reached(lab) == set()
    fenced(lab)


def test_a_copy_can_come_from_dump_files(rehearsing: LabRunner, tmp_path: Path) -> None:
    lab = rehearsing
    cloud, usage = (
        lab.shell("olddb1", f"mariadb-dump --single-transaction --routines --triggers --hex-blob {name}").encode()
        for name in ("cloud", "cloud_usage")
    )
    (tmp_path / "cloud.sql.gz").write_bytes(gzip.compress(cloud))
    (tmp_path / "usage.sql").write_bytes(usage)
    for name, file in (("cloud", "cloud.sql.gz"), ("cloud_usage", "usage.sql")):
        lab.run("pulumi", "config", "set", "--path", f"rehearsal.dump.{name}", str(tmp_path / file))
    before, users = record(lab), lab.sql("olddb1", "SELECT COUNT(*) FROM mysql.user")
    try:
        tell("rehearse from dump files")
        done = rehearse(lab)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        found = record(lab)
        assert found["passed"] and found["source"] == f"{tmp_path}/cloud.sql.gz, {tmp_path}/usage.sql"
        assert "cloud.sql.gz is in cloud after" in done.stdout and "copying" not in done.stdout
        assert list(found["schema"]) == list(before["schema"]) and found["fingerprint"] == before["fingerprint"]
        fenced(lab)
        tell("with a dump that was cut off")
        (tmp_path / "cloud.sql.gz").write_bytes((tmp_path / "cloud.sql.gz").read_bytes()[:-5000])
        refused = rehearse(lab)
        assert refused.returncode == 1 and "cloud.sql.gz could not be read into cloud on rehearsal" in refused.stderr, refused.stderr
        tell(refused.stderr.strip())
        assert "unexpected end of file" in refused.stderr and not record(lab)["passed"]
        tell("with one that lacks its end, and is read without an error")
        whole = (tmp_path / "usage.sql").read_text()
        (tmp_path / "usage.sql").write_text(whole[: whole.rindex("DROP TABLE IF EXISTS")])
        (tmp_path / "cloud.sql.gz").write_bytes(gzip.compress(cloud))
        refused = rehearse(lab)
        assert refused.returncode == 1, refused.stdout[-3000:]
        tell(refused.stderr.strip())
        assert f"the dump {tmp_path}/usage.sql lacks 1 tables or views that the original's cloud_usage has" in refused.stderr
        fenced(lab)
    finally:
        lab.run("pulumi", "config", "rm", "--path", "rehearsal.dump")
    assert lab.sql("olddb1", "SELECT COUNT(*) FROM mysql.user") == users


def test_a_hole_stops_it_before_cloudstack_starts(rehearsing: LabRunner) -> None:
    lab, network = rehearsing, Lab(rehearsing.name)
    before = starts(lab)
    subprocess.run(["ip", "netns", "exec", network.namespace, "nft", "delete", "table", "bridge", ISOLATED], check=True, timeout=30)
    try:
        tell("rehearse with a network that has a way out")
        stopped = rehearse(lab)
        assert stopped.returncode == 1, stopped.stdout
        tell(stopped.stderr.strip())
        for words in (
            "rehearsal reached", "database server olddb1 (10.91.0.13:", "hypervisor kvm1 (10.91.0.21:", "primary storage primary1 (10.91.0.1:",
            f"mail server of alert.smtp.host ({MAIL[0]}:{MAIL[1]})", "the network has a way out", "CloudStack has not been started",
        ):  # fmt: skip
            assert words in stopped.stderr, stopped.stderr
        assert "copying" not in stopped.stdout
        assert reached(lab) == set(), "its firewall still keeps it in"
        tell("rehearse with a hole in its firewall too")
        for number, address in enumerate(("10.91.0.13", STORAGE[0])):
            lab.run("pulumi", "config", "set", "--path", f"rehearsal.allow[{number}]", f"{address}/32")
        stopped = rehearse(lab)
        assert stopped.returncode == 1, stopped.stdout
        tell(stopped.stderr.strip())
        for words in (
            "database server olddb1 (10.91.0.13:",
            "primary storage primary1 (",
            "mail server of alert.smtp.host (",
            "take the cloud's hypervisors",
        ):
            assert words in stopped.stderr, stopped.stderr
        through = {f"{address}/{port}" for address, port in NEIGHBOURS if address in ("10.91.0.13", STORAGE[0])}
        assert "kvm1" not in stopped.stderr and reached(lab) == through, "the hole is real, and the only one"
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
    tell("pulumi up, with a fix and housekeeping, and steps that take their time: it rehearses again")
    for key, age in HOUSEKEEPING.items():
        lab.run("pulumi", "config", "set", "--path", f"rehearsal.housekeeping.{key}", age)
    take_time(lab, "rehearsal")
    again = lab.run("pulumi", "up", "--yes", "--skip-preview")
    assert "fix 10-own-guest-os.sql changed 2 rows" in again.stdout, again.stdout[-4000:]
    found = record(lab)
    assert found["passed"] and list(found["fixes"]) == ["10-own-guest-os.sql"]
    assert lab.sql("olddb1", "SELECT id FROM cloud.guest_os WHERE display_name = 'Our own appliance'") == "10001"


def test_housekeeping_is_done_in_batches_measured_and_on_record(rehearsing: LabRunner) -> None:
    lab, found = rehearsing, record(rehearsing)
    old = {
        "cloud.event": "created", "cloud.alert": "created", "cloud.usage_event": "processed = 1 AND created",
        "cloud_usage.cloud_usage": "end_date", "cloud.vm_stats": "timestamp", "cloud.async_job": "job_status <> 0 AND created",
    }  # fmt: skip
    left = {
        table: int(lab.sql("rehearsal", f"SELECT COUNT(*) FROM {table} WHERE {condition} < UTC_TIMESTAMP() - INTERVAL 25 HOUR"))
        for table, condition in old.items()
    }
    there = {
        table: int(lab.sql("olddb1", f"SELECT COUNT(*) FROM {table} WHERE {condition} < UTC_TIMESTAMP() - INTERVAL 25 HOUR"))
        for table, condition in old.items()
    }
    tell(f"deleted on the copy: {found['deleted']} in {found['seconds']['housekeeping']} s; the original still has {there}")
    assert left == dict.fromkeys(old, 0)
    assert all(found["deleted"][table] >= rows for table, rows in there.items())
    assert sum(rows > 2 * int(HOUSEKEEPING["batch"]) for rows in there.values()) >= 2, "several batches"
    assert found["seconds"]["housekeeping"] > 0 and set(found["housekeeping"]) == {key for key in HOUSEKEEPING if key != "batch"}
    shown = rehearse(lab, "--show").stdout
    assert "housekeeping" in shown and re.search(r"deleted +[\d,]+ rows of cloud\.event", shown)


def test_the_window_replays_it_and_takes_as_long(rehearsing: LabRunner) -> None:
    lab = rehearsing
    events = int(lab.sql("olddb1", "SELECT COUNT(*) FROM cloud.event"))
    take_time(lab, "newms1")
    tell("switch to a hold point, where nothing of the new side has started; both hosts are stranded there")
    held = lab.run("tool", "switch", "lab", "--stop-before", "FirstManagement")
    assert "fix 10-own-guest-os.sql changed 2 rows" in held.stdout and "in rehearsal" in held.stdout
    lab.shell("kvm1", "systemctl stop cloudstack-agent")
    lab.shell("kvm2", f"sed -i 's/^host=.*/host=10.91.0.11/' {AGENT_FILE} && systemctl restart cloudstack-agent")
    lab.run("pulumi", "config", "rm", "--path", "window.stopBefore")
    lab.run("pulumi", "config", "set", "--path", "window.hostsTimeout", "10s")
    tell("switch: on to the hosts")
    stopped = lab.run("switch", check=False)
    assert stopped.returncode != 0
    printed = " ".join((stopped.stdout + stopped.stderr).split())
    for words in (
        "not Up on the new side: kvm1 (", "kvm1: cloudstack-agent does not run there", "there: systemctl start cloudstack-agent",
        f"kvm2: its {AGENT_FILE} lists 10.91.0.11, not 10.91.0.41",
        "kvm2: there: set host=10.91.0.41,10.91.0.11 in that file and systemctl restart cloudstack-agent",
        "then `pulumi up`, which resumes from here", "VMs on such a host run on meanwhile",
    ):  # fmt: skip
        assert words in printed, printed[-5000:]
    tell("the operator does what it says")
    lab.shell("kvm1", "systemctl start cloudstack-agent")
    lab.shell("kvm2", f"sed -i 's/^host=.*/host=10.91.0.41,10.91.0.11/' {AGENT_FILE} && systemctl restart cloudstack-agent")
    lab.run("pulumi", "config", "set", "--path", "window.hostsTimeout", "10m")
    went_on = lab.run("switch")
    assert "cutover:index:FirstManagement cutover-first-management created" not in went_on.stdout, "what is done is not done again"
    assert lab.sql("newdb1", "SELECT id, display_name FROM cloud.guest_os WHERE id IN (10001, 20001) ORDER BY id") == (
        "10001\tRocky Linux 10\n20001\tOur own appliance"
    )
    assert int(lab.sql("newdb1", "SELECT COUNT(*) FROM cloud.event")) < events, "housekeeping was done on the copy"
    assert lab.status()["serving"] == "new"
    result = json.loads((lab.folder / "runs/lab/evidence/FirstManagement.json").read_text())["result"]
    start, rehearsed = result["start"], record(lab)
    assert rehearsed["fingerprint"] == start["fingerprint"], "the same views and procedures came of it"
    pairs = [Pair(**each) for each in result["rehearsal"]]
    assert [pair.part for pair in pairs] == [*rehearsed["schema"], "start"]
    tell(f"{'':12} {'rehearsal':>10} {'window':>10} {'ratio':>6}")
    for pair in pairs:
        tell(f"{pair.part:12} {pair.rehearsed:8.2f} s {pair.window:8.2f} s {pair.window / pair.rehearsed:6.2f}")
    # No speed is measured here: both sides were given the same seconds. That both logs tell them, each part by itself and within a quarter, is what
    # is asserted; what this computer adds to each part may be four seconds more in one than in the other.
    by_part = {pair.part: pair for pair in pairs}
    for part, seconds in GIVEN.items():
        pair = by_part[part]
        assert min(pair.rehearsed, pair.window) >= seconds, f"{part} has the seconds that it was given"
        assert SHARE * pair.rehearsed >= 4 * GRAIN, f"{part}: the second is small against the quarter"
    assert [pair.words() for pair in pairs if not pair.like] == []
    assert "; as long as in the rehearsal" in printed and "not as long" not in printed


def test_back_leaves_the_rehearsal_and_retiring_takes_it_away(rehearsing: LabRunner) -> None:
    lab, kept = rehearsing, record(rehearsing)
    lab.run("fault", "newms1", "step_seconds")
    lab.run("fault", "newms1", "views_seconds")
    tell("back")
    lab.run("back")
    assert lab.status()["serving"] == "original"
    lab.run("pulumi", "preview", "--expect-no-changes")
    assert record(lab) == kept
    fenced(lab)
    tell("switch again, on the same rehearsal, with steps that take no time now: the times are told apart")
    shorter = " ".join(lab.run("switch").stdout.split())
    assert f"not as long as in the rehearsal: {', '.join([*GIVEN, 'start'])}" in shorter and "; as long as" not in shorter, shorter[-5000:]
    pairs = json.loads((lab.folder / "runs/lab/evidence/FirstManagement.json").read_text())["result"]["rehearsal"]
    assert [each["part"] for each in pairs if Pair(**each).like] == []
    tell("retire")
    lab.run("retire")
    assert record(lab) == kept
    assert not container.exists(Lab(lab.name).new, REHEARSAL.name)
    shown = lab.run("pulumi", "stack", "export").stdout
    assert '"cutover:index:FirstManagement"' in shown and '"cutover:index:Rehearsal"' not in shown
    assert lab.status()["serving"] == "new"
