"""Which rows count as created by users, asked of a database in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from parallel_build.cloudstack import created, created_kinds

TABLES = {
    "volumes": "id, uuid, name, account_id, domain_id, removed, state, path, pool_id, instance_id, volume_type",
    "vm_instance": "id, type, instance_name, hypervisor_type",
    "account": "id, account_name, type, domain_id",
    "domain": "id, path",
    "projects": "uuid, project_account_id",
    "storage_pool": "id, uuid, name, cluster_id",
    "cluster": "id, hypervisor_type",
}


class Database:
    """A cloud's tables, as far as they are asked for."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("ATTACH DATABASE ':memory:' AS cloud")
        for table, columns in TABLES.items():
            self.connection.execute(f"CREATE TABLE cloud.{table} ({columns})")

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        return [dict(row) for row in self.connection.execute(statement.replace("%s", "?"), values or [])]


def test_disks_of_routers_and_system_vms_are_nobodys_work() -> None:
    database = Database()
    for number, what in enumerate(("User", "DomainRouter", "SecondaryStorageVm", "ConsoleProxy"), 1):
        database.rows("INSERT INTO cloud.vm_instance VALUES (?, ?, ?, 'KVM')", [number, what, f"vm-{number}"])
        database.rows(
            "INSERT INTO cloud.volumes VALUES (?, ?, ?, 2, 1, NULL, 'Ready', 'p', NULL, ?, 'ROOT')",
            [number, f"u-{number}", f"ROOT-{number}", number],
        )
    database.rows("INSERT INTO cloud.volumes VALUES (9, 'u-9', 'data', 2, 1, NULL, 'Allocated', NULL, NULL, NULL, 'DATADISK')")
    database.rows("INSERT INTO cloud.volumes VALUES (10, 'u-10', 'gone', 2, 1, NULL, 'Expunged', NULL, NULL, NULL, 'DATADISK')")
    kind = next(each for each in created_kinds.KINDS if each.name == created_kinds.DISKS)
    assert [row["name"] for row in created._rows(database, kind, 0)] == ["ROOT-1", "data"]
