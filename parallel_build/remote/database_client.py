"""How a server's own client program logs in there: by its socket, or with a password from a file that only root can read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from parallel_build.cancel import clearing_up
from parallel_build.errors import ConnectionFailed
from parallel_build.remote.access import Access
from parallel_build.remote.database_login import DatabaseLogin, comments
from parallel_build.remote.database_socket import find_socket
from parallel_build.secret import Secret


def login_words(host: Access, socket: str, path: str) -> list[str]:
    """The client's first words. A password goes into `path` there, since words show in the process list.

    Args:
        path: in a memory file system, in a folder of ours that is removed later.
    """
    login = host.login()
    if login.by_socket:
        return ["--no-defaults", f"--socket={socket}", f"--user={login.user}"]
    host.run(["mkdir", "-p", "-m", "700", path.rpartition("/")[0]], cancellable=False)
    host.write(path, option_text(login, socket))
    return [f"--defaults-file={path}"]


@contextlib.contextmanager
def logged_in(host: Access, purpose: str) -> Iterator[str]:
    """An option file on the server with which its client programs log in, for the time of the block.

    Args:
        purpose: part of its folder's name.
    Raises:
        ConnectionFailed: no database server listens there.
    """
    login = host.login()
    socket = find_socket(host, login)
    if socket is None:
        raise ConnectionFailed(
            f"{host.name}: no database server listens there",
            "its own client program reaches it by its socket, and there is none",
            f"look at `systemctl status mariadb mysql mysqld` on {host.name}, then run the same command again",
        )
    folder = f"/run/cutover-{purpose}"
    host.run(["mkdir", "-p", "-m", "700", folder], cancellable=False)
    try:
        host.write(f"{folder}/client.cnf", option_text(login, socket))
        yield f"{folder}/client.cnf"
    finally:
        with clearing_up():
            host.run(["rm", "-rf", folder], cancellable=False)


def option_text(login: DatabaseLogin, socket: str) -> Secret:
    """The file's content."""
    lines = ["[client]", f"socket={socket}", f"user={login.user}"]
    if login.password:
        word = login.password.reveal().replace("\\", "\\\\")
        # Of a password that has quotes and a # that must be chosen between which the # stays within.
        ways = [f"password={quote}{word}{quote}" for quote in "\"'"]
        lines.append(next((line for line in ways if not comments(line)), ways[0]))
    return Secret("\n".join(lines) + "\n")
