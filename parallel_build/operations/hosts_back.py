"""The hypervisors on the original again: agents taken from management servers that could not be proved down, and every host connected to the original.

A rollback is not done while a host waits for a management server that has lost its database.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import agents
from parallel_build.cloudstack.api import ApiNotTrusted, ApiRefused, ApiUnavailable
from parallel_build.configuration import Hypervisor
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed, TimedOut
from parallel_build.operations import fence_new_side, hypervisor_commands, original_management
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store
from parallel_build.remote.parallel import AT_ONCE, Workers
from parallel_build.remote.sql import session

AGENT_PORT = 8250
CONNECTED = ["ss", "-tn", "state", "established", "dport", "=", f":{AGENT_PORT}"]
TAKE_EVERY = 10.0  # seconds
ROWS = "SELECT uuid AS id, status AS state, resource_state AS resourcestate FROM cloud.host WHERE type = 'Routing' AND removed IS NULL"


def take_agents(context: Context) -> list[str]:
    """Agents that are connected to a management server that could not be proved down are given the original's addresses, and restarted.

    Returns:
        hosts where that could not be done, in words.
    """
    servers = fence_new_side.cut_off(context)
    if not servers:
        return []
    try:
        with session(original_database(context)) as database:
            value = str(database.value("SELECT value FROM cloud.configuration WHERE name = 'host'") or "")
    except (ConnectionFailed, CommandFailed, StepFailed) as error:
        context.progress(f"agents can't be taken from {', '.join(servers)}: {error}")
        return [f"agents that may be connected to {', '.join(servers)}: {error.reason}"]
    others = agents.addresses(agents.reduced(value, agents.addresses(context.configuration.host_setting)))
    originals = [address for address in others if not agents.is_loopback(address)]
    with Workers(AT_ONCE, context.cancel) as pool:
        asked = [pool.submit(_take, context, each, servers, originals) for each in agents.hosts_with_agent(context.configuration)]
        return [words for future in asked if (words := future.result())]


def _take(context: Context, hypervisor: Hypervisor, servers: dict[str, str], originals: list[str]) -> str:
    """Take one; what kept it from that, in words."""
    try:
        _give(context, hypervisor, set(servers.values()), originals)
    except (ConnectionFailed, CommandFailed, StepFailed) as error:
        context.progress(f"{hypervisor.name}: its agent could not be taken from {', '.join(servers)}: {error}")
        return f"agent on {hypervisor.name} (may be connected to {', '.join(servers)}): {error.reason}"
    return ""


def _give(context: Context, hypervisor: Hypervisor, addresses: set[str], originals: list[str]) -> None:
    host = context.host(hypervisor)
    there = peers(host.run(CONNECTED).stdout) & addresses
    if not there or not originals:
        return
    context.progress(f"{hypervisor.name}: its agent is connected to {', '.join(sorted(there))}, giving it {', '.join(originals)}")
    context.intend("take the agent from a server that was cut off", host=hypervisor.name, addresses=sorted(there))
    hypervisor_commands.set_addresses(context, hypervisor, ",".join(originals))


def peers(text: str) -> set[str]:
    """The other ends of connections, as `ss -tn` prints them below its heading: `0 0 10.0.0.21:51234 10.0.0.41:8250`, IPv6 in brackets."""
    lines = [line for line in text.splitlines() if line[:1].isdigit()]
    ends = [re.sub(r"^\[(?:::ffff:)?(.*)\]$", r"\1", line.split()[-1].rpartition(":")[0]) for line in lines]
    return {end.removeprefix("::ffff:") for end in ends}


def missing(context: Context) -> list[str]:
    """Wait until the hosts that were Up when the window opened are Up on the original.

    Returns:
        those that are not at the end, in words; also where nobody can be asked.
    """
    expected: dict[str, str] = store(context).facts("Window").get("hosts_up", {})
    away: list[str] = []
    taken = time.monotonic()

    def connected() -> bool:
        nonlocal taken
        listed = _listed(context)
        away[:] = sorted(name for identity, name in expected.items() if not is_back(listed, identity))
        context.progress(f"hosts Up on the original: {len(expected) - len(away)} of {len(expected)}")
        if away and time.monotonic() - taken > TAKE_EVERY:
            take_agents(context)  # one that lost its server may have dialled the cut off one since
            taken = time.monotonic()
        return not away

    if not expected:
        return []
    limit = context.configuration.window.hosts_timeout.total_seconds()
    try:
        wait_for("every host to be Up on the original", connected, timeout=limit, cancel=context.cancel, interval=1)
    except TimedOut:
        return [
            f"host {name} is not connected to the original after {limit:.0f} s: see `host=` in its agent.properties, or put it into maintenance"
            for name in away
        ]
    except (ConnectionFailed, CommandFailed, StepFailed) as error:
        return [f"whether {', '.join(sorted(expected.values()))} are connected to the original can't be asked: {error}"]
    return []


def _listed(context: Context) -> dict[str, bool]:
    """Whether each host is Up, or put aside, by its id: by the API, else by the original's table of hosts. A host that was removed is not among them."""
    try:
        listed = original_management.answering(context).list("listHosts", type="Routing")
    except (ApiRefused, ApiUnavailable, ApiNotTrusted):
        with session(original_database(context)) as database:
            listed = database.rows(ROWS)
    return up_or_aside(listed)


def up_or_aside(listed: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Whether each host is Up, or put aside, by its id."""
    return {str(host["id"]): host.get("state") == "Up" or host.get("resourcestate") in agents.ASIDE for host in listed}


def is_back(listed: Mapping[str, bool], identity: str) -> bool:
    """Whether nobody waits for a host any more. One that is not listed was removed, unless nothing is."""
    return bool(listed) and listed.get(identity, True)
