"""The whole path with the database of a real CloudStack as the original's, where it is there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.conftest import UP_LIMIT, LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

#: What a real CloudStack wrote; not part of this repository.
DATA = Path(__file__).parents[3] / "shared/data"
DATABASE_KEY = "dbKey01"
MANAGEMENT_KEY = "mgmtKey01"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRunner]:
    """A lab whose original has that database."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is missing: there is no database of a real CloudStack")
    folder = tmp_path_factory.mktemp("keys")
    administrator = json.loads((DATA / "apikeys.json").read_text())["admin"]
    given = {
        "database-key": DATABASE_KEY,
        "management-key": MANAGEMENT_KEY,
        "api-key": administrator["apikey"],
        "api-secret": administrator["secretkey"],
    }
    words = []
    for name, value in given.items():
        (folder / name).write_text(value)
        words += [f"--{name}", f"@{folder / name}"]
    runner = LabRunner(os.environ.get("CUTOVER_TEST_LAB", "test") + "-real")
    runner.run("down")
    try:
        dumps = ["--dump", str(DATA / "cloud-4.20.3.0.sql.xz"), "--usage-dump", str(DATA / "cloud_usage-4.20.3.0.sql.xz")]
        tell("a lab with the database of a real CloudStack")
        print(runner.run("up", "--hosts", "containers", *dumps, *words, timeout=UP_LIMIT).stderr)
        yield runner
    finally:
        runner.run("down", check=False)


def test_the_database_of_a_real_cloudstack_goes_over_and_back(recorded: LabRunner) -> None:
    lab = recorded
    assert_original_serves(lab)
    health = (lab.folder / "runs/lab/evidence/health.txt").read_text()
    assert " 0 blocks" in health, health
    # Both are true of that cloud in this lab: its routers were simulated, and its management network was another.
    warned = {line.split()[1].rstrip(":") for line in health.splitlines() if line.startswith("WARNS ")}
    assert warned <= {"router_checks_pass", "management_network_holds_new_servers"}, health
    before = keep_reading(lab)
    machines = lab.sql("olddb1", "SELECT COUNT(*), MIN(uuid), MAX(uuid) FROM cloud.vm_instance")
    tell("switch")
    began = time.monotonic()
    lab.run("switch")
    tell(f"switched after {time.monotonic() - began:.0f} s")
    assert "serving: new" in lab.run("verify", "new").stdout
    assert lab.sql("newdb1", 'SELECT step FROM cloud.version WHERE version = "4.22.1.0"') == "Complete"
    assert lab.sql("newdb1", "SELECT COUNT(*), MIN(uuid), MAX(uuid) FROM cloud.vm_instance").split()[1:] == machines.split()[1:]
    lab.run("pulumi", "preview", "--expect-no-changes")
    tell("back")
    began = time.monotonic()
    lab.run("back")
    tell(f"back after {time.monotonic() - began:.0f} s")
    assert_original_serves(lab, before)
