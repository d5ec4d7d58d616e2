"""Faults that hit by usage records, work in progress, accounts, access, and files of the management servers."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.cloudstack.states import VM_AT_REST, VM_MOVING, VOLUME_MOVING
from parallel_build.plan.faults.fault import Fault, Lists, Span
from parallel_build.rules import Severity, Unanswered

BLOCKS, WARNS, NOTES = Severity.BLOCKS, Severity.WARNS, Severity.NOTES
STRICT = "ca.plugin.root.auth.strictness"
FOLDER = "/etc/cloudstack/management"
# Prints the values of url.params that a pattern finds in.
PARAMETERS = "grep -hE '^db\\.(cloud|usage)\\.url\\.params=' " + FOLDER + "/db.properties 2>/dev/null | {} || true"


def _setting(cloud: Lists, name: str) -> str:
    found = [str(item.get("value") or "") for item in cloud.list("listConfigurations", name=name) if item["name"] == name]
    if not found:
        raise Unanswered(f"the API does not show {name}")
    return found[0]


def _hidden_sources(cloud: Lists) -> Iterator[str]:
    host = _setting(cloud, "host")
    servers = cloud.list("listManagementServers")
    addresses = {str(server.get(key)) for server in servers for key in ("serviceip", "ipaddress", "name")}
    strangers = [part.strip() for part in host.split(",") if part.strip() not in addresses]
    if _setting(cloud, STRICT).lower() == "true" and strangers:
        yield f"host = {host}, {STRICT} = true"


def _moving(cloud: Lists) -> Iterator[str]:
    for vm in [
        *cloud.list("listVirtualMachines", listall="true"),
        *cloud.list("listSystemVms"),
        *cloud.list("listRouters", listall="true"),
    ]:
        if vm.get("state") not in VM_AT_REST:
            yield f"{vm['name']} ({vm['state']})"
    for job in cloud.list("listAsyncJobs", listall="true"):
        if str(job.get("jobstatus")) == "0":
            yield f"job {str(job.get('cmd')).rsplit('.', 1)[-1]}"


def _disabled_administrator(cloud: Lists) -> Iterator[str]:
    users = cloud.list("listUsers", listall="true")
    if not any("isdefault" in user for user in users):
        raise Unanswered("the API does not show which user is built in")
    for user in users:
        if user.get("isdefault") and user.get("accounttype") == 1 and str(user.get("state")).lower() == "disabled":
            yield f"user {user['username']} is {user['state']}"


def _static_roles(cloud: Lists) -> Iterator[str]:
    found = cloud.list("listCapabilities")
    shown = [item for item in found if "dynamicrolesenabled" in item]
    if not shown:
        raise Unanswered("the API does not show whether roles are dynamic")
    if str(shown[0]["dynamicrolesenabled"]).lower() == "false":
        yield "dynamic.apichecker.enabled = false"


FAULTS = (
    Fault(
        "usage_of_volumes_repeats", "CloudStack issue 13399, pull request 13909", Span(only=("4.22.1.0",)),
        "the usage server repeats days and writes records twice", "let usage process these events first; take 4.23, or add the key by hand", WARNS,
        sql="SELECT CONCAT('VOLUME.CREATE of volume ', COALESCE(resource_id, '?'), ' of ', created) AS what FROM cloud_usage.usage_event "
        "WHERE type = 'VOLUME.CREATE' AND processed = 0 AND created < UTC_TIMESTAMP() - INTERVAL 1 DAY",
    ),
    Fault(
        "double_events", "CloudStack pull request 13019", Span(before="4.23.0.0"), "the usage server stops at two equal events of a VM, made by clocks apart",
        "remove the doubles from cloud.usage_event; 4.23 takes them", WARNS,
        sql="SELECT CONCAT(COUNT(*), ' of ', type, ' for resource ', COALESCE(resource_id, '?'), ' at ', created) AS what FROM cloud.usage_event "
        "WHERE processed = 0 AND type LIKE 'VM.%' GROUP BY resource_id, type, created HAVING COUNT(*) > 1",
    ),
    Fault(
        "double_network_usage", "CloudStack issue 13112", Span(), "usage of networks is recorded twice a day", "clean the doubles before the copy", NOTES,
        sql="SELECT CONCAT(COUNT(*), ' records of offering ', COALESCE(offering_id, '?'), ' of account ', account_id, ' from ', start_date) AS what "
        "FROM cloud_usage.cloud_usage WHERE usage_type = 13 "
        "GROUP BY zone_id, account_id, offering_id, vm_instance_id, usage_id, network_id, start_date, end_date HAVING COUNT(*) > 1",
    ),
    Fault(
        "work_in_progress", "CloudStack AsyncJobManagerImpl.java: a new server closes no old server's jobs", Span(),
        "jobs stay open, and VMs and volumes stay between two states for a day", "drain first: the window's guard refuses while there are any", NOTES,
        sql="SELECT CONCAT('job ', job_cmd) AS what FROM cloud.async_job WHERE job_status = 0 AND removed IS NULL AND instance_type <> 'Thread' "
        f"UNION ALL SELECT CONCAT(instance_name, ' (', state, ')') FROM cloud.vm_instance WHERE removed IS NULL AND {VM_MOVING} "
        f"UNION ALL SELECT CONCAT('volume ', COALESCE(name, uuid), ' (', state, ')') FROM cloud.volumes WHERE removed IS NULL AND {VOLUME_MOVING}",
        api=_moving,
    ),
    Fault(
        "servers_left_up", "CloudStack issue 12140, documentation issue 609", Span(since="4.20.3.0"),
        "the first start exits with code 5: a clustered environment", "nothing by hand: the window sets such rows Down in the copy", NOTES,
        sql="SELECT CONCAT('mshost ', name, ' is Up since ', last_update) AS what FROM cloud.mshost WHERE state = 'Up' "
        "AND last_update < UTC_TIMESTAMP() - INTERVAL 1 HOUR",
    ),
    Fault(
        "passwords_of_ldap", "release notes of 4.19.3", Span(only=("4.19.0",)), "logins by LDAP fail",
        "take 4.19.1 or later; values that were edited to plain text must be set again", BLOCKS,
        sql="SELECT CONCAT('domain ', o.path, ': ', d.name) AS what FROM cloud.domain_details d JOIN cloud.domain o ON o.id = d.domain_id "
        "WHERE o.removed IS NULL AND d.name LIKE 'ldap.%password' UNION ALL SELECT CONCAT('account ', a.account_name, ': ', d.name) "
        "FROM cloud.account_details d JOIN cloud.account a ON a.id = d.account_id WHERE a.removed IS NULL AND d.name LIKE 'ldap.%password'",
    ),
    Fault(
        "old_password_plugin", "CloudStack issue 12417", Span(), "MySQL 8.4 and later refuse accounts with mysql_native_password",
        "give these accounts caching_sha2_password on the new servers, or set mysql-native-password=ON there", NOTES, family="mysql",
        sql="SELECT CONCAT(User, '@', Host) AS what FROM mysql.user WHERE plugin = 'mysql_native_password' AND User NOT IN "
        "('root', 'mariadb.sys', 'mysql', 'mysql.sys', 'mysql.session', 'mysql.infoschema', 'debian-sys-maint', 'PUBLIC')",
    ),
    Fault(
        "balancer_hides_agents", "CloudStack issue 4168", Span(), "agents are refused: their certificate does not name the address that the server sees",
        "keep source addresses on the load balancer for port 8250, or put its address into the certificates' names", WARNS,
        sql="SELECT CONCAT('host = ', h.value, ', ', c.name, ' = ', c.value) AS what FROM cloud.configuration c JOIN cloud.configuration h "
        f"ON h.name = 'host' WHERE c.name = '{STRICT}' AND LOWER(c.value) = 'true' AND NOT EXISTS (SELECT 1 FROM cloud.mshost m "
        "WHERE m.removed IS NULL AND FIND_IN_SET(m.service_ip, REPLACE(h.value, ' ', '')))",
        api=_hidden_sources,
    ),
    Fault(
        "no_certificate_authority", "CloudStack issue 3628", Span(source_since="4.11.0.0"),
        "the certificate authority's rows are missing: agents can't connect",
        "restore these settings from an older backup of the database", BLOCKS,
        sql="SELECT CONCAT(w.name, ' is missing') AS what FROM (SELECT 'ca.plugin.root.private.key' AS name UNION ALL "
        "SELECT 'ca.plugin.root.public.key' UNION ALL SELECT 'ca.plugin.root.ca.certificate') w LEFT JOIN cloud.configuration c "
        "ON CAST(c.name AS BINARY) = CAST(w.name AS BINARY) AND c.value IS NOT NULL WHERE c.name IS NULL",
    ),
    Fault(
        "administrator_comes_back", "CloudStack ManagementServerImpl.enableAdminUser", Span(),
        'every start enables the disabled administrator again, with the password "password"', "enable it with a strong password, or lock it instead", WARNS,
        sql="SELECT CONCAT('user ', username, ' is ', state) AS what FROM cloud.user WHERE id = 2 AND removed IS NULL AND LOWER(state) = 'disabled'",
        api=_disabled_administrator,
    ),
    Fault(
        "static_roles", "Upgrade41000to41100.java; adminguide on dynamic roles", Span(crosses="4.11.0.0"),
        "roles of your own vanish: their file commands.properties is not on the new servers",
        "run migrate-dynamicroles.py first, or carry that file over", WARNS,
        sql="SELECT CONCAT(name, ' = ', value) AS what FROM cloud.configuration WHERE name = 'dynamic.apichecker.enabled' AND LOWER(value) = 'false'",
        api=_static_roles,
    ),
    Fault(
        "log_file_of_log4j_1", "upgrade guide, _log4j_file_check.rst", Span(crosses="4.20.0.0"), "no log output: 4.20 reads log4j 2 only",
        "do not carry the old file over; put changes into the new package's", NOTES,
        files=f"grep -lE '<log4j:configuration|org\\.apache\\.log4j\\.' {FOLDER}/log4j-cloud.xml 2>/dev/null || true",
    ),
    Fault(
        "event_bus_in_the_old_place", "release notes of 4.20.3", Span(crosses="4.20.0.0"), "events no longer reach AMQP or Kafka",
        "put these files under META-INF/cloudstack/event on the new servers", WARNS,
        files=f"ls {FOLDER}/META-INF/cloudstack/core/*.xml 2>/dev/null || true",
    ),
    Fault(
        "java_options_of_your_own", "upgrade guide, upgrade_java_17_notes", Span(crosses="4.20.0.0"), "the start fails with errors of reflection",
        "take the new package's file, and carry over only -Xmx and flags of your own", NOTES,
        files="grep -HE '^ *JAVA_OPTS=' /etc/default/cloudstack-management 2>/dev/null | grep -v -- --add-opens | cut -c1-120 || true",
    ),
    Fault(
        "sql_mode_of_old_servers", "CloudStack pull request 4051", Span(), "every connection to MySQL 8 fails",
        "do not carry url.params over from db.properties", NOTES,
        family="mysql", files=PARAMETERS.format("grep -o NO_AUTO_CREATE_USER"),
    ),
    Fault(
        "no_time_zone_in_the_url", "upgrade guide, _timezone.rst", Span(crosses="4.14.0.0"), "times are read in the database server's own time zone",
        "do not carry url.params over: the new package's has serverTimezone=UTC", NOTES,
        files=PARAMETERS.format("grep -v serverTimezone | cut -c1-80"),
    ),
)  # fmt: skip
