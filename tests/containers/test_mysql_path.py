"""A stack whose original and new servers are MySQL: switched with `dump`, back, seeded with `replicate`, switched again, rolled back.

One lab of its own, and one story: each test begins where the one before it ended. About four minutes on two quiet cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.conftest import UP_LIMIT, LabRunner, tell
from tests.containers.original_proof import assert_unchanged
from tests.containers.test_replicate_path import (
    TABLES,
    assert_new_serves,
    assert_no_trace,
    evidence,
)

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
CLOUD_VERSION = "SELECT version FROM cloud.version ORDER BY id DESC LIMIT 1"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own with MySQL, in phase `prepared`."""
    runner = LabRunner(f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:15]}-sql")
    if os.environ.get("CUTOVER_TEST_LAB_KEEP"):
        yield runner
        return
    runner.run("down")
    try:
        tell("up, prepared")
        began = time.monotonic()
        runner.run("up", "--hosts", "containers", "--management", "1", "--database", "mysql", timeout=UP_LIMIT)
        tell(f"prepared after {time.monotonic() - began:.0f} s")
        yield runner
    finally:
        runner.run("down", check=False)


def switch(lab: LabRunner) -> None:
    """Switch; the new side serves with the new version, its replica follows, the original's database keeps the old one."""
    began = time.monotonic()
    lab.run("switch")
    taken = evidence(lab, "DatabaseTransfer")
    tell(f"switched after {time.monotonic() - began:.0f} s; DatabaseTransfer {taken['timing']['seconds']} s")
    assert_new_serves(lab)
    assert lab.sql("newdb1", CLOUD_VERSION) == "4.22.1.0"
    assert lab.status()["replication"]["new"]["applying"]


def back(lab: LabRunner, before: Path) -> None:
    began = time.monotonic()
    lab.run("back")
    tell(f"back after {time.monotonic() - began:.0f} s")
    assert lab.status()["serving"] == "original"
    assert lab.sql("olddb1", CLOUD_VERSION) == "4.20.3.0"
    assert_unchanged(lab, before)
    assert lab.sql("newdb1", TABLES) == "0"


@pytest.fixture(scope="module")
def before(lab: LabRunner) -> Path:
    """The original's checksums before anything was switched."""
    path = Path(lab.folder) / "before.json"
    if not path.exists():
        path.write_text(lab.run("checksums").stdout)
    return path


def test_all_four_servers_are_mysql(lab: LabRunner) -> None:
    for machine in ("olddb1", "olddb2", "newdb1", "newdb2"):
        said = lab.sql(machine, "SELECT CONCAT(VERSION(), @@version_comment)")
        assert said.startswith("9.") and "MariaDB" not in said, said
    replication = lab.status()["replication"]
    assert all(state["receiving"] and state["applying"] for state in replication.values()), replication


def test_dump_switch_and_back(lab: LabRunner, before: Path) -> None:
    tell("switch with dump")
    switch(lab)
    assert evidence(lab, "DatabaseTransfer")["result"]["compared rows"] > 10000
    back(lab, before)


def test_replicate_switch_and_back(lab: LabRunner, before: Path) -> None:
    tell("prepared again, with transfer.method replicate")
    lab.run("pulumi", "config", "set", "--path", "transfer.method", "replicate")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    seed = evidence(lab, "DatabaseSeed")["result"]
    assert seed["baseline"]["same"] and seed["baseline"]["rows"] >= seed["copy"]["rows"] > 10000
    tell("switch with replicate")
    switch(lab)
    taken = evidence(lab, "DatabaseTransfer")["result"]
    assert taken["method"] == "replicate" and taken["changes"] > 0
    back(lab, before)
    assert_no_trace(lab)
