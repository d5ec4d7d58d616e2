"""Routers patched where they run, as a whole stack: proved by what they report, one whose patch fails listed, and a rollback that replaces what was patched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

NEW = "4.22.1.0"
ROUTERS = (
    "SELECT v.instance_name, r.software_version, r.scripts_version, n.name FROM cloud.domain_router r JOIN cloud.vm_instance v ON v.id = r.id "
    "JOIN cloud.router_network_ref f ON f.router_id = r.id JOIN cloud.networks n ON n.id = f.network_id "
    'WHERE v.removed IS NULL AND v.state = "Running" AND v.hypervisor_type = "KVM" AND r.vpc_id IS NULL AND n.state = "Implemented" ORDER BY v.id'
)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own whose stack patches routers."""
    with own_lab("patch", "--transfer", "replicate", "--networks", "3", "--rows", "200") as runner:
        yield runner


def running(lab: LabRunner, database: str) -> dict[str, tuple[str, str, str]]:
    """Software, scripts and network of each router of a network on KVM that runs, by name."""
    rows = (line.split("\t") for line in lab.sql(database, ROUTERS).splitlines())
    return {name: (software, scripts, network) for name, software, scripts, network in rows}


def test_routers_are_patched_and_a_rollback_replaces_them(lab: LabRunner) -> None:
    before = keep_reading(lab)
    old = running(lab, "olddb1")
    tell(f"the original's routers: {old}")
    assert len(old) >= 3
    failing = sorted(old)[-1]
    lab.run("pulumi", "config", "set", "--path", "routers.renew", "livePatch")
    lab.run("fault", "newms1", "live_patch_fails", f'["{old[failing][2]}"]')
    tell(f"switch; the patch of {failing} is to fail")
    lab.run("switch")
    new = running(lab, "newdb1")
    tell(f"the new side's routers: {new}")
    assert set(new) == set(old), "no router was replaced"
    result = evidence(lab, "Routers")["result"]
    for name, (software, scripts, network) in new.items():
        if name == failing:
            assert (software, scripts) == old[name][:2] and f"not {NEW}" in result["failed"][network], result
        else:
            assert software == NEW and scripts != old[name][1] and network not in result["failed"]
    shown = lab.run("tool", "routers", "lab", "--plan").stdout
    assert "1 failed" in shown and "1 of" in shown, shown
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    again = running(lab, "olddb1")
    tell(f"the original's routers after the rollback: {again}")
    assert not set(again) & set(old), "patched routers are replaced by the original"
    assert all(found[0] == "4.20.3.0" for found in again.values()) and len(again) == len(old)
