"""Servers shaped as Enterprise Linux that are there already: made ready, used, and left as they were found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.packages import NEW
from parallel_build.resolved_stack import Site
from parallel_build.steps.existing_machine import ExistingMachine
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.replication_pair import ReplicationPair
from tests.containers.el_stand import ADDRESS, ElStand, el_stand
from tests.containers.existing_stand import difference, snapshot
from tests.containers.steps_bench import configuration

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
SERVERS = ("newdb1", "newdb2", "newms1")
# What rpm and dnf keep of what they did: databases that change with every transaction, and are read by what they say.
KEPT = ("var/lib/rpm", "var/lib/dnf", "var/cache/dnf", "var/cache/ldconfig")


@pytest.fixture(scope="module")
def stand() -> Iterator[ElStand]:
    """Two servers without a database server, one that has it installed and never started."""
    with el_stand() as made:
        for name in SERVERS:
            made.bench.machine(name)
        made.shell("newdb2", "dnf -q -y install mariadb-server")
        yield made


def site(stand: ElStand) -> Site:
    values: dict[str, Any] = configuration()
    values["new"]["packages"] = {"repository": f"{ADDRESS}/el-{NEW}/"}
    return stand.bench.site(values)


def seen(stand: ElStand, name: str) -> dict[str, str]:
    root = stand.bench.folder / "machines" / name / "root"
    return {path: what for path, what in snapshot(root).items() if not path.startswith(KEPT)}


def packages(stand: ElStand, name: str) -> list[str]:
    return sorted(stand.shell(name, "rpm -qa; dnf -q '--disablerepo=*' repoquery --userinstalled --qf 'asked for %{name}'").splitlines())


def test_made_ready_used_and_left_as_found(stand: ElStand) -> None:
    there = site(stand)
    before = {name: seen(stand, name) for name in SERVERS}
    installed = {name: packages(stand, name) for name in SERVERS}
    steps = [*(ExistingMachine({"name": name}) for name in SERVERS), ReplicationPair(), ManagementInstalled({"name": "newms1"})]
    for step in steps:
        _, changed = stand.bench.apply(step, there)
        assert changed, f"{step.type} had nothing to do"
    for step in steps:
        _, changed = stand.bench.apply(step, there)
        assert not changed, f"{step.type} did something again"
    assert stand.shell("newdb2", "mariadb -N -e 'SELECT COUNT(*) FROM parallel_build.heartbeat'").strip() == "1"
    assert stand.shell("newdb1", "ls /etc/my.cnf.d | grep -c zz-parallel-build").strip() == "2"
    assert any(line.startswith("mariadb-server") for line in packages(stand, "newdb1"))
    for step in reversed(steps):
        stand.bench.revert(step, there)
    assert {name: packages(stand, name) for name in SERVERS} == installed
    assert {name: difference(before[name], seen(stand, name)) for name in SERVERS} == {name: [] for name in SERVERS}
    for name in reversed(SERVERS):
        assert not stand.bench.revert(ExistingMachine({"name": name}), there), "an undo of nothing did something"
