"""A cloud whose management, usage and database are one server: rebuilt on one new server, switched, rolled back, taken away. Real programs, in containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
UNITS = "systemctl is-active cloudstack-management cloudstack-usage mariadb | paste -sd' '"


@pytest.fixture(scope="module")
def one() -> Iterator[LabRunner]:
    """A lab with one machine on each side."""
    with own_lab("one", "--one-server", "both") as runner:
        yield runner


def test_one_server_to_one_server_and_back(one: LabRunner) -> None:
    lab = one
    assert set(lab.status()["machines"].values()) >= {"on"}
    assert [name for name, power in lab.status()["machines"].items() if power == "on"] == ["oldms1", "kvm1", "kvm2", "newms1"]
    assert_original_serves(lab)
    before = keep_reading(lab)
    tell("switch")
    shown = lab.run("switch").stdout
    assert "serving: new" in lab.run("verify", "new").stdout
    *stopped, masked = lab.shell("oldms1", f"{UNITS}; systemctl is-enabled mariadb || true").split()
    assert len(stopped) == 3 and "active" not in stopped and masked == "masked"
    assert lab.shell("newms1", UNITS).split() == ["active", "active", "active"]
    assert lab.sql("newms1", 'SELECT value FROM cloud.configuration WHERE name = "host"').split(",") == ["10.91.0.41", "10.91.0.11"]
    assert "only copy of the databases" in lab.run("pulumi", "stack", "export").stdout, "the plan of ReplicationPair warns"
    assert "failed" not in shown.lower()
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    *fenced, database = lab.shell("newms1", UNITS).split()
    assert "active" not in fenced and database == "active", "only the new database runs there, as before the window"
    tell("destroy")
    lab.run("destroy")
    assert_original_serves(lab, before, destroyed=True)
