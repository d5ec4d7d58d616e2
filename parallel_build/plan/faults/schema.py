"""Rows and definitions that the target's schema scripts trip over, or read in another way."""

from __future__ import annotations

from parallel_build.plan.faults.fault import Fault, Span
from parallel_build.rules import Severity

BLOCKS, WARNS, NOTES = Severity.BLOCKS, Severity.WARNS, Severity.NOTES
KEYS_OF_SCHEDULES = (
    ("vm_schedule", "fk_vm_schedule__vm_id"), ("vm_schedule", "i_vm_schedule__vm_id"), ("vm_schedule", "i_vm_schedule__enabled_end_date"),
    ("vm_scheduled_job", "fk_vm_scheduled_job__vm_id"), ("vm_scheduled_job", "fk_vm_scheduled_job__vm_schedule_id"),
    ("vm_scheduled_job", "vm_schedule_id"),
)  # fmt: skip
_WANTED = " UNION ALL ".join(f"SELECT '{table}' AS t, '{key}' AS k" for table, key in KEYS_OF_SCHEDULES)
_NAMED = (
    "SELECT TABLE_NAME AS t, INDEX_NAME AS k FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'cloud' "
    "UNION SELECT TABLE_NAME, CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = 'cloud'"
)


def _guest_os(first: int, last: int) -> str:
    return f"SELECT CONCAT('guest_os ', id, ' (', display_name, ')') AS what FROM cloud.guest_os WHERE id BETWEEN {first} AND {last} ORDER BY id"


FAULTS = (
    Fault(
        "long_backup_volumes", "CloudStack issue 12769, pull request 12777", Span(only=("4.21.0", "4.22.0"), source_before="4.21.0.0"),
        "the schema upgrade stops at UPDATE backups SET backed_volumes where a backup has a long list of volumes",
        "take a target of 4.22.1.0 or later", BLOCKS,
        sql="SELECT CONCAT('backup ', uuid) AS what FROM cloud.backups",
    ),
    Fault(
        "backups_without_vm", "schema-42040to42100.sql: backups.name becomes NOT NULL from the VM's name", Span(crosses="4.21.0.0"),
        "the schema upgrade stops: backups.name cannot be NULL",
        "give these rows of cloud.backups the id of a VM that exists, or remove them, by a fix of the rehearsal", BLOCKS,
        sql="SELECT CONCAT('backup ', b.uuid, ' of VM ', b.vm_id) AS what FROM cloud.backups b "
        "LEFT JOIN cloud.vm_instance v ON v.id = b.vm_id WHERE v.id IS NULL",
    ),
    Fault(
        "guest_os_305_to_329", "CloudStack issue 5685, pull request 5911", Span(crosses="4.15.0.0", before="4.17.0.0"),
        "the schema upgrade stops with a duplicate id in guest_os", "take a target of 4.17 or later, or move these rows by a fix of the rehearsal",
        BLOCKS, sql=_guest_os(305, 329),
    ),
    Fault(
        "guest_os_330_to_349", "CloudStack issue 5685, pull request 5911", Span(crosses="4.15.1.0", before="4.17.0.0"),
        "the schema upgrade stops with a duplicate id in guest_os", "take a target of 4.17 or later, or move these rows by a fix of the rehearsal",
        BLOCKS, sql=_guest_os(330, 349),
    ),
    Fault(
        "own_guest_os", "CloudStack issues 2740 and 3609; upgrade guide, customisation warnings", Span(),
        "the target may bring the same guest operating system, or use the number of yours", "note them, rehearse, and remove own mappings first",
        NOTES,
        sql="SELECT CONCAT('guest_os ', id, ' (', display_name, ')') AS what FROM cloud.guest_os WHERE is_user_defined = 1 ORDER BY id",
        api=lambda cloud: [
            str(item.get("description")) for item in cloud.list("listOsTypes") if str(item.get("isuserdefined")).lower() == "true"
        ],
    ),
    Fault(
        "management_servers_of_one_uuid", "schema-41610to41700.sql: a unique key on mshost.uuid", Span(crosses="4.17.0.0"),
        "the schema upgrade stops: duplicate entry for mshost.uuid", "delete the rows of servers that are gone, by a fix of the rehearsal", BLOCKS,
        sql="SELECT CONCAT(COUNT(*), ' rows of uuid ', uuid) AS what FROM cloud.mshost WHERE uuid IS NOT NULL GROUP BY uuid HAVING COUNT(*) > 1",
    ),
    Fault(
        "half_key_pairs", "schema-42210to42300.sql: api_keypair takes only users that have both keys", Span(crosses="4.23.0.0"),
        "users that have only one half of a key pair lose it", "register keys of these users again, or remove the half that is left", WARNS,
        sql="SELECT CONCAT('user ', username) AS what FROM cloud.user WHERE removed IS NULL AND (api_key IS NULL) <> (secret_key IS NULL)",
    ),
    Fault(
        "readers_of_moved_tables", "schema-42210to42300.sql: user.api_key, vm_schedule and vm_scheduled_job move", Span(crosses="4.23.0.0"),
        "billing and scripts that read user.api_key, user.secret_key, vm_schedule or vm_scheduled_job fail",
        "change what these accounts and views read to api_keypair and resource_schedule", WARNS,
        sql="SELECT CONCAT('account ', GRANTEE, ' reads ', TABLE_SCHEMA) AS what FROM information_schema.SCHEMA_PRIVILEGES "
        "WHERE PRIVILEGE_TYPE = 'SELECT' AND TABLE_SCHEMA IN ('cloud', 'cloud_usage') AND GRANTEE NOT LIKE '''cloud''@%' "
        "UNION SELECT CONCAT('view ', TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.VIEWS "
        "WHERE (TABLE_SCHEMA <> 'cloud' OR TABLE_NAME NOT LIKE '%\\_view') "
        "AND (VIEW_DEFINITION LIKE '%api_key%' OR VIEW_DEFINITION LIKE '%vm_schedule%')",
    ),
    Fault(
        "names_of_schedule_keys", "schema-42210to42300.sql drops and renames these keys by their names",
        Span(crosses="4.23.0.0", source_since="4.19.0.0"), "the schema upgrade stops at ALTER of vm_schedule or vm_scheduled_job",
        "give the keys CloudStack's names again, by a fix of the rehearsal", BLOCKS,
        sql=f"SELECT CONCAT(w.t, '.', w.k, ' is missing') AS what FROM ({_WANTED}) w LEFT JOIN ({_NAMED}) n "
        "ON CAST(n.t AS BINARY) = CAST(w.t AS BINARY) AND CAST(n.k AS BINARY) = CAST(w.k AS BINARY) WHERE n.k IS NULL",
    ),
    Fault(
        "nics_without_a_time", "upgrade guide, mysql.rst; CloudStack issue 6247", Span(),
        "VMs don't start on a newer database server", "ALTER TABLE cloud.nics MODIFY COLUMN update_time timestamp DEFAULT CURRENT_TIMESTAMP", WARNS,
        sql="SELECT CONCAT('nics.update_time is ', COLUMN_TYPE, ', default ', COALESCE(COLUMN_DEFAULT, 'none')) AS what "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'nics' AND COLUMN_NAME = 'update_time' AND "
        "(DATA_TYPE <> 'timestamp' OR LOWER(COALESCE(COLUMN_DEFAULT, '')) NOT LIKE 'current\\_timestamp%')",
    ),
    Fault(
        "no_usage_database", "CloudStack issue 6074", Span(crosses="4.16.1.0"), "the schema upgrade stops: a table of cloud_usage doesn't exist",
        "bring the database cloud_usage as well, even where no usage server runs", BLOCKS,
        sql="SELECT 'cloud_usage has no tables' AS what FROM (SELECT 1) one WHERE NOT EXISTS "
        "(SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud_usage')",
    ),
    Fault(
        "unfinished_upgrade", "CloudStack issues 6608 and 7358; DatabaseUpgradeChecker.java", Span(),
        "a step that an earlier upgrade left half done collides with the next one", "restore the state before that upgrade, or have its step finished first",
        BLOCKS, sql="SELECT CONCAT('version ', version, ' is at step ', step) AS what FROM cloud.version WHERE step <> 'Complete'",
    ),
    Fault(
        "memory_tables", "CloudStack issue 6670", Span(), "op_lock and op_nwgrp_work are MEMORY tables: their rows are in no backup and in no replica",
        "stop all management servers before the copy; these tables must be empty then", NOTES,
        sql="SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS what FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage') AND ENGINE = 'MEMORY'",
    ),
    Fault(
        "statistics_never_cleaned", "CloudStack issues 8266 and 11103", Span(source_since="4.17.0.0"),
        "vm_stats or volume_stats have grown far beyond their retention: copying and altering them takes most of the window",
        "set rehearsal.housekeeping.statistics, which takes old rows out of the copy", WARNS,
        sql="SELECT CONCAT(TABLE_NAME, ' has about ', TABLE_ROWS, ' rows') AS what FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME IN ('vm_stats', 'volume_stats') AND TABLE_ROWS > 1000000",
    ),
)  # fmt: skip
