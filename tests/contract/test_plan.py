"""The plan on a real database server: each known fault planted and not planted, and every rebuild that the target's scripts cause, seen and foretold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
import pytest

from lab.standin import sql as standin
from parallel_build.plan.facts import of_database
from parallel_build.plan.faults import CATALOGUE, Fault, Sources, Verdict, judge
from parallel_build.plan.package import TargetPackage
from parallel_build.plan.rebuilds import SqlServer, Work
from parallel_build.plan.statements import split
from parallel_build.rules import Unanswered
from parallel_build.versions import CloudStackVersion
from tests.contract.harness import DatabaseServer

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]

OLD, NEW = CloudStackVersion("4.20.3.0"), CloudStackVersion("4.22.1.0")
BY_SQL = {fault.name: fault for fault in CATALOGUE if fault.sql}
STEPS = ("42010to42100", "42100to42200", "42200to42210")
UNKNOWN_TABLE = (1146, 1054)
_KVM = "UPDATE cloud.host SET hypervisor_type = 'KVM' WHERE type = 'Routing'"


def _system(name: str, version: str) -> list[str]:
    """Every KVM host runs that system."""
    return [
        _KVM,
        *(
            f"REPLACE INTO cloud.host_details (host_id, name, value) SELECT id, '{key}', '{value}' FROM cloud.host WHERE type = 'Routing'"
            for key, value in (("Host.OS", name), ("Host.OS.Version", version))
        ),
    ]


_BACKUP = "INSERT INTO cloud.backups (uuid, vm_id, type, backup_offering_id, account_id, domain_id, zone_id) SELECT 'planted', {}, 'FULL', 1, 2, 1, 1"
_GUEST = "INSERT INTO cloud.guest_os (id, category_id, uuid, display_name, is_user_defined) VALUES ({}, 1, 'planted', 'Mill OS', {})"
_EVENT = "INSERT INTO {}.usage_event (type, account_id, created, zone_id, resource_id, processed) VALUES ('{}', 2, '2020-01-01', 1, 7, 0)"
_USAGE = (
    "INSERT INTO cloud_usage.cloud_usage (zone_id, account_id, domain_id, description, usage_display, usage_type, raw_usage, offering_id, usage_id, "
    "start_date, end_date) VALUES (1, 2, 1, 'x', 'x', 13, 24, 4711, 9, '2020-01-01', '2020-01-02')"
)
_SET = "UPDATE cloud.configuration SET value = '{}' WHERE name = '{}'"
# What is planted; DML is rolled back.
DML: dict[str, list[str]] = {
    "long_backup_volumes": [_BACKUP.format("(SELECT MIN(id) FROM cloud.vm_instance)")],
    "backups_without_vm": [_BACKUP.format("999999999")],
    "guest_os_305_to_329": [_GUEST.format(310, 0)],
    "guest_os_330_to_349": [_GUEST.format(340, 0)],
    "own_guest_os": [_GUEST.format(99999, 1)],
    "half_key_pairs": ["UPDATE cloud.user SET api_key = 'planted', secret_key = NULL WHERE id = 2"],
    "unfinished_upgrade": ["INSERT INTO cloud.version (version, updated, step) VALUES ('4.20.9.0', UTC_TIMESTAMP(), 'Upgrade')"],
    "vnc_password_too_long": _system("Ubuntu", "22.04"),
    "hosts_without_java_17": _system("CentOS Linux", "7.9"),
    "agents_on_el10": _system("Rocky Linux", "10.0"),
    "hypervisors_too_old": ["UPDATE cloud.host SET hypervisor_type = 'VMware', hypervisor_version = '6.7' WHERE type = 'Routing'"],
    "xenserver_7": ["UPDATE cloud.host SET hypervisor_type = 'XenServer', hypervisor_version = '7.6.0' WHERE type = 'Routing'"],
    "kvm_agents_of_4_21_0": [_KVM],
    "overcommit_panics": [
        "INSERT INTO cloud.cluster_details (cluster_id, name, value) SELECT MIN(id), 'cpuOvercommitRatio', '2.5' FROM cloud.cluster"
    ],
    "preferences_for_moved_systems": [
        "INSERT INTO cloud.guest_os_category (id, name, uuid) VALUES (777, 'Novel', 'planted')",
        "REPLACE INTO cloud.host_details (host_id, name, value) SELECT MIN(id), 'guest.os.category.id', '777' FROM cloud.host WHERE type = 'Routing'",
    ],
    "no_image_in_the_package": ["UPDATE cloud.cluster SET hypervisor_type = 'KVM', arch = 'aarch64'"],
    "disabled_hosts_not_told": [_KVM, "UPDATE cloud.host SET resource_state = 'Disabled' WHERE type = 'Routing'"],
    "no_ha_for_dead_hosts": ["UPDATE cloud.vm_instance SET ha_enabled = 1 WHERE type = 'User'"],
    "storpool_takes_pools": ["UPDATE cloud.storage_pool SET pool_type = 'SharedMountPoint'"],
    "linstor_over_tls": ["UPDATE cloud.storage_pool SET storage_provider_name = 'Linstor', host_address = 'https://10.0.0.8'"],
    "config_drive_networks": [
        "INSERT INTO cloud.ntwk_service_map (network_id, service, provider) SELECT MIN(id), 'Planted', 'ConfigDrive' FROM cloud.networks "
        "WHERE removed IS NULL"
    ],
    "tiers_without_conserve_mode": [
        "UPDATE cloud.network_offerings SET conserve_mode = 0, name = 'DefaultIsolatedNetworkOfferingForVpcNetworks' WHERE removed IS NULL LIMIT 1"
    ],
    "offerings_too_small": ["UPDATE cloud.service_offering SET ram_size = 256"],
    "zones_without_template": ["UPDATE cloud.template_store_ref SET state = 'Failed'"],
    "zones_without_nfs": ["UPDATE cloud.image_store SET protocol = 's3'"],
    "live_patch_not_enough": [
        "UPDATE cloud.domain_router SET template_version = 'Cloudstack Release 4.0.0 x'",
        "UPDATE cloud.vm_instance SET state = 'Running', removed = NULL WHERE type = 'DomainRouter'",
        _SET.format("4.20.2", "minreq.sysvmtemplate.version"),
    ],
    "tiers_at_rest": ["UPDATE cloud.networks SET vpc_id = 1, state = 'Allocated' WHERE removed IS NULL LIMIT 1"],
    "placement_changes": [_SET.format("userconcentratedpod_random", "vm.allocation.algorithm")],
    "usage_of_volumes_repeats": [_EVENT.format("cloud_usage", "VOLUME.CREATE")],
    "double_events": [_EVENT.format("cloud", "VM.START")] * 2,
    "double_network_usage": [_USAGE] * 2,
    "work_in_progress": ["UPDATE cloud.vm_instance SET state = 'Migrating' WHERE removed IS NULL LIMIT 1"],
    "servers_left_up": [
        "INSERT INTO cloud.mshost (msid, runid, name, state, version, service_ip, service_port, last_update) "
        "VALUES (4711, 1, 'planted', 'Up', '4.20.3.0', '10.0.0.9', 9090, '2020-01-01')"
    ],
    "passwords_of_ldap": ["INSERT INTO cloud.domain_details (domain_id, name, value) VALUES (1, 'ldap.bind.password', 'x')"],
    "balancer_hides_agents": [_SET.format("10.0.0.99", "host"), _SET.format("true", "ca.plugin.root.auth.strictness")],
    "no_certificate_authority": ["DELETE FROM cloud.configuration WHERE name = 'ca.plugin.root.private.key'"],
    "administrator_comes_back": ["UPDATE cloud.user SET state = 'disabled' WHERE id = 2"],
    "static_roles": [
        "REPLACE INTO cloud.configuration (category, instance, component, name, value) "
        "VALUES ('Advanced', 'DEFAULT', 'planted', 'dynamic.apichecker.enabled', 'false')"
    ],
}
# What is planted by definitions, and what takes it away again.
DDL: dict[str, tuple[list[str], list[str]]] = {
    "management_servers_of_one_uuid": (
        ["ALTER TABLE cloud.mshost DROP INDEX mshost_UUID", "INSERT INTO cloud.mshost (msid, runid, uuid, service_ip, service_port) "
         "VALUES (1, 1, 'same', 'a', 1), (2, 1, 'same', 'b', 1)"],
        ["DELETE FROM cloud.mshost WHERE uuid = 'same'", "ALTER TABLE cloud.mshost ADD UNIQUE KEY mshost_UUID (uuid)"],
    ),
    "readers_of_moved_tables": (
        ["CREATE USER billing@localhost", "GRANT SELECT ON cloud.* TO billing@localhost"], ["DROP USER billing@localhost"]
    ),
    "names_of_schedule_keys": (
        ["ALTER TABLE cloud.vm_schedule DROP INDEX i_vm_schedule__enabled_end_date"],
        ["ALTER TABLE cloud.vm_schedule ADD INDEX i_vm_schedule__enabled_end_date (enabled, end_date)"],
    ),
    "nics_without_a_time": (
        ["ALTER TABLE cloud.nics MODIFY COLUMN update_time datetime"],
        ["ALTER TABLE cloud.nics MODIFY COLUMN update_time timestamp NULL DEFAULT current_timestamp()"],
    ),
    "memory_tables": (["CREATE TABLE cloud.planted (a int) ENGINE=MEMORY"], ["DROP TABLE cloud.planted"]),
    "statistics_never_cleaned": (
        ["INSERT INTO cloud.vm_stats (vm_id, mgmt_server_id, timestamp, vm_stats_data) SELECT seq, 1, '2020-01-01', '' FROM cloud.seq_1_to_1200000",
         "ANALYZE TABLE cloud.vm_stats"],
        ["TRUNCATE TABLE cloud.vm_stats", "ANALYZE TABLE cloud.vm_stats"],
    ),
    "old_password_plugin": (["CREATE USER billing@localhost IDENTIFIED BY 'x'"], ["DROP USER billing@localhost"]),
    "no_usage_database": (["RENAME TABLE cloud_usage.{t} TO parked.{t}"], ["RENAME TABLE parked.{t} TO cloud_usage.{t}"]),
}  # fmt: skip
# What a generated cloud of 4.20 really has: not each of these upgrades concerns it.
TRUE = {
    "guest_os_305_to_329", "guest_os_330_to_349", "kvm_agents_of_4_21_0", "no_ha_for_dead_hosts", "old_password_plugin", "vnc_password_too_long",
    "work_in_progress", "double_network_usage", "usage_of_volumes_repeats",
    "overcommit_panics", "tiers_without_conserve_mode",
}  # fmt: skip


@pytest.fixture(scope="module")
def cloud(database: DatabaseServer, generated: Mapping[str, Path]) -> DatabaseServer:
    """The server with a generated cloud."""
    database.load(generated)
    return database


class Asked:
    """One session, which sees what it has planted itself."""

    def __init__(self, server: DatabaseServer) -> None:
        self.connection = pymysql.connect(unix_socket=str(server._socket), user="root", cursorclass=pymysql.cursors.DictCursor)
        self.execute("SET foreign_key_checks = 0")
        self.execute("SET unique_checks = 0")

    def execute(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """As the plan asks: a table that this schema does not have is no answer."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        except pymysql.MySQLError as error:
            if error.args[0] not in UNKNOWN_TABLE:
                raise
            raise Unanswered(str(error)) from None


@pytest.fixture
def asked(cloud: DatabaseServer) -> Iterator[Asked]:
    session = Asked(cloud)
    with contextlib.closing(session.connection):
        yield session


def found(fault: Fault, session: Asked) -> tuple[Verdict, set[str]]:
    answer = judge(fault, Sources(sql=session.rows))
    return answer.verdict, set(answer.found)


def test_every_question_of_sql_has_its_planted_fault() -> None:
    assert set(BY_SQL) == {*DML, *DDL}


@pytest.mark.parametrize("name", DML)
def test_rows_planted_and_not_planted_are_told_apart(name: str, asked: Asked) -> None:
    before, items = found(BY_SQL[name], asked)
    assert before is Verdict.CLEAR or name in TRUE, items
    for statement in DML[name]:
        asked.execute(statement)
    after, more = found(BY_SQL[name], asked)
    asked.connection.rollback()
    assert after is Verdict.HIT and (more - items or before is Verdict.HIT)
    assert found(BY_SQL[name], asked) == (before, items), "asking changes nothing"


@pytest.mark.parametrize("name", DDL)
def test_definitions_planted_and_not_planted_are_told_apart(name: str, asked: Asked) -> None:
    before, items = found(BY_SQL[name], asked)
    assert before is Verdict.CLEAR or name in TRUE, items
    plant, undo = DDL[name]
    if name == "no_usage_database":
        tables = [
            row["t"] for row in asked.rows("SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud_usage'")
        ]
        plant = ["CREATE DATABASE parked", *(plant[0].format(t=table) for table in tables)]
        undo = [*(undo[0].format(t=table) for table in tables), "DROP DATABASE parked"]
    try:
        for statement in plant:
            asked.execute(statement)
        after, more = found(BY_SQL[name], asked)
    finally:
        for statement in undo:
            asked.execute(statement)
        asked.connection.commit()
    assert after is Verdict.HIT and more - items
    assert found(BY_SQL[name], asked) == (before, items)


def scripts() -> dict[str, str]:
    """The stand-in's schema scripts, by the names that CloudStack's have."""
    folder = Path(standin.__file__).parent / "upgrades"
    return {f"schema-{path.stem}": path.read_text() for path in folder.glob("*.sql")}


def table_ids(session: Asked) -> dict[str, int]:
    """InnoDB's own numbers of tables: a rebuilt table has a different one."""
    rows = session.rows("SELECT NAME AS name, TABLE_ID AS id FROM information_schema.INNODB_SYS_TABLES WHERE NAME LIKE 'cloud%/%'")
    return {str(row["name"]).replace("/", "."): int(row["id"]) for row in rows}


def test_every_rebuild_of_the_recorded_upgrade_is_foretold(database: DatabaseServer, recorded: Mapping[str, Path]) -> None:
    database.load(recorded)
    session = Asked(database)
    session.execute("SET foreign_key_checks = 1")
    package = TargetPackage("scripts", NEW, None, scripts())
    family = SqlServer("mariadb", tuple(int(part) for part in str(session.rows("SELECT VERSION() AS v")[0]["v"]).split("-")[0].split(".")))
    plan = of_database("recorded", OLD, NEW, package, family, Sources(sql=session.rows))
    assert plan.steps == ["4.21.0.0", "4.22.0.0", "4.22.1.0"] and plan.templates == [] and plan.problems == []
    assert plan.work is not None
    foretold = {(each.table, each.text) for each in plan.work if each.work is Work.REBUILDS}
    there, renamed, rebuilt = set(table_ids(session)), dict[str, str](), set[tuple[str, str]]()
    for script in standin.procedures("4.22.1.0"):
        session.execute(f"USE {script.database}")
        for text in script.statements:
            session.execute(text)
    session.execute("USE cloud")
    for name in (part for step in STEPS for part in (step, f"{step}-cleanup")):
        for statement in standin.upgrade(name):
            before = table_ids(session)
            if statement.only_with and f"cloud.{statement.only_with}" not in before:
                continue
            session.execute(statement.sql)
            after = table_ids(session)
            renamed |= {
                new: old for new in after.keys() - before.keys() for old in before.keys() - after.keys() if after[new] == before[old]
            }
            text = next(split(statement.sql))
            rebuilt |= {(renamed.get(table, table), text) for table in before.keys() & after.keys() if before[table] != after[table]}
    missed = {each for each in rebuilt if each[0] in there} - foretold
    assert missed == set()
    assert rebuilt, "the recorded upgrade rebuilds some tables"
    assert len(foretold) <= 3 * len(rebuilt), "and not everything is called a rebuild"
