"""System VMs and routers on a KVM host, as an operator meets them: a name, a link-local address with SSH, a release file.

Each runs as an sshd of its own in a transient systemd unit with its own /etc/cloudstack-release, so that it lives on when the
agent is stopped, updated or killed, and is gone after a power cut. Its folder is its volume: what is stopped keeps it.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from ..shared import paths
from ..shared.release import release_line

VMS = paths.AGENT_STATE / "vms"
BRIDGE, BRIDGE_ADDRESS = "cloud0", "169.254.0.1/16"
PORT = 3922
RELEASE = "/etc/cloudstack-release"
CONFIGURATION = "/usr/local/cloud/systemvm/conf"
COMMAND_SECONDS = 30
SSHD = """Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
PidFile none
UsePAM no
StrictModes no
"""

Machine = dict[str, Any]


class MachineError(Exception):
    """A machine can't do what it was told; says why in the words of a hypervisor."""


_changing = threading.Lock()


def run(*words: str, accept: bool = False) -> str:
    """Run a program of this host and return what it prints; raises MachineError where it fails and that is not accepted."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode and not accept:
        raise MachineError(f"{words[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def make_bridge() -> None:
    """Make the link-local bridge that system VMs hang on, where it is not there."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run("ip", "link", "add", BRIDGE, "type", "bridge", accept=True)
    run("ip", "addr", "replace", BRIDGE_ADDRESS, "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def unit(name: str) -> str:
    """The systemd unit of a machine."""
    return f"cloud-vm-{name}.service"


def known() -> list[Machine]:
    """Every machine that has a volume here, running or not."""
    found = []
    for path in sorted(VMS.glob("*/machine.json")):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue  # being made or removed at this moment
    return found


def running() -> list[Machine]:
    """The machines that run."""
    listed = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "cloud-vm-*.service")
    active = {line.split()[0] for line in listed.splitlines() if line.split()}
    return [machine for machine in known() if unit(machine["name"]) in active]


def start(machine: Machine, code: str, authorised: str, seconds: float) -> None:
    """Start a machine; one that runs already is left as it is.

    Args:
        machine: name, uuid, kind, address, template, hosts, port, and whether its volume is `new`.
        code: version of this host's agent package, which the programs inside report.
        authorised: public key that may log in.
        seconds: how long starting takes.
    Raises:
        MachineError: it has no address, or its volume is not on this host.
    """
    name = machine["name"]
    with _changing:
        if name in {each["name"] for each in running()}:
            return
        folder = VMS / name
        if not machine.get("address"):
            raise MachineError(f"{name} has no link-local address")
        if machine.get("new"):
            _make_volume(folder, {**machine, "code": code}, authorised)
        elif not (folder / "machine.json").exists():
            raise MachineError(f"the volume of {name} is not on this host")
        _boot(folder, json.loads((folder / "machine.json").read_text()))
    time.sleep(seconds)  # a virtual machine takes its time to boot; nothing else can be waited for


def stop(name: str) -> None:
    """Stop a machine; its volume stays."""
    with _changing:
        run("systemctl", "stop", unit(name), accept=True)
        run("systemctl", "reset-failed", unit(name), accept=True)
        path = VMS / name / "machine.json"
        if path.exists():
            address = json.loads(path.read_text())["address"]
            run("ip", "addr", "del", f"{address}/32", "dev", BRIDGE, accept=True)


def destroy(name: str) -> None:
    """Stop a machine and delete its volume."""
    stop(name)
    shutil.rmtree(VMS / name, ignore_errors=True)


def conf(name: str) -> Path:
    """agent.properties inside a machine."""
    return VMS / name / "conf" / "agent.properties"


def _make_volume(folder: Path, machine: Machine, authorised: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "conf").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "release").write_text(release_line(machine["template"]) + "\n")
    (folder / "conf" / "agent.properties").write_text(f"host={machine['hosts']}\nport={machine['port']}\n")
    (folder / "authorized_keys").write_text(authorised)
    (folder / "sshd_config").write_text(SSHD.format(port=PORT, address=machine["address"], folder=folder))
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine["name"], "-f", str(folder / "host_key"))
    # Last, since a volume counts from its record on.
    (folder / "machine.json").write_text(json.dumps(machine))


def _boot(folder: Path, machine: Machine) -> None:
    make_bridge()
    run("ip", "addr", "replace", f"{machine['address']}/32", "dev", BRIDGE)
    run("systemctl", "reset-failed", unit(machine["name"]), accept=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    run(
        "systemd-run", f"--unit={unit(machine['name'])}", f"--description=System VM {machine['name']}",
        f"--property=BindReadOnlyPaths={folder}/release:{RELEASE}",
        f"--property=BindPaths={folder}/conf:{CONFIGURATION}",
        "--property=Restart=on-failure", "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"))
