"""`transfer.seed: physical` as a whole stack: refused without the tool, then switched with the tables' files, back without a trace, destroyed.

One story: each test begins where the one before it ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_unchanged, keep_reading
from tests.containers.whole_stack import TABLES, assert_new_serves, assert_no_trace, evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
CLOUD_VERSION = "SELECT version FROM cloud.version ORDER BY id DESC LIMIT 1"

AWAY = "for file in /usr/bin/mariadb-backup /usr/bin/mariabackup; do [ ! -e $file ] || mv $file $file.away; done"
HERE = "for file in /usr/bin/mariadb-backup /usr/bin/mariabackup; do [ ! -e $file.away ] || mv $file.away $file; done"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own in phase `prepared`, as it is by default."""
    with own_lab("files") as runner:
        yield runner


@pytest.fixture(scope="module")
def before(lab: LabRunner) -> Path:
    """The original's checksums before anything was switched."""
    return keep_reading(lab)


def test_without_the_tool_prepared_refuses_it(lab: LabRunner, before: Path) -> None:
    lab.run("pulumi", "config", "set", "--path", "transfer.seed", "physical")
    lab.shell("olddb1", AWAY)
    refused = lab.run("pulumi", "up", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    printed = refused.stdout + refused.stderr
    assert "transfer.seed: physical is not possible: olddb1 has no mariadb-backup" in printed
    assert "install mariadb-backup 10.11 on olddb1" in printed
    lab.shell("olddb1", HERE)
    assert_unchanged(lab, before)


def test_switched_with_files_and_back(lab: LabRunner, before: Path) -> None:
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    began = time.monotonic()
    lab.run("switch")
    taken = evidence(lab, "DatabaseTransfer")["result"]
    tell(f"switched after {time.monotonic() - began:.0f} s; {taken['read by']}")
    assert taken["read by"].startswith("mariadb-backup: copy ")
    assert taken["compared rows"] == taken["rows"] > 10000
    assert taken["not comparable"] == []
    assert_new_serves(lab)
    assert lab.sql("newdb1", CLOUD_VERSION) == "4.22.1.0"
    lab.run("back")
    assert lab.status()["serving"] == "original"
    assert lab.sql("olddb1", CLOUD_VERSION) == "4.20.3.0"
    assert_unchanged(lab, before)
    assert lab.sql("newdb1", TABLES) == "0"
    assert_no_trace(lab)


def test_destroyed_without_a_trace(lab: LabRunner, before: Path) -> None:
    lab.run("destroy")
    assert lab.status()["serving"] == "original"
    assert_unchanged(lab, before, destroyed=True)
    assert_no_trace(lab)
