"""The acceptance suite on a cloud of the stand-in: 48 broken functions, three in each of 16 areas, are each seen; a healthy cloud passes again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab import packages
from tests.contract.harness import DatabaseServer, Namespace
from tests.contract.planted_cloud import OLD, PlantedCloud, PlantedHost
from tests.contract.plants import PLANTS

RUNS = 20

pytestmark = [pytest.mark.databases, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def planted(
    database: DatabaseServer, generated: Mapping[str, Path], repository: packages.Repository, namespace: Namespace,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PlantedCloud]:  # fmt: skip
    """A cloud with a workload."""
    server = PlantedHost(tmp_path_factory.mktemp("planted"), repository.repository(OLD), namespace)
    server.configure()
    yield PlantedCloud(database, generated, server, namespace, tmp_path_factory.mktemp("suite"))
    server.end()


def test_three_functions_are_broken_in_each_of_sixteen_areas() -> None:
    assert set(Counter(plant.area for plant in PLANTS.values()).values()) == {3} and len(PLANTS) == 48


@pytest.mark.timeout(1500)
def test_a_healthy_cloud_passes_again_and_again_and_only_the_workload_is_touched(planted: PlantedCloud) -> None:
    planted.renew()
    assert planted.left_out == {}
    before = planted.outside()
    for run in range(RUNS):
        found = planted.suite()
        assert set(found.values()) == {"passed"}, (run, {name: each for name, each in found.items() if each != "passed"}, planted.printed)
        assert planted.outside() == before
        planted.refill()


@pytest.mark.parametrize("name", PLANTS)
def test_a_broken_function_is_seen(name: str, planted: PlantedCloud) -> None:
    planted.renew()
    found = planted.suite(name, "-x")
    assert "failed" in found.values(), f"missed: {PLANTS[name].says}"
