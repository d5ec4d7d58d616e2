"""A move as a whole stack: the same version on new servers, with both methods, forward and back. System VMs and routers run on, on either side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

VERSION = "4.20.3.0"
VERSIONS = 'SELECT GROUP_CONCAT(version, " ", step ORDER BY id) FROM cloud.version'
APPLIANCES = (
    'SELECT GROUP_CONCAT(instance_name ORDER BY id) FROM cloud.vm_instance WHERE type <> "User" AND state = "Running" AND removed IS NULL '
    'AND hypervisor_type = "KVM"'
)
ROWS_UP = 'SELECT GROUP_CONCAT(service_ip ORDER BY id) FROM cloud.mshost WHERE state = "Up" AND removed IS NULL'


@pytest.fixture(scope="module", params=["dump", "replicate"])
def lab(request: pytest.FixtureRequest) -> Iterator[LabRunner]:
    """A lab of its own whose stack moves the cloud."""
    with own_lab(f"mv{request.param[0]}", "--move", "--transfer", request.param) as runner:
        yield runner


def test_there_and_back_and_nothing_is_renewed(lab: LabRunner) -> None:
    before = keep_reading(lab)
    versions, appliances = lab.sql("olddb1", VERSIONS), lab.sql("olddb1", APPLIANCES)
    assert len(appliances.split(",")) > 3
    tell(f"switch; {appliances} run")
    lab.run("switch")
    status = lab.status()
    assert status["serving"] == "new", status
    for agent in status["agents"]:
        assert (agent["state"], agent["connected_to"], agent["version"]) == ("Up", "newms1", VERSION), agent
    assert lab.sql("newdb1", VERSIONS) == versions, "no version row came or went"
    assert lab.sql("newdb1", ROWS_UP) == "10.91.0.41", "the original's rows were set Down before the first start"
    assert lab.sql("newdb1", APPLIANCES) == appliances, "every system VM and router runs on"
    found = evidence(lab, "SystemVms")["result"]
    tell(f"connected: {found['connected']}; without an agent: {found['without an agent']}")
    assert found["connected"] and set(found["connected"].values()) == {"10.91.0.41"}
    assert evidence(lab, "FirstManagement")["result"]["start"]["version rows"] == versions.split(",")
    assert "unchanged" in lab.run("pulumi", "preview", "--diff", "--expect-no-changes").stdout
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    assert lab.sql("olddb1", APPLIANCES) == appliances
