"""Before the window it is known whether the units that it stops can be masked: an operator's own copy of a unit keeps systemd from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack.services import Services
from parallel_build.errors import StepFailed
from parallel_build.facts import fenceable
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

MANAGEMENT, USAGE = "cloudstack-management", "cloudstack-usage"


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands in for /etc/systemd/system."""
    monkeypatch.setattr(fenceable, "LOOK", fenceable.LOOK.replace("/etc/systemd/system", str(tmp_path)))
    monkeypatch.setattr(Services, "database_unit", lambda _: "mariadb")
    return tmp_path


def found(name: str, **original: Any) -> list[str]:
    configuration = site(original=original).configuration if original else site().configuration
    server = next(each for each in configuration.original_servers() if each.name == name)
    return [path.rpartition("/")[2] for path in fenceable.problems(LocalHost(name), configuration, server)]


def test_a_server_as_its_packages_have_it(units: Path) -> None:
    (units / "multi-user.target.wants").mkdir()
    (units / f"{MANAGEMENT}.service.d").mkdir()
    (units / "mysql.service").symlink_to("/lib/systemd/system/mariadb.service")  # an alias: the unit behind it is masked
    (units / f"{USAGE}.service").symlink_to("/dev/null")  # masked already
    assert [found(name) for name in ("oldms1", "oldms2", "olddb1", "olddb2")] == [[], [], [], []]


def test_a_units_own_file_in_the_place_of_the_mask_is_found(units: Path) -> None:
    (units / f"{MANAGEMENT}.service").write_text("[Service]\n")  # systemctl edit --full
    (units / "mariadb.service").symlink_to("/opt/mariadb.service")  # systemctl link
    assert found("oldms1") == [f"{MANAGEMENT}.service"] and found("olddb1") == found("olddb2") == ["mariadb.service"]


def test_a_host_of_usages_own_has_usages_unit_alone(units: Path) -> None:
    for unit in (MANAGEMENT, USAGE):
        (units / f"{unit}.service").write_text("[Service]\n")
    assert found("oldusage", usage=[{"name": "oldusage", "address": "10.91.0.19"}]) == [f"{USAGE}.service"]


def test_a_database_that_keeps_running_for_others_needs_no_mask(units: Path) -> None:
    (units / "mariadb.service").write_text("[Service]\n")
    pair = {"source": {"name": "olddb1", "address": "10.91.0.13"}, "others": ["billing"]}
    assert found("olddb1", database=pair) == []


def test_a_database_without_a_unit_is_found_before_the_window(units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in a container of an engine's, say: nothing could keep it down."""

    def none(_: Any) -> str:
        raise StepFailed("olddb1: no database service", "none of mariadb, mysql, mysqld is a unit", "install the server")

    monkeypatch.setattr(Services, "database_unit", none)
    configuration = site().configuration
    (words,) = fenceable.problems(LocalHost("olddb1"), configuration, configuration.original.database.source)
    assert words == "olddb1: no database service (none of mariadb, mysql, mysqld is a unit)"
