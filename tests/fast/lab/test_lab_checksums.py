"""What may differ in the original's databases after a rollback, and what may not. The rules' own SQL runs on SQLite here."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import checksums
from lab.packages import NEW, TEMPLATES
from lab.row_rules import RULES

TABLES = {
    "vm_instance": ("id", "type", "state", "host_id"),
    "volumes": ("id", "instance_id", "size", "state"),
    "nics": ("id", "instance_id", "ip4_address"),
    "user_ip_address": ("id", "public_ip_address", "state", "account_id", "is_system"),
    "host": ("id", "type", "status", "last_ping", "private_ip_address"),
    "op_dc_ip_address_alloc": ("id", "ip_address", "taken"),
    "router_network_ref": ("id", "router_id", "network_id"),
    "event": ("id", "description"),
    "mshost": ("id", "msid", "last_update"),
    "configuration": ("name", "value", "updated"),
    "vm_template": ("id", "name", "removed", "state"),
    "template_zone_ref": ("id", "template_id", "removed"),
}
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "vm_instance": [(1, "User", "Running", 5), (2, "ConsoleProxy", "Running", 5), (3, "DomainRouter", "Running", 6)],
    "volumes": [(1, 1, 100, "Ready"), (2, 2, 100, "Ready"), (3, None, 50, "Ready")],
    "nics": [(1, 1, "10.1.1.5"), (2, 2, "10.91.0.100")],
    "user_ip_address": [(1, "192.0.2.1", "Allocated", 7, 0), (2, "192.0.2.2", "Allocated", 1, 1), (3, "192.0.2.3", "Free", None, 0)],
    "host": [(5, "Routing", "Up", 11, "10.91.0.21"), (6, "ConsoleProxy", "Up", 11, "10.91.0.100")],
    "op_dc_ip_address_alloc": [(1, "10.91.0.100", "yes"), (2, "10.91.0.101", None)],
    "router_network_ref": [(1, 3, 204)],
    "event": [(1, "began")],
    "mshost": [(1, 90, "now")],
    "configuration": [("host", "10.91.0.11,10.91.0.41", "now"), ("port", "8250", None)],
    "vm_template": [(3, "systemvm-kvm-4.20.2-x86_64", None, "Active"), (9, f"systemvm-kvm-{TEMPLATES[NEW]}-x86_64", None, "Active")],
    "template_zone_ref": [(1, 3, None), (2, 9, None)],
}


class Original:
    """A few tables of the original, and what is read of them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "before.json"
        self.database = sqlite3.connect(":memory:")
        self.database.execute("ATTACH ':memory:' AS cloud")
        self.database.create_function("SHA2", 2, lambda text, bits: hashlib.new(f"sha{bits}", text.encode()).hexdigest())
        self.database.create_function("CONCAT", -1, lambda *words: "".join(map(str, words)))
        self.database.create_function("CONCAT_WS", -1, lambda between, *words: between.join(map(str, words)))
        for table, columns in TABLES.items():
            self.database.execute(f"CREATE TABLE cloud.{table} ({', '.join(columns)})")
            marks = ", ".join("?" * len(columns))
            self.database.executemany(f"INSERT INTO cloud.{table} VALUES ({marks})", ROWS[table])
        self.path.write_text(json.dumps(self.read()))

    def read(self) -> checksums.Reading:
        """As `checksums.read` gives it, with one table that no rule is for."""
        found: checksums.Reading = {"cloud.account": 1}
        for table, columns in TABLES.items():
            statement = RULES[f"cloud.{table}"].statement(f"cloud.{table}", columns, columns[:1])
            found[f"cloud.{table}"] = {str(key): digest for key, digest in self.database.execute(statement)}
        return found

    def after(self, *statements: str, destroyed: bool = False) -> checksums.Differences:
        """What differs once these have run."""
        for statement in statements:
            self.database.execute(statement)
        return checksums.compare(self.path, self.read(), destroyed)


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Original]:
    made = Original(tmp_path)
    yield made
    made.database.close()


def changes(added: str = "", removed: str = "", changed: str = "") -> checksums.Changes:
    return {"added": added.split(), "removed": removed.split(), "changed": changed.split()}


def test_no_difference(original: Original) -> None:
    assert original.after() == checksums.Differences(len(TABLES) + 1)


def test_a_system_vm_made_again_is_no_damage(original: Original) -> None:
    found = original.after(
        "UPDATE cloud.vm_instance SET state = 'Expunging', host_id = NULL WHERE id = 2",
        "INSERT INTO cloud.vm_instance VALUES (4, 'ConsoleProxy', 'Running', 5)",
        "UPDATE cloud.volumes SET state = 'Expunged' WHERE id = 2",
        "INSERT INTO cloud.volumes VALUES (4, 4, 100, 'Ready')",
        "INSERT INTO cloud.nics VALUES (3, 4, '10.91.0.101')",
        "UPDATE cloud.user_ip_address SET state = 'Free', account_id = NULL, is_system = 0 WHERE id = 2",
        "UPDATE cloud.user_ip_address SET state = 'Allocated', account_id = 1, is_system = 1 WHERE id = 3",
        "UPDATE cloud.op_dc_ip_address_alloc SET taken = NULL WHERE id = 1",
        "UPDATE cloud.op_dc_ip_address_alloc SET taken = 'now' WHERE id = 2",
        "DELETE FROM cloud.router_network_ref",
        "INSERT INTO cloud.host VALUES (7, 'ConsoleProxy', 'Up', 12, '10.91.0.101')",
    )
    assert found.different == []
    assert found.damaged == {}
    assert found.written_by_running_servers == ["cloud.host"]
    assert found.rows["cloud.vm_instance"] == changes(added="4", changed="2")
    assert found.rows["cloud.user_ip_address"] == changes(changed="2 3")
    assert found.rows["cloud.router_network_ref"] == changes(removed="1")


def test_what_running_servers_write_is_no_damage(original: Original) -> None:
    found = original.after(
        "UPDATE cloud.host SET status = 'Disconnected', last_ping = 99",
        "UPDATE cloud.mshost SET last_update = 'later'",
        "INSERT INTO cloud.event VALUES (2, 'ended')",
    )
    assert found.different == []
    assert found.written_by_running_servers == ["cloud.event", "cloud.host", "cloud.mshost"]


@pytest.mark.parametrize(
    ("statement", "table", "damage"),
    [
        ("UPDATE cloud.vm_instance SET state = 'Stopped' WHERE id = 1", "vm_instance", changes(changed="1")),
        ("DELETE FROM cloud.vm_instance WHERE id = 1", "vm_instance", changes(removed="1")),
        ("DELETE FROM cloud.vm_instance WHERE id = 2", "vm_instance", changes(removed="2")),
        ("INSERT INTO cloud.vm_instance VALUES (9, 'User', 'Running', 5)", "vm_instance", changes(added="9")),
        ("UPDATE cloud.vm_instance SET type = 'ConsoleProxy' WHERE id = 1", "vm_instance", changes(changed="1")),
        ("UPDATE cloud.volumes SET size = 0 WHERE id = 1", "volumes", changes(changed="1")),
        ("UPDATE cloud.volumes SET state = 'Expunged' WHERE id = 3", "volumes", changes(changed="3")),
        ("UPDATE cloud.nics SET ip4_address = NULL WHERE id = 1", "nics", changes(changed="1")),
        ("UPDATE cloud.user_ip_address SET state = 'Free' WHERE id = 1", "user_ip_address", changes(changed="1")),
        ("UPDATE cloud.user_ip_address SET public_ip_address = '192.0.2.9' WHERE id = 3", "user_ip_address", changes(changed="3")),
        ("UPDATE cloud.user_ip_address SET state = 'Allocated', account_id = 7 WHERE id = 3", "user_ip_address", changes(changed="3")),
        ("UPDATE cloud.host SET private_ip_address = '' WHERE id = 5", "host", changes(changed="5")),
        ("DELETE FROM cloud.host WHERE id = 6", "host", changes(removed="6")),
        ("UPDATE cloud.event SET description = 'other'", "event", changes(changed="1")),
        ("DELETE FROM cloud.event", "event", changes(removed="1")),
        ("INSERT INTO cloud.mshost VALUES (2, 91, 'now')", "mshost", changes(added="2")),
        ("UPDATE cloud.configuration SET value = '' WHERE name = 'host'", "configuration", changes(changed="host")),
    ],
)
def test_damage_is_reported_row_by_row(original: Original, statement: str, table: str, damage: checksums.Changes) -> None:
    found = original.after("UPDATE cloud.mshost SET last_update = 'later'", statement)
    assert found.damaged[f"cloud.{table}"] == damage
    assert found.different == sorted(found.damaged), "where a VM is nobody's any more, so are its volumes and addresses"
    assert table == "mshost" or found.written_by_running_servers == ["cloud.mshost"]


UNDONE = (
    "UPDATE cloud.configuration SET value = '10.91.0.11', updated = 'later' WHERE name = 'host'",
    "UPDATE cloud.vm_template SET removed = 'now', state = 'Inactive' WHERE id = 9",
    "UPDATE cloud.template_zone_ref SET removed = 'now' WHERE template_id = 9",
)


def test_a_destroy_takes_back_what_prepared_had_set_and_nothing_more(original: Original) -> None:
    tables = ["cloud.configuration", "cloud.template_zone_ref", "cloud.vm_template"]
    found = original.after(*UNDONE)
    assert found.different == tables
    found = original.after(destroyed=True)
    assert found.different == []
    assert found.written_by_destroy == tables
    found = original.after(
        "UPDATE cloud.configuration SET value = '' WHERE name = 'port'",
        "UPDATE cloud.vm_template SET removed = 'now' WHERE id = 3",
        destroyed=True,
    )
    assert found.damaged == {"cloud.configuration": changes(changed="port"), "cloud.vm_template": changes(changed="3")}


def test_a_table_without_a_rule_may_not_differ_at_all(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_text(json.dumps({"cloud.user": 1, "cloud.account": None, "cloud.gone": 4, "cloud.event": 5}))
    found = checksums.compare(path, {"cloud.user": 2, "cloud.account": None, "cloud.come": None, "cloud.event": 6})
    assert found.different == ["cloud.come", "cloud.event", "cloud.gone", "cloud.user"], "nor one that was too large for its rows"
    assert found.tables == 5


def test_what_defines_the_cloud_has_no_rule() -> None:
    assert not RULES.keys() & {"cloud.version", "cloud.user", "cloud.account", "cloud.user_vm", "cloud.networks", "cloud.snapshots"}
    assert {name for name, rule in RULES.items() if rule.writer == "destroy"} == {
        "cloud.configuration", "cloud.vm_template", "cloud.template_zone_ref", "cloud.template_store_ref",
    }  # fmt: skip
