"""Indirect agents (KVM, LXC) and the addresses they dial.

An agent keeps dialling the list in its own agent.properties: changing `host` in a copied database alone reaches nobody. Since 4.11.1 a change through
updateConfiguration is pushed to connected agents, which write it down [CloudStack IndirectAgentLBServiceImpl.java; issue 7341].
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_build.cloudstack import properties
from parallel_build.cloudstack.kvm_guests import named
from parallel_build.cloudstack.systemvms import read_on_system_vm
from parallel_build.configuration import Hypervisor, StackConfiguration
from parallel_build.configuration.values import is_address, usual_address
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote.access import Access

AGENT_FILE = "/etc/cloudstack/agent/agent.properties"
SYSTEM_VM_AGENT_FILE = "/usr/local/cloud/systemvm/conf/agent.properties"
SETTING = "host"
INDIRECT = ("KVM", "LXC")  # XenServer and VMware hosts are dialled by the management server
INDIRECT_KINDS = ("kvm", "lxc")  # the same, as the configuration writes them
# States of a host that its operator has put aside: nobody waits for it.
ASIDE = frozenset({"Maintenance", "PrepareForMaintenance", "ErrorInMaintenance", "ErrorInPrepareForMaintenance", "Disabled", "Degraded"})

Item = dict[str, Any]


def addresses(value: str) -> list[str]:
    """The addresses of a `host` value, IPv6 in its usual form; the balancing algorithm after `@` is left out."""
    return [usual_address(part) for part in _parts(value)]


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split("@", 1)[0].split(",") if part.strip()]


def is_loopback(address: str) -> bool:
    """Whether an address of a `host` value leads whoever dials it to itself."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower().split(".")[0] == "localhost"


def extended(value: str, more: Iterable[str]) -> str:
    """The value with further addresses at its end, those first that are there: agents stay where they are. A `@algorithm` stays too."""
    known = addresses(value)
    return _value([*_parts(value), *(address for address in more if usual_address(address) not in known)], value)


def reduced(value: str, less: Iterable[str]) -> str:
    """The value without these addresses."""
    unwanted = {usual_address(address) for address in less}
    return _value([part for part in _parts(value) if usual_address(part) not in unwanted], value)


def _value(known: list[str], like: str) -> str:
    _, at, algorithm = like.partition("@")
    return ",".join(known) + (at + algorithm if known else "")


def previous(now: str, new: Sequence[str], remembered: str | None) -> str:
    """What `host` is to become when the new addresses are taken out.

    Args:
        now: its present value.
        new: the new servers' addresses.
        remembered: its value before they were added, None when that is not known.
    Returns:
        The remembered value where nobody else has changed the setting since; else the present one without those new addresses that were not in it before.
    """
    if remembered is None:
        return reduced(now, new)
    if addresses(now) in (addresses(extended(remembered, new)), addresses(remembered)):
        return remembered
    return reduced(now, set(new) - set(addresses(remembered)))


def unnamed(value: str, wanted: str) -> list[str]:
    """The addresses of one `host` value that a second value does not name, in their order."""
    there = addresses(value)
    return [address for address in addresses(wanted) if address not in there]


def dials(known: Sequence[str], wanted: str) -> bool:
    """Whether an agent whose file lists `known` finds who answers at all of `wanted`. A name in its file may lead there: it is not judged."""
    return set(addresses(wanted)) <= set(known) or not all(is_address(each) for each in known)


def listed(text: str) -> list[str]:
    """The addresses in the text of an agent.properties; empty when it has none."""
    return addresses(properties.parse(text).get(SETTING, ""))


def learnt(host: Access) -> list[str]:
    """The addresses that a hypervisor's agent has written down; empty where there is no agent."""
    return addresses((properties.read(host, AGENT_FILE) or {}).get(SETTING, ""))


def learnt_by_system_vm(hypervisor: Access, vm: Item) -> list[str] | None:
    """The addresses that a system VM's agent has written down, read through its KVM host; None when it can't be read."""
    address = vm.get("linklocalip") or vm.get("privateip")
    if not address:
        return None
    try:
        return listed(read_on_system_vm(hypervisor, address, SYSTEM_VM_AGENT_FILE).stdout)
    except (CommandFailed, StepFailed):
        return None


@dataclass(frozen=True)
class AgentHost:
    """A host with an agent of its own.

    Attributes:
        item: as listHosts gives it.
        hypervisor: it in the stack, None where the stack may not log in to it.
    """

    item: Item
    hypervisor: Hypervisor | None

    @property
    def name(self) -> str:
        """Its name in the cloud."""
        return str(self.item.get("name"))

    @property
    def connected(self) -> bool:
        """The cloud's management servers have a connection to its agent."""
        return str(self.item.get("state")) == "Up"

    @property
    def aside(self) -> bool:
        """Its operator has put it aside."""
        return self.item.get("resourcestate") in ASIDE

    @property
    def enabled(self) -> bool:
        """VMs may be started on it."""
        return str(self.item.get("resourcestate", "Enabled")) == "Enabled"

    def cause(self) -> tuple[str, str]:
        """Why its agent may not have learnt of a change, and what to do."""
        if not self.connected:
            return (
                f"its agent is not connected ({self.item.get('state')}), so the change can't reach it",
                "start cloudstack-agent there, or take the host out of the cloud",
            )
        if not self.enabled:
            return (
                f"it is {self.item.get('resourcestate')}, and versions before 4.13.1 pass such hosts over",
                "enable it, or call reconnectHost for it: on connecting it is given the list",
            )
        return (
            "its agent is connected but has not written the list down",
            "see agent.log there, call reconnectHost for it at a quiet time, or use agents.method file",
        )


def agent_hosts(items: Iterable[Item], hypervisors: Iterable[Hypervisor]) -> list[AgentHost]:
    """Hosts whose agents dial the management servers, each with what the stack knows of it (by address, else by name)."""
    known = list(hypervisors)
    found = []
    for item in items:
        if item.get("hypervisor") not in INDIRECT:
            continue
        by_address = [each for each in known if each.address == item.get("ipaddress")]
        found.append(AgentHost(item, by_address[0] if by_address else named(known, item.get("name"))))
    return sorted(found, key=lambda each: each.name)


def put_aside(items: Iterable[Item], hypervisors: Iterable[Hypervisor]) -> set[str]:
    """Names in the stack of the hypervisors that the cloud has put aside: in maintenance, disabled, or on their way there."""
    known, aside = list(hypervisors), [item for item in items if item.get("resourcestate") in ASIDE]
    addresses = {item.get("ipaddress") for item in aside} - {None, ""}
    named_ = {found.name for item in aside if (found := named(known, item.get("name"))) is not None}
    return named_ | {each.name for each in known if each.address in addresses}


def hosts_with_agent(configuration: StackConfiguration) -> list[Hypervisor]:
    """Hosts that dial the management servers and that the stack may log in to."""
    return [host for host in configuration.original.hypervisors if host.kind in INDIRECT_KINDS]
