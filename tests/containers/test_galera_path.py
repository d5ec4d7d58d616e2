"""A whole stack whose original's databases are three real Galera nodes: a window, its rollback, and nodes that are killed on the way forward and back.

Some ten minutes with a lab of its own. Prints what it does.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.test_lost_for_good import destroy, record, restore
from tests.containers.whole_stack import ACCOUNTS, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
NODES = ("olddb1", "olddb2", "olddb3")
MARK = "REPLACE INTO cloud.configuration (category, instance, component, name, value) VALUES ('Advanced', 'DEFAULT', 'x', 'last.row', 'acknowledged')"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own: its machines are destroyed."""
    with own_lab("galera", "--galera") as made:
        yield made


def states(lab: LabRunner) -> list[str]:
    """Of each node whether its unit runs, and whether it is masked."""
    command = "systemctl is-active mariadb; systemctl is-enabled mariadb"
    return [" ".join(lab.shell(name, command, check=False).split()) for name in NODES]


def test_a_window_and_its_rollback(lab: LabRunner) -> None:
    assert set((lab.status()["nodes"] or {}).values()) == {"Synced of 3"}
    before = keep_reading(lab)
    tell("switch")
    lab.run("switch")
    assert "serving: new" in lab.run("verify", "new").stdout
    assert states(lab) == ["inactive masked"] * 3
    noted = record(lab, "newdb1")["facts"]["OriginalGalera"]
    assert {name: each["lacks"] for name, each in noted.items()} == dict.fromkeys(NODES, "")
    assert [name for name in NODES if noted[name]["stopped"]["safe"]] == ["olddb1"]
    assert "olddb1 alone starts the cluster again" in lab.run("tool", "recover", "lab", check=False).stdout
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    assert states(lab) == ["active enabled"] * 3
    assert [lab.sql(name, ACCOUNTS) for name in NODES] == ["0"] * 3


def test_nodes_that_are_killed_on_the_way(lab: LabRunner) -> None:
    for name in ("cloud", "cloud_usage"):
        lab.run("shell", "newdb1", f"mysql -e 'DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}'")
    lab.run("shell", "olddb1", f'mysql -e "{MARK}"')
    tell("users out; the writing node's server and a stand-by node's are killed, and come up by themselves")
    lab.run("tool", "switch", "lab", "--stop-before", "Drain")
    for name in ("olddb1", "olddb2"):
        lab.run("shell", name, "kill -9 $(pidof mariadbd)")
        lab.run("shell", name, "timeout 120 sh -c 'until mariadb -e \"SELECT 1\" cloud >/dev/null 2>&1; do sleep 0.5; done'")
    tell("on to the copy; a stand-by node's power is cut")
    lab.run("tool", "switch", "lab", "--stop-before", "OriginalDatabase")
    destroy(lab, "olddb3")
    refused = lab.run("tool", "switch", "lab", check=False)
    assert refused.returncode != 0 and "olddb3" in refused.stdout + refused.stderr
    assert "can't be reached, and it may still be running" in refused.stdout + refused.stderr
    lab.run("pulumi", "config", "set", "--path", "window.confirmedDown[0]", "olddb3")
    lab.run("tool", "switch", "lab")
    assert lab.status()["serving"] == "new"
    tell("back, while a stand-by node is off")
    destroy(lab, "olddb2")
    done = lab.run("tool", "back", "lab", check=False)
    assert "olddb2" in done.stdout + done.stderr
    assert lab.status()["serving"] == "original", "users wait for no stand-by node"
    assert lab.sql("olddb1", 'SELECT value FROM cloud.configuration WHERE name = "last.row"') == "acknowledged"
    tell("the nodes are on again; the rest of the rollback")
    for name in ("olddb2", "olddb3"):
        restore(lab, name)
    lab.run("pulumi", "config", "rm", "--path", "window.confirmedDown")
    lab.run("tool", "back", "lab")
    assert lab.sql("olddb2", 'SELECT value FROM cloud.configuration WHERE name = "last.row"') == "acknowledged"
    assert "serving: original" in lab.run("verify", "original").stdout
