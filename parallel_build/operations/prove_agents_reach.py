"""Hosts reach port 8250 of the new management servers, proved while the original serves: nothing listens there yet, so something is put there for a moment."""

from __future__ import annotations

import enum
from collections.abc import Collection
from functools import partial

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import agents
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import AGENTS, Hypervisor, NewMachine, StackConfiguration
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, TimedOut
from parallel_build.operations.context import Context
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import AT_ONCE, Workers

UNIT = "parallel-build-8250"
LASTS = 120  # seconds after which it ends by itself, whoever has died
UP_WITHIN = 15.0
REACHES = 'for a; do timeout 3 bash -c "</dev/tcp/$a/8250" 2>/dev/null && echo "$a"; done; true'
LISTEN = """
import socket, sys
both = socket.has_dualstack_ipv6()
kind = socket.AF_INET6 if both else socket.AF_INET
with socket.create_server(("", int(sys.argv[1])), family=kind, dualstack_ipv6=both) as server:
    while True:
        server.accept()[0].close()
"""
START = (
    'systemctl stop "$1" 2>/dev/null || true; systemctl reset-failed "$1" 2>/dev/null || true\n'
    'exec systemd-run --quiet --collect --unit="$1" -p RuntimeMaxSec="$2" python3 -c "$3" "$4"'
)


class Listener(enum.Enum):
    """What listens on a new server's port: what was started for this, somebody else's, or nothing that could be started."""

    OURS, THEIRS, NONE = "ours", "theirs", "none"


def words(configuration: StackConfiguration) -> str:
    """The plan's line."""
    hosts = ", ".join(host.name for host in agents.hosts_with_agent(configuration))
    names = " and ".join(machine.name for machine in configuration.new.management)
    if not hosts:
        return f"whether hosts reach port {AGENTS} of {names} is not asked: original.hypervisors has no host with an agent"
    if configuration.new.load_balancer:
        return f"whether hosts reach port {AGENTS} is not asked: new.loadBalancer leads to the original until the switch"
    return f"on {names}: something that only listens on port {AGENTS}, for at most {LASTS} s (unit {UNIT}); prove that {hosts} reach it; stop it"


def prove(context: Context, away: Collection[str] = ()) -> dict[str, list[str]]:
    """Ask every listed host that has an agent.

    Args:
        away: names of hosts that the cloud has put aside and that need not be reached.
    Returns:
        by new server the hosts that reach it; empty where nobody can be asked, or a balancer leads there.
    Raises:
        GuardFailed: some do not: after the switch their agents could not connect. ConnectionFailed: one can't be asked.
    """
    configuration = context.configuration
    hosts = agents.hosts_with_agent(configuration)
    if not hosts or configuration.new.load_balancer:
        return {}
    machines = configuration.new.management
    with Workers(len(machines)) as pool:
        states = dict(zip((machine.name for machine in machines), pool.map(partial(_listen, context), machines), strict=True))
    ours = [machine for machine in machines if states[machine.name] is Listener.OURS]
    machines = [machine for machine in machines if states[machine.name] is not Listener.NONE]
    try:
        with Workers(AT_ONCE) as pool:
            asked = dict(zip((host.name for host in hosts), pool.map(partial(_ask, context), hosts), strict=True))
    finally:
        for machine in ours:
            context.host(machine).run(["systemctl", "stop", UNIT], ok=None, cancellable=False)
    for name, answer in asked.items():
        if isinstance(answer, ConnectionFailed):
            if name not in away:
                raise answer
            context.progress(f"{name} is put aside in the cloud and can't be asked whether it reaches port {AGENTS}: {answer.fact}")
    reached = {name: answer for name, answer in asked.items() if not isinstance(answer, ConnectionFailed)}
    closed = [
        f"{name} does not reach {machine.name} ({machine.address})"
        for name, found in reached.items()
        for machine in machines
        if machine.address not in found
    ]
    if closed:
        raise GuardFailed(
            f"hosts do not reach port {AGENTS} of the new management servers: {'; '.join(closed)}",
            "their agents could not connect after the switch, and their VMs could not be managed",
            f"open TCP port {AGENTS} from the hosts to the new management servers, in the firewalls between them and on these servers",
        )
    context.progress(f"{', '.join(reached)} reach port {AGENTS} of {', '.join(machine.name for machine in machines)}")
    return {machine.name: list(reached) for machine in machines}


def _listen(context: Context, machine: NewMachine) -> Listener:
    """Have something listen there; a server without the means for it is reported, and its hosts are not asked about it."""
    host = context.host(machine)
    services = Services(host)
    if AGENTS in services.listening([AGENTS]) and not _ours(host):
        context.progress(f"something listens on port {AGENTS} of {machine.name} already")
        return Listener.THEIRS
    context.intend(f"{machine.name}: listen on port {AGENTS} for a moment", unit=UNIT)
    try:
        _start(context, host, services)
    except (CommandFailed, TimedOut) as error:
        context.progress(f"warning: whether hosts reach port {AGENTS} of {machine.name} is not known: {error}")
        host.run(["systemctl", "stop", UNIT], ok=None, cancellable=False)
        return Listener.NONE
    return Listener.OURS


def _start(context: Context, host: Access, services: Services) -> None:
    host.script(START, [UNIT, str(LASTS), LISTEN, str(AGENTS)], cancellable=False)
    wait_for(
        f"{UNIT} on {host.name} to listen",
        lambda: AGENTS in services.listening([AGENTS]),
        timeout=UP_WITHIN,
        cancel=context.cancel,
        interval=0.2,
    )


def _ours(host: Access) -> bool:
    return host.run(["systemctl", "is-active", "--quiet", UNIT], ok=None).ok


def _ask(context: Context, host: Hypervisor) -> list[str] | ConnectionFailed:
    new = [machine.address for machine in context.configuration.new.management]
    try:
        return context.host(host).run(["sh", "-c", REACHES, "sh", *new], timeout=10 + 3 * len(new)).stdout.split()
    except ConnectionFailed as error:
        return error
