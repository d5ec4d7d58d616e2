"""The health check's rules on facts: those that can't be planted in the lab, the reading of upgrade scripts, the report and its page."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.releases import path
from parallel_build.configuration import load
from parallel_build.configuration.fix_files import read_fixes
from parallel_build.database.replicate.pair_status import ReplicaStatus
from parallel_build.database.server.galera import GaleraStatus
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.facts.cluster_managers import ClusterManager
from parallel_build.facts.database_users import Client, DatabaseUse
from parallel_build.facts.management_node import ManagementNode
from parallel_build.facts.new import NewFacts
from parallel_build.health import (
    RULES,
    Finding,
    HealthFacts,
    Severity,
    as_document,
    as_text,
    examine,
    queries,
    target_plugins,
    target_settings,
)
from parallel_build.health.certificates import Certificate, expiry
from parallel_build.health.facts import changed
from parallel_build.health.pool_ha import Pool
from parallel_build.health.server_files import ServerFiles
from parallel_build.health.target_scripts import GuestOsInsert, on_the_path, parse, release_of
from parallel_build.operations.context import Context
from parallel_build.project import PROJECT
from parallel_build.records.rehearsal import RehearsalRecord
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections
from parallel_build.remote.sql import Refused, Session
from parallel_build.rules import RuleFinding
from parallel_build.steps.health_check import HealthCheck, check_names
from parallel_build.versions import CloudStackVersion
from tests.fast.configuration.test_frontend import DOOR
from tests.fast.database.test_database_dialects import server as database_server
from tests.fast.guards.test_guards import GOOD_OLD
from tests.fast.guards.test_guards_frontend import HOLDS, RESTS
from tests.fast.sites import site, values

OLD, NEW = CloudStackVersion("4.20.3.0"), CloudStackVersion("4.22.1.0")
FOLLOWS = ReplicaStatus("10.91.0.13", 3306, "repl", True, True, True, True, True, 0, 0, "")
UP = {"state": "Up", "version": "4.20.3.0", "age": 1}
SERVERS = [{"name": "oldms1", "service_ip": "10.91.0.11", **UP}, {"name": "oldms2", "service_ip": "10.91.0.12", **UP}]
KVM = {"name": "kvm1", "type": "Routing", "status": "Up", "resource_state": "Enabled", "version": "4.20.3.0", "hypervisor_type": "KVM"}


def settings(**found: str) -> list[dict[str, Any]]:
    """Rows of cloud.configuration; two underscores are a dot."""
    return [{"name": name.replace("__", "."), "value": value, "default_value": None, "updated": 1} for name, value in found.items()]


REACHED = {"host": "10.91.0.11", "management__network__cidr": "10.91.0.0/24", "secstorage__allowed__internal__sites": "10.91.0.0/24"}


def facts(**changes: Any) -> HealthFacts:
    """Facts of a healthy original; `tables` merges."""
    tables: dict[str, list[dict[str, Any]]] = {"servers": SERVERS, "hosts": [KVM], "settings": settings(**REACHED)}
    tables.update(changes.pop("tables", {}))
    return HealthFacts(
        changes.pop("site", site()),
        changes.pop("old", replace(GOOD_OLD, accounts=GOOD_OLD.definers)),
        tables,
        **{"replica": FOLLOWS, "inserts": [], **changes},
    )


VMWARE = {
    "hypervisor": "VMware", "name": "systemvm-vmware-4.22.0-x86_64", "url": "http://10.91.0.1/t.ova", "format": "OVA", "osType": "Other Linux (64-bit)",
}  # fmt: skip
XEN = {
    "hypervisor": "XenServer", "name": "systemvm-xenserver-4.22.0-x86_64", "url": "http://10.91.0.1/t.vhd", "format": "VHD", "osType": "Other Linux (64-bit)",
}  # fmt: skip
HEALTHY = {"known_faults_of_the_target"}
NODE = GaleraStatus(True, "uuid-1", "Primary", "Synced", True, 2, (), 100)
CLUSTER = site(
    original={
        **values()["original"],
        "database": {"source": {"name": "olddb1", "address": "10.91.0.13"}, "nodes": [{"name": "olddb2", "address": "10.91.0.14"}]},
    }
)
USAGE_TABLE = {"db": "cloud_usage", "name": "cloud_usage", "row_count": 1, "bytes": 16384}
IN_FACTS_ONLY: dict[str, tuple[dict[str, Any], Severity, str]] = {
    "account_has_its_rights": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, account="dba@localhost", rights_missing=["CREATE USER"])},
        Severity.BLOCKS,
        "dba@localhost lacks rights on olddb1: CREATE USER",
    ),
    "api_serves_this_database": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, api_servers=["oldms3"])},
        Severity.BLOCKS,
        "it lists oldms3 as in service",
    ),
    "every_database_is_brought": (
        {"tables": {"tables": [{"db": "cloudbridge", "name": "mhost", "row_count": 1, "bytes": 16384}, USAGE_TABLE]}},
        Severity.WARNS,
        "the database cloudbridge with 1 table is there and is not brought over",
    ),
    "no_cluster_replication": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, variables={"wsrep_on": "ON"})},
        Severity.BLOCKS,
        "Galera",
    ),
    "galera_is_whole": (
        {"site": CLUSTER, "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, galera={"olddb1": NODE, "olddb2": GaleraStatus()})},
        Severity.BLOCKS,
        "no node of a Galera cluster: olddb2",
    ),
    "galera_stands_by": (
        {
            "site": CLUSTER,
            "old": replace(
                GOOD_OLD,
                accounts=GOOD_OLD.definers,
                uses={"olddb2": DatabaseUse(clients=(Client("cloud", "10.91.0.11", ("10.91.0.11",), "cloud"),))},
                addresses={"oldms1": ["10.91.0.11"]},
            ),
        },
        Severity.BLOCKS,
        "CloudStack uses stand-by nodes: cloud from 10.91.0.11 in cloud on olddb2",
    ),
    "binary_log_for_replication": (
        {
            "site": site(transfer={"method": "replicate"}),
            "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, variables={"log_bin": "OFF"}),
        },
        Severity.BLOCKS,
        "log_bin=OFF",
    ),
    "database_versions_fit": (
        {
            "site": site(transfer={"method": "replicate"}),
            "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, server=database_server("mysql", (8, 0, 40), "olddb1")),
            "fresh": NewFacts(server=database_server("mysql", (9, 7, 4), "newdb1")),
        },
        Severity.BLOCKS,
        "replicate does not serve from MySQL 8.0.40 on olddb1 to MySQL 9.7.4 on newdb1",
    ),
    "nobody_else_starts_the_servers": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, managers={"olddb1": [ClusterManager("monit", ("mysql",))]})},
        Severity.BLOCKS,
        "monit on olddb1 starts and stops mysql",
    ),
    "fronts_can_be_turned": (
        {
            "site": site(original={"frontend": [DOOR]}),
            "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, fronts={"front1": HOLDS, "front2": replace(RESTS, missing=("turn",))}),
        },
        Severity.BLOCKS,
        "front2 (haproxy at 10.91.0.60) has no turn",
    ),
    "front_addresses_are_held_once": (
        {
            "site": site(original={"frontend": [DOOR]}),
            "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, fronts={"front1": HOLDS, "front2": HOLDS}),
        },
        Severity.BLOCKS,
        "10.91.0.60 of haproxy is held by front1 and front2",
    ),
    "database_proxies_are_closed": (
        {"site": site(original={"frontend": [{"kind": "proxysql", "address": "10.91.0.60"}]})},
        Severity.WARNS,
        "proxysql",
    ),
    "servers_have_their_own_addresses": (
        {
            "site": site(original={"frontend": [{"kind": "keepalived"}]}),
            "old": replace(
                GOOD_OLD, accounts=GOOD_OLD.definers, managers={"olddb1": [ClusterManager("keepalived", addresses=("10.91.0.13",))]}
            ),
        },
        Severity.BLOCKS,
        "olddb1 (10.91.0.13, moved by keepalived on olddb1)",
    ),
    "usage_servers_are_known": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, nodes={**GOOD_OLD.nodes, "oldms2": ManagementNode(usage=True)})},
        Severity.BLOCKS,
        "the usage server runs on oldms2",
    ),
    "nothing_waits_on_the_peer": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, unapplied=["olddb2 (900 s behind)"])},
        Severity.BLOCKS,
        "olddb2 (900 s behind)",
    ),
    "source_is_the_source": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, read_only=True)},
        Severity.BLOCKS,
        "olddb1 is read only",
    ),
    "system_vms_run": (
        {
            "old": replace(
                GOOD_OLD, accounts=GOOD_OLD.definers, system_vms=[{"zonename": "z", "systemvmtype": "consoleproxy", "state": "Stopped"}]
            )
        },
        Severity.BLOCKS,
        "consoleproxy in z",
    ),
    "servers_answer_themselves": (
        {"old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, apis={"oldms1": "its certificate has expired"})},
        Severity.BLOCKS,
        "oldms1: its certificate has expired",
    ),
    "zones_keep_system_vms": (
        {"tables": {"zones": [{"id": 1, "name": "off", "allocation_state": "Disabled", "type": "Core"}]}},
        Severity.NOTES,
        "off (Disabled)",
    ),
    "java_trusts_the_same": (
        {"files": {"oldms1": ServerFiles("deb", added={"ab" * 32: "corp-ldap"})}, "new_files": ServerFiles("deb")},
        Severity.WARNS,
        "corp-ldap",
    ),
    "target_knows_vmware": (
        {
            "site": site(templates=[VMWARE]),
            "tables": {"clusters": [{"name": "esx", "hypervisor_type": "VMware", "arch": "x86_64", "zone": "z"}]},
            "knows_vmware": False,
            "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, templates=[{"name": VMWARE["name"], "zonename": "z", "isready": True}]),
        },
        Severity.BLOCKS,
        "no plug-in for VMware (cluster esx)",
    ),
    "pools_have_high_availability": (
        {
            "site": site(templates=[XEN]),
            "tables": {"clusters": [{"name": "xen", "hypervisor_type": "XenServer", "arch": "x86_64", "zone": "z"}]},
            "pools": [Pool("xen1", "lab pool", on=True), Pool("xen2", "other", on=False)],
            "old": replace(GOOD_OLD, accounts=GOOD_OLD.definers, templates=[{"name": XEN["name"], "zonename": "z", "isready": True}]),
        },
        Severity.WARNS,
        "high availability is off in the pool 'other' of xen2",
    ),
    "users_can_be_kept_out": (
        {
            "site": site(window={"userAccess": {"method": "cidr", "administrators": ["10.91.0.1/32"]}}),
            "tables": {"settings": settings(**REACHED, api__source__cidr__checks__enabled="false")},
        },
        Severity.BLOCKS,
        "window.userAccess.method is cidr",
    ),
    "host_is_no_loopback": ({"tables": {"settings": settings(**{**REACHED, "host": "localhost"})}}, Severity.BLOCKS, "host is localhost"),
}


def test_a_healthy_original_has_no_finding() -> None:
    assert {each.rule for each in examine(facts())} == HEALTHY


@pytest.mark.parametrize("rule", IN_FACTS_ONLY)
def test_what_can_not_be_planted_in_the_lab_is_found_in_facts(rule: str) -> None:
    changes, severity, words = IN_FACTS_ONLY[rule]
    found = [each for each in examine(facts(**changes)) if each.rule not in HEALTHY]
    assert [(each.rule, each.severity) for each in found] == [(rule, severity)]
    assert words in found[0].fact and found[0].cause and found[0].remedy


@pytest.mark.parametrize(
    ("days", "renewed", "severity"),
    [(-1, False, "blocks"), (29, False, "warns"), (31, False, None), (8, True, None), (6, True, "warns")],
)
def test_certificates_near_their_end(days: int, renewed: bool, severity: str | None) -> None:
    now = datetime.now(UTC)
    found = examine(facts(certificates=[Certificate("x", now + timedelta(days=days, minutes=1), renewed)], when=now))
    assert [each.severity for each in found if each.rule == "certificates_last"] == ([severity] if severity else [])
    assert expiry("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n") is None


def test_a_database_that_travels_is_no_finding_and_one_that_stays_is_no_place_for_views() -> None:
    tables = {
        "tables": [{"db": "cloudbridge", "name": "mhost", "row_count": 1, "bytes": 16384}, USAGE_TABLE],
        "views": [{"db": "cloud", "name": "v", "words": "VIEW", "body": "select `cloudbridge`.`mhost`.`id` from `cloudbridge`.`mhost`"}],
    }
    rules = {"every_database_is_brought", "objects_need_no_other_database"}
    database = {**site().configuration.original.database.model_dump(by_alias=True, mode="json"), "cloudbridge": True}
    found = [examine(facts(tables=tables, site=each)) for each in (site(original={"database": database}), site())]
    assert [{each.rule for each in findings} & rules for findings in found] == [set(), rules]


def test_jobs_and_states_of_a_cloud_in_use_are_no_warning() -> None:
    tables = {
        "jobs_running": [{"command": "a.b.DeployVMCmd", "age": 30}],
        "vms_moving": [{"name": "i-2-3-VM", "state": "Starting", "age": 30}],
        "volumes_moving": [{"name": "ROOT-3", "state": "Creating", "age": 30}],
    }
    found = [each for each in examine(facts(tables=tables)) if each.rule not in HEALTHY]
    assert {(each.rule, each.severity) for each in found} == {("no_job_hangs", "notes"), ("nothing_is_stuck", "notes")}


def test_before_4_16_a_template_that_is_not_configured_blocks() -> None:
    tables = {"clusters": [{"name": "c1", "hypervisor_type": "VMware", "arch": "x86_64", "zone": "z"}]}
    now = [each for each in examine(facts(tables=tables)) if each.rule == "templates_are_configured"]
    assert [each.severity for each in now] == ["warns"] and "VMware x86_64 (cluster c1)" in now[0].fact
    old = site(original={"version": "4.11.3.0"}, new={"version": "4.15.2.0"})
    before = [each for each in examine(facts(site=old, tables=tables)) if each.rule == "templates_are_configured"]
    assert [each.severity for each in before] == ["blocks"] and "VMware (cluster c1)" in before[0].fact


def test_every_architecture_needs_its_template_since_4_20() -> None:
    tables = {
        "clusters": [
            {"name": name, "hypervisor_type": "KVM", "arch": arch, "zone": "z"} for name, arch in (("a", "x86_64"), ("b", "aarch64"))
        ]
    }
    found = [each.fact for each in examine(facts(tables=tables)) if each.rule == "templates_are_configured"]
    assert len(found) == 1 and "KVM aarch64" in found[0]


def test_a_pool_that_nobody_could_be_asked_about_is_noted_and_not_taken_for_right_or_wrong() -> None:
    tables = {"clusters": [{"name": "xen", "hypervisor_type": "XenServer", "arch": "x86_64", "zone": "z"}]}
    noted = [each for each in examine(facts(tables=tables)) if each.rule == "pools_have_high_availability"]
    assert [each.severity for each in noted] == ["notes"] and "can't be read (cluster xen)" in noted[0].fact
    asked = facts(tables=tables, pools=[Pool("xen1", "lab pool", on=True)])
    assert not [each for each in examine(asked) if each.rule == "pools_have_high_availability"]


SCRIPT = """INSERT IGNORE INTO `cloud`.`guest_os` (id, uuid, category_id, display_name, created) VALUES
 (277, UUID(), 1, 'It''s (64-bit), a system', now()), (278, UUID(), 2, "Other", utc_timestamp());"""


def test_upgrade_scripts_are_read() -> None:
    found = list(parse("schema-4930to41000", SCRIPT))
    assert found[0] == GuestOsInsert("guest_os", 277, "It''s (64-bit), a system", "schema-4930to41000", True)
    assert found[1].number == 278 and found[1].name == "Other"
    columns = "id,uuid,hypervisor_type,hypervisor_version,guest_os_name,guest_os_id"
    mapping = f"INSERT INTO cloud.guest_os_hypervisor ({columns}) VALUES (5, UUID(), 'KVM', 'default', 'Debian', 9);"
    assert list(parse("s", mapping)) == [GuestOsInsert("guest_os_hypervisor", 5, "Debian", "s", False)]
    without = "INSERT INTO cloud.guest_os (uuid, category_id, display_name) VALUES (UUID(), 1, 'x');"
    assert list(parse("s", without)) == []
    assert list(parse("s", "INSERT INTO cloud.guest_os (id, display_name) SELECT 3, 'x';")) == []


@pytest.mark.parametrize(
    ("digits", "release"),
    [
        ("42100", "4.21.0.0"),
        ("42010", "4.20.1.0"),
        ("4930", "4.9.3.0"),
        ("41000", "4.10.0.0"),
        ("450", "4.5.0.0"),
        ("217", None),
        ("30", None),
    ],
)
def test_the_release_in_a_scripts_name(digits: str, release: str | None) -> None:
    found = release_of(digits)
    assert (str(found) if found else None) == release


def test_only_scripts_on_the_way_count() -> None:
    assert on_the_path("schema-42010to42100", OLD, NEW) and on_the_path("schema-42200to42210", OLD, NEW)
    assert not on_the_path("schema-42000to42010", OLD, NEW) and not on_the_path("schema-42210to42300", OLD, NEW)
    assert path(OLD, NEW) == ["4.21.0.0", "4.22.0.0", "4.22.1.0"]
    assert len(path(CloudStackVersion("4.9.0.0"), NEW)) == 29


def test_colliding_rows_block_and_silently_ignored_ones_warn() -> None:
    tables = {"guest_os": [{"id": 277, "display_name": "Mill OS", "is_user_defined": 0}]}
    for ignored, severity in ((False, "blocks"), (True, "warns")):
        insert = GuestOsInsert("guest_os", 277, "Ubuntu", "schema-42010to42100", ignored)
        found = [each for each in examine(facts(tables=tables, inserts=[insert])) if each.rule not in HEALTHY]
        assert [(each.rule, each.severity) for each in found] == [("guest_os_rows_do_not_collide", severity)]
    other = GuestOsInsert("guest_os_hypervisor", 277, "Ubuntu", "schema-42010to42100", False)
    assert {each.rule for each in examine(facts(tables=tables, inserts=[other]))} == HEALTHY


def jar(folder: Path, name: str, entries: dict[str, list[str]]) -> None:
    """An archive of classes that hold texts as a compiler writes them."""
    with zipfile.ZipFile(folder / f"{name}.jar", "w") as archive:
        for entry, texts in entries.items():
            archive.writestr(entry, b"".join(b"\1" + len(text).to_bytes(2, "big") + text.encode() for text in texts))


def test_settings_that_the_target_does_not_know_are_reported(tmp_path: Path) -> None:
    def unknown() -> Any:
        argv = [sys.executable, "-", str(tmp_path), json.dumps(["a.b", "c.d", "e.f", "g.h"]), target_settings.WITNESS]
        return json.loads(subprocess.run(argv, input=target_settings.READER, capture_output=True, text=True, check=True, timeout=60).stdout)

    jar(tmp_path, "plugin", {"net/example/Plugin.class": ["c.d"]})
    assert unknown() is None, "a plug-in alone is not the program"
    jar(tmp_path, "cloud", {target_settings.WITNESS: ["a.b", "x.e.f"], "com/cloud/X.class": ["e.f.y"], "org/library/Y.class": ["g.h"]})
    assert unknown() == ["e.f", "g.h"]
    description = (
        '<bean class="Registry"><property name="orderConfigKey" value="g.h" /><property name="x"><value> c.d </value></property></bean>'
    )
    with zipfile.ZipFile(tmp_path / "cloud.jar", "a") as archive:
        archive.writestr("META-INF/cloudstack/core/spring-core-registry-core-context.xml", description + "<!-- x.e.f, e.f.y -->")
    assert unknown() == ["e.f"], "a module's description names settings too"
    rows: list[dict[str, Any]] = [
        {"name": "a", "value": "2", "default_value": "1"}, {"name": "b", "value": "1", "default_value": "1"},
        {"name": "c", "value": None, "default_value": "1"}, {"name": "d", "value": "2", "default_value": None},
    ]  # fmt: skip
    assert changed(rows) == ["a"]
    found = [each for each in examine(facts(unknown_settings=frozenset({"e.f", "g.h"}))) if each.rule == "changed_settings_are_known"]
    assert [each.severity for each in found] == ["notes"] and "CloudStack 4.22.1.0 names nowhere in its program: e.f, g.h" in found[0].fact


@pytest.mark.parametrize(
    ("entries", "known"),
    [
        ([target_settings.WITNESS, "META-INF/cloudstack/vmware-compute/module.properties"], True),
        ([target_settings.WITNESS, "META-INF/cloudstack/kvm-compute/module.properties"], False),
        (["net/example/Plugin.class"], None),
    ],
)
def test_the_plug_in_for_vmware_is_looked_for_in_the_targets_program(entries: list[str], known: bool | None, tmp_path: Path) -> None:
    jar(tmp_path, "cloudstack", {entry: [] for entry in entries})
    argv = [sys.executable, "-", str(tmp_path), target_settings.WITNESS, target_plugins.VMWARE]
    shown = subprocess.run(argv, input=target_plugins.READER, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(shown.stdout) is known


COLLISION: dict[str, Any] = {
    "tables": {"guest_os": [{"id": 277, "display_name": "Mill OS", "is_user_defined": 0}]},
    "inserts": [GuestOsInsert("guest_os", 277, "Ubuntu", "schema-42010to42100", False)],
}


def collision(**changes: Any) -> Finding[RuleFinding]:
    """What is found of one colliding row."""
    (found,) = (each for each in examine(facts(**COLLISION, **changes)) if each.rule == "guest_os_rows_do_not_collide")
    return found


def test_a_colliding_row_says_what_to_write_until_a_fix_names_it(tmp_path: Path) -> None:
    machine = {"name": "rehearsal", "address": "10.91.0.51"}
    without, there = site(), site(rehearsal={"enabled": True, "machine": machine, "fixes": str(tmp_path)})
    (tmp_path / "10-mill.sql").write_text("-- reason: Mill OS moves away\n-- mends: guest_os 277\n")
    (tmp_path / "20-other.sql").write_text("-- reason: something else\n")
    mill, other = read_fixes(tmp_path)
    assert "set rehearsal.enabled and rehearsal.machine" in collision(site=without).remedy
    blocking = collision(site=there, fixes=[other])
    assert blocking.severity is Severity.BLOCKS
    for words in (
        f"write {tmp_path}/NAME.sql",
        "`-- mends: guest_os 277`",
        "none of the fixes there (20-other.sql)",
        "docs/operate/rehearsal.md",
    ):
        assert words in blocking.remedy
    planned = collision(site=there, fixes=[mill, other])
    assert planned.severity is Severity.WARNS and "10-mill.sql is to fix it (Mill OS moves away)" in planned.fact
    assert "no rehearsal has passed with 10-mill.sql" in planned.cause and "pulumi up" in planned.remedy
    now = {each.name: each.checksum for each in (mill, other)}
    passed = RehearsalRecord(True, "", "4.20.3.0", "4.22.1.0", fixes=now, ended="2026-11-01T10:00:00+00:00")
    for record, severity in (
        (passed, Severity.NOTES),
        (replace(passed, passed=False), Severity.WARNS),
        (replace(passed, fixes={**now, "10-mill.sql": "another"}), Severity.WARNS),
        (replace(passed, new="4.22.0.0"), Severity.WARNS),
    ):
        old = replace(GOOD_OLD, accounts=GOOD_OLD.definers, rehearsal=record)
        found = collision(site=there, fixes=[mill, other], old=old)
        assert found.severity is severity, record
    assert "10-mill.sql fixes it, the rehearsal of 2026-11-01T10:00 passed with it" in collision(
        site=there, fixes=[mill, other], old=replace(GOOD_OLD, accounts=GOOD_OLD.definers, rehearsal=passed)
    ).fact  # fmt: skip


def test_what_blocks_comes_first_in_the_report() -> None:
    changes, _, words = IN_FACTS_ONLY["host_is_no_loopback"]
    known = facts(**changes)
    findings = examine(known)
    text, document = as_text(known, findings), as_document(known, findings)
    assert text.index("BLOCKS host_is_no_loopback") < text.index("NOTES")
    assert words in text and "schema steps 4.21.0.0, 4.22.0.0, 4.22.1.0" in text
    assert document["summary"] == {"blocks": 1, "warns": 0, "notes": 1} and not document["healthy"]
    assert max(len(line) for line in text.splitlines()) <= 120


class Schema:
    """Stands for a session to a database whose schema lacks something, or which refuses."""

    def __init__(self, refused: dict[str, int]) -> None:
        self.refused, self.asked = refused, list[str]()

    def rows(self, statement: str, values: Any) -> list[dict[str, Any]]:
        self.asked.append(statement)
        for words, number in self.refused.items():
            if words in statement:
                raise Refused(f"olddb1: the database server refused: {statement}", f"({number}, 'about {words}')", "repair it", number)
        return []


def test_what_a_schema_does_not_know_is_not_judged_and_reported() -> None:
    answers = queries.run(cast(Session, Schema({"router_health_check": 1146, "redundant_state": 1054})))
    assert answers.unanswered == {"router_checks": "(1146, 'about router_health_check')", "routers": "(1054, 'about redundant_state')"}
    assert answers.problems == [] and set(answers.tables) == set(queries.QUERIES) - {"router_checks", "routers"}
    known = facts(unanswered=answers.unanswered)
    findings = examine(known)
    assert {each.rule for each in findings} == HEALTHY, "an old cloud is not ill"
    unjudged = ["router_checks_pass", "routers_run", "routers_are_recent", "redundant_routers_agree"]
    text, document = as_text(known, findings), as_document(known, findings)
    assert f"{len(RULES)} rules, 4 of them not judged: 0 blocks" in text
    assert all(f"NOT JUDGED {rule}: (1" in text for rule in unjudged)
    assert {each["rule"]: each["why"] for each in document["notJudged"]}.keys() == set(unjudged)
    whole = as_text(facts(), examine(facts()))
    assert f"{len(RULES)} rules: 0 blocks" in whole and "NOT JUDGED" not in whole


@pytest.mark.parametrize("number", [1969, 3024, 1142, 1205, 0])
def test_any_other_refusal_blocks(number: int) -> None:
    """Time limits of both families, a missing right, a lock, a session that is gone."""
    answers = queries.run(cast(Session, Schema({"cloud.storage_pool": number})))
    known = facts(unanswered=answers.unanswered, problems=answers.problems)
    (found,) = (each for each in examine(known) if each.severity is Severity.BLOCKS)
    assert found.rule == "everything_is_readable" and "cloud.storage_pool" in found.fact and str(number) in found.fact
    assert {each["rule"] for each in as_document(known, examine(known))["notJudged"]} == {"pools_are_up", "pools_have_room"}


def test_an_older_schema_is_asked_without_its_later_columns() -> None:
    schema = Schema({"c.arch": 1054})
    answers = queries.run(cast(Session, schema))
    assert "clusters" in answers.tables and not answers.unanswered
    refused = Schema({"cloud.cluster": 1969})
    assert queries.run(cast(Session, refused)).unanswered.keys() == {"clusters"}, "only for the want of a column is it asked another way"
    assert sum("cloud.cluster" in statement for statement in refused.asked) == 1
    assert queries.OLDER.keys() <= queries.QUERIES.keys()


def test_a_database_that_was_not_read_judges_nothing() -> None:
    known = facts(tables={}, unanswered=dict.fromkeys(queries.QUERIES, "the database was not read"), problems=["olddb1 is gone"])
    findings = examine(known)
    assert "everything_is_readable" in {each.rule for each in findings}
    reported = {each["rule"] for each in as_document(known, findings)["notJudged"]}
    assert len(reported) > 20 and {"management_servers_beat", "open_api_is_off"} <= reported and "clocks_agree" not in reported


def test_a_rule_that_is_not_there_can_not_be_accepted() -> None:
    assert check_names(load(values(health={"accepted": ["hosts_are_up"]}), "test")) == {"hosts_are_up"}
    with pytest.raises(ConfigurationError, match="no rule host_are_up"):
        check_names(load(values(health={"accepted": ["host_are_up"]}), "test"))
    assert any(
        "hosts_are_up are reported and accepted" in line
        for line in HealthCheck().plan(load(values(health={"accepted": ["hosts_are_up"]}), "t"))
    )


def test_the_page_lists_every_rule_with_its_severity() -> None:
    page = (PROJECT / "docs/operate/health.md").read_text()
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.severity.value} |" in page, rule.name
    assert sum(line.startswith("| `") for line in page.splitlines()) == len(RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.source and rule.summary for rule in RULES)


def applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[HealthFacts], **sections: Any) -> tuple[Any, Context]:
    """The step applied to what is read, one after the other; its outputs or its error, and its context."""
    own = site(**sections)
    cancel = CancelToken()
    lines: list[str] = []
    context = Context(own, Connections(own, cancel), RunFolder(tmp_path, "test", []), cancel, lines.append, "HealthCheck")
    monkeypatch.setattr("parallel_build.health.gather", lambda *_: replace(reads.pop(0) if len(reads) > 1 else reads[0], site=own))
    monkeypatch.setattr("parallel_build.steps.health_check.LOOK_AGAIN", 0.01)
    try:
        return HealthCheck().apply(context), context
    except GuardFailed as error:
        return error, context
    finally:
        context.connections.close()


def test_the_step_passes_on_a_healthy_original_and_keeps_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, context = applied(tmp_path, monkeypatch, [facts()])
    assert outputs["summary"] == {"blocks": 0, "warns": 0, "notes": 1} and not context.acted
    assert "0 blocks, 0 warns, 1 notes" in (tmp_path / "test/evidence/health.txt").read_text()
    assert (context.run.evidence("health") or {})["healthy"]


def test_the_step_waits_for_what_passes_by_itself_and_for_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = facts(**IN_FACTS_ONLY["system_vms_run"][0])
    outputs, _ = applied(tmp_path, monkeypatch, [gone, gone, facts()])
    assert outputs["summary"]["blocks"] == 0
    monkeypatch.setattr(HealthCheck, "patience", 0.05)
    error, context = applied(tmp_path, monkeypatch, [gone])
    assert "1 findings block" in str(error) and "consoleproxy in z" in str(error) and not context.acted
    wrong = facts(**IN_FACTS_ONLY["host_is_no_loopback"][0])
    error, _ = applied(tmp_path, monkeypatch, [wrong, facts()])
    assert "host is localhost" in str(error) and "nothing has been changed" in str(error)


def test_what_is_accepted_does_not_end_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = facts(**IN_FACTS_ONLY["host_is_no_loopback"][0])
    outputs, _ = applied(tmp_path, monkeypatch, [wrong], health={"accepted": ["host_is_no_loopback"]})
    assert outputs["summary"]["blocks"] == 1
