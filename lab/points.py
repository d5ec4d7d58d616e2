"""Rollback points of a lab: its machines, both sides' databases, and the stack's own state, as they were at one moment, to return to as often as wanted.

A point is a copy of the lab's folder, taken while every machine is off: nothing has to be asked what it was about to write.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import libvirtd, network
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import in_parallel
from lab.machines import ALL_KVM_HOSTS
from parallel_build.configuration import Phase
from parallel_build.machines.container import machine as container
from tools.cache import write_atomically

FOLDER, ABOUT, CONTENT = "points", "point.json", "content"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")
# Last of all those that others write to until their own end.
ORDER = ("ms", "kvm", "")
CONNECTED_BEFORE = "var/lib/cloudstack/agent/connected-before"  # `lab.standin.agent.daemon`
COPY = ["cp", "--archive", "--one-file-system", "--reflink=auto", "--sparse=always"]
LIMIT = 3600.0  # seconds that a copy may take


@dataclass(frozen=True)
class Point:
    """A point.

    Attributes:
        taken: when, in UTC.
        phase: of the stack then.
        bytes: what it takes on this computer's disk, where the file system shares nothing.
    """

    name: str
    taken: str
    phase: str
    bytes: int


def points(lab: Lab) -> list[Point]:
    """Those that are whole, the oldest first."""
    found = [Point(**json.loads(path.read_text())) for path in (lab.folder / FOLDER).glob(f"*/{ABOUT}")]
    return sorted(found, key=lambda point: point.taken)


def take(lab: Lab, name: str, phase: Phase) -> Point:
    """Copy the lab as it is; the caller brings it up again.

    Raises:
        LabError: the name is none, or a point has it; there is no room, or the copy fails.
        MachineFailed: a machine can't be switched off.
    """
    if not NAME.match(name):
        raise LabError(f"{name!r} can't be a point's name", "", "use up to 40 lower-case letters, digits and hyphens")
    folder = lab.folder / FOLDER / name
    if (folder / ABOUT).exists():
        raise LabError(
            f"lab {lab.name} has a point {name} already", "", f"name it differently, or remove it: scripts/lab points --remove {name}"
        )
    needed, free = _size(_parts(lab.folder)), shutil.disk_usage(lab.folder).free
    if needed > free:
        raise LabError(
            f"a point of lab {lab.name} takes up to {needed >> 20} MiB, and {free >> 20} MiB are free at {lab.folder}",
            "",
            "make room there",
        )
    _off(lab)
    if folder.exists():
        shutil.rmtree(folder)  # of a snapshot that was cut off
    (folder / CONTENT).mkdir(mode=0o700, parents=True)
    _copy(_parts(lab.folder), folder / CONTENT)
    point = Point(name, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), str(phase), _size([folder / CONTENT]))
    write_atomically(folder / ABOUT, json.dumps(vars(point), indent=1) + "\n")
    return point


def restore(lab: Lab, name: str) -> Point:
    """Put the lab back as it was; the caller brings it up. Cut off, the same command begins again.

    Raises:
        LabError: there is no such point.
        MachineFailed: a machine can't be removed.
    """
    point = _must(lab, name)
    for folder in (lab.new, lab.original):
        in_parallel(partial(container.delete, folder), container.names(folder))
    libvirtd.stop(lab)
    for part in _parts(lab.folder):
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part)
        else:
            part.unlink()
    content = lab.folder / FOLDER / name / CONTENT
    # Last of all what says that there is a lab: an `up` in between would begin one.
    parts = sorted(content.iterdir(), key=lambda part: part.name == "lab.json")
    _copy(parts, lab.folder)
    return point


def remove(lab: Lab, name: str) -> None:
    """Remove a point.

    Raises:
        LabError: there is no such point.
    """
    _must(lab, name)
    folder = lab.folder / FOLDER / name
    (folder / ABOUT).unlink()
    shutil.rmtree(folder)


def _must(lab: Lab, name: str) -> Point:
    found = {point.name: point for point in points(lab)}
    if name not in found:
        raise LabError(
            f"lab {lab.name} has no point {name}", f"it has {', '.join(found) or 'none'}", f"take one: scripts/lab snapshot {name}"
        )
    return found[name]


def _parts(folder: Path) -> list[Path]:
    """Everything in a lab's folder but its points."""
    return [path for path in sorted(folder.iterdir()) if path.name != FOLDER]


def _off(lab: Lab) -> None:
    """Switch every machine off, as its own `poweroff` would: what uses a database before the databases."""
    if not network.exists(lab):
        return
    for kind in ORDER:
        work = []
        for folder in (lab.original, lab.new):
            work += [(folder, name) for name in container.names(folder) if kind in name and container.running(folder, name)]
        in_parallel(lambda place: container.power_off(*place), work)
        libvirtd.power_off(lab, kind)
    libvirtd.stop(lab)
    for host in ALL_KVM_HOSTS[: lab.options().kvm_hosts]:
        # At its first connection an agent boots what the database has as running there: system VMs and routers come back with their hosts.
        (lab.original / host.name / "root" / CONNECTED_BEFORE).unlink(missing_ok=True)


def _copy(parts: Iterable[Path], to: Path) -> None:
    done = subprocess.run([*COPY, *map(str, parts), str(to)], capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode != 0:
        raise LabError(f"{to} could not be written", done.stderr.strip()[-300:], "make room there, then run the same command again")


def _size(parts: Iterable[Path]) -> int:
    words = ["du", "--summarize", "--block-size=1", "--one-file-system", "--total", *map(str, parts)]
    return int(subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=True).stdout.splitlines()[-1].split()[0])


def words(found: Iterable[Point]) -> str:
    """Points, a line each."""
    lines = [f"{point.name}  {point.taken}  phase {point.phase}  {point.bytes >> 20} MiB" for point in found]
    return "\n".join(lines) or "no points: take one with scripts/lab snapshot NAME"
