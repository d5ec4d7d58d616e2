"""The fence at the databases, on containers: an original's server that keeps running for others, and a rollback while the new database server hangs.

About six minutes beside the lab's own start. Prints what it does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
BILLING = (
    "CREATE DATABASE IF NOT EXISTS billing; CREATE TABLE IF NOT EXISTS billing.t (id INT PRIMARY KEY); "
    'CREATE USER IF NOT EXISTS billing@localhost IDENTIFIED BY "Lab-Password-1"; GRANT ALL ON billing.* TO billing@localhost;'
)
LOCKS = 'SELECT User, Host, JSON_VALUE(Priv, "$.account_locked") FROM mysql.global_priv WHERE User IN ("cloud", "billing") ORDER BY 1, 2'


@pytest.fixture
def shared_server(lab: LabRunner) -> Iterator[LabRunner]:
    """The lab in phase prepared, with somebody else's database on the original's source."""
    lab.sql("olddb1", BILLING)
    lab.run("pulumi", "config", "set", "--path", "original.database.others[0]", "billing")
    yield lab
    lab.run("shell", "newdb1", "systemctl kill --kill-who=all --signal=CONT mariadb", check=False)
    lab.run("tool", "back", "lab", check=False)
    lab.run("pulumi", "config", "rm", "--path", "original.database.others", check=False)
    lab.run("shell", "olddb1", "mariadb -e 'DROP DATABASE IF EXISTS billing; DROP USER IF EXISTS billing@localhost'", check=False)


def open_accounts(lab: LabRunner, machine: str) -> dict[str, bool]:
    """Which accounts of CloudStack and of billing are not locked."""
    rows = [line.split("\t") for line in lab.sql(machine, LOCKS).splitlines()]
    return {f"{user}@{host}": state not in ("1", "true") for user, host, state in rows}


def bill(lab: LabRunner, number: int) -> None:
    """Somebody else writes to his own database on the original's source."""
    lab.shell("olddb1", f"mariadb -ubilling -pLab-Password-1 billing -e 'INSERT INTO t VALUES ({number})'")


def test_others_keep_their_server_and_a_hanging_new_database_keeps_nobody_from_going_back(shared_server: LabRunner) -> None:
    lab = shared_server
    before = {name: open_accounts(lab, name) for name in ("olddb1", "olddb2", "newdb1")}
    bill(lab, 1)
    tell("switch, while the original's database servers keep running for billing")
    lab.run("tool", "switch", "lab")
    assert lab.status()["serving"] == "new"
    bill(lab, 2)
    for name in ("olddb1", "olddb2"):
        assert lab.shell(name, "systemctl is-active mariadb").strip() == "active"
        found = open_accounts(lab, name)
        assert not any(free for account, free in found.items() if account.startswith("cloud@")), found
        assert all(free for account, free in found.items() if account.startswith("billing@"))
    assert lab.sql("newdb1", 'SELECT value FROM parallel_build.mark WHERE name = "served"')

    tell("back, while the new database server's process is stopped: SQL hangs, and so does systemctl stop")
    lab.run("shell", "newdb1", "systemctl kill --kill-who=all --signal=STOP mariadb")
    began = time.monotonic()
    done = lab.run("tool", "back", "lab", timeout=1200)
    tell(f"back took {time.monotonic() - began:.0f} s")
    assert "newdb1: fenced at its database: killed and masked" in done.stdout, done.stdout[-6000:]
    status = lab.status()
    assert (status["serving"], status["original"][0]["users"]) == ("original", True)
    bill(lab, 3)
    after = {name: open_accounts(lab, name) for name in before}
    assert after == before, "accounts are as they were found, on both sides"
    assert lab.shell("newdb1", "systemctl is-active mariadb; systemctl is-enabled mariadb").split() == ["active", "enabled"]
    assert lab.sql("newdb1", 'SELECT COUNT(*) FROM parallel_build.mark WHERE name = "served"') == "0"
    record = json.loads(lab.shell("olddb1", "cat /var/lib/cloudstack-parallel-build/window.json"))
    assert record["closed"] and record["facts"]["DatabaseFence"] == {"newdb1": {}}

    tell("switch once more: the new accounts are usable")
    lab.run("tool", "switch", "lab")
    assert lab.status()["serving"] == "new"
    assert lab.sql("olddb1", "SELECT COUNT(*) FROM billing.t") == "3"
    lab.run("tool", "back", "lab")
    assert lab.status()["serving"] == "original"
