"""System VMs as units of systemd: each one an sshd of its own at its link-local address, with its own release file.

A machine's folder is its volume: it is there from its first start until the VM is destroyed. A machine that runs is a
transient unit, so it outlives its agent as a VM does, and is gone after a reboot of the host as a VM is.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from ..shared import paths
from ..shared.release import code_version, release_line

log = logging.getLogger("c.c.h.k.r.LibvirtComputingResource")

BRIDGE = "cloud0"
GATEWAY = "169.254.0.1/16"
PORT = 3922
UNIT = "cloud-vm-"
COMMAND_SECONDS = 60
WITH_AGENT = ("SecondaryStorageVm", "ConsoleProxy")
RELEASE = "/etc/cloudstack-release"
INSIDE = "/usr/local/cloud/systemvm"
SSHD = """# The way into a system VM.
Port {port}
ListenAddress {address}
HostKey {folder}/ssh_host_ed25519_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM yes
PrintMotd no
Subsystem sftp internal-sftp
"""
#: Runs in the machine's unit: its own host name, its sshd, and for some kinds an agent.
BOOT = 'hostname "$1" && {sshd}'


class MachineError(Exception):
    """A machine can't be started or stopped; the text is the answer to the management server."""


@dataclass
class Machine:
    """What is known of a machine; kept in its folder."""

    name: str
    uuid: str
    kind: str
    address: str
    private_address: str
    template: str
    version: str

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return paths.AGENT_STATE / "vms" / self.name

    @property
    def unit(self) -> str:
        """Its unit."""
        return f"{UNIT}{self.name}.service"

    @property
    def properties(self) -> Path:
        """Its own agent.properties, as seen from the host."""
        return self.folder / "systemvm/conf/agent.properties"


def run(*command: str, check: bool = True) -> str:
    """Run a command and return its output; raises MachineError."""
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if check and outcome.returncode:
        raise MachineError(f"{' '.join(command[:3])} ended with {outcome.returncode}: {outcome.stderr.strip()}")
    return outcome.stdout


def prepare_host() -> None:
    """Make the bridge for link-local addresses, as the agent of a real host does."""
    if BRIDGE not in (name for _, name in socket.if_nameindex()):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    if GATEWAY not in run("ip", "-brief", "address", "show", "dev", BRIDGE):
        run("ip", "address", "add", GATEWAY, "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def load(name: str) -> Machine | None:
    """Return the machine of a folder; None where there is none."""
    file = paths.AGENT_STATE / "vms" / name / "machine.json"
    return Machine(**json.loads(file.read_text())) if file.exists() else None


def running() -> list[Machine]:
    """Return the machines that run."""
    listing = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", f"{UNIT}*.service")
    found = []
    for line in listing.splitlines():
        machine = load(line.split()[0].removeprefix(UNIT).removesuffix(".service"))
        if machine is not None:
            found.append(machine)
    return found


def start(wanted: dict[str, object], public_key: str) -> Machine:
    """Start a machine.

    Args:
        wanted: what the management server asks for.
        public_key: who may log in.

    Raises:
        MachineError: a second one of the name runs, its volume is missing, or it does not come up.
    """
    name, uuid = str(wanted["name"]), str(wanted["uuid"])
    present = load(name)
    if any(machine.name == name for machine in running()):
        if present is not None and present.uuid == uuid:
            return present
        raise MachineError(f"operation failed: domain '{name}' already exists with uuid {present.uuid if present else ''}")
    if wanted["new"]:
        present = _create(wanted)
    elif present is None or present.uuid != uuid:
        raise MachineError(f"Storage volume not found: no storage vol of the VM {name}")
    machine = present
    _write_access(machine, str(wanted["hosts"]), str(wanted["port"]), public_key)
    _boot(machine)
    log.info("Started VM %s at %s", machine.name, machine.address)
    return machine


def _create(wanted: dict[str, object]) -> Machine:
    address = wanted["address"]
    if not address:
        raise MachineError(f"the VM {wanted['name']} has no link-local address")
    machine = Machine(
        name=str(wanted["name"]),
        uuid=str(wanted["uuid"]),
        kind=str(wanted["kind"]),
        address=str(address),
        private_address=str(wanted["private_address"] or ""),
        template=str(wanted["template"]),
        # A system VM gets its software from its host's packages, not from its template.
        version=code_version().text,
    )
    shutil.rmtree(machine.folder, ignore_errors=True)
    machine.folder.mkdir(parents=True)
    (machine.folder / "cloudstack-release").write_text(release_line(machine.template) + "\n")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(machine.folder / "ssh_host_ed25519_key"))
    (machine.folder / "machine.json").write_text(json.dumps(asdict(machine), indent=1) + "\n")
    return machine


def _write_access(machine: Machine, hosts: str, port: str, public_key: str) -> None:
    (machine.folder / "authorized_keys").write_text(public_key)
    (machine.folder / "sshd_config").write_text(SSHD.format(port=PORT, address=machine.address, folder=machine.folder))
    machine.properties.parent.mkdir(parents=True, exist_ok=True)
    machine.properties.write_text(f"host={hosts}\nport={port}\nguid={machine.uuid}\nname={machine.name}\n")


def _boot(machine: Machine) -> None:
    run("ip", "address", "replace", f"{machine.address}/32", "dev", BRIDGE)
    run("systemctl", "reset-failed", machine.unit, check=False)
    config = machine.folder / "sshd_config"
    command = (
        f"/usr/sbin/sshd -f {config} && exec /usr/bin/python3 -m standin.agent.systemvm {machine.name}"
        if machine.kind in WITH_AGENT
        else f"exec /usr/sbin/sshd -D -f {config}"
    )
    run(
        "systemd-run",
        f"--unit={machine.unit}",
        "--collect",
        "--quiet",
        f"--description=System VM {machine.name}",
        f"--setenv=PYTHONPATH={os.environ.get('PYTHONPATH', '')}",
        "--setenv=PYTHONDONTWRITEBYTECODE=1",
        f"--property=BindReadOnlyPaths={machine.folder}/cloudstack-release:{RELEASE}",
        f"--property=BindPaths={machine.folder}/systemvm:{INSIDE}",
        "--property=StandardOutput=null",
        "--property=TimeoutStopSec=5",
        "/usr/bin/unshare",
        "--uts",
        "--",
        "/bin/sh",
        "-c",
        BOOT.format(sshd=command),
        "sh",
        machine.name,
    )
    if "active" not in run("systemctl", "is-active", machine.unit, check=False).split():
        raise MachineError(f"VM {machine.name} ended right after its start")


def patch(name: str, uuid: str) -> None:
    """Give a machine that runs the software of its host's packages. [CloudStack 4.22 LibvirtPatchSystemVmCommandWrapper]"""
    machine = load(name)
    if machine is None or machine.uuid != uuid or not any(each.name == name for each in running()):
        raise MachineError(f"Failed to patch {name}: it does not run here")
    machine.version = code_version().text
    (machine.folder / "machine.json").write_text(json.dumps(asdict(machine), indent=1) + "\n")
    log.info("Patched VM %s", name)


def stop(name: str, uuid: str) -> None:
    """Stop a machine; nothing happens where none of this identity runs."""
    machine = load(name)
    if machine is None or machine.uuid != uuid:
        return
    run("systemctl", "stop", machine.unit, check=False)
    run("ip", "address", "del", f"{machine.address}/32", "dev", BRIDGE, check=False)
    log.info("Stopped VM %s", name)


def destroy(name: str, uuid: str) -> None:
    """Stop a machine and delete its volume."""
    stop(name, uuid)
    machine = load(name)
    if machine is not None and machine.uuid == uuid:
        shutil.rmtree(machine.folder)
