"""A private folder of one process for its sessions' sockets and known hosts, made when first needed, and cleared of after processes that were killed.

Its owner holds a lock on a file in it for as long as it lives: a folder whose lock can be taken is nobody's any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

PREFIX = "cutover-"
LOCK = "lock"
UNLOCKED = 3600.0  # seconds after which a folder without a lock is nobody's: its maker ended between the two, or made none


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
                self._held = os.open(made / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._held, fcntl.LOCK_EX)
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
            if folder.lstat().st_uid == os.geteuid() and folder.is_dir() and not folder.is_symlink() and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > UNLOCKED
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
