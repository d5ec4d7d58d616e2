"""What tests of a whole stack share: a lab of their own, what a step left, and what must hold on either side."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.containers.conftest import UP_LIMIT, LabRunner, tell

ACCOUNTS = 'SELECT COUNT(*) FROM mysql.user WHERE User IN ("cutover_repl", "cutover_copy")'
TABLES = 'SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ("cloud", "cloud_usage")'


@contextmanager
def own_lab(ending: str, *options: str) -> Iterator[LabRunner]:
    """A lab of containers with one management server a side, in phase `prepared`; gone afterwards.

    Args:
        ending: of its name, other than those of the labs that are up at the same time.
        options: more of `scripts/lab up`.
    """
    runner = LabRunner(f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:15]}-{ending}")
    if os.environ.get("CUTOVER_TEST_LAB_KEEP"):  # While a test is written: a lab that is up already, and stays.
        yield runner
        return
    runner.run("down")
    try:
        tell(f"up {' '.join(options)}")
        began = time.monotonic()
        runner.run("up", "--hosts", "containers", "--management", "1", *options, timeout=UP_LIMIT)
        tell(f"prepared after {time.monotonic() - began:.0f} s")
        yield runner
    finally:
        runner.run("down", check=False)


def evidence(lab: LabRunner, step: str) -> dict[str, Any]:
    """What a step left in the run's folder."""
    found: dict[str, Any] = json.loads((lab.folder / f"runs/lab/evidence/{step}.json").read_text())
    return found


def assert_no_trace(lab: LabRunner) -> None:
    """No account of the copy or of a seed on the original."""
    assert lab.sql("olddb1", ACCOUNTS) == "0"
    assert lab.sql("olddb2", ACCOUNTS) == "0", "accounts are made outside the original's binary log"


def assert_new_serves(lab: LabRunner) -> None:
    """The new side serves, agents are connected to it, system VMs are its own, and its replica follows."""
    status = lab.status()
    assert status["serving"] == "new", status
    assert status["agents"]
    for agent in status["agents"]:
        assert (agent["state"], agent["connected_to"], agent["managed_by"]) == ("Up", "newms1", "newms1"), agent
    assert status["system_vms"]
    for vm in status["system_vms"]:
        assert vm["state"] == "Running" and not vm["requires_upgrade"], vm
        assert vm["version_appliance"].startswith("4.22."), vm
    assert status["replication"]["new"]["applying"], status["replication"]
    marker = str(time.time_ns())
    columns = "type, description, user_id, account_id, domain_id, created, level"
    lab.sql("newdb1", f'INSERT INTO cloud.event ({columns}) VALUES ("LAB.MARK", "{marker}", 1, 1, 1, NOW(), "INFO")')
    deadline = time.monotonic() + 120
    while lab.sql("newdb2", f'SELECT COUNT(*) FROM cloud.event WHERE description = "{marker}"') != "1":
        assert time.monotonic() < deadline, "a row written on the new source did not reach its replica in 120 s"
        time.sleep(0.3)
