"""Which guest of which hypervisor a new machine is, noted while it runs: whether it is gone can only be asked of the one that made it.

Sources: libvirt: `virsh capabilities` (host/uuid) and `virsh domuuid`; vSphere: ServiceContent.about.instanceUuid and the machine's managed object id; a
container: the machine id of the computer that it is on, and its host key.
"""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from parallel_build.configuration import NewMachine
from parallel_build.machines import vcenter
from parallel_build.machines.container import record
from parallel_build.machines.local_commands import MachineFailed, in_english
from parallel_build.resolved_stack import Site

VIRSH_SECONDS = 60.0
MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True)
class MadeGuest:
    """A new machine as its platform knows it.

    Attributes:
        platform: libvirt, container or vsphere.
        host: who made it: libvirt's host uuid, this computer's machine id, vCenter's instance uuid.
        guest: what it is called there for good: domain uuid, host key, managed object id.
        name: its name there; for a container the folder that it is kept in (in older records only its name).
    """

    platform: str
    host: str
    guest: str
    name: str

    def kept(self) -> dict[str, str]:
        """As the window's record has it."""
        return asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, str] | None) -> MadeGuest | None:
        """From the record; None where it has nothing that could be compared."""
        names = ("platform", "host", "guest", "name")
        return cls(*(str(kept[name]) for name in names)) if kept and all(kept.get(name) for name in names) else None


def look(site: Site, machine: NewMachine) -> MadeGuest | None:
    """What a machine is to its platform, asked of the platform; None for platforms that make none.

    Raises:
        MachineFailed: the platform can't be asked from here, or does not know the machine.
    """
    platforms = site.configuration.platforms
    platform = site.configuration.platform_of(machine)
    if platform == "libvirt" and platforms.libvirt is not None:
        virsh, name = Virsh(platforms.libvirt.uri), f"{site.stack}-{machine.name}"
        return MadeGuest(platform, virsh.host(), virsh.must("domuuid", name), name)
    if platform == "container" and platforms.container is not None:
        made = record.must(platforms.container.folder, machine.name)
        return MadeGuest(platform, this_computer(), made.host_key, str(platforms.container.folder / machine.name))
    if platform == "vsphere" and platforms.vsphere is not None and site.secrets.vsphere_password is not None:
        folder = platforms.vsphere.folder if machine.vsphere.folder is None else machine.vsphere.folder
        host, guest = vcenter.identify(platforms.vsphere, site.secrets.vsphere_password, folder, machine.name)
        return MadeGuest(platform, host, guest, machine.name)
    return None


def this_computer() -> str:
    """This computer's machine id, "" where it has none."""
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return ""


class Virsh:
    """virsh at one connection."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if not shutil.which("virsh"):
            raise MachineFailed(f"{uri} can't be asked from here", "there is no virsh on this machine", "install it (libvirt-clients)")

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command, whatever its end."""
        try:
            return subprocess.run(
                ["virsh", "--connect", self.uri, *words],
                capture_output=True,
                text=True,
                timeout=VIRSH_SECONDS,
                check=False,
                env=in_english(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MachineFailed(f"{self.uri} can't be asked: virsh {words[0]}", str(error), "power it off yourself") from None

    def must(self, *words: str) -> str:
        """What a command prints.

        Raises:
            MachineFailed: it failed.
        """
        done = self.ask(*words)
        if done.returncode != 0:
            raise MachineFailed(
                f"{self.uri} can't be asked: virsh {' '.join(words)}",
                done.stderr.strip() or f"exit code {done.returncode}",
                "power it off yourself",
            )
        return done.stdout.strip()

    def host(self) -> str:
        """The host's own uuid, "" where it says none."""
        try:
            return ElementTree.fromstring(self.must("capabilities")).findtext("host/uuid", "")  # noqa: S314 - the operator's own libvirt
        except ElementTree.ParseError:
            return ""
