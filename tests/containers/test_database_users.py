"""Who else uses a database server, and which rows of mshost are written, on real servers of both families."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from parallel_build.cloudstack import heartbeats
from parallel_build.facts import database_users, management_node
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import roots, sql, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
USERS = """
CREATE DATABASE cloud; CREATE DATABASE cloud_usage; CREATE DATABASE billing; CREATE DATABASE test;
CREATE TABLE cloud.configuration (name varchar(255), value varchar(255));
CREATE TABLE cloud.mshost (id int PRIMARY KEY, msid bigint, name varchar(255), service_ip char(40), state varchar(20), version varchar(255),
                           removed datetime, last_update datetime);
INSERT INTO cloud.mshost VALUES (1, 11, 'oldms1', '10.91.0.11', 'Up', '4.20.3.0', NULL, UTC_TIMESTAMP()),
                                (2, 12, 'oldms2', '127.0.0.1', 'Up', '4.20.3.0', NULL, UTC_TIMESTAMP() - INTERVAL 40 DAY),
                                (3, 13, 'oldms3', '10.91.0.12', 'Down', '4.20.3.0', UTC_TIMESTAMP(), UTC_TIMESTAMP());
CREATE USER cloud@'%' IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON cloud.* TO cloud@'%'; GRANT PROCESS ON *.* TO cloud@'%';
CREATE USER billing@'10.0.0.5' IDENTIFIED BY 'Lab-Password-1'; GRANT INSERT ON billing.* TO billing@'10.0.0.5';
CREATE USER exporter@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT PROCESS, REPLICATION CLIENT, SELECT ON *.* TO exporter@localhost;
CREATE USER dump@'%' IDENTIFIED BY 'Lab-Password-1'; GRANT SELECT, LOCK TABLES, SHOW VIEW, EVENT, TRIGGER ON cloud.* TO dump@'%';
CREATE USER member@'%' IDENTIFIED BY 'Lab-Password-1'; CREATE ROLE team; GRANT DELETE ON cloud.* TO team; GRANT team TO member@'%';
CREATE USER caller@'%' IDENTIFIED BY 'Lab-Password-1'; CREATE PROCEDURE cloud.p() SELECT 1; GRANT EXECUTE ON PROCEDURE cloud.p TO caller@'%';
CREATE USER follower@'%' IDENTIFIED BY 'Lab-Password-1'; GRANT REPLICATION SLAVE ON *.* TO follower@'%';
"""


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Host]:
    """An original's source with users of its own."""
    root = roots().get(request.param)
    if root is None:
        pytest.skip(f"no root file system with {request.param}")
    with stand() as made:
        original = made.add("olddb1", root, 13)
        sql(original, USERS)
        yield original


def test_schemas_accounts_and_clients_are_found(server: Host) -> None:
    with session(server) as database:
        found = database_users.read(database)
    assert found.schemas == ("billing",)
    writes = {str(account): bool(account.writes) for account in found.accounts}
    assert writes == {
        "cloud@%": True, "billing@10.0.0.5": True, "exporter@localhost": False, "dump@%": False, "member@%": True, "caller@%": True,
        "follower@%": False,
    }  # fmt: skip
    assert [str(account) for account in found.accounts if account.replicates] == ["follower@%"]
    assert found.clients == ()


def test_an_open_session_is_a_client(server: Host) -> None:
    script = "mysql --protocol=socket -ubilling_local -pLab-Password-1 -e 'SELECT SLEEP(8)' || mariadb -ubilling_local -pLab-Password-1 -e 'SELECT SLEEP(8)'"
    sql(server, "CREATE USER billing_local@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT SELECT ON *.* TO billing_local@localhost;")
    held = threading.Thread(target=server.script, args=(script,), kwargs={"ok": None})
    held.start()
    try:
        with session(server) as database:
            found: list[str] = []
            for _ in range(100):
                found = [f"{each.user} from {each.host}" for each in database_users.read(database).clients]
                if found:
                    break
                database.value("SELECT SLEEP(0.05)")
    finally:
        held.join()
    assert found == ["billing_local from localhost"]


def test_a_row_that_is_written_beats_whatever_its_age(server: Host) -> None:
    with session(server) as writer, session(server) as database:
        ticks = iter(range(1, 100))

        def wait(seconds: float) -> None:
            writer.execute(f"UPDATE cloud.mshost SET last_update = UTC_TIMESTAMP() - INTERVAL {next(ticks)} HOUR WHERE id = 1")
            database.value(f"SELECT SLEEP({seconds})")

        rows = heartbeats.watch(database, wait)
    assert {row["name"]: row["beats"] for row in rows} == {"oldms1": True, "oldms2": False}
    assert rows[0]["age"] is not None and rows[0]["msid"] == 11


def test_a_server_says_who_it_is(server: Host) -> None:
    names, cards, machine = management_node.who(server)
    assert "olddb1" in names and cards and all(0 < card < 1 << 48 for card in cards)
    assert machine == "" or len(machine) == 32
    assert "127.0.0.1" in management_node.addresses_of(server, "localhost")
