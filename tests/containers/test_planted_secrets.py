"""Secrets are found nowhere after a switch and a rollback but where they must be, and in no process's arguments all along."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallel_build.machines.commands import PROJECT
from tests.containers.conftest import LabRunner

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

# The stack's secrets, by their names in the lab; the database key is the original's own, which the tool reads and carries over.
PLANTED = (
    "original_api_key",
    "original_api_secret",
    "cloud_password",
    "replication_password",
    "management_key",
    "database_key",
    "passphrase",
)
PIECE = 1 << 20  # bytes of a file read at once
MACHINES = ("oldms1", "oldms2", "olddb1", "olddb2", "kvm1", "kvm2", "newms1", "newms2", "newdb1", "newdb2")
# Where each must be: (secret, machine and path or file of the workstation, why).
ALLOWED = (
    (
        "original_api_key",
        r".*/var/lib/mysql/.*",
        "column api_key of cloud.user, as CloudStack stores it, with the server's logs of changes",
    ),
    ("replication_password", r"(old|new)db2:/var/lib/mysql/(master|relay).*", "a replica stores what it logs in with"),
    ("management_key", r"newms[12]:/etc/cloudstack/management/key", "the key file; gone again after going back"),
    (".*", r"workstation:.*/secrets\.json", "the lab's own, from which it sets the stack's secrets"),
    ("passphrase", r"workstation:.*/passphrase", "the lab's own, of the stack's state"),
)
# Pulumi hands the whole configuration to its program in the environment, readable for the operator's account only; the provider takes it away.
PROGRAM = re.compile(r"pulumi-language-python|pulumi-python|pulumi_language|__main__\.py|pulumi/dynamic|-m pulumi")


def needles(secrets: dict[str, str]) -> dict[bytes, str]:
    """What is searched for: each secret plain, quoted for JSON and for a URL, and in base64 (the middle, whatever stands before it)."""
    found: dict[bytes, str] = {}
    for name, value in secrets.items():
        for text in (value, json.dumps(value)[1:-1], urllib.parse.quote(value, safe="")):
            found[text.encode()] = name
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + value.encode())
            found[encoded[4 if shift else 0 : -4]] = name
    return found


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
    """Looks at the arguments and environment of every process but those of other labs, again and again."""

    def __init__(self, wanted: dict[bytes, str], lab: str) -> None:
        super().__init__(daemon=True)
        self.wanted, self.lab, self.over = wanted, lab, threading.Event()
        self.looks = 0
        self.arguments: set[tuple[str, str]] = set()
        self.environments: set[tuple[str, str]] = set()

    def run(self) -> None:
        while not self.over.is_set():
            self.looks += 1
            others = elsewhere(self.lab)
            for folder in Path("/proc").iterdir():
                if not folder.name.isdigit() or folder.name == str(os.getpid()):
                    continue
                try:
                    command = (folder / "cmdline").read_bytes()
                    environment = (folder / "environ").read_bytes()
                    if (folder / "ns/net").stat().st_ino in others:
                        continue
                except OSError:
                    continue
                words = command.replace(b"\0", b" ").decode(errors="replace")
                for needle, name in self.wanted.items():
                    if needle in command:
                        self.arguments.add((name, words[:120]))
                    if needle in environment:
                        self.environments.add((name, words[:200]))
            self.over.wait(0.05)


def files(root: Path) -> Iterator[Path]:
    """Regular files below a folder, staying on its file systems' plain parts."""
    for folder, names, entries in os.walk(root):
        names[:] = [name for name in names if not (Path(folder) / name).is_symlink()]
        for entry in entries:
            path = Path(folder) / entry
            with contextlib.suppress(FileNotFoundError):  # servers run meanwhile and remove files of theirs
                if path.is_file() and not path.is_symlink() and path.stat().st_size:
                    yield path


def search(root: Path, place: str, wanted: dict[bytes, str]) -> set[tuple[str, str]]:
    """(secret, place and path) of every file that holds one."""
    found = set()
    for path in files(root):
        try:
            found |= {(name, f"{place}:/{path.relative_to(root)}") for name in held(path, wanted)}
        except OSError:  # gone meanwhile
            continue
    return found


def held(path: Path, wanted: dict[bytes, str]) -> set[str]:
    """The secrets that a file holds. Read piece by piece, not mapped: a server that truncates a mapped file would end this process."""
    overlap = max(len(needle) for needle in wanted) - 1
    found: set[str] = set()
    kept = b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            kept = kept[-overlap:] + piece
            found |= {name for needle, name in wanted.items() if needle in kept}
    return found


def unexpected(found: set[tuple[str, str]]) -> list[str]:
    """What is nowhere allowed."""
    return sorted(
        f"{name} in {where}"
        for name, where in found
        if not any(re.fullmatch(secret, name) and re.fullmatch(pattern, where) for secret, pattern, _ in ALLOWED)
    )


def upper(lab: LabRunner, machine: str) -> Path:
    """The layer of a machine: every file that differs from the shared root."""
    side = "new" if machine.startswith("new") else "original"
    return lab.folder / side / machine / "upper"


def volatile(lab: LabRunner, machine: str, wanted: dict[bytes, str]) -> set[tuple[str, str]]:
    """What a machine's journal, and its folders in memory, hold."""
    find = "find /run /tmp /dev/shm -xdev -type f -size -2000k 2>/dev/null"
    command = f"{{ journalctl --no-pager -o cat -a; for f in $({find}); do cat $f; done 2>/dev/null; }} | gzip -1 | base64 -w 0"
    text = gzip.decompress(base64.b64decode(lab.shell(machine, command)))
    return {(name, f"{machine}:journal or /run or /tmp") for needle, name in wanted.items() if needle in text}


def test_planted_secrets_are_nowhere_but_where_they_must_be(lab: LabRunner) -> None:
    secrets = json.loads((lab.folder / "secrets.json").read_text())
    planted = {name: str(secrets[name]) for name in PLANTED if name in secrets}
    planted["passphrase"] = (lab.folder / "passphrase").read_text().strip()
    assert set(planted) == set(PLANTED)
    wanted = needles(planted)
    sampler = Sampler(wanted, lab.name)
    sampler.start()
    began = time.time()
    places: set[tuple[str, str]] = set()
    try:
        for command in ("switch", "back"):
            lab.run(command)
            for machine in MACHINES:
                found = search(upper(lab, machine), machine, wanted) | volatile(lab, machine, wanted)
                if command == "back" and machine.startswith("newms"):
                    assert not [each for each in found if each[0] == "management_key"], "the key file goes with the set-up"
                places |= found
            places |= search(lab.folder / "runs", "workstation", wanted) | search(lab.folder / "state", "workstation", wanted)
            print(f"  {command}: {sampler.looks} looks at all processes, {len(places)} places")
    finally:
        sampler.over.set()
        sampler.join()
    for path in (lab.folder / "Pulumi.lab.yaml", *Path("/tmp").glob("cutover-*"), *Path("/tmp").glob("pulumi*")):
        places |= search(path if path.is_dir() else path.parent, "workstation", wanted) if path.is_dir() else file_search(path, wanted)
    for history in (Path.home() / ".bash_history", Path.home() / ".mysql_history", Path.home() / ".mariadb_history"):
        if history.exists():
            places |= file_search(history, wanted)
    for core in [*PROJECT.glob("core*"), *Path("/var/lib/systemd/coredump").glob("*"), *Path("/var/crash").glob("*")]:
        if core.is_file() and core.stat().st_mtime > began:
            places |= file_search(core, wanted)
    assert sampler.looks > 100
    assert not sampler.arguments
    assert not [each for each in sampler.environments if not PROGRAM.search(each[1])]
    assert unexpected(places) == []


def file_search(path: Path, wanted: dict[bytes, str]) -> set[tuple[str, str]]:
    """As `search`, of one file."""
    content = path.read_bytes()
    return {(name, f"workstation:{path}") for needle, name in wanted.items() if needle in content}
