"""Access to a database server as dbas have it: a socket anywhere, root with a password, an account of their own, SSH as a user with sudo."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy
from parallel_build.database.server import rights
from parallel_build.database.server.dialects import identify
from parallel_build.errors import ConnectionFailed
from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from parallel_build.secret import Secret
from tests.containers.database_stand import MARIADB_CONF, MYSQL_CONF, Stand, roots, sql, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
WORD = "Lab-Password 1#'x"
MOVE = r"""
unit=$1 file=$2
install -d -o mysql -g mysql -m 755 /data
sed -i '/^socket/d' "$file"; printf 'socket = /data/own.sock\n' >>"$file"
systemctl restart "$unit"
"""
# A file of the right kind where a server used to listen, as a crash leaves it.
STALE = """
install -d -m 755 /run/mysqld
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/mysqld/mysqld.sock")'
"""
DBA = """
useradd -m -s /bin/bash dba 2>/dev/null || true
install -d -o dba -m 700 /home/dba/.ssh
install -o dba -m 600 /root/.ssh/authorized_keys /home/dba/.ssh/authorized_keys
echo 'dba ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/dba; chmod 440 /etc/sudoers.d/dba
"""


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def machines(request: pytest.FixtureRequest) -> Iterator[tuple[Stand, Host, Host]]:
    """An original whose socket is elsewhere and whose root has a password, and a new server whose root has another."""
    root = roots().get(request.param)
    if root is None:
        pytest.skip(f"no root file system with {request.param}")
    with stand() as made:
        old, new = made.add("olddb1", root, 13), made.add("newdb1", root, 31)
        sql(
            old,
            "CREATE DATABASE own; CREATE TABLE own.t (id int PRIMARY KEY, name varchar(20)); INSERT INTO own.t VALUES (1, 'one'), (2, 'zwei');",
        )
        for host in (old, new):
            sql(host, "CREATE USER reader@localhost IDENTIFIED BY 'reader'; GRANT SELECT ON *.* TO reader@localhost;")
            plugin = "mysql_native_password" if request.param == "mariadb" else "caching_sha2_password"
            how = f"VIA {plugin} USING PASSWORD" if request.param == "mariadb" else f"WITH {plugin} BY "
            word = WORD.replace("'", "''")
            sql(host, f"ALTER USER root@localhost IDENTIFIED {how}" + (f"('{word}')" if request.param == "mariadb" else f"'{word}'"))
        old.script(MOVE, [request.param, MARIADB_CONF if request.param == "mariadb" else MYSQL_CONF], timeout=120)
        old.script(STALE)
        yield made, old, new


def _answers(host: Host) -> str:
    with session(host) as opened:
        return str(opened.value("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"))


def _as(host: Host, login: DatabaseLogin) -> None:
    host.database = login


def test_the_socket_is_found_wherever_the_server_listens(machines: tuple[Stand, Host, Host]) -> None:
    assert find_socket(machines[1]) == "/data/own.sock"
    assert find_socket(machines[2]) in ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock")


def test_a_password_is_asked_for_by_key_and_serves_by_secret_or_by_file(machines: tuple[Stand, Host, Host]) -> None:
    old = machines[1]
    _as(old, DatabaseLogin("original.database"))
    with pytest.raises(ConnectionFailed, match=r"does not let root in through /data/own\.sock") as caught:
        _answers(old)
    assert "secret originalDatabasePassword" in str(caught.value)
    _as(old, DatabaseLogin("original.database", password=Secret("wrong")))
    with pytest.raises(ConnectionFailed, match=r"Access denied") as caught:
        _answers(old)
    assert "correct original.database.admin.user and the secret" in str(caught.value)
    _as(old, DatabaseLogin("original.database", password=Secret(WORD)))
    assert _answers(old) == "root"
    old.write("/root/.my.cnf", f'[client]\nuser=root\npassword="{WORD}"\n')
    _as(old, DatabaseLogin("original.database", option_file="/root/.my.cnf"))
    assert _answers(old) == "root"


def test_rights_are_known_before_they_are_needed(machines: tuple[Stand, Host, Host]) -> None:
    old = machines[1]
    _as(old, DatabaseLogin("original.database", password=Secret(WORD)))
    with session(old) as opened:
        assert rights.missing(opened, identify(opened)) == []
    _as(old, DatabaseLogin("original.database", user="reader", password=Secret("reader")))
    with session(old) as opened:
        server = identify(opened)
        assert opened.value("SELECT COUNT(*) FROM own.t") == 2
        missing = rights.missing(opened, server)
    assert "SELECT" not in missing and {"CREATE USER", "RELOAD", "PROCESS", server.dialect.status_grant} <= set(missing)
    _as(old, DatabaseLogin("original.database", password=Secret(WORD)))
    with session(old) as opened:
        opened.execute(f"GRANT {', '.join(missing)} ON *.* TO 'reader'@'localhost' WITH GRANT OPTION")
    _as(old, DatabaseLogin("original.database", user="reader", password=Secret("reader")))
    with session(old) as opened:
        assert rights.missing(opened, server) == []


def test_a_copy_needs_no_more_than_these_accounts_and_shows_no_password(machines: tuple[Stand, Host, Host]) -> None:
    _, old, new = machines
    # The account with just the rights that are named as needed.
    _as(old, DatabaseLogin("original.database", user="reader", password=Secret("reader")))
    _as(new, DatabaseLogin("new.database", password=Secret(WORD)))
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(new.run(["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"], ok=None).stdout)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        copy.copy(old, new, ["own"], threads=2, cancel=CancelToken(), progress=lambda text: None)
    finally:
        done.set()
        looking.join()
    assert seen and WORD not in "".join(seen)
    assert not new.run(["sh", "-c", 'grep -rlsF -- "$1" /run /tmp /var/tmp', "sh", WORD], ok=(0, 1)).stdout
    verdict = compare.compare(old, new, ["own"], threads=1, cancel=CancelToken(), progress=lambda text: None)
    assert verdict.same and verdict.rows == 2


def test_a_user_with_sudo_reaches_the_socket(machines: tuple[Stand, Host, Host]) -> None:
    made, old, new = machines
    if not new.run(["which", "sudo"], ok=(0, 1)).ok:
        pytest.skip("the image has no sudo")
    for host in (old, new):
        host.script(DBA)
        public = (made.folder / f"key-{host.name}.pub").read_text().strip()
        server: Server = host.server.model_copy(update={"name": f"{host.name}-op", "ssh_user": "dba"})
        other = Host(server, host.ssh, host.folder, public, CancelToken())
        try:
            other.database = DatabaseLogin("original.database", password=Secret(WORD))
            assert _answers(other) == "root" and other.run(["id", "-u"]).stdout.strip() == "0"
            other.database = replace(other.database, password=Secret("wrong"))
            with pytest.raises(ConnectionFailed, match="secret originalDatabasePassword"):
                _answers(other)
        finally:
            other.close()
