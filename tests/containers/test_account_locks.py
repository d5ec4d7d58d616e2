"""Accounts kept out of real servers of both families and put back as they were, and a server that hangs closed by the next rung of the ladder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.services import Services
from parallel_build.database.copy import copy
from parallel_build.database.server import account_locks, bookkeeping
from parallel_build.errors import GuardFailed
from parallel_build.operations import fence_new_database
from parallel_build.operations.context import Context
from parallel_build.operations.known_servers import touch
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.touched import START
from parallel_build.records.window import WindowRecord
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from parallel_build.secret import Secret
from tests.containers.database_stand import roots, sql, stand
from tests.fast.memory_records import Records
from tests.fast.sites import site

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
SCHEMAS = ["cloud", "cloud_usage"]
NO_TLS = 2026
PASSWORD = "Lab-Password-1"
USERS = f"""
CREATE DATABASE cloud; CREATE DATABASE cloud_usage; CREATE DATABASE billing; CREATE TABLE cloud.t (id INT PRIMARY KEY); CREATE TABLE cloud.x (id INT);
CREATE PROCEDURE cloud.p() SELECT 1;
CREATE USER cloud@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON cloud.* TO cloud@'%'; GRANT PROCESS ON *.* TO cloud@'%';
CREATE USER usage2@'%' IDENTIFIED BY '{PASSWORD}'; GRANT INSERT ON `cloud\\_usage`.* TO usage2@'%';
CREATE USER wild@'%' IDENTIFIED BY '{PASSWORD}'; GRANT INSERT ON `clou%`.* TO wild@'%';
CREATE USER one@'%' IDENTIFIED BY '{PASSWORD}'; GRANT UPDATE ON cloud.t TO one@'%';
CREATE USER col@'%' IDENTIFIED BY '{PASSWORD}'; GRANT UPDATE (id) ON cloud.t TO col@'%';
CREATE USER caller@'%' IDENTIFIED BY '{PASSWORD}'; GRANT EXECUTE ON PROCEDURE cloud.p TO caller@'%';
CREATE USER member@'%' IDENTIFIED BY '{PASSWORD}'; CREATE ROLE team; GRANT DELETE ON cloud.* TO team; GRANT team TO member@'%';
CREATE USER admin@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO admin@'%';
CREATE USER stands@'%' IDENTIFIED BY '{PASSWORD}'; GRANT PROXY ON cloud@'%' TO stands@'%';
CREATE USER billing@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON billing.* TO billing@'%';
CREATE USER reader@'%' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT ON *.* TO reader@'%';
CREATE USER follower@'%' IDENTIFIED BY '{PASSWORD}'; GRANT REPLICATION SLAVE ON *.* TO follower@'%';
CREATE USER left2@'%' IDENTIFIED BY '{PASSWORD}' ACCOUNT LOCK; GRANT ALL ON cloud.* TO left2@'%';
"""
WRITERS = {"cloud", "usage2", "wild", "one", "col", "caller", "member", "admin", "stands", "left2"}


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A new source with accounts of every kind that may write."""
    root = roots().get(request.param)
    if root is None:
        pytest.skip(f"no root file system with {request.param}")
    with stand() as made:
        host = made.add("newdb1", root, 31)
        sql(host, USERS)
        yield host


def log_in(host: Host, user: str) -> Any:
    tls = {"verify_mode": "none", "check_hostname": False}  # where the server offers it: MySQL's passwords travel over nothing else
    words: dict[str, Any] = {"host": host.server.address, "user": user, "password": PASSWORD, "connect_timeout": 10, "read_timeout": 20}
    try:
        return pymysql.connect(**words, ssl=tls)
    except pymysql.err.OperationalError as error:
        if error.args[0] != NO_TLS:
            raise
    return pymysql.connect(**words)


def refused(host: Host, user: str) -> bool:
    try:
        log_in(host, user).close()
    except pymysql.err.MySQLError:
        return True
    return False


def accounts(host: Host) -> str:
    """Every account as its server prints it, with its hash."""
    with session(host) as database:
        names = database.rows("SELECT User AS u, Host AS h FROM mysql.user WHERE Host <> '' ORDER BY 1, 2")
        return "\n".join(str(database.row("SHOW CREATE USER %s@%s", [row["u"], row["h"]])) for row in names)


def position(host: Host) -> str:
    with session(host) as database:
        return str(database.rows("SHOW BINARY LOGS")[-1])


@pytest.mark.parametrize("locks", [True, False], ids=["account lock", "password"])
def test_who_may_write_is_kept_out_and_comes_back_as_it_was(server: Host, locks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with session(server) as database:
        mariadb = "mariadb" in str(database.value("SELECT VERSION()")).lower()
    if not locks:
        if not mariadb:
            pytest.skip("every MySQL that is supported can lock an account")
        monkeypatch.setattr(account_locks, "LOCKS_SINCE", {"mariadb": (99, 0, 0)})
    before, at = accounts(server), position(server)
    found = account_locks.look(server, SCHEMAS, timeout=20)
    roles = set() if mariadb else {"team"}  # MySQL's roles are accounts, which are locked as they are made
    assert {each.name.user for each in found} == WRITERS | roles, (
        "by their grants; the reader, the replica and who owns another database are none"
    )
    assert all(bool(each.restore) is not locks for each in found)
    kept = [account_locks.AccountLock.of(each.kept()) for each in found]
    assert kept == found
    open_before = [log_in(server, "cloud"), log_in(server, "cloud"), log_in(server, "wild")]
    busy = open_before[0].cursor()
    busy.execute("BEGIN")
    busy.execute("INSERT INTO cloud.t VALUES (1)")
    stays = log_in(server, "billing")
    assert account_locks.close(server, found, timeout=20, cancel=CancelToken()) == 3
    assert [user for user in sorted(WRITERS) if not refused(server, user)] == []
    assert not refused(server, "reader") and not refused(server, "billing")
    for each in open_before:
        with pytest.raises(pymysql.err.MySQLError):
            each.cursor().execute("INSERT INTO cloud.x VALUES (1)")
    stays.cursor().execute("SELECT 1")
    assert account_locks.closed(server, found, timeout=20) == []
    assert sql(server, "SELECT COUNT(*) FROM cloud.t; SELECT COUNT(*) FROM cloud.x").split() == ["0", "0"]
    assert account_locks.close(server, found, timeout=20, cancel=CancelToken()) == 0, "closed is closed"
    changed = account_locks.put_back(server, found, timeout=20)
    assert {name.user for name in changed} == WRITERS - ({"left2"} if locks else set())
    assert accounts(server) == before
    assert [user for user in sorted(WRITERS) if refused(server, user)] == ["left2"]
    assert account_locks.put_back(server, found, timeout=20) == [] or not locks
    assert position(server) == at, "nothing of it is in the binary log"


def test_the_tools_own_account_and_root_of_the_machine_are_spared_whoever_asks(server: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a password the tool logs in as somebody else than root, who still comes through the socket."""
    sql(server, f"CREATE USER tool@localhost IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO tool@localhost WITH GRANT OPTION")
    monkeypatch.setattr(server, "database", dataclasses.replace(server.database, user="tool", password=Secret(PASSWORD)))
    found = account_locks.look(server, SCHEMAS, timeout=20)
    assert {each.name.user for each in found} >= WRITERS and not {"root", "tool"} & {each.name.user for each in found}
    account_locks.close(server, found, timeout=20, cancel=CancelToken())
    try:
        assert sql(server, "SELECT 1").split() == ["1"], "root through the socket"
        assert refused(server, "admin")
    finally:
        account_locks.put_back(server, found, timeout=20)
        sql(server, "DROP USER tool@localhost")
    assert not refused(server, "admin")


def test_an_account_that_was_dropped_meanwhile_keeps_the_others_from_nothing(server: Host) -> None:
    sql(server, f"CREATE USER gone@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON cloud.* TO gone@'%'")
    found = account_locks.look(server, SCHEMAS, timeout=20)
    account_locks.close(server, found, timeout=20, cancel=CancelToken())
    sql(server, "DROP USER gone@'%'")
    assert {name.user for name in account_locks.put_back(server, found, timeout=20)} == WRITERS - {"left2"}


def test_databases_that_users_work_on_are_neither_dropped_nor_imported_over(server: Host) -> None:
    with session(server) as database:
        bookkeeping.mark(database, bookkeeping.SERVED, "an identity 2026-11-29")
    with pytest.raises(GuardFailed, match="were switched to, and users may have worked on them") as caught:
        copy.empty(server, SCHEMAS)
    assert "set by the window an identity 2026-11-29" in caught.value.cause
    assert sql(server, "SHOW TABLES IN cloud").split() == ["t", "x"]
    sql(server, caught.value.remedy.split("on newdb1, ")[1])
    copy.empty(server, ["cloud_usage"])


@dataclasses.dataclass
class Hosts:
    """The one server that is really there."""

    there: Host
    token: int | None = None

    def host(self, server: Any) -> Any:
        return self.there if server.name == self.there.name else SimpleNamespace(name=server.name)


@pytest.mark.parametrize("stops", [True, False], ids=["SIGTERM ends it", "only SIGKILL ends it"])
def test_a_server_that_hangs_is_closed_by_the_next_rung_and_runs_again_as_it_was(
    server: Host, stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is stopped: SQL hangs. systemd lets what it ends run on first, so that a server which no SIGTERM ends is one that is never sent it."""
    where = site()
    context = Context(where, Hosts(server), RunFolder(tmp_path, "test", []), CancelToken(), print, "Test")  # type: ignore[arg-type]
    record = WindowRecord("test", where.identity, opened="then", returning="now")
    source = where.configuration.new.database.source
    record.servers = {"newdb1": touch(context, source, START)}
    records = Records(record, where)
    monkeypatch.setattr(fence_new_database, "store", lambda context: records)
    for name, seconds in (("LOCK_LIMIT", 6.0), ("STOP_LIMIT", 25.0 if stops else 5.0)):
        monkeypatch.setattr(fence_new_database, name, seconds)
    services = Services(server)
    unit = services.database_unit()
    before = services.state(unit)
    open_ = log_in(server, "cloud")
    server.run(["systemctl", "kill", "--kill-who=all", "--signal=STOP", unit])
    if not stops:
        monkeypatch.setattr(fence_new_database, "STOP_UNIT", 'systemctl mask "$1"')
    how = fence_new_database.fence(context)
    assert how == {"newdb1": fence_new_database.STOPPED if stops else fence_new_database.KILLED}
    assert services.state(unit).fenced and not services.listening([3306])
    with pytest.raises(pymysql.err.MySQLError):
        open_.cursor().execute("INSERT INTO cloud.x VALUES (1)")
    assert fence_new_database.fence(context) == how
    monkeypatch.undo()
    monkeypatch.setattr(fence_new_database, "store", lambda context: records)
    assert fence_new_database.lift(context, record) == []
    after = services.state(unit)
    assert (after.active, after.enabled, after.masked) == (before.active, before.enabled, before.masked)
    with session(server) as database:
        assert database.value("SELECT 1") == 1
