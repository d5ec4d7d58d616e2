"""What the new management servers must reach: everything that the original's talk to, read from the database."""

from __future__ import annotations

from typing import Any, ClassVar

from parallel_build.facts.network_targets import used_by_management


class Database:
    """A cloud with one of each kind."""

    TABLES: ClassVar[dict[str, list[dict[str, Any]]]] = {
        "vmware_data_center": [{"a": "vcenter.example.org"}],
        "image_store": [{"name": "sec", "url": "nfs://192.0.2.5/export"}],
        "ldap_configuration": [{"a": "ldap.example.org", "port": 636}, {"a": "192.0.2.6", "port": None}],
        "storage_pool_details": [{"v": "192.0.2.9:443"}, {"v": "https://user:word@flex.example.org/api"}, {"v": "not a server"}],
        "storage_pool": [
            {"id": 4, "name": "fast", "kind": "Iscsi", "a": "192.0.2.8", "port": 3260},
            {"id": 5, "name": "linstor", "kind": "Linstor", "a": "http://192.0.2.10:3370", "port": 0},
        ],
        "configuration": [{"name": "alert.smtp.host", "value": "mail.example.org"}, {"name": "alert.smtp.port", "value": "587"}],
    }

    def __init__(self, *without: str) -> None:
        self.tables = {name: rows for name, rows in self.TABLES.items() if name not in without}
        self.asked: list[str] = []

    def value(self, statement: str, arguments: Any = None) -> int:
        return int(arguments[0] in self.tables) if arguments else 1

    def rows(self, statement: str, arguments: Any = None) -> list[dict[str, Any]]:
        self.asked.append(statement)
        table = statement.split("FROM cloud.")[1].split()[0]
        if table == "storage_pool_details" and "pool_id = 4 " not in statement:
            return []
        return self.tables.get(table, [])


def found(*without: str) -> list[tuple[str, str, int]]:
    return [(each.what, each.address, each.port) for each in used_by_management(Database(*without))]  # type: ignore[arg-type]


def test_vcenter_storage_ldap_and_mail_are_asked_for_at_the_port_that_is_set() -> None:
    assert found() == [
        ("LDAP server", "192.0.2.6", 389),
        ("LDAP server", "ldap.example.org", 636),
        ("mail server of alert.smtp.host", "mail.example.org", 587),
        ("primary storage fast", "192.0.2.8", 3260),
        ("primary storage fast", "192.0.2.9", 443),
        ("primary storage fast", "flex.example.org", 443),
        ("primary storage linstor", "192.0.2.10", 3370),
        ("secondary storage sec", "192.0.2.5", 2049),
        ("vCenter", "vcenter.example.org", 443),
    ]


def test_only_storage_that_management_servers_command_counts() -> None:
    database = Database()
    used_by_management(database)  # type: ignore[arg-type]
    (asked,) = [statement for statement in database.asked if "FROM cloud.storage_pool WHERE" in statement]
    assert "managed = 1" in asked and "DefaultPrimary" in asked


def test_tables_that_are_not_there_ask_for_nothing() -> None:
    assert found("vmware_data_center", "ldap_configuration", "storage_pool", "image_store") == [
        ("mail server of alert.smtp.host", "mail.example.org", 587)
    ]
