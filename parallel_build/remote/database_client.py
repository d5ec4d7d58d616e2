"""How a server's own client program logs in there: by its socket, or with a password from a file that only root can read."""

from __future__ import annotations

from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.remote.host import Host
from parallel_build.secret import Secret


def login_words(host: Host, socket: str, path: str) -> list[str]:
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


def option_text(login: DatabaseLogin, socket: str) -> Secret:
    """The file's content."""
    password = (login.password.reveal() if login.password else "").replace("\\", "\\\\")
    return Secret(f'[client]\nsocket={socket}\nuser={login.user}\npassword="{password}"\n')
