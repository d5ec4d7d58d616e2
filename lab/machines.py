"""The machines of a lab: names and addresses, the same in every lab because each has a network of its own."""

from __future__ import annotations

from dataclasses import dataclass

BRIDGE = "lab0"
NETWORK = "10.91.0.0/24"
ADDRESS = "10.91.0.1"  # of the bridge: package repository, templates, and the administrator's own address
USER_ADDRESS = "10.91.0.200"  # a second address here, to see what a user of the cloud sees
PREFIX = 24
PACKAGES_PORT = 8000
TEMPLATES_PORT = 80  # CloudStack takes templates from ports 80, 8080 and 443 only


@dataclass(frozen=True)
class Machine:
    """A machine's name, address and what it is for."""

    name: str
    address: str
    role: str


OLD_MANAGEMENT = (
    Machine("oldms1", "10.91.0.11", "management"),
    Machine("oldms2", "10.91.0.12", "management"),
)
OLD_SOURCE = Machine("olddb1", "10.91.0.13", "source")
OLD_REPLICA = Machine("olddb2", "10.91.0.14", "replica")
OLD_NODE = Machine("olddb3", "10.91.0.15", "replica")  # only where `up --galera` asks for it: then all three are nodes of a cluster
TIME_SERVER = OLD_MANAGEMENT[0]  # gives the new guests the time; containers have this computer's
# Addresses between those of the servers and those of the pods, then those behind the pods' and the user's.
_KVM_ADDRESSES = (21, 22, *range(60, 100), *range(201, 219))
ALL_KVM_HOSTS = tuple(Machine(f"kvm{number}", f"10.91.0.{last}", "kvm") for number, last in enumerate(_KVM_ADDRESSES, 1))
KVM_HOSTS = ALL_KVM_HOSTS[:2]  # what a lab has that was not asked for more
NEW_SOURCE = Machine("newdb1", "10.91.0.31", "source")
NEW_REPLICA = Machine("newdb2", "10.91.0.32", "replica")
NEW_MANAGEMENT = (
    Machine("newms1", "10.91.0.41", "management"),
    Machine("newms2", "10.91.0.42", "management"),
)
REHEARSAL = Machine("rehearsal", "10.91.0.51", "rehearsal")  # only where `up --rehearsal` asks for it


def original(management: int, hosts: int = len(KVM_HOSTS)) -> tuple[Machine, ...]:
    """The original's machines, with so many management servers and KVM hosts."""
    return (*OLD_MANAGEMENT[:management], OLD_SOURCE, OLD_REPLICA, *ALL_KVM_HOSTS[:hosts])


def new(management: int) -> tuple[Machine, ...]:
    """The machines that the stack builds."""
    return (NEW_SOURCE, NEW_REPLICA, *NEW_MANAGEMENT[:management])


def everything(management: int, hosts: int = len(KVM_HOSTS)) -> tuple[Machine, ...]:
    """All machines of a lab, but for those that an option asks for."""
    return (*original(management, hosts), *new(management))
