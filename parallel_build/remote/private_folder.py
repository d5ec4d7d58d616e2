"""A private folder of one process for its sessions' sockets and known hosts, made when first needed, and cleared of after processes that were killed.

Its owner holds a lock on a file in it for as long as it lives: a folder whose lock can be taken is nobody's any more. One without that file is never
touched: it may be an operator's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from pathlib import Path

PREFIX = "cutover-"
LOCK = ".cloudstack-parallel-build"


class PrivateFolder:
    """A folder with mode 700. Thread safe.

    Args:
        parent: where it is made; the system's folder for temporary files by default.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.parent = parent or Path(tempfile.gettempdir())
        self._made: Path | None = None
        self._lock = threading.Lock()
        self._held = -1

    @property
    def path(self) -> Path:
        """The folder, made by the first call."""
        with self._lock:
            if self._made is None:
                sweep(self.parent)
                made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.parent))
                # Under its name only once it is locked, or another process could take the folder for an abandoned one in between.
                self._held = os.open(made / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._held, fcntl.LOCK_EX)
                (made / "new").rename(made / LOCK)
                self._made = made
            return self._made

    def close(self) -> None:
        """Remove it with everything in it."""
        with self._lock:
            if self._made is not None:
                shutil.rmtree(self._made, ignore_errors=True)
                os.close(self._held)
                self._made = None


def sweep(parent: Path) -> None:
    """Remove this user's folders whose owners are gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        # Another process may be about to do the same.
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink() and not held(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def held(path: Path) -> bool:
    """Whether a living process has locked a file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
