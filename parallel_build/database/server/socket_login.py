"""Which accounts only the administrator of the machine can use: the database server knows them by who opens its socket, and by nothing else."""

from __future__ import annotations

import re

from parallel_build.database.server.state import Account
from parallel_build.remote.sql import Refused, Session

ROOT = "root"  # the administrator of the machine
PLUGINS = frozenset({"auth_socket", "unix_socket"})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})  # as the host of an account: none other comes through the socket
# One way to log in, as SHOW CREATE USER prints it: `IDENTIFIED VIA a USING 'x' OR b` on MariaDB, `IDENTIFIED WITH 'a' AS 'x' AND IDENTIFIED WITH 'b'` on MySQL.
WAY = re.compile(
    r"\s*(?P<join>IDENTIFIED|OR|AND IDENTIFIED)(?: (?:WITH|VIA))? [`']?(?P<plugin>\w+)[`']?"
    r"(?: (?:AS|USING) '(?P<string>(?:[^'\\]|\\.|'')*)')?"
)
PASSWORD_HASH = re.compile(r"\*[0-9A-Fa-f]{40}")


def machines_own(database: Session, account: Account) -> bool:
    """Whether nobody but root of the server's machine can log in with an account. Unknown is no."""
    if account.host not in LOCAL:
        return False
    try:
        row = database.row("SHOW CREATE USER %s@%s", [account.user, account.host])
    except Refused:
        return False
    return root_alone(str(next(iter((row or {"": ""}).values()))), account.user)


def root_alone(made: str, user: str) -> bool:
    """Whether the statement that makes an account lets only root in, by the socket.

    Args:
        made: as SHOW CREATE USER prints it.
    """
    ways = list(_ways(made))
    if any(join.startswith("AND") for join, _, _ in ways):  # every factor is needed
        return any(_is_root(plugin, string, user) for _, plugin, string in ways)
    usable = [(plugin, string) for _, plugin, string in ways if not _shut(plugin, string)]
    return bool(usable) and all(_is_root(plugin, string, user) for plugin, string in usable)


def _ways(made: str) -> list[tuple[str, str, str]]:
    begin = made.find(" IDENTIFIED ")
    found: list[tuple[str, str, str]] = []
    while begin >= 0 and (match := WAY.match(made, begin)):
        found.append((match["join"], match["plugin"].lower(), match["string"] or ""))
        begin = match.end()
    return found


def _is_root(plugin: str, string: str, user: str) -> bool:
    return plugin in PLUGINS and (string or user) == ROOT


def _shut(plugin: str, string: str) -> bool:
    """A way that lets nobody in: MariaDB gives its root the hash `invalid` next to the socket."""
    return plugin == "mysql_no_login" or (plugin == "mysql_native_password" and bool(string) and not PASSWORD_HASH.fullmatch(string))
