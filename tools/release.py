"""Pulumi's own release: whether it can be reached, downloading it and checking its checksum."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
import threading
import urllib.request
from pathlib import Path

from tools.errors import ToolError
from tools.pins import PULUMI

DEFAULT_RELEASES = "https://github.com/pulumi/pulumi/releases/download"
"""Where Pulumi publishes its releases, with checksums; a mirror can be named in `PULUMI_RELEASES`."""

PROBE_LIMIT = 5.0
"""Seconds until Pulumi's release counts as out of reach."""

DOWNLOAD_LIMIT = 600.0

_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}

_PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec")


def release_folder() -> str:
    """URL of the folder of the pinned release.

    Raises:
        ToolError: the mirror named in the environment is no web address.
    """
    base = os.environ.get("PULUMI_RELEASES", DEFAULT_RELEASES).rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise ToolError(f"PULUMI_RELEASES is {base!r}", "it has to begin with https:// or http://", "correct or unset it")
    return f"{base}/v{PULUMI}"


def archive_name() -> str:
    """File name of the release for this machine; empty where there is none."""
    architecture = _ARCHITECTURES.get(platform.machine(), "")
    return f"pulumi-v{PULUMI}-linux-{architecture}.tar.gz" if architecture else ""


def checksums_name() -> str:
    """File name of the release's checksums (lines of SHA-256 and file name)."""
    return f"pulumi-{PULUMI}-checksums.txt"


def reachable(limit: float = PROBE_LIMIT) -> bool:
    """Whether the release's checksums are answered within the limit (name resolution included)."""
    answers: list[bool] = []

    url = f"{release_folder()}/{checksums_name()}"

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (release_folder allows http only)
            with urllib.request.urlopen(request, timeout=limit) as reply:  # noqa: S310
                answers.append(reply.status == 200)
        except (OSError, ValueError):
            answers.append(False)

    if not archive_name():
        return False
    # A thread, because looking up a name knows no time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limit)
    return answers == [True]


def expected_checksum(text: str, name: str) -> str:
    """SHA-256 of the file `name` in the text of a checksums file.

    Raises:
        ToolError: it is not listed.
    """
    for line in text.splitlines():
        digest, _, file = line.strip().partition(" ")
        if file.strip().lstrip("*") == name:
            return digest.lower()
    raise ToolError(f"{checksums_name()} does not list {name}", "the release is not what was expected", "install Pulumi by hand")


def download(folder: Path) -> None:
    """Download the release, check it and put the CLI and the Python language host into `folder`.

    Raises:
        ToolError: it broke off, or its checksum is wrong.
    """
    name = archive_name()
    expected = expected_checksum(_read(f"{release_folder()}/{checksums_name()}").decode(), name)
    archive = _read(f"{release_folder()}/{name}")
    found = hashlib.sha256(archive).hexdigest()
    if found != expected:
        raise ToolError(
            f"{name} has SHA-256 {found}, not {expected}",
            "it was changed or damaged on the way",
            "try again; if it stays so, install Pulumi by hand",
        )
    folder.mkdir(parents=True)
    packed = folder / name
    packed.write_bytes(archive)
    with tarfile.open(packed) as tar:
        members = {Path(member.name).name: member for member in tar if member.isfile()}
        for program in _PROGRAMS:
            source = tar.extractfile(members[program]) if program in members else None
            if source is None:
                raise ToolError(f"{name} has no {program}", "the release is packed in a new way", "install Pulumi by hand")
            with (folder / program).open("wb") as copy:
                shutil.copyfileobj(source, copy)
            (folder / program).chmod(0o755)
    packed.unlink()


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_LIMIT) as reply:  # noqa: S310
            data: bytes = reply.read()
            return data
    except (OSError, ValueError) as error:
        raise ToolError(f"{url} could not be downloaded", str(error), "try again, or install Pulumi by hand") from error
