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


CONTROLLED: dict[str, list[dict[str, Any]]] = {
    "nsx_providers": [{"name": "NSX", "a": "nsx.example.org", "port": "8443"}],
    "netris_providers": [{"name": "netris", "a": "https://netris.example.org/api", "port": None}],
    "tungsten_providers": [{"name": "tf", "a": "192.0.2.20", "port": None}],
    "external_bigswitch_bcf_devices": [{"name": "bcf", "a": "192.0.2.21", "port": None}],
    "object_store": [{"name": "s3", "a": "http://192.0.2.22:9000", "port": None}],
    "ucs_manager": [{"name": None, "a": "https://192.0.2.23", "port": None}],
    "host": [
        {"name": "netscaler", "type": "ExternalLoadBalancer", "a": "192.0.2.24"},
        {"name": "kvm1", "type": "Routing", "a": "10.91.0.21"},
    ],
    "configuration": [
        {"name": "quota.usage.smtp.host", "value": "mail2.example.org"},
        {"name": "backup.plugin.veeam.url", "value": "https://veeam.example.org:9398/api/"},
        {"name": "stats.output.uri", "value": "influxdb://192.0.2.25:8086/cloudstack"},
        {"name": "saml2.idp.metadata.url", "value": "corp-idp.xml"},  # a file
        {"name": "endpoint.url", "value": "https://cloud.example.org/client/api"},
    ],
    "data_center_details": [{"name": "backup.plugin.networker.url", "value": "https://192.0.2.26:9090/nwrestapi"}],
}


def test_whatever_else_is_commanded_or_named_by_url_is_asked_for_too() -> None:
    database = Database()
    database.tables = CONTROLLED
    asked = [(each.what, each.address, each.port) for each in used_by_management(database)]  # type: ignore[arg-type]
    assert asked == [
        ("UCS manager", "192.0.2.23", 443),
        ("backup server of backup.plugin.networker.url", "192.0.2.26", 9090),
        ("backup server of backup.plugin.veeam.url", "veeam.example.org", 9398),
        ("mail server of quota.usage.smtp.host", "mail2.example.org", 25),
        ("network controller NSX", "nsx.example.org", 8443),
        ("network controller bcf", "192.0.2.21", 8000),
        ("network controller netris", "netris.example.org", 443),
        ("network controller tf", "192.0.2.20", 8082),
        ("network device netscaler", "192.0.2.24", 443),
        ("object storage s3", "192.0.2.22", 9000),
        ("service of stats.output.uri", "192.0.2.25", 8086),
    ]
    assert {each.kind for each in used_by_management(database)} >= {"network controller", "object storage", "backup server"}  # type: ignore[arg-type]


def test_only_storage_that_management_servers_command_counts() -> None:
    database = Database()
    used_by_management(database)  # type: ignore[arg-type]
    (asked,) = [statement for statement in database.asked if "FROM cloud.storage_pool WHERE" in statement]
    assert "managed = 1" in asked and "DefaultPrimary" in asked


def test_tables_that_are_not_there_ask_for_nothing() -> None:
    assert found("vmware_data_center", "ldap_configuration", "storage_pool", "image_store") == [
        ("mail server of alert.smtp.host", "mail.example.org", 587)
    ]
