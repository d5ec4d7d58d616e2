"""Machines in systemd-nspawn: a real Debian with systemd, sshd and its own address, in a second or two, without virtualisation.

A machine is a folder: `FOLDER/NAME/` with its record, its layer over a shared root file system, and its console. Whatever is needed
to find it again is in that folder, so that another process, later, can switch it off or delete it. Used for the lab and for tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.machines.container import cgroups, layer, namespace, network, processes
from parallel_build.machines.container.processes import running
from parallel_build.machines.container.record import Record, exclusive, must, read, write
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.provisioning import Provisioning

NSPAWN_FOLDER = Path("/run/systemd/nspawn/propagate")


@dataclass(frozen=True)
class ContainerSpec:
    """A machine to be made.

    Attributes:
        name: short name, unique in `folder`.
        root: unpacked root file system with systemd and sshd; shared, never written to.
        folder: where machines are kept.
        namespace: network namespace that holds the bridge.
        bridge: bridge in it.
        provisioning: name, address, keys and files of the machine.
        capabilities: capabilities beyond systemd-nspawn's own and CAP_NET_ADMIN.
        memory: limit in MiB, None for none.
        disk: GiB of a disk of its own, which may become full; None keeps its layer in its folder.
    """

    name: str
    root: Path
    folder: Path
    namespace: str
    bridge: str
    provisioning: Provisioning
    capabilities: tuple[str, ...] = ()
    memory: int | None = None
    disk: int | None = None


def create(spec: ContainerSpec, *, timeout: float = 60, cancel: CancelToken | None = None) -> None:
    """Make the machine, switch it on, and wait until its sshd answers. A machine that is there already stays as it is.

    Args:
        timeout: seconds until sshd must answer.
    Raises:
        MachineFailed: it can't be made, or another machine of that name is there.
        StepFailed: it doesn't answer in time.
    """
    machine = spec.folder / spec.name
    _check(spec)
    with exclusive(spec.folder, spec.name):
        record = _record_of(spec)
        found = read(machine)
        if found and found.made and found.identity != record.identity:
            raise MachineFailed(
                f"another machine named {spec.name} is in {spec.folder}",
                "its host key, address or network is not the one asked for",
                "delete it first, or give the new one another name",
            )
        if not (found and found.made):
            if found:
                processes.end(machine, found)
            layer.discard(machine)
            write(machine, record)
            layer.mount(machine, spec.root, spec.disk)
            layer.fill(machine / "root", spec.provisioning)
            write(machine, replace(record, made=True))
    power_on(spec.folder, spec.name, timeout=timeout, cancel=cancel)


def power_on(folder: Path, name: str, *, timeout: float = 60, cancel: CancelToken | None = None) -> None:
    """Switch the machine on and wait until its sshd answers (not waited for while its network is cut).

    Raises:
        MachineFailed: there is no such machine, or it ends at once.
        StepFailed: it doesn't answer in time.
    """
    machine, record = folder / name, must(folder, name)
    process = None
    with exclusive(folder, name):
        if not running(folder, name):
            layer.mount(machine, Path(record.root), record.disk)
            network.connect(record.link)
            network.plug(record.link, not record.cut)
            process = processes.start(machine, record)
    token = cancel or CancelToken()

    def answers() -> bool:
        over = process is None or process.poll() is not None  # Asked first: a supervisor that is not over may not hold its lock yet.
        if running(folder, name):
            return record.cut or namespace.ssh_answers(record.namespace, record.address)
        if over:
            raise MachineFailed(f"machine {name} ended right after its start", processes.tail(machine), f"read {machine}/console.log")
        return False

    wait_for(
        f"sshd of {name} ({record.address})",
        answers,
        timeout=timeout,
        cancel=token,
        interval=0.1,
        remedy=f"read {machine}/console.log",
    )


def power_off(folder: Path, name: str, *, timeout: float = 90) -> None:
    """Switch the machine off as its own `poweroff` would, and wait until it is off.

    Raises:
        MachineFailed: it is still on after `timeout` seconds.
    """
    machine, record = folder / name, must(folder, name)
    processes.signal_supervisor(machine, signal.SIGTERM)
    if not processes.ended(folder, name, timeout):
        raise MachineFailed(
            f"machine {name} did not switch itself off within {timeout:.0f} s",
            "a service inside does not stop",
            f"see in {machine}/console.log which one, end it in the machine, then run the same command again",
        )
    network.plug(record.link, False)


def kill(folder: Path, name: str) -> None:
    """Cut the machine's power: its neighbours see nothing but silence.

    Raises:
        MachineFailed: its processes can't be ended.
    """
    machine, record = folder / name, must(folder, name)
    network.plug(record.link, False)  # First, or dying processes would still say goodbye on their connections.
    processes.end(machine, record)


def delete(folder: Path, name: str) -> None:
    """Remove the machine and everything of it, in whatever state it is; nothing happens when it isn't there.

    Raises:
        MachineFailed: its processes or its mount can't be ended.
    """
    machine = folder / name
    if not machine.exists():
        return
    with exclusive(folder, name):
        record = read(machine)
        if record:
            processes.end(machine, record)
            network.disconnect(record.link)
            cgroups.remove(record.machine)
            cgroups.remove(record.machine + ".keeper")
            with contextlib.suppress(OSError):  # nspawn leaves it behind where /run is no tmpfs.
                (NSPAWN_FOLDER / record.machine).rmdir()
        layer.discard(machine)
        shutil.rmtree(machine)
    (folder / f".{name}.lock").unlink(missing_ok=True)


def exists(folder: Path, name: str) -> bool:
    """Whether the machine has been made, on or off."""
    record = read(folder / name)
    return record is not None and record.made


def names(folder: Path) -> list[str]:
    """The machines of a folder, also half-made ones."""
    return sorted(path.parent.name for path in folder.glob("*/machine.json"))


def cut_network(folder: Path, name: str) -> None:
    """Pull the machine's network cable; it stays cut over a power cycle until `restore_network`."""
    record = must(folder, name)
    write(folder / name, replace(record, cut=True))
    network.plug(record.link, False)


def restore_network(folder: Path, name: str) -> None:
    """Plug the machine's network cable in again."""
    record = must(folder, name)
    write(folder / name, replace(record, cut=False))
    network.plug(record.link, running(folder, name))


def _check(spec: ContainerSpec) -> None:
    if os.geteuid() != 0:
        raise MachineFailed("containers can't be made", "this process is not root's", "run as root")
    if not (spec.root / "usr/lib/systemd/systemd").exists():
        raise MachineFailed(
            f"{spec.root} is no root file system with systemd",
            "a machine of platform container boots with systemd",
            "run scripts/setup --for lab",
        )
    if not (namespace.FOLDER / spec.namespace).exists():
        raise MachineFailed(
            f"there is no network namespace {spec.namespace} for machine {spec.name}",
            "a container is plugged into a network that is there before it",
            "bring the lab up: scripts/lab up",
        )
    if shutil.which("systemd-nspawn") is None:
        raise MachineFailed("systemd-nspawn is missing", "machines of platform container run in it", "apt-get install systemd-container")


def _record_of(spec: ContainerSpec) -> Record:
    given = spec.provisioning
    return Record(
        name=spec.name,
        root=str(spec.root),
        namespace=spec.namespace,
        bridge=spec.bridge,
        address=given.address,
        prefix=given.prefix,
        gateway=given.gateway,
        mac=given.mac,
        host_key=given.host_key_public,
        capabilities=spec.capabilities,
        memory=spec.memory,
        disk=spec.disk,
    )


__all__ = [
    "ContainerSpec",
    "create",
    "cut_network",
    "delete",
    "exists",
    "kill",
    "names",
    "power_off",
    "power_on",
    "restore_network",
    "running",
]
