"""Who is spared by a fence at a database: root of the machine, known by who opens the socket, and the account that asks, whatever it stands for."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.server import account_locks, writers
from parallel_build.database.server.account_locks import AccountLock
from parallel_build.database.server.socket_login import root_alone
from parallel_build.database.server.state import Account

HASH = "*0123456789ABCDEF0123456789ABCDEF01234567"


@pytest.mark.parametrize(
    ("made", "user", "alone"),
    [
        ("CREATE USER `root`@`localhost` IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket", "root", True),
        ("CREATE USER `root`@`localhost` IDENTIFIED VIA unix_socket", "root", True),
        ("CREATE USER `root`@`localhost` IDENTIFIED VIA unix_socket OR mysql_native_password USING 'invalid'", "root", True),
        ("CREATE USER `root`@`localhost` IDENTIFIED WITH 'auth_socket' REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK", "root", True),
        ("CREATE USER `ops`@`localhost` IDENTIFIED WITH 'auth_socket' AS 'root' REQUIRE NONE", "ops", True),
        (f"CREATE USER `root`@`localhost` IDENTIFIED VIA mysql_native_password USING '{HASH}' OR unix_socket", "root", False),
        (f"CREATE USER `root`@`localhost` IDENTIFIED WITH 'mysql_native_password' AS '{HASH}' REQUIRE NONE", "root", False),
        (
            "CREATE USER `root`@`localhost` IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$x\\'y OR unix_socket' REQUIRE NONE",
            "root",
            False,
        ),
        ("CREATE USER `root`@`localhost` IDENTIFIED VIA mysql_native_password OR unix_socket", "root", False),
        (
            f"CREATE USER `root`@`localhost` IDENTIFIED WITH 'mysql_native_password' AS '{HASH}' AND IDENTIFIED WITH 'auth_socket'",
            "root",
            True,
        ),
        ("CREATE USER `cloud`@`localhost` IDENTIFIED VIA unix_socket", "cloud", False),
        ("CREATE USER `root`@`localhost` IDENTIFIED WITH 'auth_socket' AS 'cloud'", "root", False),
        (f"CREATE USER `root`@`localhost` IDENTIFIED BY PASSWORD '{HASH}'", "root", False),
        ("CREATE USER `root`@`localhost`", "root", False),
        ("CREATE USER `root`@`localhost` IDENTIFIED VIA pam", "root", False),
        ("", "root", False),
    ],
)
def test_only_who_comes_as_root_through_the_socket_is_root_of_the_machine(made: str, user: str, alone: bool) -> None:
    assert root_alone(made, user) is alone


class Server:
    """A server on which everybody may write.

    Args:
        logged_in: the account that asks, and whose it stands for.
    """

    host = type("Host", (), {"name": "newdb1"})()

    def __init__(self, logged_in: str = "tool@localhost", stands_for: str | None = None) -> None:
        self.logged_in, self.stands_for = logged_in, stands_for
        self.made = {
            ("cloud", "10.91.0.41"): f"IDENTIFIED BY PASSWORD '{HASH}'",
            ("cloud", "localhost"): "IDENTIFIED VIA unix_socket",
            ("root", "127.0.0.1"): f"IDENTIFIED BY PASSWORD '{HASH}'",
            ("root", "localhost"): "IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket",
            ("tool", "localhost"): f"IDENTIFIED BY PASSWORD '{HASH}'",
            ("ops", "localhost"): "IDENTIFIED VIA pam",
        }
        self.sessions = [(7, "root", "localhost"), (8, "root", "127.0.0.1:4711"), (9, "cloud", "10.91.0.41:1"), (10, "tool", "localhost")]
        self.done: list[Any] = []

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        """It stays."""

    def value(self, statement: str, arguments: Any = None) -> Any:
        if "CURRENT_USER" in statement:
            return self.stands_for or self.logged_in
        if "proxy_user" in statement:
            return "'{}'@'{}'".format(*self.logged_in.split("@")) if self.stands_for else None
        return "11.4.2-MariaDB" if "VERSION" in statement else ("Y" if ("lock", *arguments) in self.done else "N")

    def row(self, statement: str, arguments: Any = None) -> dict[str, Any] | None:
        return {"x": f"CREATE USER `x`@`y` {self.made[tuple(arguments)]}"} if arguments else None

    def rows(self, statement: str, arguments: Any = None) -> list[dict[str, Any]]:
        if "USER_PRIVILEGES" in statement:
            return [{"g": f"'{user}'@'{host}'", "p": "INSERT"} for user, host in self.made]
        if "FROM mysql.user" in statement:
            return [{"u": user, "h": host} for user, host in self.made if "'localhost'" not in statement or host == "localhost"]
        if "CONNECTION_ID" in statement:
            return [{"i": number, "u": user, "h": host} for number, user, host in self.sessions]
        return []

    def execute(self, statement: str, arguments: Any = None) -> int:
        if "ACCOUNT LOCK" in statement:
            self.done.append(("lock", *arguments))
        if statement.startswith("KILL"):
            self.sessions = [each for each in self.sessions if each[0] != int(statement.split()[1])]
        return 0


def test_root_of_the_machine_stays_in_whoever_asks() -> None:
    found = writers.find(Server(), ["cloud"])  # type: ignore[arg-type]
    assert [str(each) for each in found] == ["'cloud'@'10.91.0.41'", "'cloud'@'localhost'", "'ops'@'localhost'", "'root'@'127.0.0.1'"]


def test_who_stands_for_another_is_spared_with_whom_it_stands_for() -> None:
    found = writers.find(Server("ops@localhost", "tool@localhost"), ["cloud"])  # type: ignore[arg-type]
    assert not {Account("ops", "localhost"), Account("tool", "localhost")} & set(found)


def test_cloudstacks_own_account_is_kept_out_even_where_only_the_socket_knows_it() -> None:
    server = Server()
    server.made["cloud", "localhost"] = "IDENTIFIED VIA unix_socket AS 'root'"
    assert Account("cloud", "localhost") in writers.find(server, ["cloud"], also={"cloud"})  # type: ignore[arg-type]


def test_what_a_run_with_another_login_noted_never_locks_out_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    server, host = Server(), Server.host
    monkeypatch.setattr(account_locks, "session", lambda host, **_: server)
    monkeypatch.setattr(account_locks, "LOOK", 0.01)
    noted = [AccountLock(Account(*name)) for name in (("tool", "localhost"), ("root", "127.0.0.1"), ("cloud", "10.91.0.41"))]
    ended = account_locks.close(host, noted, timeout=2, cancel=CancelToken())
    assert server.done == [("lock", "root", "127.0.0.1"), ("lock", "cloud", "10.91.0.41")]
    assert ended == 2 and [number for number, *_ in server.sessions] == [7, 10], "root's session through the socket goes on"
    assert account_locks.closed(host, noted, timeout=2) == []
