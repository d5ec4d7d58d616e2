"""Snapshots of the stack's machines through vCenter: taken, listed, restored and removed while the machine is off."""

from __future__ import annotations

import pytest

from parallel_build.machines import snapshots
from parallel_build.machines.local_commands import MachineFailed
from tests.vsphere.conftest import Project
from tests.vsphere.test_power import machine, site

pytestmark = pytest.mark.vsphere


def test_snapshots_are_taken_restored_and_removed(project: Project) -> None:
    project.up()
    where = site(project)
    found = snapshots.of(where, machine(where, "newms1"))
    assert found is not None and found.names() == []
    for _ in range(2):
        found.off()
    found.take("before")
    found.take("after & more")
    assert sorted(found.names()) == ["after & more", "before"]
    found.restore("before")
    with pytest.raises(MachineFailed, match="newms1 has 0 snapshots named never"):
        found.restore("never")
    for _ in range(2):
        found.on()
    found.remove("after & more")  # the simulator itself ends where one is removed that others stand on
    assert found.names() == ["before"]
