"""A host of the window's record that is lost for good, on either side: forward and back continue with the copy that is left, and nothing does without proof.

Some ten minutes with the start of a lab of its own. Prints what it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.files import Lab
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
from tests.containers.conftest import LabRunner, tell
from tests.containers.test_window_safety import masked
from tests.containers.whole_stack import own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

FOLDER = "/var/lib/cloudstack-parallel-build"
MARK = "REPLACE INTO cloud.configuration (category, instance, component, name, value) VALUES ('Advanced', 'DEFAULT', 'x', 'last.row', 'acknowledged')"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own: its machines are destroyed."""
    with own_lab("lost") as made:
        yield made


def destroy(lab: LabRunner, name: str) -> None:
    """End a machine; nobody brings it back but `restore`."""
    place = Lab(lab.name)
    folder = place.original if name.startswith("old") else place.new
    namespace.inside(place.namespace, lambda: container.kill(folder, name))


def restore(lab: LabRunner, name: str) -> None:
    """Switch a machine on again, with the disk that it had."""
    place = Lab(lab.name)
    folder = place.original if name.startswith("old") else place.new
    namespace.inside(place.namespace, lambda: container.power_on(folder, name))


def record(lab: LabRunner, host: str) -> dict[str, Any]:
    """The copy of the record on a host."""
    name = "window.json" if host == "olddb1" else "window-copy.json"
    found: dict[str, Any] = json.loads(lab.shell(host, f"head -n 1 {FOLDER}/{name}"))
    return found


def recovered(lab: LabRunner) -> str:
    """What `recover` prints."""
    return lab.run("tool", "recover", "lab", check=False).stdout


def test_the_new_source_lost_for_good(lab: LabRunner) -> None:
    tell("switch")
    lab.run("tool", "switch", "lab")
    assert record(lab, "olddb1") == record(lab, "newdb1")
    assert record(lab, "olddb1")["facts"]["OriginalDatabase"]["replica"]["lacks"] == ""
    tell("newdb1 is destroyed; back")
    destroy(lab, "newdb1")
    done = lab.run("tool", "back", "lab")
    assert "the original serves" in done.stdout
    assert lab.status()["serving"] == "original"
    assert record(lab, "olddb1")["closed"]
    tell("newdb1 is switched on again: its copy is behind, and brought up to date")
    restore(lab, "newdb1")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    assert not record(lab, "newdb1")["closed"], "it missed the end of the window"


def test_the_originals_source_lost_for_good(lab: LabRunner) -> None:
    # What the window before has left there, since its rollback could not reach it.
    for name in ("cloud", "cloud_usage"):
        lab.run("shell", "newdb1", f"mysql -e 'DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}'")
    tell("a last row on the original; switch up to SystemVms")
    lab.run("shell", "olddb1", f'mysql -e "{MARK}"')
    lab.run("tool", "switch", "lab", "--stop-before", "SystemVms")
    assert record(lab, "olddb1") == record(lab, "newdb1")
    destroy(lab, "olddb1")
    tell("olddb1 is destroyed; on, without a proof of it")
    refused = lab.run("tool", "switch", "lab", check=False)
    assert refused.returncode == 1
    assert "can't be asked for its copy of the window's record, and it may still be running" in refused.stdout
    explained = recovered(lab)
    assert "the only one that can be read" in explained and "--from-replica" in explained
    tell("confirmed; on")
    lab.run("pulumi", "config", "set", "--path", "window.confirmedDown[0]", "olddb1")
    lab.run("tool", "switch", "lab")
    assert lab.status()["serving"] == "new"
    tell("back, without saying what shall serve in its place")
    refused = lab.run("tool", "back", "lab", check=False)
    assert refused.returncode != 0
    assert "parallel-build back lab --from-replica" in refused.stdout + refused.stderr
    assert lab.status()["serving"] == "new", "nothing was fenced for nothing"
    tell("back --from-replica")
    done = lab.run("tool", "back", "lab", "--from-replica")
    assert "the original serves" in done.stdout and "olddb2 serves as the original's source, without a replica" in done.stdout
    assert lab.sql("olddb2", 'SELECT value FROM cloud.configuration WHERE name = "last.row"') == "acknowledged"
    assert lab.sql("olddb2", "SELECT @@GLOBAL.read_only") == "0"
    properties = lab.shell("oldms1", "cat /etc/cloudstack/management/db.properties")
    assert "db.cloud.host=10.91.0.14" in properties
    assert "db.cloud.host=10.91.0.13" in lab.shell("oldms1", "cat /etc/cloudstack/management/db.properties.found-by-parallel-build-*")
    assert masked(lab, "newms1", "cloudstack-management")
    kept = record(lab, "newdb1")
    assert kept["closed"] and kept["facts"]["Promoted"]["server"] == "olddb2"
    assert lab.status()["serving"] == "original"
    tell("olddb1 comes back with its old copy")
    restore(lab, "olddb1")
    assert not record(lab, "olddb1")["closed"]
    assert masked(lab, "olddb1", "mariadb")
