"""System VMs and routers that the new side made and that run on after a rollback: read from its database, with the hypervisor's own command to remove each.

CloudStack knows them no more once the original serves again, and KVM hosts that the stack may log in to are the only ones that it tidies itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from parallel_build.cloudstack.kvm_guests import listed, named
from parallel_build.configuration import Hypervisor
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session

LEFT = "LeftRunning"  # under this name the window's record has them
ALIVE = ("Running", "Starting", "Stopping", "Migrating", "Unknown")
KINDS = {"SecondaryStorageVm": "secondary storage VM", "ConsoleProxy": "console proxy", "DomainRouter": "router"}
NUMBER = re.compile(r"^[a-z]+-(\d+)-")
SIMULATED = "Simulator"

REMOVE = {
    "KVM": "virsh destroy {name}; virsh undefine {name}",
    "LXC": "virsh -c lxc:/// destroy {name}; virsh -c lxc:/// undefine {name}",
    "XenServer": "xe vm-shutdown vm={name} force=true; xe vm-uninstall vm={name} force=true",
    "VMware": "govc vm.power -off -force {name}; govc vm.destroy {name}",
    "Hyperv": "Stop-VM -Name {name} -TurnOff -Force; Remove-VM -Name {name} -Force",
    "Ovm3": "xm destroy {name}",
    SIMULATED: "DELETE FROM simulator.mockvm WHERE name = '{name}'",
}
ELSEWHERE = "remove {name} with the hypervisor's own tools"


@dataclass(frozen=True)
class Guest:
    """One of them.

    Attributes:
        name: instance name, which is the hypervisor's name for it as well.
        kind: CloudStack's type.
        host: name of its host, "" where the database names none.
        hypervisor: its type.
        address: private IP address, which the original may give away again.
    """

    name: str
    kind: str
    host: str
    hypervisor: str
    address: str = ""

    @property
    def number(self) -> int:
        """The id in its name; 0 where there is none."""
        found = NUMBER.match(self.name)
        return int(found[1]) if found else 0

    @property
    def remove(self) -> str:
        """The command, on its host (XenServer: on the pool's master)."""
        return REMOVE.get(self.hypervisor, ELSEWHERE).format(name=self.name)

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return f"{self.name} ({KINDS.get(self.kind, self.kind)}{where}, {self.hypervisor or 'unknown hypervisor'})"

    def document(self) -> dict[str, Any]:
        """As plain values, with its command."""
        return {**asdict(self), "remove": self.remove}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Guest:
        """From plain values; what another version added is left out."""
        return cls(**{name: str(document.get(name) or "") for name in ("name", "kind", "host", "hypervisor", "address")})


def made_since(database: Session, highest: int) -> list[Guest]:
    """Those that a database says are alive, with an id above `highest`: that of the moment when the window opened."""
    marks = ", ".join(["%s"] * len(ALIVE))
    rows = database.rows(
        "SELECT v.instance_name AS name, v.type AS kind, h.name AS host, COALESCE(v.hypervisor_type, h.hypervisor_type) AS hypervisor, "
        "v.private_ip_address AS address FROM cloud.vm_instance v LEFT JOIN cloud.host h ON h.id = COALESCE(v.host_id, v.last_host_id) "
        f"WHERE v.id > %s AND v.type <> 'User' AND v.removed IS NULL AND v.state IN ({marks}) ORDER BY v.id",
        [highest, *ALIVE],
    )
    return [Guest.of(row) for row in rows]


def not_proved_gone(hypervisors: Sequence[Hypervisor], host: Callable[[Hypervisor], Access], guests: Sequence[Guest]) -> list[Guest]:
    """Those that their own KVM host, asked now, does not deny, or that a second host has: it may have been moved there. One whose host can't be asked is
    not gone.
    """
    answers = listed(hypervisors, host, running=False) if guests else {}
    there = {name: names for name, names in answers.items() if names is not None}
    somewhere = {name for names in there.values() for name in names}
    asked = {guest.host: named(hypervisors, guest.host) for guest in guests}
    return [guest for guest in guests if (own := asked[guest.host]) is None or own.name not in there or guest.name in somewhere]
