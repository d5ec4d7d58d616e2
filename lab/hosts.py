"""The original's machines as containers, of either family of systems, and sessions to every machine of the lab."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lab import rpm_packages
from lab.errors import LabError
from lab.files import Lab, System
from lab.images.el import OPERATOR
from lab.machines import (
    ADDRESS,
    BRIDGE,
    NEW_MANAGEMENT,
    NEW_REPLICA,
    NEW_SOURCE,
    OLD_MANAGEMENT,
    OLD_NODE,
    OLD_REPLICA,
    OLD_SOURCE,
    PACKAGES_PORT,
    PREFIX,
    REHEARSAL,
    Machine,
    everything,
)
from lab.progress import NEVER, until
from parallel_build.configuration import Server, Ssh
from parallel_build.machines.container import machine as container
from parallel_build.machines.provisioning import DONE, LOG, File, Provisioning
from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.remote.host import Host

S = TypeVar("S")
T = TypeVar("T")

# A package must not start its service before the set-up commands have run [Debian policy 9.3.3.2]; removed when they have.
NO_STARTS = File("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)

ROOT_PASSWORD = "original_root_password"  # noqa: S105 - the name of the secret, and the mark of a lab whose servers have it
DATABASE_UNITS = ("mariadb.service", "mysql.service", "mysqld.service")
PACKAGES = {
    "management": ("cloudstack-management",),
    "source": (),
    "replica": (),
    "kvm": ("cloudstack-agent",),
}


@dataclass(frozen=True)
class Service:
    """A further service of a machine: its files and the units to enable."""

    files: tuple[File, ...] = ()
    units: tuple[str, ...] = ()


NO_SERVICE = Service()


def repository_line(version: str) -> str:
    """The apt line of a version's packages in the lab."""
    return f"deb [trusted=yes] http://{ADDRESS}:{PACKAGES_PORT}/{version} ./"


def repository_address(version: str) -> str:
    """The address of a version's RPMs in the lab."""
    return f"http://{ADDRESS}:{PACKAGES_PORT}/{rpm_packages.PREFIX}{version}/"


def repository_files(system: System, version: str) -> tuple[File, ...]:
    """What names a version's packages on a machine."""
    if system == "debian":
        return (File("/etc/apt/sources.list.d/lab.list", repository_line(version) + "\n"), NO_STARTS)
    text = f"[lab]\nname=CloudStack\nbaseurl={repository_address(version)}\nenabled=1\ngpgcheck=0\n"
    return (File("/etc/yum.repos.d/lab.repo", text),)


def create(
    lab: Lab,
    machine: Machine,
    root: Path,
    version: str,
    *,
    files: Sequence[File] = (),
    units: Sequence[str] = (),
    service: Service = NO_SERVICE,
    packages: Sequence[str] = (),
    disk: int | None = None,
) -> None:
    """Make one of the original's machines, with the packages of its role, and wait until it has been put together.

    Args:
        root: shared root file system.
        version: CloudStack version that is installed.
        files: further files.
        units: a database server's units, to enable.
        service: a further service, with its files.
        packages: packages beyond those of its role.
        disk: GiB of a disk of its own.
    Raises:
        LabError: its packages can't be installed; the message ends with what apt printed.
    """
    private, public = lab.key(machine.name)
    system = lab.options().family
    provisioning = Provisioning(
        hostname=machine.name,
        address=machine.address,
        prefix=PREFIX,
        host_key_private=private,
        host_key_public=public,
        authorized_keys=(lab.operator_key(),),
        hosts={other.name: other.address for other in everything(2, lab.options().kvm_hosts)},
        files=(*repository_files(system, version), *_operator(lab, system), *files, *service.files),
        packages=(*PACKAGES[machine.role], *packages),
        enabled_units=(*units, *service.units),
        # The shared root brings a database server, and CloudStack's unit wants one: it must not start where there is no database.
        masked_units=() if units else DATABASE_UNITS,
    )
    container.create(container.ContainerSpec(machine.name, root, lab.original, lab.namespace, BRIDGE, provisioning, disk=disk))
    inside = lab.original / machine.name / "root"

    def assembled() -> bool:
        if (inside / DONE.lstrip("/")).exists():
            return True
        if "No packages" in (text := _read(inside / LOG.lstrip("/"))) or "\nE: " in text or "\nError: " in f"\n{text}":
            raise LabError(f"{machine.name} can't install its packages", " | ".join(text.splitlines()[-3:]), f"read {lab.folder}")
        return False

    until(f"the packages of {machine.name}", assembled, timeout=300, remedy=f"read {LOG} on {machine.name}")


def _operator(lab: Lab, system: System) -> tuple[File, ...]:
    """The key of the account that becomes root by sudo: a stack logs in with it where the image has one."""
    return (File(f"/home/{OPERATOR}/.ssh/authorized_keys", lab.operator_key() + "\n", 0o644),) if system == "el" else ()


def in_parallel(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Do the same with each item at the same time; the first error is raised when all have ended."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        futures = [pool.submit(work, item) for item in items]
    return [future.result() for future in futures]


@contextlib.contextmanager
def sessions(lab: Lab) -> Iterator[Sessions]:
    """Sessions to the lab's machines; closed at the end, so that no connection keeps the lab's network alive."""
    with tempfile.TemporaryDirectory(prefix="cslab-") as folder:
        opened = Sessions(lab, Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def really(lab: Lab, machine: Machine) -> Machine:
    """The machine that plays another's part where a side is one server."""
    one = lab.options().one_server
    if one and machine in (OLD_SOURCE, OLD_REPLICA):
        return OLD_MANAGEMENT[0]
    return NEW_MANAGEMENT[0] if one == "both" and machine in (NEW_SOURCE, NEW_REPLICA) else machine


def named(lab: Lab, name: str) -> Machine:
    """A machine of the lab.

    Raises:
        LabError: it has none of that name.
    """
    known = {machine.name: machine for machine in (*everything(lab.options().management, lab.options().kvm_hosts), OLD_NODE, REHEARSAL)}
    if name not in known:
        raise LabError(f"lab {lab.name} has no machine {name}", f"it has {', '.join(known)}", "")
    return known[name]


@contextlib.contextmanager
def log_in(lab: Lab, name: str, *options: str) -> Iterator[list[str]]:
    """The words of an `ssh` to a machine, for a command behind them: over a connection of its own, which ends with the command."""
    with sessions(lab) as opened:
        host = opened[named(lab, name)]
        alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]  # ssh takes what it is given first
        yield ["ssh", *alone, *host.options(), "-o", "LogLevel=ERROR", *options, host.destination]


class Sessions:
    """Sessions to the lab's machines, made when first asked for. The caller must be inside the lab's network."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self._hosts: dict[str, Host] = {}

    def __getitem__(self, machine: Machine) -> Host:
        machine = really(self.lab, machine)
        if machine.name not in self._hosts:
            ssh = Ssh(identity_file=self.lab.identity, config_file=Path("/dev/null"))
            server = Server(name=machine.name, address=machine.address)
            self._hosts[machine.name] = Host(server, ssh, self.folder, self.lab.host_key(machine.name), NEVER)
            self._hosts[machine.name].database = self._login(machine)
        return self._hosts[machine.name]

    def _login(self, machine: Machine) -> DatabaseLogin:
        """How the original's database servers let root in: the EL-shaped ones by a password, once they have one."""
        password = self.lab.secrets().get(ROOT_PASSWORD) if machine in (OLD_SOURCE, OLD_REPLICA) and self.lab.done(ROOT_PASSWORD) else None
        return DatabaseLogin("original.database", password=password) if password else DatabaseLogin()

    def close(self) -> None:
        """End every session."""
        for host in self._hosts.values():
            host.close()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
