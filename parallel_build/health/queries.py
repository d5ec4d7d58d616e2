"""The questions put to the original's database. Each is short and reads only; what is not answered is reported, with the rules that need it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.states import VM_MOVING, VOLUME_MOVING
from parallel_build.health import scoped
from parallel_build.remote.sql import Refused, Session

Row = dict[str, Any]
API_JOBS = "job_dispatcher = 'ApiAsyncJobDispatcher'"  # pseudo jobs of the server itself stay open for ever [seen in a real 4.20 database]
RECENT = "UTC_TIMESTAMP() - INTERVAL 1 DAY"
ENGINES = "ENGINE IS NOT NULL AND ENGINE <> 'InnoDB'"
OURS = "TABLE_SCHEMA IN ('cloud', 'cloud_usage', 'cloudbridge')"

QUERIES: dict[str, str] = {
    "servers": "SELECT name, service_ip, state, version, TIMESTAMPDIFF(SECOND, last_update, UTC_TIMESTAMP()) AS age "
    "FROM cloud.mshost WHERE removed IS NULL",
    "hosts": "SELECT name, type, status, resource_state, version, hypervisor_type FROM cloud.host WHERE removed IS NULL",
    "clusters": "SELECT c.name, c.hypervisor_type, c.arch, z.name AS zone FROM cloud.cluster c "
    "JOIN cloud.data_center z ON z.id = c.data_center_id WHERE c.removed IS NULL",
    "system_vms": "SELECT v.instance_name AS name, v.state, v.type, h.status AS agent, z.name AS zone FROM cloud.vm_instance v "
    "LEFT JOIN cloud.host h ON h.name = v.instance_name AND h.removed IS NULL LEFT JOIN cloud.data_center z ON z.id = v.data_center_id "
    "WHERE v.removed IS NULL AND v.type IN ('SecondaryStorageVm', 'ConsoleProxy')",
    "routers": "SELECT v.instance_name AS name, v.state, r.template_version, r.redundant_state, r.is_redundant_router AS redundant, z.name AS zone "
    "FROM cloud.domain_router r JOIN cloud.vm_instance v ON v.id = r.id LEFT JOIN cloud.data_center z ON z.id = v.data_center_id "
    "WHERE v.removed IS NULL",
    "router_checks": "SELECT v.instance_name AS name, c.check_name FROM cloud.router_health_check c "
    "JOIN cloud.vm_instance v ON v.id = c.router_id WHERE v.removed IS NULL AND CAST(c.check_result AS CHAR) IN ('0', 'FAILED')",
    "networks": "SELECT name FROM cloud.networks WHERE removed IS NULL AND restart_required = 1 AND state = 'Implemented'",
    "pools": "SELECT name, status, pool_type, used_bytes, capacity_bytes FROM cloud.storage_pool WHERE removed IS NULL",
    "zones": "SELECT id, name, allocation_state, type FROM cloud.data_center WHERE removed IS NULL",
    "image_stores": "SELECT name, protocol, data_center_id AS zone, scope, readonly, url FROM cloud.image_store "
    "WHERE removed IS NULL AND role = 'Image'",
    "capacity": "SELECT c.capacity_type AS kind, z.name AS zone, c.pod_id AS pod, SUM(c.used_capacity + c.reserved_capacity) AS used, "
    "SUM(c.total_capacity) AS total FROM cloud.op_host_capacity c JOIN cloud.data_center z ON z.id = c.data_center_id "
    "WHERE c.capacity_state = 'Enabled' GROUP BY c.capacity_type, z.name, c.pod_id",
    "jobs_running": "SELECT job_cmd AS command, TIMESTAMPDIFF(SECOND, created, UTC_TIMESTAMP()) AS age FROM cloud.async_job "
    f"WHERE job_status = 0 AND removed IS NULL AND {API_JOBS}",
    "jobs_failed": f"SELECT job_cmd AS command, COUNT(*) AS times FROM cloud.async_job WHERE job_status = 2 AND {API_JOBS} "
    f"AND created > {RECENT} GROUP BY job_cmd ORDER BY times DESC",
    "alerts": "SELECT name, subject, COUNT(*) AS times, MAX(created) AS last FROM cloud.alert WHERE archived = 0 AND resolved IS NULL "
    f"AND created > {RECENT} GROUP BY name, subject ORDER BY last DESC LIMIT 200",
    "vms_moving": "SELECT instance_name AS name, state, TIMESTAMPDIFF(SECOND, COALESCE(update_time, created), UTC_TIMESTAMP()) AS age "
    f"FROM cloud.vm_instance WHERE removed IS NULL AND {VM_MOVING}",
    "volumes_moving": "SELECT name, state, TIMESTAMPDIFF(SECOND, COALESCE(updated, created), UTC_TIMESTAMP()) AS age "
    f"FROM cloud.volumes WHERE removed IS NULL AND {VOLUME_MOVING}",
    "tables": "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, TABLE_ROWS AS row_count, DATA_LENGTH + INDEX_LENGTH AS bytes "
    f"FROM information_schema.TABLES WHERE {OURS} AND TABLE_TYPE = 'BASE TABLE' ORDER BY bytes DESC",
    "engines": f"SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, ENGINE AS engine FROM information_schema.TABLES WHERE {OURS} AND {ENGINES}",
    # MariaDB opens a view, and finds that it can't, only where more than its name is asked for.
    "views": "SELECT v.TABLE_SCHEMA AS db, v.TABLE_NAME AS name, v.VIEW_DEFINITION AS body, t.TABLE_COMMENT AS words, t.TABLE_ROWS AS opened "
    "FROM information_schema.VIEWS v "
    "JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = v.TABLE_SCHEMA AND t.TABLE_NAME = v.TABLE_NAME "
    f"WHERE v.{OURS} ORDER BY v.TABLE_SCHEMA, v.TABLE_NAME",
    "code": "SELECT TRIGGER_SCHEMA AS db, TRIGGER_NAME AS name, 'trigger' AS kind, ACTION_STATEMENT AS body FROM information_schema.TRIGGERS "
    f"WHERE {OURS.replace('TABLE_SCHEMA', 'TRIGGER_SCHEMA')} UNION ALL SELECT EVENT_SCHEMA, EVENT_NAME, 'event', EVENT_DEFINITION "
    f"FROM information_schema.EVENTS WHERE {OURS.replace('TABLE_SCHEMA', 'EVENT_SCHEMA')} UNION ALL SELECT ROUTINE_SCHEMA, ROUTINE_NAME, "
    f"LOWER(ROUTINE_TYPE), ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE {OURS.replace('TABLE_SCHEMA', 'ROUTINE_SCHEMA')}",
    "foreign_keys_out": "SELECT CONSTRAINT_SCHEMA AS db, TABLE_NAME AS name, CONSTRAINT_NAME AS fk, UNIQUE_CONSTRAINT_SCHEMA AS other "
    f"FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE {OURS.replace('TABLE_SCHEMA', 'CONSTRAINT_SCHEMA')} "
    f"AND NOT {OURS.replace('TABLE_SCHEMA', 'UNIQUE_CONSTRAINT_SCHEMA')}",
    "other_databases": "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN "
    "('cloud', 'cloud_usage', 'cloudbridge', 'information_schema', 'performance_schema', 'mysql', 'sys')",
    "settings": "SELECT name, value, default_value, category, updated FROM cloud.configuration WHERE category NOT IN ('Hidden', 'Secure')",
    "guest_os": "SELECT id, display_name, is_user_defined FROM cloud.guest_os",
    "guest_os_mappings": "SELECT id, hypervisor_type, hypervisor_version, guest_os_name, is_user_defined FROM cloud.guest_os_hypervisor",
    "administrator": "SELECT username, state FROM cloud.user WHERE id = 2 AND removed IS NULL",
    "versions": "SELECT version, step FROM cloud.version ORDER BY id",
    **scoped.QUERIES,
    **scoped.ADDRESSES,
}

# What is asked of schemas that do not know a column of the question above.
OLDER: dict[str, str] = {
    # Before 4.20 a cluster has no architecture: all hosts are x86_64.
    "clusters": "SELECT c.name, c.hypervisor_type, z.name AS zone FROM cloud.cluster c "
    "JOIN cloud.data_center z ON z.id = c.data_center_id WHERE c.removed IS NULL",
    # Before 4.18 there are no Edge zones.
    "zones": "SELECT id, name, allocation_state FROM cloud.data_center WHERE removed IS NULL",
}


@dataclass(frozen=True)
class Answers:
    """What the database answered.

    Attributes:
        tables: rows of each question that was answered.
        unanswered: question -> why it was not.
        problems: those of them that have nothing to do with the schema's version, as the server put it.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def run(opened: Session) -> Answers:
    """Put every question. A table or column that this version's schema does not know is no illness; any other refusal is a problem."""
    found = Answers()
    for name, statement in QUERIES.items():
        try:
            found.tables[name] = _ask(opened, name, statement)
        except Refused as error:
            found.unanswered[name] = error.cause
            if not error.unknown:
                found.problems.append(str(error))
    return found


def _ask(opened: Session, name: str, statement: str) -> list[Row]:
    try:
        return opened.rows(statement, ())
    except Refused as error:
        if error.unknown and name in OLDER:
            return opened.rows(OLDER[name], ())
        raise
