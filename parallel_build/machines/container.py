"""Machines in systemd-nspawn: a real Debian with systemd, sshd and its own address, in a second or two, without virtualisation.

A machine is a folder: `FOLDER/NAME/` with its record, its layer over a shared root file system, and its console. Whatever is needed
to find it again is in that folder, so that another process, later, can switch it off or delete it. Used for the lab and for tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.machines import cgroups, layer, namespace, network
from parallel_build.machines.commands import MachineFailed, start_detached
from parallel_build.machines.provisioning import Provisioning
from parallel_build.machines.supervisor import start_time

ALWAYS = ("CAP_NET_ADMIN",)  # a firewall inside

INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 4096


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
    """

    name: str
    root: Path
    folder: Path
    namespace: str
    bridge: str
    provisioning: Provisioning
    capabilities: tuple[str, ...] = ()
    memory: int | None = None


@dataclass(frozen=True)
class Record:
    """What is remembered of a machine, without secrets.

    Attributes:
        host_key: its public SSH host key; two machines of one name are told apart by it.
        made: its layer is complete.
        cut: its network has been cut on purpose.
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
    with _exclusive(spec.folder, spec.name):
        record = _record_of(spec)
        found = _read(machine)
        if found and found.made and found.identity != record.identity:
            raise MachineFailed(
                f"another machine named {spec.name} is in {spec.folder}",
                "its host key, address or network is not the one asked for",
                "delete it first, or give the new one another name",
            )
        if not (found and found.made):
            if found:
                _end(machine, found)
            layer.discard(machine)
            _write(machine, record)
            layer.mount(machine, spec.root)
            layer.fill(machine / "root", spec.provisioning)
            _write(machine, replace(record, made=True))
    power_on(spec.folder, spec.name, timeout=timeout, cancel=cancel)


def power_on(folder: Path, name: str, *, timeout: float = 60, cancel: CancelToken | None = None) -> None:
    """Switch the machine on and wait until its sshd answers (not waited for while its network is cut).

    Raises:
        MachineFailed: there is no such machine, or it ends at once.
        StepFailed: it doesn't answer in time.
    """
    machine, record = folder / name, _must(folder, name)
    with _exclusive(folder, name):
        if not running(folder, name):
            layer.mount(machine, Path(record.root))
            network.connect(record.link)
            network.plug(record.link, not record.cut)
            command = {
                "argv": _nspawn(machine, record),
                "environment": layer.environment(Path(record.root)),
                "unplug": network.plug_command(record.link, False),
                "group": record.machine,
                "memory": record.memory * 2**20 if record.memory else None,
            }
            (machine / "command.json").write_text(json.dumps(command, indent=1))
            if "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY" in layer.environment(Path(record.root)):
                cgroups.need_unified()
            _need_inotify()
            start_detached([sys.executable, "-m", "parallel_build.machines.supervisor", str(machine)], machine / "supervisor.log")
    token = cancel or CancelToken()
    started = time.monotonic()

    def answers() -> bool:
        if running(folder, name):
            return record.cut or namespace.ssh_answers(record.namespace, record.address)
        if time.monotonic() - started > 5:
            raise MachineFailed(f"machine {name} ended right after its start", _tail(machine), f"read {machine}/console.log")
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
    machine, record = folder / name, _must(folder, name)
    _signal_supervisor(machine, signal.SIGTERM)
    if not _ended(folder, name, timeout):
        raise MachineFailed(
            f"machine {name} did not switch itself off within {timeout:.0f} s",
            "a service inside does not stop",
            f"read {machine}/console.log, or cut its power with kill()",
        )
    network.plug(record.link, False)


def kill(folder: Path, name: str) -> None:
    """Cut the machine's power: its neighbours see nothing but silence.

    Raises:
        MachineFailed: its processes can't be ended.
    """
    machine, record = folder / name, _must(folder, name)
    network.plug(record.link, False)  # First, or dying processes would still say goodbye on their connections.
    _end(machine, record)


def delete(folder: Path, name: str) -> None:
    """Remove the machine and everything of it, in whatever state it is; nothing happens when it isn't there.

    Raises:
        MachineFailed: its processes or its mount can't be ended.
    """
    machine = folder / name
    if not machine.exists():
        return
    with _exclusive(folder, name):
        record = _read(machine)
        if record:
            _end(machine, record)
            network.disconnect(record.link)
            cgroups.remove(record.machine)
            cgroups.remove(record.machine + ".keeper")
            with contextlib.suppress(OSError):  # nspawn leaves it behind where /run is no tmpfs.
                (NSPAWN_FOLDER / record.machine).rmdir()
        layer.discard(machine)
        shutil.rmtree(machine)
    (folder / f".{name}.lock").unlink(missing_ok=True)


def running(folder: Path, name: str) -> bool:
    """Whether the machine is on: its supervisor holds the lock."""
    try:
        handle = os.open(folder / name / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def exists(folder: Path, name: str) -> bool:
    """Whether the machine has been made, on or off."""
    record = _read(folder / name)
    return record is not None and record.made


def names(folder: Path) -> list[str]:
    """The machines of a folder, also half-made ones."""
    return sorted(path.parent.name for path in folder.glob("*/machine.json"))


def cut_network(folder: Path, name: str) -> None:
    """Pull the machine's network cable; it stays cut over a power cycle until `restore_network`."""
    record = _must(folder, name)
    _write(folder / name, replace(record, cut=True))
    network.plug(record.link, False)


def restore_network(folder: Path, name: str) -> None:
    """Plug the machine's network cable in again."""
    record = _must(folder, name)
    _write(folder / name, replace(record, cut=False))
    network.plug(record.link, running(folder, name))


def _nspawn(machine: Path, record: Record) -> list[str]:
    own = namespace.FOLDER / record.machine
    return [
        # Started inside as well: the /sys that nspawn mounts shows the cards of the namespace it was started in, and CloudStack makes a
        # server's id of the MAC address it finds there.
        *("nsenter", f"--net={own}", "--"),
        "systemd-nspawn",
        "--quiet",
        f"--directory={machine / 'root'}",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--console=read-only",
        f"--network-namespace-path={own}",
        # Unique on this computer: nspawn keeps folders by this name; several labs have a machine called newdb1.
        f"--machine={record.machine}",
        f"--hostname={record.name}",
        f"--capability={','.join((*ALWAYS, *record.capabilities))}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
    ]


def _need_inotify() -> None:
    """Have enough inotify instances: each systemd takes dozens, and the kernel's limit is for all of root's together."""
    if int(INOTIFY_LIMIT.read_text()) < INOTIFY_INSTANCES:
        INOTIFY_LIMIT.write_text(str(INOTIFY_INSTANCES))


def _end(machine: Path, record: Record) -> None:
    # By its group: nspawn's own death doesn't take the machine's processes with it. The supervisor then ends by itself, unless it was just
    # about to start the machine again.
    if cgroups.kill(record.machine) and _ended(machine.parent, machine.name, 2):
        return
    _signal_supervisor(machine, signal.SIGKILL)
    if not cgroups.kill(record.machine) or not _ended(machine.parent, machine.name, 10):
        raise MachineFailed(f"processes of machine {record.name} can't be ended", "", f"look at `ps` and {machine}")


def _ended(folder: Path, name: str, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while running(folder, name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _signal_supervisor(machine: Path, number: signal.Signals) -> None:
    if not running(machine.parent, machine.name):
        return
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # The lock is taken a moment before the record is written.
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((machine / "supervisor.json").read_text())
            handle = os.pidfd_open(found["pid"])
            try:
                if start_time(found["pid"]) == found["start"]:
                    signal.pidfd_send_signal(handle, number)
                    return
            finally:
                os.close(handle)
        if not running(machine.parent, machine.name):
            return
        time.sleep(0.05)
    raise MachineFailed(f"the supervisor of machine {machine.name} can't be found", f"{machine}/supervisor.json is stale")


def _check(spec: ContainerSpec) -> None:
    if os.geteuid() != 0:
        raise MachineFailed("containers can't be made", "this process is not root's", "run as root")
    if not (spec.root / "usr/lib/systemd/systemd").exists():
        raise MachineFailed(f"{spec.root} is no root file system with systemd", "", "run scripts/setup --for lab")
    if not (namespace.FOLDER / spec.namespace).exists():
        raise MachineFailed(
            f"there is no network namespace {spec.namespace} for machine {spec.name}",
            "",
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
    )


def _read(machine: Path) -> Record | None:
    try:
        found = json.loads((machine / "machine.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError:  # Torn by a crash of this computer; the next create starts over, a delete goes by names.
        return None
    return Record(**{**found, "capabilities": tuple(found["capabilities"])})


def _must(folder: Path, name: str) -> Record:
    record = _read(folder / name)
    if record is None or not record.made:
        raise MachineFailed(f"there is no machine {name} in {folder}", "", "create it first")
    return record


def _write(machine: Path, record: Record) -> None:
    machine.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = machine / "machine.new"
    with temporary.open("w") as file:
        file.write(json.dumps(asdict(record), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(machine / "machine.json")


@contextlib.contextmanager
def _exclusive(folder: Path, name: str) -> Iterator[None]:
    """One create, power_on or delete of a machine at a time, over all processes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _tail(machine: Path) -> str:
    try:
        lines = (machine / "console.log").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return " | ".join(line.strip() for line in lines[-3:] if line.strip())
