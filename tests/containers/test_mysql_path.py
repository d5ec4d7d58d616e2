"""Whole stacks whose new servers are MySQL, from MySQL and from MariaDB: switched with `dump`, back, and rolled back altogether.

From MySQL also seeded with `replicate` and switched so; from MariaDB that is refused before anything is changed. One lab for each, one after the
other, and one story in it: each test begins where the one before it ended. Some four and three minutes on two cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.files import Lab
from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_unchanged, keep_reading
from tests.containers.whole_stack import (
    TABLES,
    assert_new_serves,
    assert_no_trace,
    evidence,
    own_lab,
)

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
CLOUD_VERSION = "SELECT version FROM cloud.version ORDER BY id DESC LIMIT 1"
# `host` and the template of the target: there when the checksums were taken, and gone with the stack.
LABS = {"mysql": ("sql", "--database", "mysql"), "mariadb": ("m2m", "--database", "mariadb", "--new-database", "mysql")}
from_mysql = pytest.mark.parametrize("lab", ["mysql"], indirect=True)
from_mariadb = pytest.mark.parametrize("lab", ["mariadb"], indirect=True)


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest) -> Iterator[LabRunner]:
    """A lab whose original has this family and whose new servers are MySQL, in phase `prepared`."""
    with own_lab(*LABS[request.param]) as runner:
        yield runner


@pytest.fixture(scope="module")
def before(lab: LabRunner) -> Path:
    """The original's checksums before anything was switched."""
    return keep_reading(lab)


def switch(lab: LabRunner) -> None:
    """Switch; the new side serves with the new version, its replica follows, the original's database keeps the old one."""
    began = time.monotonic()
    switched = lab.run("switch").stdout
    taken = evidence(lab, "DatabaseTransfer")
    for words in taken["result"]["not comparable"]:
        assert f"not comparable: {words}" in switched
    tell(f"switched after {time.monotonic() - began:.0f} s; DatabaseTransfer {taken['timing']['seconds']} s")
    assert_new_serves(lab)
    assert lab.sql("newdb1", CLOUD_VERSION) == "4.22.1.0"


def back(lab: LabRunner, before: Path) -> None:
    began = time.monotonic()
    lab.run("back")
    tell(f"back after {time.monotonic() - began:.0f} s")
    assert lab.status()["serving"] == "original"
    assert lab.sql("olddb1", CLOUD_VERSION) == "4.20.3.0"
    assert_unchanged(lab, before)
    assert lab.sql("newdb1", TABLES) == "0"


def test_the_servers_are_of_the_wanted_families(lab: LabRunner) -> None:
    old, new = Lab(lab.name).options().families
    for machine, family in {"olddb1": old, "olddb2": old, "newdb1": new, "newdb2": new}.items():
        printed = lab.sql(machine, "SELECT CONCAT(VERSION(), @@version_comment)")
        assert printed.startswith("9." if family == "mysql" else "10.11.") and ("MariaDB" in printed) == (family == "mariadb"), printed
    replication = lab.status()["replication"]
    assert all(state["receiving"] and state["applying"] for state in replication.values()), replication


def test_the_new_pair_replicates_over_tls_and_knows_the_new_management_server_only(lab: LabRunner) -> None:
    channel = "SELECT HOST, SSL_ALLOWED, SSL_VERIFY_SERVER_CERTIFICATE, AUTO_POSITION FROM performance_schema.replication_connection_configuration"
    assert lab.sql("newdb2", channel).split() == ["10.91.0.31", "YES", "YES", "1"]
    assert lab.sql("newdb1", 'SELECT Host FROM mysql.user WHERE ssl_type = "ANY"') == "10.91.0.32"
    for machine in ("newdb1", "newdb2"):
        assert lab.sql(machine, 'SELECT Host FROM mysql.user WHERE User = "cloud" AND account_locked = "N"') == "10.91.0.41"
        assert lab.sql(machine, TABLES) == "0"


@from_mariadb
def test_replicate_from_mariadb_is_refused_before_anything_is_changed(lab: LabRunner, before: Path) -> None:
    lab.run("pulumi", "config", "set", "--path", "transfer.method", "replicate")
    tell("up, prepared, with transfer.method replicate")
    refused = lab.run("pulumi", "up", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    printed = refused.stdout + refused.stderr
    assert "transfer.method: replicate does not serve from mariadb to mysql" in printed
    assert "binary logs of MariaDB and MySQL are not compatible" in printed and "set it to dump" in printed
    tell("the same with a wrong original.database.engine, which only the servers themselves can tell")
    lab.run("pulumi", "config", "set", "--path", "original.database.engine", "mysql")
    refused = lab.run("pulumi", "up", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    assert "transfer method replicate does not serve from MariaDB 10.11" in refused.stdout
    for name, value in (("original.database.engine", "mariadb"), ("transfer.method", "dump")):
        lab.run("pulumi", "config", "set", "--path", name, value)
    assert_no_trace(lab)
    assert lab.sql("newdb1", TABLES) == "0"
    assert_unchanged(lab, before)


def test_dump_switch_and_back(lab: LabRunner, before: Path) -> None:
    tell("switch with dump")
    switch(lab)
    taken = evidence(lab, "DatabaseTransfer")["result"]
    assert taken["compared rows"] == taken["rows"] > 10000
    assert taken["meaning"]["version"] == "4.20.3.0" and taken["meaning"]["init decrypts"] is True
    tell(f"{taken['compared rows']} rows compared; not comparable: {taken['not comparable']}; adapted: {taken['adapted']}")
    assert taken["not comparable"] == [], "what two families print differently is judged by a server, not left out"
    back(lab, before)


@from_mysql
def test_replicate_switch_and_back(lab: LabRunner, before: Path) -> None:
    tell("prepared again, with transfer.method replicate")
    lab.run("pulumi", "config", "set", "--path", "transfer.method", "replicate")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    seed = evidence(lab, "DatabaseSeed")["result"]
    assert seed["baseline"]["same"] and seed["baseline"]["rows"] >= seed["copy"]["rows"] > 10000
    tell("switch with replicate")
    switch(lab)
    taken = evidence(lab, "DatabaseTransfer")["result"]
    assert taken["method"] == "replicate" and taken["changes"] > 0
    back(lab, before)
    assert_no_trace(lab)


@from_mariadb
def test_destroy_leaves_the_original_serving_as_it_was(lab: LabRunner, before: Path) -> None:
    tell("destroy")
    lab.run("destroy")
    status = lab.status()
    assert status["serving"] == "original"
    assert {status["machines"][name] for name in ("newdb1", "newdb2", "newms1")} == {"absent"}
    assert_unchanged(lab, before, destroyed=True)
    assert lab.sql("olddb1", 'SELECT value FROM cloud.configuration WHERE name = "host"') == "10.91.0.11"
    assert lab.sql("olddb1", 'SELECT COUNT(*) FROM cloud.vm_template WHERE name LIKE "systemvm-kvm-4.22.%" AND removed IS NULL') == "0"
    assert_no_trace(lab)
