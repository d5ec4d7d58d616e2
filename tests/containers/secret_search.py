"""Looking for secrets: in files, whatever they are packed with, and in what every process shows of itself."""

from __future__ import annotations

import base64
import contextlib
import gzip
import html
import json
import lzma
import os
import re
import threading
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from parallel_build.database.copy.cleanup import RUN_FOLDER

PIECE = 1 << 20  # bytes of a file read at once
PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"\x28\xb5\x2f\xfd": zstandard.open}
ENDED_EARLY = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
# A client's option file, in which the password of an account that exists for a while may be.
OPTION_FILE = re.compile(rb"--defaults-file=(/run/[^\0]+)")
PASSWORD = re.compile(r'^password="?([^"\n]+)', re.MULTILINE)

WORKER = f"{RUN_FOLDER}/worker.pyz".encode()


def needles(secrets: dict[str, str]) -> dict[bytes, str]:
    """What is searched for: each secret plain, quoted for JSON, HTML and a URL, and in base64 (the middle, whatever stands before it)."""
    found: dict[bytes, str] = {}
    for name, value in secrets.items():
        for text in (value, json.dumps(value)[1:-1], html.escape(value), urllib.parse.quote(value, safe="")):
            found[text.encode()] = name
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + value.encode())
            found[encoded[4 if shift else 0 : -4]] = name
    return found


def files(root: Path) -> Iterator[Path]:
    """Regular files below a folder, staying on its file systems' plain parts."""
    for folder, names, entries in os.walk(root):
        names[:] = [name for name in names if not (Path(folder) / name).is_symlink()]
        for entry in entries:
            path = Path(folder) / entry
            with contextlib.suppress(FileNotFoundError):  # servers run meanwhile and remove files of theirs
                if path.is_file() and not path.is_symlink() and path.stat().st_size:
                    yield path


def search(
    root: Path, place: str, wanted: dict[bytes, str], since: float = 0.0, again: set[tuple[str, str]] | None = None
) -> set[tuple[str, str]]:
    """(secret, place and path) of every file below a folder that holds one.

    Args:
        since: leave out what has not changed since then (seconds since 1970, of the inode, which nobody can set back),
        again: but not the files in which something was found already.
    """
    found = set()
    known = {where for _, where in again or ()}
    for path in files(root):
        with contextlib.suppress(OSError):  # gone meanwhile
            where = f"{place}:/{path.relative_to(root)}"
            if path.stat().st_ctime >= since or where in known:
                found |= {(name, where) for name in held(path, wanted)}
    return found


def held(path: Path, wanted: dict[bytes, str]) -> set[str]:
    """The secrets that a file holds, as it is and unpacked (gz, xz, zst); of one that was cut off, in what can be unpacked."""
    with path.open("rb") as file:
        found = set(_pieces(file, wanted))
        file.seek(0)
        start = file.read(6)
    for mark, unpack in PACKED.items():
        if start.startswith(mark):
            with contextlib.suppress(*ENDED_EARLY), unpack(path, "rb") as unpacked:
                for name in _pieces(unpacked, wanted):
                    found.add(name)
    return found


def _pieces(file: IO[bytes], wanted: dict[bytes, str]) -> Iterator[str]:
    """Read piece by piece, not mapped: a server that truncates a mapped file would end this process."""
    overlap = max(len(needle) for needle in wanted) - 1
    kept = b""
    while piece := file.read(PIECE):
        kept = kept[-overlap:] + piece
        yield from (name for needle, name in wanted.items() if needle in kept)


def is_core(path: Path) -> bool:
    """Whether it is a process's memory: an ELF file of that type."""
    with path.open("rb") as file:
        start = file.read(18)
    return start[:4] == b"\x7fELF" and start[16:18] in (b"\x04\0", b"\0\x04")


def elsewhere(lab: str) -> set[int]:
    """The networks (inode numbers) of other labs on this computer: made from the same seed, their originals have the same keys."""
    own = f"cslab-{lab}"
    found = set()
    for path in Path("/run/netns").glob("cslab-*"):
        if path.name != own and not path.name.startswith(f"{own}-"):
            with contextlib.suppress(OSError):  # a lab that goes
                found.add(path.stat().st_ino)
    return found


class Sampler(threading.Thread):
    """Looks at every process but those of other labs, again and again, and keeps what it saw: some secrets are known only afterwards.

    Attributes:
        looks: how often it has looked.
        passwords: those of option files that a process was started with, and of a copy's.
        limits: (words, soft limit of core files) of these processes, and of a copy's worker, which lasts longer than the programs that it starts.
    """

    def __init__(self, lab: str) -> None:
        super().__init__(daemon=True)
        self.lab, self.over = lab, threading.Event()
        self.looks = 0
        self.passwords: set[str] = set()
        self.limits: set[tuple[str, str]] = set()
        self._arguments: set[bytes] = set()
        self._environments: set[tuple[bytes, bytes]] = set()

    def run(self) -> None:
        while not self.over.is_set():
            self.looks += 1
            others = elsewhere(self.lab)
            for folder in Path("/proc").iterdir():
                if not folder.name.isdigit() or folder.name == str(os.getpid()):
                    continue
                with contextlib.suppress(OSError):  # ended meanwhile
                    command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
                    if (folder / "ns/net").stat().st_ino in others:
                        continue
                    self._copies_account(folder / "root")
                    self._arguments.add(command)
                    self._environments.add((environment, command[:200]))
                    if WORKER in command:
                        self._limit(folder, command)
                    if option_file := OPTION_FILE.search(command):
                        self._limit(folder, command)
                        self.passwords.update(PASSWORD.findall((folder / "root" / option_file[1].decode()[1:]).read_text()))
            self.over.wait(0.05)

    def _copies_account(self, root: Path) -> None:
        """A copy's option file is there for all of the copy, the programs that are started with it only for moments."""
        with contextlib.suppress(OSError):
            self.passwords.update(PASSWORD.findall((root / RUN_FOLDER[1:] / "source.cnf").read_text()))

    def _limit(self, process: Path, command: bytes) -> None:
        lines = (process / "limits").read_text().splitlines()
        soft = next(line for line in lines if line.startswith("Max core file size")).split()[4]
        self.limits.add((_words(command), soft))

    def arguments(self, wanted: dict[bytes, str]) -> set[tuple[str, str]]:
        """(secret, words) of the processes that had one among their arguments."""
        return {(name, _words(command)) for command in list(self._arguments) for needle, name in wanted.items() if needle in command}

    def environments(self, wanted: dict[bytes, str]) -> set[tuple[str, str]]:
        """(secret, words) of the processes that had one in their environment."""
        seen = list(self._environments)
        return {(name, _words(command)) for environment, command in seen for needle, name in wanted.items() if needle in environment}


def _words(command: bytes) -> str:
    return command.replace(b"\0", b" ").decode(errors="replace")[:200]


def unexpected(found: set[tuple[str, str]], allowed: tuple[tuple[str, str, str], ...]) -> list[str]:
    """What is nowhere allowed; `allowed` has patterns of secret and place, and why."""
    return sorted(
        f"{name} in {where}"
        for name, where in found
        if not any(re.fullmatch(secret, name) and re.fullmatch(pattern, where) for secret, pattern, _ in allowed)
    )
