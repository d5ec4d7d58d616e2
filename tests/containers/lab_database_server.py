"""A private MariaDB or MySQL for the tests of the lab's database: from an image's root, copy on write, no network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

_READY_LIMIT = 90.0
_STOP_LIMIT = 60.0
# the mounts are in the server's own mount namespace and go with it; loopback is up only for what insists on it
_START = """
set -e
mount -t overlay overlay -o lowerdir="$1",upperdir="$2/upper",workdir="$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount -t tmpfs tmpfs "$2/root/run"
install -d -o "$(stat -c %u "$2/root/var/lib/mysql")" "$2/root/run/mysqld"
root="$2/root"; shift 2
exec chroot "$root" "$@"
"""


class DatabaseServer:
    """A running server; `client` is the command of a client that is its administrator.

    Args:
        root: the root file system of an image, which stays as it is.
        options: further options of the server.
    """

    def __init__(self, root: Path, *options: str) -> None:
        self._root = root
        self._daemon = "/usr/sbin/mariadbd" if (root / "usr/sbin/mariadbd").exists() else "/usr/sbin/mysqld"
        self.family = "mariadb" if self._daemon.endswith("mariadbd") else "mysql"
        self._options = options

    def __enter__(self) -> DatabaseServer:
        self._folder = Path(tempfile.mkdtemp(prefix="lab-database-"))
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir()
        log = (self._folder / "log").open("wb")
        options = [
            "--user=mysql",
            "--skip-networking",
            "--innodb-buffer-pool-size=512M",
            "--skip-log-bin",
            *self._options,
        ]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _START, "sh",
                str(self._root),
             str(self._folder), self._daemon, *options],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        self._wait()
        return self

    @property
    def _pid(self) -> int | None:
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        return int(children[0]) if children else None

    @property
    def client(self) -> list[str]:
        """The client's command; SQL comes by standard input or after -e."""
        return [*self.inside, "mariadb" if self.family == "mariadb" else "mysql", "--default-character-set=utf8mb4"]

    @property
    def inside(self) -> list[str]:
        """What to put before a command that is to run next to the server."""
        return ["nsenter", "-t", str(self._pid), "--mount", "--net", "--root", "--wd=/"]

    def query(self, sql: str, database: str = "") -> list[list[str]]:
        """Rows of a query as text; NULL is the word NULL."""
        command = [*self.client, "--batch", "--skip-column-names", *([database] if database else [])]
        done = subprocess.run(command, input=sql.encode(), capture_output=True, check=False, timeout=600)
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def _wait(self) -> None:
        end = time.monotonic() + _READY_LIMIT
        while self._holder.poll() is None and time.monotonic() < end:
            if self._pid and not subprocess.run([*self.client, "-e", "SELECT 1"], capture_output=True, check=False).returncode:
                return
            time.sleep(0.2)
        text = (self._folder / "log").read_text(errors="replace")[-3000:]
        self.__exit__(None, None, None)
        raise AssertionError(f"{self._daemon} did not start:\n{text}")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._holder.poll() is None:
            pid = self._pid
            if pid:
                os.kill(pid, signal.SIGTERM)
            try:
                self._holder.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._holder.kill()
                self._holder.wait()
        shutil.rmtree(self._folder)
