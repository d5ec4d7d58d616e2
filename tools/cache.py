"""The cache that all checkouts of a user share, and building into it so that a killed run leaves nothing half-made."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = "cloudstack-parallel-build"


def cache_directory() -> Path:
    """The project's cache: `$XDG_CACHE_HOME` (or `~/.cache`) followed by the project's name. Not created here."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification asks to ignore a relative path.
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache"
    return base / PROJECT


def checksum(*parts: str | bytes) -> str:
    """Twelve hexadecimal digits that change when any part, or the order of the parts, changes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:12]


def checksum_of_folder(folder: Path) -> str:
    """Checksum of the names and contents of the plain files directly in `folder`."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return checksum(*(part for file in files for part in (file.name, file.read_bytes())))


@contextmanager
def locked(lock: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock` (created if needed), waiting for another run that has it.

    Args:
        lock: path of the lock file; it stays, so that two runs never lock two different files of one name.
        what: what is being made, for the line that says what is waited for.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{what}: another run is making it, waiting for that", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_once(target: Path, what: str, build: Callable[[Path], None]) -> bool:
    """Make `target` by `build` unless it is there already.

    `build` gets a path of a temporary name in the same folder and makes a file or a folder of it, which is renamed to
    `target` when `build` returned. What killed runs left behind is removed first.

    Args:
        target: the finished file or folder.
        what: its name for messages.
        build: makes it; raises when it can't.

    Returns:
        True when it was built now, False when it was there.
    """
    if target.exists():
        return False
    with locked(target.parent / f".{target.name}.lock", what):
        if target.exists():
            return False
        for leftover in target.parent.glob(f".{target.name}.tmp-*"):
            remove(leftover)
        temporary = target.parent / f".{target.name}.tmp-{os.getpid()}"
        try:
            build(temporary)
            temporary.rename(target)
        finally:
            remove(temporary)
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder tree; nothing happens when it isn't there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a text file so that a reader sees the old or the new content, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        temporary.chmod(mode)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def first_existing(candidates: Iterable[Path]) -> Path | None:
    """The first of the paths that exists, or None."""
    return next((path for path in candidates if path.exists()), None)
