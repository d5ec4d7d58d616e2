"""The fence at the databases, on containers: an original's server that keeps running for others, a rollback while the new database server hangs, and one
while a new management server can't be reached.

About ten minutes besides the lab's own start. Prints what it does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from lab.files import Lab
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
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

    tell("back, while the new database server's process is stopped: SQL hangs")
    lab.run("shell", "newdb1", "systemctl kill --kill-who=all --signal=STOP mariadb")
    began = time.monotonic()
    done = lab.run("tool", "back", "lab", timeout=1200)
    tell(f"back took {time.monotonic() - began:.0f} s")
    assert "newdb1: fenced at its database: stopped and masked" in done.stdout, done.stdout[-6000:]
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


FOLDER = "platforms.container.folder"


@pytest.fixture
def unreachable(lab: LabRunner) -> Iterator[LabRunner]:
    """No platform can be asked for the power of new machines: their folder is a different one. Afterwards newms2 is on and reached again."""
    elsewhere = lab.folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    folder = lab.run("pulumi", "config", "get", "--path", FOLDER).stdout.strip()
    yield lab
    power_cycle(lab)
    lab.run("pulumi", "config", "set", "--path", FOLDER, folder)
    lab.run("tool", "back", "lab", check=False)


def power_cycle(lab: LabRunner) -> None:
    """newms2 boots again; its SSH server is there then."""
    place = Lab(lab.name)
    namespace.inside(place.namespace, lambda: container.kill(place.new, "newms2"))
    namespace.inside(place.namespace, lambda: container.power_on(place.new, "newms2"))
    reached = lambda: lab.run("shell", "newms2", "true", check=False).returncode == 0  # noqa: E731
    wait_for("newms2", reached, timeout=180, cancel=CancelToken())


def test_a_server_that_can_not_be_reached_is_kept_from_its_database_and_loses_its_agents(unreachable: LabRunner) -> None:
    lab = unreachable
    before = open_accounts(lab, "newdb1")
    tell("switch")
    lab.run("tool", "switch", "lab")
    hosts = {name: lab.shell(name, "ss -Htn state established dport = :8250") for name in ("kvm1", "kvm2")}
    tell(f"agents: {hosts}")
    tell("newms2 is cut off from here, and runs on; nobody can cut its power")
    lab.run("pulumi", "config", "set", "--path", FOLDER, str(lab.folder / "elsewhere"))
    lab.run("shell", "newms2", "systemctl stop ssh.socket ssh; pkill -f 'sshd: ' || true", check=False)
    assert lab.run("shell", "newms2", "true", check=False).returncode != 0

    tell("back, with the stack file alone")
    began = time.monotonic()
    done = lab.run("tool", "back", "lab", "--without-pulumi", check=False, timeout=1200)
    tell(f"it took {time.monotonic() - began:.0f} s")
    printed = done.stdout + done.stderr
    assert done.returncode == 1, printed[-6000:]
    assert "newms2 of the new side could not be proved down, and is fenced at its database alone" in printed, printed[-6000:]
    status = lab.status()
    assert status["original"][0]["users"] and status["original"][0]["version"] == "4.20.3.0"
    assert not any(open_accounts(lab, "newdb1").values())
    assert "hosts Up on the original: 2 of 2" in printed
    for name in hosts:
        assert "10.91.0.42" not in lab.shell(name, "ss -Htn state established dport = :8250")

    tell("newms2 boots and can be reached: the same command fences it and ends the rollback")
    power_cycle(lab)
    lab.run("tool", "back", "lab", "--without-pulumi")
    assert lab.shell("newms2", "systemctl show -p LoadState --value cloudstack-management").strip() == "masked"
    assert open_accounts(lab, "newdb1") == before
    record = json.loads(lab.shell("olddb1", "cat /var/lib/cloudstack-parallel-build/window.json"))
    assert record["closed"] and record["facts"]["CutOff"] == {"servers": {}}
