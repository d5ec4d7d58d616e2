"""What is remembered of a container, in its folder, so that another process finds it again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from parallel_build.machines.container import network
from parallel_build.machines.local_commands import MachineFailed


@dataclass(frozen=True)
class Record:
    """What is remembered of a machine, without secrets.

    Attributes:
        host_key: its public SSH host key; two machines of one name are told apart by it.
        made: its layer is complete.
        cut: its network has been cut on purpose.
        disk: GiB of its own disk, None where its layer is in its folder.
    """

    name: str
    root: str
    namespace: str
    bridge: str
    address: str
    prefix: int
    gateway: str | None
    mac: str
    host_key: str
    capabilities: tuple[str, ...]
    memory: int | None
    made: bool = False
    cut: bool = False
    disk: int | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two machines of one name the same. Files and packages don't: they may change over a machine's life."""
        return (self.host_key, self.namespace, self.bridge, self.address)

    @property
    def machine(self) -> str:
        """A name for it that is unique on this computer: what systemd-nspawn, control groups and its namespace are called."""
        return f"{self.namespace}-{self.name}"

    @property
    def link(self) -> network.Link:
        """Its connection to the bridge."""
        return network.Link(self.namespace, self.bridge, self.machine, self.mac, f"{self.address}/{self.prefix}", self.gateway)


def read(machine: Path) -> Record | None:
    """The record of the machine in a folder, None where there is none."""
    try:
        found = json.loads((machine / "machine.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError:  # Torn by a crash of this computer; the next create starts over, a delete goes by names.
        return None
    return Record(**{**found, "capabilities": tuple(found["capabilities"])})


def must(folder: Path, name: str) -> Record:
    """The record of a machine that has been made.

    Raises:
        MachineFailed: there is no such machine.
    """
    record = read(folder / name)
    if record is None or not record.made:
        raise MachineFailed(f"there is no machine {name} in {folder}", "it was never made whole, or has been removed", "create it first")
    return record


def write(machine: Path, record: Record) -> None:
    """Replace the record whole, on disk when this returns."""
    machine.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = machine / "machine.new"
    with temporary.open("w") as file:
        file.write(json.dumps(asdict(record), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(machine / "machine.json")


@contextlib.contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """One create, power_on or delete of a machine at a time, over all processes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
