"""Servers that are there already, reached through a jump host: made ready, used, and left as they were found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.images import base_root
from parallel_build.steps.existing_machine import ExistingMachine
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.replication_pair import ReplicationPair
from tests.containers.existing_stand import Stand, difference, plain_root, snapshot
from tests.containers.steps_bench import bench
from tools.cache import remove

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """The servers; each test leaves them as it found them."""
    folder = Path(tempfile.mkdtemp(prefix="existing-"))
    try:
        base = base_root()
        with plain_root(base, folder) as plain, bench(base) as made:
            ready = Stand(made, plain, base)
            try:
                yield ready
            finally:
                ready.close()
    finally:
        remove(folder)


def machines() -> list[ExistingMachine]:
    """One step a server."""
    return [ExistingMachine({"name": name}) for name in Stand.SERVERS]


def test_made_ready_used_and_left_as_found(stand: Stand) -> None:
    site = stand.site()
    before = {name: snapshot(stand.root(name)) for name in Stand.SERVERS}
    packages = {name: stand.packages(name) for name in Stand.SERVERS}
    steps = [*machines(), ReplicationPair(), ManagementInstalled({"name": "newms1"})]
    for step in steps:
        _, changed = stand.bench.apply(step, site)
        assert changed, f"{step.type} had nothing to do"
    for step in steps:
        _, changed = stand.bench.apply(step, site)
        assert not changed, f"{step.type} did something again"
    assert stand.run("newdb2", "mariadb", "-N", "-e", "SELECT COUNT(*) FROM parallel_build.heartbeat").strip() == "1"
    assert stand.packages("newms1") != packages["newms1"]
    assert stand.packages("newdb1") != packages["newdb1"]

    for step in reversed(steps):
        stand.bench.revert(step, site)
    assert {name: stand.packages(name) for name in Stand.SERVERS} == packages
    assert {name: difference(before[name], snapshot(stand.root(name))) for name in Stand.SERVERS} == {name: [] for name in Stand.SERVERS}
    for step in reversed(machines()):
        assert not stand.bench.revert(step, site), "an undo of nothing did something"
