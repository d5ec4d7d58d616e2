"""The target's own package: its version, its table of system VM templates, and its schema scripts.

Read from a `cloudstack-management` package (.deb) on this machine, or on a new server where it is installed; nothing of it is run.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from parallel_build.errors import ConfigurationError
from parallel_build.health.target_scripts import LIBRARY
from parallel_build.remote.access import Access
from parallel_build.versions import CloudStackVersion

METADATA = "/usr/share/cloudstack-management/templates/systemvm/metadata.ini"
SCRIPT = re.compile(r"META-INF/db/(schema-\d+to\d+(?:-cleanup)?)\.sql")
NAME = "cloudstack-management"
MAGIC, HEADER = b"!<arch>\n", 60
OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {  # streams to read from
    "": lambda part: part,
    ".gz": lambda part: gzip.GzipFile(fileobj=part),
    ".xz": lambda part: lzma.LZMAFile(part),  # noqa: SIM115
    ".zst": lambda part: zstandard.ZstdDecompressor().stream_reader(part),
}
# Prints version, metadata.ini and scripts as JSON.
READER = r"""
import glob, json, re, subprocess, sys, zipfile
library, metadata, pattern = sys.argv[1:4]
found = {"metadata": None, "scripts": {}, "version": ""}
try:
    found["metadata"] = open(metadata, encoding="utf-8", errors="replace").read()
except OSError:
    pass
for jar in sorted(glob.glob(library + "/*.jar")):
    try:
        archive = zipfile.ZipFile(jar)
    except zipfile.BadZipFile:
        continue
    for name in archive.namelist():
        script = re.fullmatch(pattern, name)
        if script:
            before = found["scripts"].get(script.group(1), "")
            found["scripts"][script.group(1)] = before + archive.read(name).decode("utf-8", "replace") + "\n"
for words in (["dpkg-query", "-W", "-f", "${Version}", "cloudstack-management"], ["rpm", "-q", "--qf", "%{VERSION}", "cloudstack-management"]):
    try:
        shown = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        continue
    if shown.returncode == 0:
        found["version"] = shown.stdout.decode()
        break
print(json.dumps(found))
"""
LIMIT = 120.0  # seconds
ANOTHER = "name the cloudstack-management package (.deb) of the target's release; nothing has been contacted or changed"


@dataclass(frozen=True)
class TargetPackage:
    """What the target's own package holds.

    Attributes:
        where: where it was read, for messages.
        version: as the package manager has it, in CloudStack's numbers.
        metadata: text of metadata.ini; None where the package has none (before 4.16).
        scripts: schema scripts by name, such as `schema-42010to42100`.
    """

    where: str
    version: CloudStackVersion
    metadata: str | None = None
    scripts: dict[str, str] = field(default_factory=dict)


def from_server(host: Access) -> TargetPackage | None:
    """What is installed on a new management server; None where the package is not."""
    shown = host.run(["python3", "-", LIBRARY, METADATA, SCRIPT.pattern], input=READER, timeout=LIMIT, ok=(0, 1, 127))
    found: dict[str, Any] = json.loads(shown.stdout) if shown.ok and shown.stdout.strip() else {}
    version = numbers_of(str(found.get("version") or ""))
    if version is None:
        return None
    return TargetPackage(f"{NAME} on {host.name}", version, found["metadata"], found["scripts"])


def from_file(path: Path) -> TargetPackage:
    """What a package file holds; a package of a gigabyte is read once, from its start to its end.

    Raises:
        ConfigurationError: it can't be read, or is no such package.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, zstandard.ZstdError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"{path} can't be read as a package", str(error) or type(error).__name__, ANOTHER) from None


def _read(path: Path, file: IO[bytes]) -> TargetPackage:
    if file.read(len(MAGIC)) != MAGIC:
        raise ConfigurationError(f"{path} is no Debian package", "it does not begin as an archive of ar does", ANOTHER)
    fields: dict[str, str] = {}
    metadata, scripts = None, dict[str, str]()
    for name, part in _members(file):
        stem, _, suffix = name.partition(".tar")
        if stem not in ("control", "data"):
            continue
        if suffix not in OPENERS:
            raise ConfigurationError(f"{path}: {name} can't be unpacked", f"{suffix} is none of the ways packages are packed", ANOTHER)
        with tarfile.open(fileobj=OPENERS[suffix](part), mode="r|") as archive:
            for member in archive:
                inside = "/" + member.name.lstrip("./")
                if stem == "control" and inside == "/control":
                    fields = _fields(_bytes(archive, member))
                elif stem == "data" and inside == METADATA:
                    metadata = _bytes(archive, member).decode("utf-8", "replace")
                elif stem == "data" and inside.startswith(f"{LIBRARY}/") and inside.endswith(".jar"):
                    scripts |= _scripts(_bytes(archive, member))
    version = numbers_of(fields.get("Version", ""))
    if fields.get("Package") != NAME or version is None:
        what = f"it is {fields['Package']} {fields.get('Version', '')}" if fields.get("Package") else "it names no package"
        raise ConfigurationError(f"{path} is not {NAME}", what.strip(), ANOTHER)
    return TargetPackage(str(path), version, metadata, scripts)


class _Part(io.RawIOBase):
    """A member of an archive: a part of a file, read forward only."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.left = file, size

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next."""
        found = self._file.read(min(len(buffer), self.left))
        buffer[: len(found)] = found
        self.left -= len(found)
        return len(found)


def _members(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of an ar archive's members, one after the other."""
    while len(header := file.read(HEADER)) == HEADER:
        size = int(header[48:58].decode("ascii", "replace").strip() or "x")
        part = _Part(file, size)
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), io.BufferedReader(part, 1 << 18)
        file.seek(part.left + size % 2, io.SEEK_CUR)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    return opened.read() if opened is not None else b""


def _fields(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines() if not line.startswith(" "))
    return {name: value.strip() for name, _, value in lines}


def _scripts(jar: bytes) -> dict[str, str]:
    found = {}
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(jar)) as archive:
        for name in archive.namelist():
            if script := SCRIPT.fullmatch(name):
                found[script[1]] = archive.read(name).decode("utf-8", "replace")
    return found


def numbers_of(text: str) -> CloudStackVersion | None:
    """CloudStack's version in a package's: `4.22.1.0~noble`, `1:24.0.0-1` -> the numbers; None where there are none."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+){2,3})(?![\d.])", text)
    return CloudStackVersion(match[1]) if match else None
