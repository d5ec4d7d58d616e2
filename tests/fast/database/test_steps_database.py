"""Pure parts of the new database servers' steps: configuration, certificates, accounts, where a replica begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from parallel_build.configuration import Server
from parallel_build.database.replicate.pair_status import USER, ReplicaStatus, StartingPoint, starting_point
from parallel_build.database.server import accounts, certificates
from parallel_build.database.server.dialects import newest
from parallel_build.database.server.settings import Engine, buffer_pool, option_files, server_configuration, server_id
from parallel_build.database.server.state import Account, AccountFacts, in_force, parse_grant
from parallel_build.errors import GuardFailed
from parallel_build.secret import Secret
from parallel_build.steps.cloud_databases import CloudDatabases
from parallel_build.steps.replication_pair import ReplicationPair
from tests.fast.sites import SECRETS, site

PASSWORD = Secret("cloudpassword1")
NAME = Account("cloud", "10.91.0.41")
RIGHTS = accounts.everything_on(["cloud", "cloud_usage"])


def stored(engine: Engine, **changes: Any) -> AccountFacts:
    """An account as it has to be."""
    found = AccountFacts(newest(engine).password_plugin, accounts.password_hash(engine, PASSWORD), False, False, dict(RIGHTS))
    return dataclasses.replace(found, **changes)


@pytest.mark.parametrize(
    ("address", "number"), [("10.91.0.31", 173735967), ("0.0.0.1", 1), ("255.255.255.255", 4294967295), ("2001:db8::1", None)]
)
def test_server_ids_are_the_address_and_never_zero(address: str, number: int | None) -> None:
    assert server_id(address) == number if number else 0 < server_id(address) < 2**32


def test_server_ids_of_neighbours_differ() -> None:
    assert len({server_id(f"2001:db8::{number}") for number in range(1, 50)}) == 49


@pytest.mark.parametrize(("memory", "pool"), [(256, 64), (512, 128), (1024, 512), (2048, 1433), (4096, 2867), (65536, 45875)])
def test_buffer_pool_leaves_room_for_the_rest(memory: int, pool: int) -> None:
    assert buffer_pool(memory) == pool
    assert pool < memory


@pytest.mark.parametrize("engine", ["mariadb", "mysql"])
def test_configuration_has_cloudstacks_values(engine: Engine) -> None:
    text = server_configuration(engine=engine, server_id=7, memory=4096, managers=2, role="source", domain=7)
    lines = text.splitlines()
    for line in (
        "[mysqld]",
        "server_id = 7",
        "max_connections = 700",
        "innodb_rollback_on_timeout = ON",
        "innodb_lock_wait_timeout = 600",
        "log_bin = mysql-bin",
        "binlog_format = ROW",
        "read_only = OFF",
    ):
        assert line in lines
    assert ("gtid_domain_id = 7" in lines) == (engine == "mariadb")
    assert ("gtid_mode = ON" in lines) == (engine == "mysql")


def test_a_replica_is_read_only_and_has_the_domain_of_its_source() -> None:
    configuration = site().configuration
    database = configuration.new.database
    source, replica = (option_files(configuration, machine)[0] for machine in database.servers)
    assert (source.values["read_only"], replica.values["read_only"]) == ("OFF", "ON")
    assert source.values["gtid_domain_id"] == replica.values["gtid_domain_id"]
    assert source.values["server_id"] != replica.values["server_id"]
    assert source.values["max_connections"] == "700"


@pytest.mark.parametrize(
    ("name", "expected", "running", "good"),
    [
        ("log_bin", "ON", "on", True),
        ("log_bin", "ON", "OFF", False),
        ("gtid_mode", "ON", None, False),
        ("innodb_buffer_pool_size", "536870912", "536870912", True),
        ("innodb_buffer_pool_size", "536870912", "671088640", True),
        ("innodb_buffer_pool_size", "536870912", "134217728", False),
    ],
)
def test_a_running_value_counts(name: str, expected: str, running: str | None, good: bool) -> None:
    assert in_force(name, expected, running) is good


SERVERS = [Server(name="newdb1", address="10.91.0.31"), Server(name="newdb2", address="10.91.0.32")]


@pytest.fixture(scope="module", autouse=True)
def _short_keys() -> Iterator[None]:
    """What is looked at here is what a certificate says, not how long its key is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certificates, "KEY_BITS", 1024)
        yield


@pytest.fixture(scope="module")
def issued(_short_keys: None) -> dict[str, certificates.Certificates]:
    """Certificates of both servers."""
    return certificates.issue(SERVERS)


def test_a_fresh_certificate_has_no_fault(issued: dict[str, certificates.Certificates]) -> None:
    for server in SERVERS:
        assert certificates.fault(issued[server.name].ca, issued[server.name].certificate, server) is None
    assert "PRIVATE KEY" not in repr(issued)


def test_certificates_that_do_not_fit_are_found_out(issued: dict[str, certificates.Certificates], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = issued["newdb1"], certificates.issue(SERVERS[:1])["newdb1"]
    assert "authority" in str(certificates.fault(other.ca, one.certificate, SERVERS[0]))
    assert "not for newdb2" in str(certificates.fault(one.ca, one.certificate, SERVERS[1]))
    moved = Server(name="newdb1", address="10.91.0.99")
    assert "10.91.0.99" in str(certificates.fault(one.ca, one.certificate, moved))
    assert certificates.fault(one.ca, "torn", SERVERS[0]) == "it is no certificate"
    monkeypatch.setattr(certificates, "RENEW_BEFORE", certificates.VALID_FOR + timedelta(days=1))
    assert str(certificates.fault(one.ca, one.certificate, SERVERS[0])).startswith("it ends on")


def test_hashes_are_those_the_servers_make() -> None:
    # SELECT PASSWORD('abc') of MariaDB, and crypt(3)'s SHA-256 whose algorithm MySQL uses with a longer salt.
    assert accounts.native_hash(Secret("abc")) == "*0D3CED9BEC10A777AEC23CCC353A8C08A633045E"
    assert accounts.caching_sha2_hash(Secret("Hello world!"), "saltstring").removeprefix("$A$005$saltstring") == (
        "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    )


@pytest.mark.parametrize("engine", ["mariadb", "mysql"])
def test_an_account_that_is_right_needs_no_change(engine: Engine) -> None:
    assert accounts.login(engine, NAME, PASSWORD, RIGHTS, stored(engine)) == []
    assert accounts.without_login(engine, NAME, RIGHTS, stored(engine, locked=True)) == []


@pytest.mark.parametrize("engine", ["mariadb", "mysql"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret_hash": "other"}, "password"),
        ({"plugin": "unix_socket"}, "password"),
        ({"requires_tls": True}, "TLS requirement"),
        ({"locked": True}, "lock"),
    ],
)
def test_what_is_wrong_with_an_account_is_changed(engine: Engine, change: dict[str, Any], words: str) -> None:
    changes = accounts.login(engine, NAME, PASSWORD, RIGHTS, stored(engine, **change))
    assert [each.words for each in changes] == [f"ALTER USER 'cloud'@'10.91.0.41': {words}"]


def test_a_missing_account_is_made_and_no_password_is_in_a_statement() -> None:
    for engine in ("mariadb", "mysql"):
        changes = accounts.login(engine, NAME, PASSWORD, RIGHTS | {"*.*": frozenset({"PROCESS"})}, None)
        assert [each.words for each in changes] == [
            "CREATE USER 'cloud'@'10.91.0.41'",
            "GRANT ALL PRIVILEGES ON `cloud`.* TO 'cloud'@'10.91.0.41'",
            r"GRANT ALL PRIVILEGES ON `cloud\_usage`.* TO 'cloud'@'10.91.0.41'",
            "GRANT PROCESS ON *.* TO 'cloud'@'10.91.0.41'",
        ]
        assert PASSWORD.reveal() not in repr(changes)


def test_rights_that_are_too_many_are_taken_away() -> None:
    much = {**RIGHTS, "*.*": frozenset({"SUPER"}), "`cloud`.*": frozenset({"ALL PRIVILEGES", "GRANT OPTION"})}
    assert [each.words for each in accounts.granted(NAME, RIGHTS, much)] == [
        "REVOKE GRANT OPTION ON `cloud`.* FROM 'cloud'@'10.91.0.41'",
        "REVOKE SUPER ON *.* FROM 'cloud'@'10.91.0.41'",
    ]
    assert accounts.granted(NAME, RIGHTS, RIGHTS) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("GRANT PROCESS ON *.* TO `cloud`@`h` IDENTIFIED BY PASSWORD '*AB'", ("*.*", {"PROCESS"})),
        (r"GRANT ALL PRIVILEGES ON `cloud\_usage`.* TO `cloud`@`h`", (r"`cloud\_usage`.*", {"ALL PRIVILEGES"})),
        ("GRANT SELECT, INSERT ON `cloud`.* TO `cloud`@`h` WITH GRANT OPTION", ("`cloud`.*", {"SELECT", "INSERT", "GRANT OPTION"})),
        ("GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION", None),
        ("GRANT `role` TO `cloud`@`h`", None),
    ],
)
def test_a_line_of_show_grants_is_read(line: str, found: tuple[str, set[str]] | None) -> None:
    parsed = parse_grant(line)
    assert parsed == ((found[0], frozenset(found[1])) if found else None)


@pytest.mark.parametrize(
    ("source", "replica", "has", "complete", "begin"),
    [
        (set(), set(), "", True, StartingPoint.NOW),
        (set(), set(), "1-2-3", False, StartingPoint.NOW),
        ({"cloud"}, {"cloud"}, "1-2-3", False, StartingPoint.WHERE_IT_WAS),
        ({"cloud"}, set(), "", True, StartingPoint.BEGINNING),
    ],
)
def test_a_replica_begins_where_nothing_is_missed(
    source: set[str], replica: set[str], has: str, complete: bool, begin: StartingPoint
) -> None:
    assert starting_point(source, replica, has, logs_complete=complete) is begin


@pytest.mark.parametrize(
    ("source", "replica", "has", "complete"),
    [(set(), {"other"}, "", True), ({"cloud"}, {"other"}, "1-2-3", True), ({"cloud"}, set(), "", False), ({"cloud"}, {"cloud"}, "", True)],
)
def test_a_replica_that_could_never_be_the_same_is_refused(source: set[str], replica: set[str], has: str, complete: bool) -> None:
    with pytest.raises(GuardFailed):
        starting_point(source, replica, has, logs_complete=complete)


GOOD = ReplicaStatus("10.91.0.31", 3306, USER, True, True, True, True, True, 0, 0, "")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"receiving": False}, "its receiver does not run"),
        ({"applying": False}, "its applier does not run"),
        ({"error": "1045 denied"}, "1045 denied"),
    ],
)
def test_a_replicas_fault_in_words(change: dict[str, Any], fault: str | None) -> None:
    assert dataclasses.replace(GOOD, **change).fault() == fault


@pytest.mark.parametrize(
    "change", [{"tls": False}, {"verified": False}, {"gtid": False}, {"user": "root"}, {"port": 3307}, {"source": "10.0.0.1"}]
)
def test_a_replica_that_is_set_up_otherwise_is_seen(change: dict[str, Any]) -> None:
    assert GOOD.points_to(SERVERS[0], 3306)
    assert not dataclasses.replace(GOOD, **change).points_to(SERVERS[0], 3306)


@pytest.mark.parametrize("step", [ReplicationPair(), CloudDatabases()])
def test_plan_and_undo_name_addresses_and_no_secret(step: ReplicationPair | CloudDatabases) -> None:
    lines = [*step.plan(site().configuration), *step.undo(site().configuration)]
    assert any("10.91.0.31" in line for line in lines)
    assert not [line for line in lines for secret in SECRETS.values() if secret in line]


def test_a_certificate_is_checked_against_an_address_only_where_it_bears_it() -> None:
    server, other = Server(name="olddb1", address="10.91.0.13"), Server(name="olddb2", address="10.91.0.14")
    made = certificates.issue([server, other])
    ca, own = made["olddb1"].ca.encode(), made["olddb1"].certificate.encode()
    assert certificates.names_address(ca, own, "10.91.0.13")
    assert not certificates.names_address(ca, own, "10.91.0.14")
    assert not certificates.names_address(certificates.issue([server])["olddb1"].ca.encode(), own, "10.91.0.13"), "another authority's"
    assert not certificates.names_address(ca, b"no certificate", "10.91.0.13")
