"""How the tool logs in to a database server: accounts, option files, sockets, and what is reported where it is not let in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.configuration import load, load_secrets
from parallel_build.database.copy import account
from parallel_build.database.server import rights
from parallel_build.database.server.dialects import DatabaseServer, dialect_of
from parallel_build.errors import ConfigurationError, ConnectionFailed, GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.original import account_has_its_rights
from parallel_build.remote import database_client, database_socket
from parallel_build.remote.database_login import DatabaseLogin, login_of, parse_options
from parallel_build.remote.database_socket import Found, choose, find_socket
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret
from tests.fast.local_host import LocalHost
from tests.fast.sites import SECRETS, site, values

PASSWORD = "p# \"a\\b'$1"


def _site(admin: dict[str, Any], *, new: dict[str, Any] | None = None, **secrets: str) -> Site:
    given = values()
    given["original"]["database"]["admin"] = admin
    if new is not None:
        given["new"]["database"]["admin"] = new
    return Site("test", load(given, "test"), load_secrets({**SECRETS, **secrets}, "test"), {})


def test_root_by_its_socket_is_the_login_without_a_word() -> None:
    plain = site()
    for name in ("olddb1", "olddb2", "newdb1", "oldms1"):
        login = login_of(plain, name)
        assert (login.user, login.password, login.socket, login.option_file) == ("root", None, None, None)


def test_an_account_is_used_on_its_own_side_only() -> None:
    own = _site(
        {"user": "dba", "socket": "/data/my.sock"}, new={"user": "admin"}, originalDatabasePassword="one", newDatabasePassword="two"
    )
    old, new = login_of(own, "olddb2"), login_of(own, "newdb1")
    assert (old.user, old.password, old.socket) == ("dba", Secret("one"), "/data/my.sock")
    assert (new.user, new.password, new.socket) == ("admin", Secret("two"), None)
    assert login_of(own, "oldms1").password is None


def test_an_account_of_the_new_side_is_for_servers_that_are_there_already() -> None:
    given = values(
        new={"platform": "container"}, platforms={"container": {"root": "/", "folder": "/nowhere", "namespace": "n", "bridge": "b"}}
    )
    given["new"]["database"]["admin"] = {"user": "admin"}
    with pytest.raises(ConfigurationError, match=r"new\.database\.admin: only for servers of platform existing"):
        load(given, "test")


@pytest.mark.parametrize("admin", [{"socket": "data/my.sock"}, {"optionFile": "my.cnf; rm"}, {"user": "ro'ot"}, {"password": "clear"}])
def test_what_is_no_account_is_refused_by_its_key(admin: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"original\.database\.admin"):
        _site(admin)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[client]\nuser=root\npassword=abc\n", {"user": "root", "password": "abc"}),
        ("[mysqld]\nuser=mysql\n[client]\nuser = dba\npassword = 'a #b' \n", {"user": "dba", "password": "a #b"}),
        ("[client]\nuser=debian-sys-maint\npassword=x#y # a word\nsocket = /run/s\n", {"user": "debian-sys-maint", "password": "x#y", "socket": "/run/s"}),
        ('[client]\npassword="a\\\\b\\sc\\d"\n', {"password": "a\\b c\\d"}),
        ("# [client]\nuser=nobody\n[Client-Server]\nuser=one\n[mysql]\nuser=two\n!include /etc/x\n", {"user": "two"}),
        ('[client]\npassword = "a#b c"  # the DBA\'s\nuser=\'dba\' #x\n', {"password": "a#b c", "user": "dba"}),
        ("[client]\npassword='q\"#z'\n#password=old\n", {"password": 'q"#z'}),
        ("[mysqldump]\nuser=backup\n", {}),
    ],
)  # fmt: skip
def test_option_files_are_read_as_the_programs_read_them(text: str, found: dict[str, str]) -> None:
    assert parse_options(text) == found


@pytest.mark.skipif(not shutil.which("my_print_defaults"), reason="no my_print_defaults here")
@pytest.mark.parametrize("password", [PASSWORD, 'a"b#c', "a'b#c", "#", "' #", '" #', "a\\#b", " a b "])
def test_what_we_write_into_an_option_file_a_client_reads_back(tmp_path: Path, password: str) -> None:
    login = DatabaseLogin(user="dba", password=Secret(password))
    file = tmp_path / "my.cnf"
    file.write_text(database_client.option_text(login, "/run/s").reveal())
    assert parse_options(file.read_text()) == {"user": "dba", "password": password, "socket": "/run/s"}
    shown = subprocess.run(
        ["my_print_defaults", f"--defaults-file={file}", "--show", "client"], check=False, capture_output=True, text=True
    ).stdout or subprocess.run(
        ["my_print_defaults", f"--defaults-file={file}", "client"], check=True, capture_output=True, text=True
    ).stdout  # fmt: skip
    assert shown.splitlines() == ["--socket=/run/s", "--user=dba", f"--password={password}"]


class _Written(LocalHost):
    """A host that keeps what is written, and the words of every command."""

    def __init__(self, login: DatabaseLogin) -> None:
        super().__init__("newdb1")
        self.database, self.words, self.files = login, list[str](), dict[str, Any]()

    def login(self) -> DatabaseLogin:
        return self.database

    def run(self, argv: Any, **given: Any) -> Any:
        self.words += argv
        return super().run(["true"])

    def write(self, path: str, content: Any, **given: Any) -> None:
        self.files[path] = content


def test_a_password_is_in_a_file_and_never_among_the_words() -> None:
    host: Any = _Written(DatabaseLogin(user="dba", password=Secret(PASSWORD)))
    words = database_client.login_words(host, "/run/s", "/run/ours/client.cnf")
    assert words == ["--defaults-file=/run/ours/client.cnf"]
    assert PASSWORD not in " ".join(host.words) and isinstance(host.files["/run/ours/client.cnf"], Secret)
    host = _Written(DatabaseLogin())
    assert database_client.login_words(host, "/run/s", "/run/ours/client.cnf") == ["--no-defaults", "--socket=/run/s", "--user=root"]
    assert not host.files


def test_the_option_file_s_account_is_used_and_hidden() -> None:
    login = DatabaseLogin("original.database", option_file="/root/.my.cnf")
    found = login.resolved("olddb1", b"[client]\nuser=dba\npassword=hidden-word\nsocket=/data/s\n")
    assert (found.user, found.password, found.socket) == ("dba", Secret("hidden-word"), "/data/s")
    assert "hidden-word" not in repr(found) + str(found)
    assert replace(login, socket="/own").resolved("olddb1", b"[client]\nuser=a\nsocket=/data/s\n").socket == "/own"


@pytest.mark.parametrize(
    ("content", "why"), [(None, "no such file"), (b"[mysqld]\nuser=mysql\n", "no user or password"), (b"\xff\xfe\0", "no user")]
)
def test_a_useless_option_file_is_named_with_its_key(content: bytes | None, why: str) -> None:
    login = DatabaseLogin("original.database", option_file="/root/.my.cnf")
    with pytest.raises(ConnectionFailed, match=why) as caught:
        login.resolved("olddb1", content)
    assert "original.database.admin.optionFile" in str(caught.value) and "/root/.my.cnf" in str(caught.value)


@pytest.mark.parametrize(
    ("login", "remedy"),
    [
        (DatabaseLogin("original.database"), "original.database.admin.user with the secret originalDatabasePassword"),
        (DatabaseLogin("original.database", password=Secret("x")), "config set --secret originalDatabasePassword"),
        (DatabaseLogin("new.database", password=Secret("x")), "config set --secret newDatabasePassword"),
        (DatabaseLogin("original.database", password=Secret("x"), option_file="/root/.my.cnf"), "/root/.my.cnf on olddb1"),
    ],
)
def test_a_refused_login_says_which_key_to_correct(login: DatabaseLogin, remedy: str) -> None:
    assert remedy in str(login.refused("olddb1", "/run/s", "(1045, 'Access denied')"))


@pytest.mark.parametrize(
    ("found", "path", "among"),
    [
        ([], None, ()),
        ([("usual", "/run/mysqld/mysqld.sock")], "/run/mysqld/mysqld.sock", ()),
        ([("other", "/data/s"), ("usual", "/run/mysqld/mysqld.sock")], "/data/s", ()),
        ([("other", "/a/s"), ("port", "/b/s")], "/b/s", ()),
        ([("port", "/b/mysqlx.sock"), ("port", "/b/s")], "/b/s", ()),
        ([("other", "/a/s"), ("other", "/var/lib/mysql/mysql.sock")], "/var/lib/mysql/mysql.sock", ()),
        ([("other", "/a/s"), ("other", "/b/s")], None, ["/a/s", "/b/s"]),
    ],
)
def test_of_several_sockets_the_one_of_the_configured_port_is_taken(
    found: list[tuple[str, str]], path: str | None, among: list[str]
) -> None:
    assert choose([Found(*each) for each in found]) == (path, among)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A program called mariadbd that listens on a socket with a blank in its path, on its X protocol's like, and on a port."""
    folder = tmp_path / "data of ours"
    folder.mkdir()
    program = tmp_path / "mariadbd"
    text = (
        "import socket, sys, time\n"
        "open('/proc/self/comm', 'w').write('mariadbd')\n"
        "all = [socket.socket(socket.AF_UNIX) for _ in range(2)] + [socket.socket()]\n"
        f"all[0].bind({str(folder / 'my.sock')!r}); all[1].bind({str(folder / 'mysqlx.sock')!r}); all[2].bind(('127.0.0.1', 0))\n"
        "[each.listen() for each in all]\n"
        "print(all[2].getsockname()[1], flush=True)\n"
        "time.sleep(60)\n"
    )
    program.write_text(text)
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield folder / "my.sock", int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


class _Found(LocalHost):
    def __init__(self, login: DatabaseLogin) -> None:
        super().__init__("olddb1")
        self.database = login

    def login(self) -> DatabaseLogin:
        return self.database


@pytest.mark.processes
def test_the_socket_is_found_from_the_running_server(server: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    path, port = server
    monkeypatch.setattr(database_socket, "USUAL", ())
    assert find_socket(_Found(DatabaseLogin(port=port))) == str(path)


@pytest.mark.parametrize(
    ("lines", "unit"),
    [
        ("port\t/s\trh-mariadb105-mariadb\n", "rh-mariadb105-mariadb"),
        ("port\t/s\tmariadb@cloud\nother\t/t\tmariadb@billing\n", "mariadb@cloud"),
        ("port\t/s\tmysqld\nport\t/s/mysqlx.sock\tmysqld\n", "mysqld"),
        ("other\t/t\tmysql@bootstrap\n", "mysql@bootstrap"),
        ("other\t/s\tmariadb@a\nother\t/t\tmariadb@b\n", ""),
        ("port\t/s\tssh\n", ""),  # started by hand
        ("port\t/s\tuser@0\n", ""),
        ("port\t/s\t\n", ""),
        ("usual\t/run/mysqld/mysqld.sock\n", ""),
    ],
)
def test_the_unit_is_found_from_the_running_server(lines: str, unit: str) -> None:
    host: Any = SimpleNamespace(database=DatabaseLogin(port=3306), script=lambda *_: SimpleNamespace(stdout=lines))
    assert database_socket.unit_of_server(host) == unit


@pytest.mark.processes
def test_a_control_group_names_the_innermost_unit(server: tuple[Path, int]) -> None:
    """By the script itself: a server that a test has started belongs to nothing that could be stopped for it."""
    path, port = server
    shown = LocalHost("olddb1").script(database_socket.LISTENING, [str(port), database_socket.PROGRAMS]).stdout
    kind, socket_, unit = next(line for line in shown.split("\n") if str(path) in line).split("\t")
    assert (kind, socket_) == ("port", str(path))
    group = Path(f"/proc/{os.getpid()}/cgroup").read_text()
    assert unit == "" or f"/{unit}.service" in group
    assert database_socket.unit_of_server(_Found(DatabaseLogin(port=port))) == ""


def test_a_configured_socket_is_taken_as_it_is_and_a_missing_one_is_no_server(tmp_path: Path) -> None:
    there = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(there))
        assert find_socket(_Found(DatabaseLogin(socket=str(there)))) == str(there)
    there.unlink()
    assert find_socket(_Found(DatabaseLogin(socket=str(there)))) is None


def _server(text: tuple[int, int, int], family: Any) -> DatabaseServer:
    dialect = dialect_of(family, text)
    assert dialect is not None
    return DatabaseServer("olddb1", dialect, text, ".".join(map(str, text)))


ALL = {*rights.EVERYWHERE, "SUPER", "REPLICATION CLIENT", "BINLOG MONITOR"}


@pytest.mark.parametrize(
    ("version", "family", "granted", "grantable", "lacking"),
    [
        ((8, 0, 40), "mysql", ALL, ALL, []),
        ((8, 0, 40), "mysql", ALL - {"SUPER"}, ALL, ["CONNECTION_ADMIN", "SYSTEM_VARIABLES_ADMIN"]),
        ((8, 0, 40), "mysql", ALL, set(), ["GRANT OPTION"]),
        ((10, 11, 5), "mariadb", ALL, ALL, ["BINLOG ADMIN", "CONNECTION ADMIN"]),
        ((10, 6, 20), "mariadb", ALL, ALL, []),
        (
            (10, 6, 20),
            "mariadb",
            {"SELECT"},
            set(),
            sorted({*rights.EVERYWHERE, "BINLOG MONITOR", "CONNECTION ADMIN", "BINLOG ADMIN"} - {"SELECT"}),
        ),
    ],
)
def test_the_rights_that_an_account_lacks_are_named(
    version: Any, family: str, granted: set[str], grantable: set[str], lacking: list[str]
) -> None:
    assert rights.judge(_server(version, family), granted, grantable) == lacking


def test_an_account_without_its_rights_is_refused_by_key() -> None:
    fine = OriginalFacts(account="dba@localhost")
    account_has_its_rights(site(), fine, NewFacts())
    with pytest.raises(GuardFailed, match=r"dba@localhost lacks rights on olddb1: PROCESS, RELOAD") as caught:
        account_has_its_rights(site(), replace(fine, rights_missing=["PROCESS", "RELOAD"]), NewFacts())
    assert "original.database.admin" in str(caught.value) and "GRANT PROCESS, RELOAD ON *.* TO 'dba'@'localhost' WITH GRANT OPTION" in str(
        caught.value
    )
    with pytest.raises(GuardFailed, match="GRANT USAGE"):
        account_has_its_rights(site(), replace(fine, rights_missing=["GRANT OPTION"]), NewFacts())


def test_role_names_are_written_as_the_servers_list_them() -> None:
    class Roles:
        def value(self, statement: str) -> str:
            return {"SELECT CURRENT_USER()": "dba@localhost", "SELECT CURRENT_ROLE()": "`admins`@`%`"}[statement]

        def rows(self, statement: str, given: list[str]) -> list[dict[str, str]]:
            assert given == ["'dba'@'localhost'", "'admins'@'%'"]
            return [{"p": name, "g": "YES"} for name in ALL]

    assert rights.missing(cast(Any, Roles()), _server((8, 0, 40), "mysql")) == []


def test_a_client_s_file_is_there_for_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = _Written(DatabaseLogin(user="dba", password=Secret(PASSWORD)))
    monkeypatch.setattr(database_client, "find_socket", lambda host, login: "/run/s")
    with database_client.logged_in(host, "fixes") as path:
        assert path == "/run/cutover-fixes/client.cnf" and isinstance(host.files[path], Secret)
        host.words.clear()
    assert host.words == ["rm", "-rf", "/run/cutover-fixes"] and PASSWORD not in " ".join(host.words)
    monkeypatch.setattr(database_client, "find_socket", lambda host, login: None)
    with pytest.raises(ConnectionFailed, match="no database server listens there"), database_client.logged_in(host, "fixes"):
        pass


class _Variables:
    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def row(self, statement: str, given: list[str] | None = None) -> dict[str, str] | None:
        name = str((given or [""])[0]).replace("\\", "")
        return {"Value": self.values[name]} if name in self.values else None

    def rows(self, statement: str) -> list[dict[str, str]]:
        return [{"Value": self.values["bind_address"]}] if "bind_address" in self.values else []

    def value(self, statement: str) -> int:
        return 3306


class _Listening(LocalHost):
    def __init__(self, lines: str) -> None:
        super().__init__("olddb1")
        self.lines = lines

    def run(self, argv: Any, **given: Any) -> Any:
        return super().run(["printf", "%s", self.lines])


@pytest.mark.parametrize(
    ("values", "listening", "bound"),
    [
        ({"skip_networking": "ON", "bind_address": "*"}, "", None),
        ({"skip_networking": "OFF", "bind_address": "127.0.0.1"}, "", "127.0.0.1"),
        ({"skip_networking": "OFF", "bind_address": ""}, "", "*"),
        ({"skip_networking": "OFF"}, "LISTEN 0 80 0.0.0.0:3306 0.0.0.0:*\n", "*"),
        ({"skip_networking": "OFF"}, "LISTEN 0 80 127.0.0.1:3306 0.0.0.0:*\n", "127.0.0.1"),
        ({"skip_networking": "OFF"}, "LISTEN 0 80 [::]:3306 [::]:*\n", "*"),
        ({"skip_networking": "OFF"}, "", None),
    ],
)
def test_where_an_original_listens_is_known_without_a_variable_for_it(values: dict[str, str], listening: str, bound: str | None) -> None:
    assert account._bound(cast(Any, _Variables(values)), cast(Any, _Listening(listening))) == bound
