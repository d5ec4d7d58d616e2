"""Indirect agents (KVM, LXC) and the addresses they dial.

An agent keeps dialling the list in its own agent.properties: changing `host` in a copied database alone reaches nobody. Since 4.11.1 a change through
updateConfiguration is pushed to connected agents, which write it down [CloudStack IndirectAgentLBServiceImpl.java; issue 7341].
"""

from __future__ import annotations

from parallel_build.connection import Host

AGENT_FILE = "/etc/cloudstack/agent/agent.properties"
SETTING = "host"


def addresses(value: str) -> list[str]:
    """The addresses of a `host` value; the balancing algorithm after `@` is left out."""
    return [part.strip() for part in value.split("@", 1)[0].split(",") if part.strip()]


def extended(value: str, more: list[str]) -> str:
    """The value with further addresses at its end, those first that are there: agents stay where they are."""
    known = addresses(value)
    return ",".join([*known, *(address for address in more if address not in known)])


def reduced(value: str, less: list[str]) -> str:
    """The value without these addresses."""
    return ",".join(address for address in addresses(value) if address not in less)


def learnt(host: Host) -> list[str]:
    """The addresses that a hypervisor's agent has written down; empty where there is no agent."""
    raw = host.read(AGENT_FILE)
    for line in (raw or b"").decode(errors="replace").splitlines():
        if line.strip().startswith("host="):
            return addresses(line.split("=", 1)[1])
    return []
