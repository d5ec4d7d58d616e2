"""A real sshd for tests without a port or a service: ssh starts it as its own proxy, which can end the connection after some bytes."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration import Server, Ssh
from parallel_build.remote.host import Host
from parallel_build.secret import Secret

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
CUTTING = """
import fcntl, os, subprocess, sys, threading
running = open(sys.argv[1] + ".running", "a")
fcntl.flock(running, fcntl.LOCK_SH)
limit, argv = int(open(sys.argv[1]).read() or -1), sys.argv[2:]
server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def back():
    while data := server.stdout.read1(65536):
        sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
threading.Thread(target=back, daemon=True).start()
sent = 0
while data := sys.stdin.buffer.read1(65536):
    limit = int(open(sys.argv[1]).read() or -1)
    if limit >= 0 and sent + len(data) > limit:
        data = data[:max(0, limit - sent)]
        server.stdin.write(data); server.stdin.flush(); server.stdin.close()
        break
    server.stdin.write(data); server.stdin.flush()
    sent += len(data)
    own = sys.argv[1] + "." + str(os.getpid())
    open(own, "w").write(str(sent))
    os.replace(own, sys.argv[1] + ".sent")
server.stdin.close()
server.wait()
"""


def _alone(running: IO[str]) -> bool:
    try:
        fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SshServer:
    """A server that can be logged in to as the user of the tests.

    Args:
        folder: for its keys and configuration.
        command: a forced command of the account, as a noisy login has one.
    """

    def __init__(self, folder: Path, command: str = "") -> None:
        if SSHD is None:
            pytest.skip("no sshd on this machine (Debian: openssh-server)")
        self.made: list[Path] = []
        self.folder, self.user = folder, pwd.getpwuid(os.getuid()).pw_name
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        forced = f"ForceCommand {command}\n" if command else ""
        (folder / "sshd").write_text(
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n"
            f"PidFile none\nLogLevel QUIET\n{forced}"
        )
        (folder / "cut").write_text("")
        (folder / "cutting.py").write_text(CUTTING)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.configure("")

    def close(self) -> None:
        """Wait for the end of every connection, which writes into its folder, and remove what was made outside of it."""
        with (self.folder / "cut.running").open("a") as running:
            wait_for("the connections to end", lambda: _alone(running), timeout=30, cancel=CancelToken(), interval=0.02)
        for private in self.made:
            shutil.rmtree(private, ignore_errors=True)

    def configure(self, options: str) -> None:
        """The operator's own ssh configuration, which may have more options."""
        proxy = f"{sys.executable} {self.folder}/cutting.py {self.folder}/cut {SSHD} -i -f {self.folder}/sshd"
        (self.folder / "config").write_text(f"Host *\n  ProxyCommand {proxy}\n{options}")

    def cut_after(self, sent: int | None) -> None:
        """End every connection once this many bytes have gone to the server."""
        (self.folder / "cut").write_text("" if sent is None else str(sent))

    @property
    def sent(self) -> int:
        """Bytes that the last connection has sent."""
        return int((self.folder / "cut.sent").read_text())

    def host(self, cancel: CancelToken | None = None, secrets: tuple[Secret, ...] = ()) -> Host:
        """A session to it."""
        key = (self.folder / "host.pub").read_text().strip()
        private = Path(tempfile.mkdtemp(prefix="c-", dir="/tmp"))  # a socket's path must be short
        self.made.append(private)
        ssh = Ssh(config_file=self.folder / "config", identity_file=self.folder / "user", user=self.user)
        return Host(Server(name="olddb1", address="192.0.2.1"), ssh, private, key, cancel or CancelToken(), secrets)
