"""What is generated: the same each time, coherent, and with all that the lab needs to know of it."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import re
import stat
import time
from pathlib import Path

import pytest

from lab.database import (
    DatabasePlan,
    HypervisorHost,
    LabDatabaseError,
    ManagementServer,
    describe,
    generate,
    generate_files,
)
from lab.database.content import World, build
from lab.database.encryption import EncryptorVersion, decrypt
from lab.database.errors import SchemaError
from lab.database.notation import tables
from lab.database.plan import parse_hosts, parse_management_servers
from lab.database.rows import inserts, literal

pytestmark = pytest.mark.processes

SMALL = DatabasePlan(rows_usage=300, rows_event=300, rows_usage_event=300, rows_vm_stats=300, link_local_addresses=300)


@pytest.fixture(scope="module")
def world() -> World:
    return build(SMALL)


def _sql(plan: DatabasePlan) -> bytes:
    out = io.BytesIO()
    generate(plan, out)
    return out.getvalue()


def test_the_same_plan_gives_the_same_bytes() -> None:
    first = _sql(SMALL)
    assert first == _sql(SMALL)
    assert first != _sql(SMALL.with_(seed=2))


def test_the_time_zone_of_this_machine_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    here = hashlib.sha256(_sql(SMALL.with_(site_tables=True))).hexdigest()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert hashlib.sha256(_sql(SMALL.with_(site_tables=True))).hexdigest() == here
    finally:
        monkeypatch.undo()
        time.tzset()


def test_foreign_keys_find_their_rows(world: World) -> None:
    checked = 0
    for database in ("cloud", "cloud_usage"):
        for table in tables(database).values():
            for key in table.keys:
                if key.kind != "fk":
                    continue
                there = {tuple(row.get(name) for name in key.references) for row in world.rows.get((database, key.table), [])}
                for row in world.rows.get((database, table.name), []):
                    values = tuple(row.get(name) for name in key.columns)
                    if None not in values:
                        assert values in there, (table.name, key.name, values)
                        checked += 1
    assert checked > 2000


def test_unique_keys_are_unique(world: World) -> None:
    for database in ("cloud", "cloud_usage"):
        for table in tables(database).values():
            for key in table.keys:
                if key.kind not in ("pk", "uq"):
                    continue
                seen = set()
                for row in world.rows.get((database, table.name), []):
                    values = tuple(row.get(name) for name in key.columns)
                    if None in values:
                        continue
                    folded = tuple(str(value).lower() for value in values)
                    assert folded not in seen, (table.name, key.name, values)
                    seen.add(folded)


def test_every_row_can_be_written(world: World) -> None:
    for (database, table), rows in world.rows.items():
        assert "".join(inserts(tables(database)[table], rows))


@pytest.mark.parametrize("encryptor", ["V1", "V2"])
def test_values_are_encrypted_under_the_database_key(encryptor: EncryptorVersion) -> None:
    plan = SMALL.with_(encryptor=encryptor, database_key="the key")
    world = build(plan)
    rows = {str(row["name"]): row for row in world.rows["cloud", "configuration"]}
    assert decrypt(str(rows["init"]["value"]), "the key", encryptor) == "true"
    assert decrypt(str(rows["ssh.privatekey"]["value"]), "the key", encryptor).startswith("-----BEGIN RSA PRIVATE KEY")
    certificate = decrypt(str(rows["ca.plugin.root.ca.certificate"]["value"]), "the key", encryptor)
    assert certificate.startswith("-----BEGIN CERTIFICATE")
    for row in rows.values():
        if row["category"] in ("Hidden", "Secure") and row["value"] is not None:
            decrypt(str(row["value"]), "the key", encryptor)
        assert len(str(row["value"] or "")) <= 8191
    admin = next(row for row in world.rows["cloud", "user"] if row["username"] == "admin")
    secrets = describe(plan).secrets
    assert admin["api_key"] == secrets.admin.api_key
    assert decrypt(str(admin["secret_key"]), "the key", encryptor) == secrets.admin.secret_key


def test_the_admins_password_is_stored_as_cloudstack_does(world: World) -> None:
    stored = str(next(row["password"] for row in world.rows["cloud", "user"] if row["username"] == "admin"))
    salt, digest, rounds = stored.split(":")
    again = hashlib.pbkdf2_hmac("sha1", SMALL.admin_password.encode(), base64.b64decode(salt), int(rounds), 64)
    assert (base64.b64encode(again).decode(), rounds) == (digest, "100000")


def test_hosts_are_those_of_the_plan() -> None:
    hosts = tuple(HypervisorHost(f"kvm{number}", f"10.91.0.2{number}") for number in (1, 2, 3))
    layout = describe(SMALL.with_(hypervisor_hosts=hosts)).layout
    assert [(host.name, host.address, host.pod_id, host.cluster_id) for host in layout.hosts] == [
        ("kvm1", "10.91.0.21", 1, 1),
        ("kvm2", "10.91.0.22", 2, 2),
        ("kvm3", "10.91.0.23", 1, 1),
    ]
    assert all(host.guid == f"{host.agent_guid}-LibvirtComputingResource" for host in layout.hosts)


def test_one_host_is_enough() -> None:
    layout = describe(SMALL.with_(hypervisor_hosts=(HypervisorHost("only", "10.91.0.21"),))).layout
    assert {vm.host for vm in layout.system_vms} == {"only"}


def test_system_vms_and_routers_are_complete(world: World) -> None:
    kinds = [vm.type for vm in world.system_vms]
    assert kinds == ["SecondaryStorageVm", "ConsoleProxy", "DomainRouter", "DomainRouter", "DomainRouter"]
    details = {"SecondaryStorageVm": "secondary_storage_vm", "ConsoleProxy": "console_proxy", "DomainRouter": "domain_router"}
    for vm in world.system_vms:
        assert any(row["id"] == vm.id for row in world.rows["cloud", details[vm.type]])
        gurus = [row["reserver_name"] for row in world.rows["cloud", "nics"] if row["instance_id"] == vm.id]
        assert "ControlNetworkGuru" in gurus
        assert ("PodBasedNetworkGuru" in gurus) == (vm.type != "DomainRouter")
        agents = [row for row in world.rows["cloud", "host"] if row["name"] == vm.name]
        assert len(agents) == (0 if vm.type == "DomainRouter" else 1)
    assert len({vm.control_ip for vm in world.system_vms}) == 5


def test_old_servers_are_down_and_stale_ones_remain(world: World) -> None:
    servers = world.rows["cloud", "mshost"]
    assert {row["state"] for row in servers} == {"Down"}
    assert [row["name"] for row in servers][-2:] == ["oldms1", "oldms2"]
    oldest = min(row["last_update"] for row in servers if isinstance(row["last_update"], datetime.datetime))
    assert (SMALL.reference_time - oldest).days > 1000


def test_a_mac_address_gives_the_msid() -> None:
    plan = SMALL.with_(management_servers=(ManagementServer("ms", "10.91.0.11", "02:00:00:00:00:0b"),))
    assert build(plan).rows["cloud", "mshost"][-1]["msid"] == 0x02000000000B


def test_the_version_history_ends_with_the_plans(world: World) -> None:
    versions = world.rows["cloud", "version"]
    assert versions[-1]["version"] == "4.20.3.0"
    assert {row["step"] for row in versions} == {"Complete"}


def test_nothing_is_in_transition(world: World) -> None:
    alive = [row for row in world.rows["cloud", "vm_instance"] if row.get("removed") is None]
    assert {row["state"] for row in alive} == {"Running", "Stopped", "Destroyed"}
    assert {row["state"] for row in world.rows["cloud", "volumes"]} <= {"Ready", "Expunged"}
    assert all(row["job_status"] for row in world.rows["cloud", "async_job"])


def test_scale_multiplies_accounts_and_machines(world: World) -> None:
    bigger = build(SMALL.with_(scale=3))
    assert len(bigger.machines) == 3 * len(world.machines)


def test_the_number_of_streamed_rows_is_the_plans() -> None:
    text = _sql(SMALL).decode()
    for name, number in (("event", 300), ("vm_stats", 300), ("op_dc_link_local_ip_address_alloc", 300)):
        found = re.findall(rf"INSERT INTO `{name}` VALUES\n(.*?);\nCOMMIT", text, re.S)
        assert len(found) == 1
        assert found[0].count("\n") + 1 == number


def test_statements_stay_small() -> None:
    plan = SMALL.with_(rows_usage=20_000)
    longest = max(len(part) for part in _sql(plan).split(b";\n"))
    assert 120_000 < longest < 200_000


def test_files_and_stream_have_the_same_rows(tmp_path: Path) -> None:
    result = generate_files(SMALL.with_(cloudbridge=True), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cloud.sql", "cloud_usage.sql", "cloudbridge.sql", "secrets.json",
    ]  # fmt: skip
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert result.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.sql"))
    body = (tmp_path / "cloud.sql").read_bytes().split(b"USE `cloud`;\n", 1)[1].split(b"COMMIT;\nSET SESSION autocommit")[0]
    assert body in _sql(SMALL)


def test_secrets_are_not_shown() -> None:
    result = describe(SMALL)
    for secret in (result.secrets.database_key, result.secrets.admin.secret_key, result.secrets.ssh_private_key):
        assert secret not in repr(result)


def test_for_bytes_spreads_a_size() -> None:
    plan = DatabasePlan.for_bytes(1_500_000_000, seed=7)
    assert plan.seed == 7
    assert plan.rows_usage > plan.rows_event > plan.rows_vm_stats > 100_000
    assert DatabasePlan.for_bytes(0).rows_usage == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": "4.19.0.0"}, "4.19.0.0"),
        ({"hypervisor_hosts": ()}, "no hypervisor host"),
        ({"encryptor": "V3"}, "V3"),
        ({"scale": 0}, "below zero"),
        ({"management_network": "10.91.0.0/28"}, "too small"),
    ],
)
def test_a_plan_that_can_not_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(LabDatabaseError, match=message):
        SMALL.with_(**fields)


def test_servers_are_read_from_text() -> None:
    assert parse_hosts("a=10.0.0.1, b=10.0.0.2") == (HypervisorHost("a", "10.0.0.1"), HypervisorHost("b", "10.0.0.2"))
    assert parse_management_servers("m=10.0.0.3@02:00:00:00:00:01")[0].msid == 0x020000000001
    for wrong in ("a", "a=10.0.0.1.9", "=10.0.0.1", "a=10.0.0.300"):
        with pytest.raises(LabDatabaseError):
            parse_hosts(wrong)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "NULL"), (True, "1"), (0, "0"), (1.5, "1.5"), ("it's\\\n\0", "'it\\'s\\\\\\n\\0'"), (b"", "''"),
        (b"\x00\xff", "0x00ff"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "'2026-01-02 03:04:05'"),
    ],
)  # fmt: skip
def test_literals(value: object, expected: str) -> None:
    assert literal(value) == expected


def test_a_row_that_does_not_fit_its_table_is_refused(world: World) -> None:
    with pytest.raises(SchemaError, match="has no column colour"):
        list(inserts(tables("cloud")["host"], [{"colour": 1}]))
    with pytest.raises(SchemaError, match="gives no name, which is NOT NULL"):
        list(inserts(tables("cloud")["host"], [{"id": 1}]))
    with pytest.raises(SchemaError, match="no table nowhere"):
        world.add("nowhere")
