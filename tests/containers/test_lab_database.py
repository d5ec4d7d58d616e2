"""The generated database on real servers: MariaDB 10.11 and the newest MySQL, each private and without a network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lab.database import Accounts, DatabasePlan, Loaded, load, restore
from lab.database.encryption import decrypt
from lab.database.errors import LoadFailed
from lab.database.notation import tables, views
from lab.databases import DUMP
from lab.images.roots import base_root, mysql_root

pytestmark = [
    pytest.mark.databases,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="private servers need root (namespaces, mounts)"),
]
DATA = Path(__file__).parents[3] / "shared" / "data"
DATABASES = ("cloud", "cloud_usage")
ACCOUNTS = Accounts("a password's \\ own")
PLAN = DatabasePlan(
    rows_usage=3000, rows_event=3000, rows_usage_event=3000, rows_vm_stats=1000, link_local_addresses=5000,
    site_tables=True,
    cloudbridge=True,
)  # fmt: skip
# what a server shows of its schema; the same on two servers of one family when the schemas are the same
SCHEMA = {
    "tables": "SELECT table_schema, table_name, engine, table_collation FROM information_schema.tables",
    "columns": "SELECT table_schema, table_name, ordinal_position, column_name, column_default, is_nullable, column_type,"
    " collation_name, column_key, extra FROM information_schema.columns",
    "keys": "SELECT table_schema, table_name, index_name, seq_in_index, non_unique, column_name, sub_part"
    " FROM information_schema.statistics",
    "foreign keys": "SELECT constraint_schema AS table_schema, table_name, constraint_name, referenced_table_name, delete_rule,"
    " update_rule FROM information_schema.referential_constraints",
    "key columns": "SELECT table_schema, table_name, constraint_name, column_name, referenced_table_name,"
    " referenced_column_name FROM information_schema.key_column_usage",
    "views": "SELECT table_schema, table_name, view_definition, definer, security_type FROM information_schema.views",
    "routines": "SELECT routine_schema AS table_schema, routine_name, routine_type, definer, sql_mode FROM information_schema.routines",
    "parameters": "SELECT specific_schema AS table_schema, specific_name, ordinal_position, parameter_name, dtd_identifier"
    " FROM information_schema.parameters",
}


def _servers() -> ModuleType:
    path = Path(__file__).with_name("lab_database_server.py")
    spec = importlib.util.spec_from_file_location("lab_database_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    root = base_root() if request.param == "mariadb" else mysql_root()
    with _servers().DatabaseServer(root) as running:
        yield running


@pytest.fixture(scope="module")
def loaded(server: ModuleType) -> Loaded:
    return load(server.client, PLAN, accounts=ACCOUNTS)


def _names(server: ModuleType, database: str) -> list[str]:
    return [
        row[0]
        for row in server.query(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}' AND table_type = 'BASE TABLE' ORDER BY 1"
        )
    ]


def _schema(server: ModuleType, what: str) -> set[tuple[str, ...]]:
    rows = server.query(f"SELECT * FROM ({SCHEMA[what]}) s WHERE table_schema IN ('cloud', 'cloud_usage')")
    return {tuple(row) for row in rows}


def test_everything_arrived(server: ModuleType, loaded: Loaded) -> None:
    assert loaded.generated is not None
    assert len(_names(server, "cloud")) == 305 + 4
    assert len(_names(server, "cloud_usage")) == 31
    assert server.query("SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'cloudbridge'")
    for name, expected in loaded.generated.rows.items():
        assert server.query(f"SELECT COUNT(*) FROM {name}") == [[str(expected)]], name


def test_tables_are_sound(server: ModuleType, loaded: Loaded) -> None:
    for database in ("cloud", "cloud_usage"):
        names = ", ".join(f"`{database}`.`{name}`" for name in _names(server, database))
        answers = server.query(f"CHECK TABLE {names}")
        # engines without a check of their own say so in a note
        assert {row[3] for row in answers if row[2] == "status"} == {"OK"}
        assert not [row for row in answers if row[2] in ("error", "warning", "Error", "Warning")]


def test_no_row_points_to_nowhere(server: ModuleType, loaded: Loaded) -> None:
    """The load had the checks of foreign keys off: ask for each of them now."""
    asked = []
    for database in ("cloud", "cloud_usage"):
        for table in tables(database).values():
            for key in table.keys:
                if key.kind == "fk":
                    on = " AND ".join(f"p.`{b}` = c.`{a}`" for a, b in zip(key.columns, key.references, strict=True))
                    asked.append(
                        f"SELECT '{table.name} {key.name}', COUNT(*) FROM `{database}`.`{table.name}` c"
                        f" LEFT JOIN `{database}`.`{key.table}` p ON {on}"
                        f" WHERE c.`{key.columns[0]}` IS NOT NULL AND p.`{key.references[0]}` IS NULL;"
                    )
    answers = server.query("\n".join(asked))
    assert len(answers) == len(asked) > 400
    assert [row for row in answers if row[1] != "0"] == []


def test_views_answer(server: ModuleType, loaded: Loaded) -> None:
    for name in views("cloud"):
        # CloudStack's own session mode: several views group by less than they select
        rows = server.query(f"SET SESSION sql_mode = 'STRICT_TRANS_TABLES'; SELECT COUNT(*) FROM `{name}`", "cloud")
        assert int(rows[0][0]) >= 0
    running = server.query("SELECT COUNT(DISTINCT id) FROM domain_router_view WHERE state = 'Running'", "cloud")
    assert running == [["3"]]


def test_procedures_work_and_may_be_repeated(server: ModuleType, loaded: Loaded) -> None:
    add = "CALL IDEMPOTENT_ADD_COLUMN('cloud.site_log', 'extra', 'int NULL DEFAULT 7');"
    server.query(add + add, "cloud")
    assert server.query("SELECT DISTINCT extra FROM site_log", "cloud") == [["7"]]
    change = "CALL IDEMPOTENT_CHANGE_COLUMN('cloud.site_log', 'extra', 'more', 'bigint NULL');"
    server.query(change + change, "cloud")
    key = "CALL IDEMPOTENT_ADD_KEY('i_site_log__more', 'cloud.site_log', '(more)');"
    drop = "CALL IDEMPOTENT_DROP_INDEX('i_site_log__more', 'cloud.site_log');"
    server.query(key + key + drop + drop, "cloud")
    server.query("ALTER TABLE site_log DROP COLUMN more", "cloud")
    permission = "CALL IDEMPOTENT_UPDATE_API_PERMISSION('Domain Admin', 'listHosts', 'ALLOW');"
    server.query(permission + permission, "cloud")
    rules = server.query("SELECT rule, permission FROM role_permissions WHERE role_id = 3 ORDER BY sort_order", "cloud")
    assert rules[-2:] == [["listHosts", "ALLOW"], ["*", "DENY"]]
    mapping = "CALL ADD_GUEST_OS_AND_HYPERVISOR_MAPPING(2, 'Debian 13 (64-bit)', 'KVM', 'default', 'Debian 13');"
    server.query(mapping + mapping, "cloud")
    found = server.query("SELECT COUNT(*) FROM guest_os_hypervisor WHERE guest_os_name = 'Debian 13'", "cloud")
    assert found == [["1"]]
    usage = "CALL IDEMPOTENT_ADD_UNIQUE_INDEX('usage_vpc', 'u_test', '(vpc_id, created)');"
    server.query(usage + usage + "CALL IDEMPOTENT_DROP_INDEX('u_test', 'usage_vpc');", "cloud_usage")


def test_programs_belong_to_cloud_at_localhost(server: ModuleType, loaded: Loaded) -> None:
    asked = (
        "SELECT DISTINCT definer FROM information_schema.views WHERE table_schema = 'cloud' UNION "
        "SELECT DISTINCT definer FROM information_schema.routines WHERE routine_schema LIKE 'cloud%'"
    )
    assert server.query(asked) == [["cloud@localhost"]]


def test_the_account_logs_in(server: ModuleType, loaded: Loaded) -> None:
    program = server.client[len(server.inside)]
    done = subprocess.run(
        [*server.inside, "env", f"MYSQL_PWD={ACCOUNTS.password}", program, "-ucloud", "-N", "-e", "SELECT COUNT(*) FROM cloud.host"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr


def test_values_survive_the_server(server: ModuleType, loaded: Loaded) -> None:
    assert loaded.generated is not None
    secrets = loaded.generated.secrets
    stored = server.query("SELECT value FROM configuration WHERE name = 'init'", "cloud")[0][0]
    assert decrypt(stored, secrets.database_key, "V2") == "true"
    stored = server.query("SELECT HEX(value) FROM configuration WHERE name = 'ssh.privatekey'", "cloud")[0][0]
    assert decrypt(bytes.fromhex(stored).decode(), secrets.database_key, "V2") == secrets.ssh_private_key
    assert server.query("SELECT COUNT(*) FROM event WHERE description LIKE '%🚀%'", "cloud") != [["0"]]
    trailing = server.query("SELECT COUNT(*) FROM site_inventory WHERE HEX(label) LIKE '%2020'", "cloud")
    assert trailing != [["0"]]
    assert server.query("SELECT COUNT(*) FROM site_inventory WHERE bought < DATE'0001-01-01'", "cloud") != [["0"]]


def test_a_second_load_is_refused(server: ModuleType, loaded: Loaded) -> None:
    with pytest.raises(LoadFailed, match="databases are not empty"):
        load(server.client, PLAN)


def test_a_dump_of_it_loads_again_and_is_the_same(server: ModuleType, loaded: Loaded, tmp_path: Path) -> None:
    program = "mariadb-dump" if server.family == "mariadb" else "mysqldump"
    # dump programs write a FLOAT with six digits: the one value that this would damage is taken out before
    server.query("UPDATE site_inventory SET ratio = 2.5 WHERE ratio > 1e6 AND ratio < 1e9", "cloud")
    dumps = {}
    for database in ("cloud", "cloud_usage"):
        dumps[database] = tmp_path / f"{database}.sql"
        with dumps[database].open("wb") as file:
            subprocess.run(
                [*server.inside, program, "--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", database],
                stdout=file,
                check=True,
            )
    before = {what: _schema(server, what) for what in SCHEMA}
    sums = {database: _checksums(server, database) for database in dumps}
    with _servers().DatabaseServer(base_root() if server.family == "mariadb" else mysql_root()) as other:
        load(other.client, dumps, accounts=ACCOUNTS)
        for what in SCHEMA:
            found = _schema(other, what)
            if what == "views":  # Made from a print they are printed otherwise, and their columns are the server's own conclusion.
                found, before[what] = ({row[:2] + row[3:] for row in rows} for rows in (found, before[what]))
            if what == "columns":
                found, before[what] = ({row for row in rows if row[1] not in views("cloud")} for rows in (found, before[what]))
            assert found == before[what], what
        for database in dumps:
            assert _checksums(other, database) == sums[database]


def _checksums(server: ModuleType, database: str) -> dict[str, str]:
    names = _names(server, database)
    answers = server.query("CHECKSUM TABLE " + ", ".join(f"`{database}`.`{name}`" for name in names))
    return {row[0]: row[1] for row in answers}


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_the_three_ways_hold_the_same_and_print_it_differently(family: str) -> None:
    shown = (
        "SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'account_view'",
        "SELECT DISTINCT DATABASE_COLLATION, SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'cloud'",
        "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'cloud'",
    )
    with _servers().DatabaseServer(base_root() if family == "mariadb" else mysql_root()) as server:
        dump = [*server.inside, *DUMP["mariadb" if family == "mariadb" else "mysql"]]
        load(server.client, PLAN.with_(site_tables=False), accounts=ACCOUNTS)
        read = [server.query(text) for text in shown]
        sums = {name: _checksums(server, name) for name in DATABASES}
        rows = server.query("SELECT * FROM account_view ORDER BY id", "cloud")
        for origin in ("restored", "restored-old"):
            restore(server.client, dump, DATABASES, origin)
            again = [server.query(text) for text in shown]
            assert {name: _checksums(server, name) for name in DATABASES} == sums, origin
            assert server.query("SELECT * FROM account_view ORDER BY id", "cloud") == rows, origin
            assert again[2] == read[2] == [["utf8mb4_general_ci"]], origin
            assert again[0] != read[0], origin
            assert (again[1] == read[1]) is (origin == "restored"), origin


def test_the_schema_is_that_of_a_real_cloudstack() -> None:
    """Everything that MariaDB shows of a schema, compared between the generated database and a real dump."""
    dumps = {name: DATA / f"{name}-4.20.3.0.sql.xz" for name in ("cloud", "cloud_usage")}
    if not all(path.exists() for path in dumps.values()):
        pytest.skip("no dump of a real CloudStack 4.20.3.0 (../shared/data) to compare with")
    found = []
    for source in (dumps, PLAN.with_(site_tables=False)):
        with _servers().DatabaseServer(base_root()) as server:
            load(server.client, source, accounts=ACCOUNTS)
            if source is not dumps:  # What a server prints of a view is another text once it is made from a print.
                restore(server.client, [*server.inside, "mariadb-dump"], DATABASES, "restored")
            found.append({what: _schema(server, what) for what in SCHEMA})
    real, own = found
    for what in SCHEMA:
        assert own[what] == real[what], what
