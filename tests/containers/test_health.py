"""Every finding of the health check, planted in the lab's original and found with its words; a healthy original has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lab.stack import STACK, environment
from parallel_build import health
from parallel_build.configuration import load
from parallel_build.errors import GuardFailed
from parallel_build.health import RULES, Finding, HealthFacts, Severity, queries, rules_database
from parallel_build.operations.context import Context
from parallel_build.project import PROJECT
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.sql import session
from parallel_build.resolved_stack import Site
from parallel_build.rules import RuleFinding
from parallel_build.secret import Secret
from parallel_build.steps.health_check import HealthCheck
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand, certificate
from tests.fast.health.test_health import IN_FACTS_ONLY

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

BLOCKS, WARNS, NOTES = Severity
# What is reported of an untouched lab: its history and its target, nothing that is wrong with it.
ALWAYS = {
    "old_rows_of_servers", "settings_name_old_servers", "certificates_last", "guest_os_rows_do_not_collide", "known_faults_of_the_target",
}  # fmt: skip


@dataclass(frozen=True)
class Plant:
    """Something wrong with the original.

    Attributes:
        rule, severity, words: the finding it must give.
        sql: what does it; undo: what takes it away.
    """

    rule: str
    severity: Severity
    words: str
    sql: str
    undo: str


def setting(name: str, value: str, rule: str, severity: Severity, words: str) -> Plant:
    """A global setting with a wrong value."""
    where = f"WHERE name = '{name}'"
    return Plant(
        rule, severity, words,
        f"CREATE TABLE IF NOT EXISTS test.kept_settings AS SELECT name, value FROM cloud.configuration WHERE 0; "
        f"INSERT INTO test.kept_settings SELECT name, value FROM cloud.configuration {where}; UPDATE cloud.configuration SET value = '{value}' {where}",
        f"UPDATE cloud.configuration SET value = (SELECT value FROM test.kept_settings k WHERE k.name = '{name}' LIMIT 1) {where}",
    )  # fmt: skip


def changed(table: str, assignment: str, where: str, columns: str, rule: str, severity: Severity, words: str) -> Plant:
    """A row with wrong values; `columns` are put back."""
    kept = f"test.kept_{rule}"
    back = ", ".join(f"t.{column} = k.{column}" for column in columns.split())
    return Plant(
        rule, severity, words,
        f"DROP TABLE IF EXISTS {kept}; CREATE TABLE {kept} AS SELECT * FROM cloud.{table} WHERE {where} ORDER BY id LIMIT 1; "
        f"UPDATE cloud.{table} t JOIN {kept} k ON k.id = t.id SET {assignment}",
        f"UPDATE cloud.{table} t JOIN {kept} k ON k.id = t.id SET {back}; DROP TABLE {kept}",
    )  # fmt: skip


# The servers keep peers of every row.
ROW = "(SELECT id FROM cloud.mshost WHERE msid = {0})"
GONE = f"DELETE FROM cloud.mshost_peer WHERE owner_mshost IN {ROW} OR peer_mshost IN {ROW}; DELETE FROM cloud.mshost WHERE msid = {{0}}"
HOUR = "UTC_TIMESTAMP() - INTERVAL 3 HOUR"
JOB = "INSERT INTO cloud.async_job (user_id, account_id, job_cmd, job_status, created, uuid, related, job_dispatcher) VALUES"
IN_DATABASE = [
    Plant("management_servers_beat", WARNS, "ghost (10.91.0.98), last seen",
          f"INSERT INTO cloud.mshost (msid, runid, name, state, version, service_ip, service_port, last_update, removed) "
          f"VALUES (998, 1, 'ghost', 'Up', '4.20.3.0', '10.91.0.98', 9090, {HOUR}, NULL); "
          # The other servers look at it without success and call it Down within seconds: sooner than a busy computer has read it.
          "CREATE TRIGGER cloud.planted_up BEFORE UPDATE ON cloud.mshost FOR EACH ROW SET NEW.state = IF(NEW.msid = 998, 'Up', NEW.state)",
          "DROP TRIGGER cloud.planted_up; " + GONE.format(998)),
    Plant("database_serves_nobody_else", BLOCKS, "schema planted_billing", "CREATE DATABASE planted_billing", "DROP DATABASE planted_billing"),
    Plant("objects_need_no_other_database", BLOCKS, "view cloud.zz_planted_rates (planted_billing)",
          "CREATE TABLE planted_billing.rate (id int); CREATE VIEW cloud.zz_planted_rates AS SELECT id FROM planted_billing.rate",
          "DROP VIEW cloud.zz_planted_rates"),
    Plant("views_resolve", BLOCKS, "cloud.zz_planted_broken (",
          "CREATE TABLE cloud.zz_planted_gone (id int); CREATE VIEW cloud.zz_planted_broken AS SELECT id FROM cloud.zz_planted_gone; "
          "DROP TABLE cloud.zz_planted_gone",
          "DROP VIEW cloud.zz_planted_broken"),
    Plant("database_readers_move", WARNS, "account planted_reader@localhost",
          "CREATE USER planted_reader@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT SELECT ON cloud_usage.* TO planted_reader@localhost",
          "DROP USER planted_reader@localhost"),
    Plant("no_server_is_leaving", WARNS, "leaving is Maintenance",
          "INSERT INTO cloud.mshost (msid, runid, name, state, version, service_ip, service_port, last_update, removed) "
          "VALUES (997, 1, 'leaving', 'Maintenance', '4.20.3.0', '10.91.0.97', 9090, UTC_TIMESTAMP(), NULL)",
          GONE.format(997)),
    changed("host", "t.resource_state = 'Disabled'", "name = 'kvm2'", "resource_state", "hosts_are_enabled", NOTES, "kvm2 (Disabled)"),
    changed("host", "t.version = '4.19.0.0'", "name = 'kvm1'", "version", "agents_are_of_one_version", WARNS, "kvm1 (4.19.0.0)"),
    Plant("routers_run", WARNS, "r-990001-VM (Unknown)",
          "CREATE TABLE test.router AS SELECT v.* FROM cloud.vm_instance v WHERE type = 'DomainRouter' AND removed IS NULL LIMIT 1; "
          "CREATE TABLE test.router2 AS SELECT r.* FROM cloud.domain_router r JOIN test.router v ON v.id = r.id; "
          "UPDATE test.router SET id = 990001, uuid = 'planted', instance_name = 'r-990001-VM', state = 'Unknown', host_id = NULL; "
          "UPDATE test.router2 SET id = 990001; INSERT INTO cloud.vm_instance SELECT * FROM test.router; "
          "INSERT INTO cloud.domain_router SELECT * FROM test.router2",
          "DELETE FROM cloud.domain_router WHERE id = 990001; DELETE FROM cloud.vm_instance WHERE id = 990001; DROP TABLE test.router, test.router2"),
    changed("domain_router", "t.template_version = 'Cloudstack Release 4.18.0'",
            "id IN (SELECT id FROM cloud.vm_instance WHERE state = 'Running')", "template_version",
            "routers_are_recent", WARNS, "(Cloudstack Release 4.18.0, not 4.20.2)"),
    changed("domain_router", "t.is_redundant_router = 1, t.redundant_state = 'FAULT'",
            "id IN (SELECT id FROM cloud.vm_instance WHERE state = 'Running')", "is_redundant_router redundant_state",
            "redundant_routers_agree", WARNS, "(FAULT)"),
    Plant("router_checks_pass", WARNS, "(planted.py)",
          "INSERT INTO cloud.router_health_check (router_id, check_name, check_type, check_result) "
          "SELECT MIN(id), 'planted.py', 'basic', 0 FROM cloud.vm_instance WHERE type = 'DomainRouter' AND removed IS NULL",
          "DELETE FROM cloud.router_health_check WHERE check_name = 'planted.py'"),
    changed("networks", "t.restart_required = 1", "removed IS NULL AND state = 'Implemented'", "restart_required",
            "networks_need_no_restart", NOTES, "networks wait for a restart"),
    Plant("capacity_is_left", WARNS, "private addresses of a pod are nearly used up",
          "INSERT INTO cloud.op_host_capacity (data_center_id, pod_id, used_capacity, reserved_capacity, total_capacity, capacity_type, created) "
          "VALUES (1, 77, 10, 0, 10, 5, '2020-02-02')",
          "DELETE FROM cloud.op_host_capacity WHERE pod_id = 77"),
    changed("storage_pool", "t.status = 'Maintenance'", "removed IS NULL", "status", "pools_are_up", WARNS, "is Maintenance"),
    changed("storage_pool", "t.used_bytes = t.capacity_bytes", "removed IS NULL", "used_bytes", "pools_have_room", WARNS, "100% full"),
    changed("image_store", "t.readonly = 1", "removed IS NULL", "readonly", "zones_have_secondary_storage", BLOCKS, "read only: secondary1"),
    changed("image_store", "t.protocol = 's3'", "removed IS NULL", "protocol", "zones_have_nfs", NOTES, "has no NFS secondary storage"),
    Plant("no_job_hangs", WARNS, "DeployVMCmd since 3.0 h",
          f"{JOB} (2, 2, 'org.x.DeployVMCmd', 0, {HOUR}, 'planted-1', '', 'ApiAsyncJobDispatcher')",
          "DELETE FROM cloud.async_job WHERE uuid = 'planted-1'"),
    Plant("few_jobs_fail", NOTES, "CreateSnapshotCmd 1 times",
          f"{JOB} (2, 2, 'org.x.CreateSnapshotCmd', 2, {HOUR}, 'planted-2', '', 'ApiAsyncJobDispatcher')",
          "DELETE FROM cloud.async_job WHERE uuid = 'planted-2'"),
    Plant("alerts_are_seen", NOTES, "the mill is on fire",
          f"INSERT INTO cloud.alert (uuid, type, data_center_id, subject, sent_count, created, archived, name) "
          f"VALUES ('planted', 7, 1, 'the mill is on fire', 1, {HOUR}, 0, 'ALERT.COMPUTE.HOST')",
          "DELETE FROM cloud.alert WHERE uuid = 'planted'"),
    changed("vm_instance", f"t.state = 'Stopping', t.update_time = {HOUR}", "type = 'User' AND removed IS NULL AND state = 'Stopped'",
            "state update_time", "nothing_is_stuck", WARNS, "(Stopping since 3.0 h)"),
    Plant("usage_database_is_there", BLOCKS, "has no table cloud_usage",
          "RENAME TABLE cloud_usage.cloud_usage TO cloud_usage.cloud_usage_away",
          "RENAME TABLE cloud_usage.cloud_usage_away TO cloud_usage.cloud_usage"),
    Plant("tables_are_transactional", WARNS, "cloud.zz_planted (MEMORY)",
          "CREATE TABLE cloud.zz_planted (id int) ENGINE = MEMORY", "DROP TABLE cloud.zz_planted"),
    Plant("definers_are_there", WARNS, "ghost@localhost",
          "CREATE DEFINER = 'ghost'@'localhost' VIEW cloud.zz_planted_view AS SELECT 1 AS one", "DROP VIEW cloud.zz_planted_view"),
    setting("management.network.cidr", "10.99.0.0/24", "management_network_holds_new_servers", WARNS, "does not have newms1 (10.91.0.41)"),
    setting("secstorage.allowed.internal.sites", "", "template_sites_are_allowed", WARNS, "10.91.0.1, where template systemvm-kvm-4.22.0-x86_64"),
    setting("integration.api.port", "8096", "open_api_is_off", WARNS, "integration.api.port is 8096"),
    Plant("roles_are_dynamic", WARNS, "dynamic.apichecker.enabled is false",
          "INSERT INTO cloud.configuration (category, instance, component, name, value, default_value, updated) "
          "VALUES ('Advanced', 'DEFAULT', 'RoleService', 'dynamic.apichecker.enabled', 'false', 'false', UTC_TIMESTAMP())",
          "DELETE FROM cloud.configuration WHERE name = 'dynamic.apichecker.enabled'"),
    Plant("certificates_last", WARNS, "ends on",
          f"INSERT INTO cloud.keystore (name, certificate, domain_suffix) VALUES ('soon', '{certificate(9)}', '*.planted')",
          "DELETE FROM cloud.keystore WHERE name = 'soon'"),
    Plant("certificates_last", BLOCKS, "ended on",
          f"INSERT INTO cloud.keystore (name, certificate, domain_suffix) VALUES ('over', '{certificate(-3)}', '*.planted')",
          "DELETE FROM cloud.keystore WHERE name = 'over'"),
    Plant("own_guest_os_rows", NOTES, "Mill OS",
          "INSERT INTO cloud.guest_os (id, category_id, uuid, display_name, is_user_defined) VALUES (9001, 1, 'planted', 'Mill OS', 1)",
          "DELETE FROM cloud.guest_os WHERE id = 9001"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stand(lab: LabRunner) -> Iterator[Stand]:
    """The lab in phase prepared; each test takes away what it planted."""
    made = Stand(lab)
    made.sql("CREATE DATABASE IF NOT EXISTS test")
    yield made
    made.sql("DROP DATABASE IF EXISTS test")


def of(findings: list[Finding[RuleFinding]], rule: str) -> list[Finding[RuleFinding]]:
    """A rule's findings."""
    return [each for each in findings if each.rule == rule]


def assert_found(findings: list[Finding[RuleFinding]], rule: str, severity: Severity, words: str) -> None:
    """The rule found it, with these words, a cause and something to do."""
    fitting = [each for each in of(findings, rule) if words in each.fact]
    assert fitting, f"{rule}: {words!r} not among {[each.fact for each in of(findings, rule)]}"
    assert fitting[0].severity is severity, (rule, fitting[0])
    assert fitting[0].cause and fitting[0].remedy, fitting[0]


def with_changes(stand: Stand, **changes: Any) -> Site:
    """The stack with whole sections of its configuration changed."""
    values = stand.site.configuration.model_dump(mode="json", by_alias=True)
    for name, change in changes.items():
        values[name] = {**(values.get(name) or {}), **change} if isinstance(change, dict) else change
    return replace(stand.site, configuration=load(values, "lab"))


def await_healthy(stand: Stand, seconds: float = 60) -> None:
    """Wait until nothing blocks or warns any more: servers need a moment to see that something is back."""
    deadline = time.monotonic() + seconds
    while serious := [each for each in stand.examine() if each.severity is not NOTES]:
        assert time.monotonic() < deadline, serious


def test_a_healthy_original_has_no_finding(stand: Stand) -> None:
    await_healthy(stand)
    began = time.monotonic()
    findings = stand.examine()
    tell(f"{len(RULES)} rules in {time.monotonic() - began:.1f} s")
    assert {each.rule for each in findings} <= ALWAYS, findings


def test_every_finding_planted_in_the_database_is_found(stand: Stand) -> None:
    tell(f"{len(IN_DATABASE)} plants")
    stand.sql(*(plant.sql for plant in IN_DATABASE))
    try:
        findings = stand.examine()
    finally:
        stand.sql(*(plant.undo for plant in reversed(IN_DATABASE)), "DROP TABLE IF EXISTS test.kept_settings")
    for plant in IN_DATABASE:
        assert_found(findings, plant.rule, plant.severity, plant.words)
    tell("taken away")
    await_healthy(stand)


def test_what_the_database_refuses_is_reported(stand: Stand) -> None:
    """A table that is not there is that of another version; a statement that is out of time is an illness. By the server's own numbers."""

    def out_of_time() -> queries.Answers:
        with stand.connections() as opened, session(opened.host(stand.site.configuration.original.database.source)) as database:
            database.execute("SET SESSION max_statement_time = 0.000001")
            return queries.run(database)

    def without_a_table() -> HealthFacts:
        with stand.connections() as opened:
            return health.gather(stand.site, opened)

    answers = stand.inside(out_of_time)
    assert answers.problems and all("max_statement_time" in problem for problem in answers.problems), answers
    stand.sql("RENAME TABLE cloud.router_health_check TO cloud.planted_away")
    try:
        facts = stand.inside(without_a_table)
    finally:
        stand.sql("RENAME TABLE cloud.planted_away TO cloud.router_health_check")
    assert list(facts.unanswered) == ["router_checks"] and facts.problems == []
    report = health.as_text(facts, health.examine(facts))
    assert f"{len(RULES)} rules, 1 of them not judged: 0 blocks, 0 warns" in report
    assert "NOT JUDGED router_checks_pass: (1146" in report
    tell(report)


def test_what_is_wrong_with_machines_is_found(stand: Stand) -> None:
    shell = stand.runner.shell
    shell("kvm2", "systemctl stop cloudstack-agent")
    shell("kvm2", 'printf \'#!/bin/sh\\nexec /bin/date -d "+5 seconds" "$@"\\n\' >/usr/local/bin/date; chmod 755 /usr/local/bin/date')
    shell("kvm2", "mkdir -p /var/cloudstack/management && mount -t tmpfs -o size=50m planted /var/cloudstack/management")
    shell("oldms1", "systemctl disable cloudstack-usage")
    shell("olddb2", "mariadb -e 'STOP SLAVE'")
    try:
        deadline = time.monotonic() + 60
        while not of(findings := stand.examine(), "hosts_are_up"):
            assert time.monotonic() < deadline, "the cloud did not see that kvm2 is gone"
    finally:
        shell("olddb2", "mariadb -e 'START SLAVE'")
        shell("oldms1", "systemctl enable cloudstack-usage")
        shell("kvm2", "umount /var/cloudstack/management; rm -f /usr/local/bin/date; systemctl start cloudstack-agent")
    assert_found(findings, "hosts_are_up", BLOCKS, "kvm2")
    assert_found(findings, "clocks_agree", BLOCKS, "kvm2")
    assert_found(findings, "disks_have_room", BLOCKS, "kvm2: /var/cloudstack/management has 52 MB free")
    assert_found(findings, "services_are_enabled", WARNS, "cloudstack-usage on oldms1")
    assert_found(findings, "replica_follows", WARNS, "replication to olddb2 stands still")
    tell("repaired")
    await_healthy(stand)


def test_a_silent_agent_of_a_system_vm_is_found(stand: Stand) -> None:
    where = "WHERE type = 'ConsoleProxy' AND removed IS NULL"
    stand.sql(f"UPDATE cloud.host SET status = 'Alert' {where}")
    try:
        findings = stand.examine()
    finally:
        stand.sql(f"UPDATE cloud.host SET status = 'Up' {where}")
    assert_found(findings, "system_vm_agents_answer", WARNS, "(Alert)")
    await_healthy(stand)


def test_a_disabled_administrator_is_found(stand: Stand) -> None:
    stand.sql("UPDATE cloud.user SET state = 'disabled' WHERE id = 2")
    try:
        findings = stand.examine()
    finally:
        stand.sql("UPDATE cloud.user SET state = 'enabled' WHERE id = 2")
    assert_found(findings, "administrator_is_enabled", WARNS, "admin is disabled")


def test_what_the_stack_says_wrongly_of_the_original_is_found(stand: Stand) -> None:
    servers = stand.site.configuration.model_dump(mode="json", by_alias=True)["original"]["management"]
    ghost = {**servers[1], "name": "oldms9", "address": "10.91.0.99"}
    findings = stand.examine(with_changes(stand, original={"management": [servers[0], ghost], "version": "4.20.2.0"}, templates=[]))
    assert_found(findings, "everything_is_readable", BLOCKS, "oldms9")
    assert_found(findings, "configured_servers_serve", WARNS, "oldms9 (10.91.0.99)")
    assert_found(findings, "management_servers_are_known", BLOCKS, "(10.91.0.12)")
    assert_found(findings, "version_is_the_configured_one", BLOCKS, "4.20.3.0, not 4.20.2.0")
    assert_found(findings, "templates_are_configured", WARNS, "no system VM template is configured for KVM x86_64")
    assert_found(findings, "management_servers_beat_here", BLOCKS, "oldms9 (has no row)")
    database = stand.site.configuration.model_dump(mode="json", by_alias=True)["original"]["database"]
    later = with_changes(stand, new={"version": "4.30.0.0"}, original={"database": {**database, "port": 3307}})
    wrong = replace(later, secrets=later.secrets.model_copy(update={"database_key": Secret("anotherKey1")}))
    findings = stand.examine(wrong)
    assert_found(findings, "path_is_known", WARNS, "4.30.0.0")
    assert_found(findings, "management_servers_use_the_source", BLOCKS, "db.cloud.host of oldms1 is 10.91.0.13, port 3306")
    assert_found(findings, "database_key_fits", BLOCKS, "does not decrypt configuration.init")


def test_tables_that_only_grow_are_reported(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_database, "MANY_ROWS", 50)
    assert_found(stand.examine(), "growing_tables_are_small", NOTES, "cloud.event")


FILES = """
set -e
mkdir -p /etc/cloudstack/management/META-INF/cloudstack/core /etc/systemd/system/cloudstack-management.service.d
echo '<beans/>' >/etc/cloudstack/management/META-INF/cloudstack/core/spring-event-bus-context.xml
echo planted >/etc/cloudstack/management/corp-ldap.jks
printf '[Service]\\nLimitNOFILE=9999\\n' >/etc/systemd/system/cloudstack-management.service.d/planted.conf
cp -p /etc/default/cloudstack-management /root/kept-default && echo '# planted' >>/etc/default/cloudstack-management
cp -p /etc/cloudstack/management/db.properties /root/kept-db && printf '\\nplanted.key=planted-secret\\n' >>/etc/cloudstack/management/db.properties
readlink /etc/localtime >/root/kept-zone; ln -sfn /usr/share/zoneinfo/Pacific/Apia /etc/localtime
"""
FILES_AWAY = """
rm -rf /etc/cloudstack/management/META-INF /etc/cloudstack/management/corp-ldap.jks /etc/systemd/system/cloudstack-management.service.d/planted.conf
rmdir /etc/systemd/system/cloudstack-management.service.d 2>/dev/null
cp -p /root/kept-default /etc/default/cloudstack-management; cp -p /root/kept-db /etc/cloudstack/management/db.properties
if [ -s /root/kept-zone ]; then ln -sfn "$(cat /root/kept-zone)" /etc/localtime; else rm -f /etc/localtime; fi; rm -f /root/kept-*
"""
TRUSTSTORE = "/etc/cloudstack/management/corp-ldap.jks"


def test_state_outside_the_database_is_found_and_no_secret_is_read_out(stand: Stand) -> None:
    stand.runner.shell("oldms1", FILES)
    stand.sql(f"INSERT INTO cloud.domain_details (domain_id, name, value) VALUES (1, 'ldap.truststore', '{TRUSTSTORE}')")
    try:
        findings = stand.examine()
    finally:
        stand.runner.shell("oldms1", FILES_AWAY, check=False)
        stand.sql("DELETE FROM cloud.domain_details WHERE name = 'ldap.truststore'")
    for words in (
        "oldms1 has files of its own",
        "META-INF/cloudstack/core/spring-event-bus-context.xml (modules such as an event bus, belongs to no package)",
        "/etc/systemd/system/cloudstack-management.service.d/planted.conf (the service's unit, belongs to no package)",
        "/etc/default/cloudstack-management (JVM and service options, differs from its package)",
    ):
        assert_found(findings, "files_come_from_packages", WARNS, words)
    assert_found(
        findings, "properties_are_on_new_servers", WARNS, "db.properties on oldms1 has keys that the new servers do not have: planted.key"
    )
    assert_found(findings, "time_zones_agree", WARNS, "the time zone of oldms1 is Pacific/Apia")
    assert_found(findings, "paths_in_settings_are_there", WARNS, f"({TRUSTSTORE}), on oldms1")
    assert "planted-secret" not in str(findings)
    await_healthy(stand)


JAR = """
python3 - <<'END'
import zipfile
with zipfile.ZipFile("/usr/share/cloudstack-management/lib/planted.jar", "w") as jar:
    jar.writestr("META-INF/db/schema-42010to42100.sql",
        "INSERT INTO `cloud`.`guest_os` (id, uuid, category_id, display_name) VALUES (9001, UUID(), 1, 'Debian (64-bit), new');")
    # As in a class file: a text behind its length.
    known = [b"planted.old.not", b"planted.known"]
    jar.writestr("com/cloud/configuration/Config.class", b"".join(b"\\1" + len(name).to_bytes(2, "big") + name for name in known))
END
"""
CHANGED = "INSERT INTO cloud.configuration (category, instance, component, name, value, default_value) VALUES ('Advanced', 'DEFAULT', 'x', '{}', '2', '1')"


def test_what_the_targets_own_program_collides_with_or_does_not_know_is_found(stand: Stand) -> None:
    stand.runner.shell("newms1", JAR)
    stand.sql(
        "INSERT INTO cloud.guest_os (id, category_id, uuid, display_name, is_user_defined) VALUES (9001, 1, 'planted', 'Mill OS', 1)",
        CHANGED.format("planted.old"),
        CHANGED.format("planted.known"),
    )
    try:
        findings = stand.examine()
    finally:
        stand.sql("DELETE FROM cloud.guest_os WHERE id = 9001", "DELETE FROM cloud.configuration WHERE name LIKE 'planted.%'")
    assert_found(
        findings, "guest_os_rows_do_not_collide", BLOCKS,
        "row 9001 of cloud.guest_os is 'Mill OS'; schema-42010to42100 inserts 'Debian (64-bit), new' under that number",
    )  # fmt: skip
    reported = of(findings, "changed_settings_are_known")
    assert reported and reported[0].severity is NOTES and "planted.old" in reported[0].fact and "planted.known" not in reported[0].fact
    assert not of(stand.examine(), "guest_os_rows_do_not_collide")
    stand.runner.shell("newms1", "rm /usr/share/cloudstack-management/lib/planted.jar")


def test_the_step_fails_on_all_that_blocks_together_and_keeps_its_report(stand: Stand) -> None:
    site = with_changes(stand, original={"version": "4.20.2.0"}, health={"accepted": ["certificates_last"]})
    lines: list[str] = []
    plants = [plant for plant in IN_DATABASE if plant.severity is BLOCKS]
    blocks = len(plants) + 1  # and the version; of all of them the certificate is accepted
    stand.sql(*(plant.sql for plant in plants))
    run = RunFolder(stand.lab.folder / "health-test", "lab", [])
    try:
        with stand.connections(site) as opened, pytest.raises(GuardFailed) as caught:
            context = Context(site, opened, run, opened.cancel, lines.append, "HealthCheck")
            stand.inside(lambda: HealthCheck().apply(context))
    finally:
        stand.sql(*(plant.undo for plant in reversed(plants)))
    for words in (
        f", {blocks - 1} findings block",
        "zones_have_secondary_storage",
        "usage_database_is_there",
        "version_is_the_configured_one",
        "nothing has been",
    ):
        assert words in str(caught.value)
    assert "certificates_last" not in str(caught.value)
    assert any(line.startswith("blocks (accepted): the certificate of over") for line in lines)
    assert not context.acted
    report = (run.path / "evidence/health.txt").read_text()
    assert "BLOCKS usage_database_is_there" in report and "to do:" in report
    document = run.evidence("health")
    assert document is not None and not document["healthy"] and document["summary"]["blocks"] == blocks
    tell(str(caught.value))


def test_the_command_prints_the_report_and_its_exit_code_shows(stand: Stand) -> None:
    words = [sys.executable, "-m", "parallel_build", "health", STACK, "--config-file", str(stand.lab.stack_file)]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return stand.inside(
            lambda: subprocess.run(
                [*words, *more],
                cwd=PROJECT,
                env={**os.environ, **environment(stand.lab)},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        )

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules: 0 blocks, 0 warns" in done.stdout, "all of them were judged"
    stand.sql("UPDATE cloud.image_store SET readonly = 1")
    try:
        done = run("--json")
    finally:
        stand.sql("UPDATE cloud.image_store SET readonly = 0")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert [each["rule"] for each in document["findings"] if each["severity"] == "blocks"] == ["zones_have_secondary_storage"]


def test_every_rule_has_its_plant() -> None:
    here = {plant.rule for plant in IN_DATABASE} | ALWAYS | {
        "hosts_are_up", "clocks_agree", "disks_have_room", "services_are_enabled", "replica_follows", "system_vm_agents_answer",
        "administrator_is_enabled", "everything_is_readable", "management_servers_beat_here", "management_servers_use_the_source",
        "configured_servers_serve", "management_servers_are_known",
        "version_is_the_configured_one", "templates_are_configured", "path_is_known", "database_key_fits", "growing_tables_are_small",
        "changed_settings_are_known", "files_come_from_packages", "properties_are_on_new_servers", "time_zones_agree", "paths_in_settings_are_there",
    }  # fmt: skip
    assert here | set(IN_FACTS_ONLY) == {rule.name for rule in RULES}
