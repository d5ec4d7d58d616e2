"""`transfer.method: replicate` as a whole stack: seeded while users write, switched in a moment, back without a trace, and over again.

One lab of its own, and one story: each test begins where the one before it ended. About five minutes on two quiet cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_unchanged, keep_reading
from tests.containers.whole_stack import (
    TABLES,
    assert_new_serves,
    assert_no_trace,
    evidence,
    own_lab,
)

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

SHEETS = "ls /var/lib/cloudstack-parallel-build/prepared/ 2>/dev/null | grep -c database-seed || true"
EVENTS = 'SELECT CONCAT(COUNT(*), " ", COALESCE(MAX(resource_id), 0)) FROM cloud.event WHERE type = "LAB.WRITER"'
# Writes as a busy management server would, some forty transactions a second, until the management server does not answer users itself any more.
WRITER = r"""
n=$(mariadb -NBe 'SELECT COALESCE(MAX(resource_id), 0) FROM cloud.event WHERE type = "LAB.WRITER"')
rm -f /run/writer.total
columns='uuid, type, description, user_id, account_id, domain_id, resource_id, created, level'
rows() {
  i=$n
  call='GET /client/api?command=x HTTP/1.0\r\n\r\n'
  while timeout 2 bash -c "exec 3<>/dev/tcp/10.91.0.11/8080; printf '$call' >&3; head -n1 <&3 | grep -q ' 401'" 2>/dev/null; do
    for _ in 1 2; do
      i=$((i+1))
      echo "INSERT INTO cloud.event ($columns) VALUES (UUID(), 'LAB.WRITER', 'ünï $i', 1, 1, 1, $i, UTC_TIMESTAMP(), 'INFO');"
      echo "UPDATE cloud.host SET last_ping = last_ping + 1 WHERE id = 1;"
    done
    sleep 0.1
  done
}
rows | mariadb --default-character-set=utf8mb4
mariadb -NBe 'SELECT COUNT(*) FROM cloud.event WHERE type = "LAB.WRITER"' >/run/writer.total
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own, seeded, in phase `prepared`."""
    with own_lab("repl", "--transfer", "replicate") as runner:
        yield runner


def start_writing(lab: LabRunner) -> None:
    """A writer on the original's source, which ends with the original's management server."""
    lab.shell(
        "olddb1",
        f"cat >/run/writer.sh <<'END'\n{WRITER}\nEND\nsystemd-run --quiet --collect --unit=writer --property=RuntimeMaxSec=400 bash /run/writer.sh",
    )
    deadline = time.monotonic() + 120
    before = lab.sql("olddb1", EVENTS)
    while lab.sql("olddb1", EVENTS) == before:
        assert time.monotonic() < deadline, "the writer wrote nothing in 120 s"
        time.sleep(0.3)


def written(lab: LabRunner) -> int:
    """How many rows there were on the original when the last writer had ended."""
    assert lab.shell("olddb1", "systemctl is-active writer || true").strip() != "active"
    return int(lab.shell("olddb1", "cat /run/writer.total"))


def switch(lab: LabRunner) -> None:
    """Write, switch, and find every row on both new servers."""
    before = int(lab.sql("olddb1", EVENTS).split()[0])
    start_writing(lab)
    tell("switch, while a writer writes to the original")
    began = time.monotonic()
    lab.run("switch")
    taken = evidence(lab, "DatabaseTransfer")
    tell(f"switched after {time.monotonic() - began:.0f} s; DatabaseTransfer {taken['timing']['seconds']} s: {taken['result']['seconds']}")
    count = written(lab)
    total = f"{count} {count}"
    tell(f"{count - before} rows were written to the original until its management server was stopped")
    assert count - before > 20
    assert lab.sql("newdb1", EVENTS) == total, "every row that the original confirmed arrived, once"
    assert lab.sql("newdb2", EVENTS) == total
    assert_new_serves(lab)
    assert "method" in taken["result"] and taken["result"]["method"] == "replicate"
    assert taken["result"]["changes"] > 0


def test_prepared_is_seeded_and_a_second_up_changes_nothing(lab: LabRunner) -> None:
    seed = evidence(lab, "DatabaseSeed")["result"]
    copied, compared = seed["copy"], seed["baseline"]
    tell(f"{copied['rows']} rows copied in {copied['seconds']} s, locked {copied['locked seconds']} s; {compared['rows']} rows compared")
    assert seed["baseline"]["same"] and seed["baseline"]["rows"] >= seed["copy"]["rows"] > 10000
    assert seed["tiers"]["rows"] > 10000
    assert lab.sql("newdb1", "SELECT @@GLOBAL.read_only") == "1"
    assert lab.sql("olddb1", 'SELECT COUNT(*) FROM mysql.user WHERE User = "cutover_copy"') == "0"
    assert lab.sql("olddb1", 'SELECT Host FROM mysql.user WHERE User = "cutover_repl"') == "10.91.0.31"
    tell("a second up")
    again = lab.run("pulumi", "up", "--yes", "--skip-preview", "--expect-no-changes")
    assert "unchanged" in again.stdout
    assert lab.status()["serving"] == "original"


def test_the_comparison_is_renewed_by_what_changed(lab: LabRunner) -> None:
    lab.run("pulumi", "config", "set", "--path", "transfer.renew", "monday")
    tell("up with another transfer.renew")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    baseline = evidence(lab, "DatabaseSeed")["result"]["baseline"]
    assert baseline["same"] and baseline["changed since"] > 0 and baseline["rows"] < 5000, baseline


def test_a_broken_channel_is_found_and_repaired(lab: LabRunner) -> None:
    lab.sql("newdb1", 'STOP SLAVE "original"; SET SESSION sql_log_bin = 0; DELETE FROM cloud.event ORDER BY id LIMIT 1')
    tell("a switch that the guards refuse")
    refused = lab.run("switch", check=False)
    assert refused.returncode != 0
    assert "newdb1 does not follow olddb1" in refused.stdout
    assert "DatabaseSeed" in refused.stdout
    assert lab.status()["serving"] == "original"
    tell("back, which repairs the channel and finds the row that somebody took from the new source")
    failed = lab.run("back", check=False)
    assert failed.returncode != 0
    assert "table event" in failed.stdout
    tell("back again, which seeds again")
    lab.run("back")
    assert evidence(lab, "DatabaseSeed")["result"]["baseline"]["same"]


def test_switch_and_back_leaves_no_trace(lab: LabRunner) -> None:
    before = keep_reading(lab)
    switch(lab)
    tell("back")
    began = time.monotonic()
    lab.run("back")
    tell(f"back after {time.monotonic() - began:.0f} s")
    assert lab.status()["serving"] == "original"
    assert_unchanged(lab, before)
    assert_no_trace(lab)
    assert lab.sql("newdb1", TABLES) == "0"
    assert lab.sql("newdb1", "SELECT @@GLOBAL.read_only") == "0"
    shown = lab.run("pulumi", "preview", "--diff").stdout
    assert "database-seed" in shown and "1 to update" in shown, "the seed is seen to be used up"


def test_the_next_switch_seeds_again(lab: LabRunner) -> None:
    switch(lab)
    tell("back, and prepared again")
    lab.run("back")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    assert evidence(lab, "DatabaseSeed")["result"]["baseline"]["same"]
    lab.run("pulumi", "preview", "--expect-no-changes")


def test_destroy_leaves_no_trace(lab: LabRunner) -> None:
    tell("destroy from prepared")
    lab.run("destroy")
    assert_no_trace(lab)
    assert lab.shell("olddb1", SHEETS).strip() == "0"
    assert lab.status()["serving"] == "original"
