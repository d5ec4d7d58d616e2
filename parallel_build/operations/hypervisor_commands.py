"""Commands on hypervisors, and their agents' address by file; and the reverse of both."""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor

from parallel_build.cloudstack import properties, unit_end
from parallel_build.cloudstack.agents import AGENT_FILE, SETTING, hosts_with_agent
from parallel_build.cloudstack.services import AGENT, Services
from parallel_build.configuration import Hypervisor, HypervisorCommand
from parallel_build.errors import CommandFailed, ConnectionFailed, ParallelBuildError, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store


def run_on(context: Context, each: HypervisorCommand, command: list[str], names: list[str]) -> dict[str, ParallelBuildError]:
    """Run a command on hosts at the same time; what failed, by host."""
    hosts = {host.name: host for host in context.configuration.original.hypervisors}
    failed: dict[str, ParallelBuildError] = {}
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        timeout = each.timeout.total_seconds()
        for name, future in [(name, pool.submit(context.host(hosts[name]).run, command, timeout=timeout)) for name in names]:
            try:
                future.result()
            except (ConnectionFailed, CommandFailed) as error:
                failed[name] = error
    return failed


def undo(context: Context) -> None:
    """The reverse of what was begun, last first.

    A host that is lost or whose command fails does not keep the original from serving: it stays on record, and Window's undo asks again.
    """
    configuration, records = context.configuration, store(context)
    _restore_addresses(context)
    for number, each in reversed(list(enumerate(configuration.hypervisor_steps))):
        started: list[str] = records.facts("HypervisorSteps").get("started", [])
        names = [name for name in reversed(each.hosts) if f"{number}/{name}" in started]
        for group in [names] if each.at_once and names else [[name] for name in names]:
            failed: dict[str, ParallelBuildError] = {}
            if each.reverse:
                context.progress(f"{', '.join(group)}: {shlex.join(each.reverse)}")
                context.intend("reverse of a hypervisor step", hosts=group, command=shlex.join(each.reverse))
                failed = run_on(context, each, each.reverse, group)
            for name, error in failed.items():
                context.progress(f"{name} can't be put back yet: {error}")
                context.run.record("not undone", step=context.step, host=name, error=str(error))
            undone = [f"{number}/{name}" for name in group if name not in failed]
            started = [mark for mark in started if mark not in undone]
            records.remember("HypervisorSteps", started=started, done=[])


def left(context: Context) -> list[str]:
    """What is still to be undone, in words."""
    facts = store(context).facts("HypervisorSteps")
    return [f"hypervisor step on {mark.split('/', 1)[1]}" for mark in facts.get("started", [])] + [
        f"the agent's address on {name}" for name in facts.get("addresses", {})
    ]


def write_addresses(context: Context) -> None:
    wanted, records = context.configuration.host_setting, store(context)
    for hypervisor in hosts_with_agent(context.configuration):
        context.cancel.check()
        facts = records.facts("HypervisorSteps")
        before: dict[str, str] = facts.get("addresses", {})
        told: list[str] = facts.get("told", [])
        now = written(context, hypervisor)
        # A file that has the value may have got it a moment before the agent was to be restarted: only the record tells.
        if now != wanted or (hypervisor.name in before and hypervisor.name not in told):
            context.intend("set the agent's addresses", host=hypervisor.name, value=wanted)
            records.remember("HypervisorSteps", addresses={hypervisor.name: now, **before})
            set_addresses(context, hypervisor, wanted)
            records.remember("HypervisorSteps", told=[*(name for name in told if name != hypervisor.name), hypervisor.name])


def _restore_addresses(context: Context) -> None:
    records = store(context)
    before: dict[str, str] = records.facts("HypervisorSteps").get("addresses", {})
    for hypervisor in reversed([host for host in hosts_with_agent(context.configuration) if host.name in before]):
        try:
            context.intend("put the agent's addresses back", host=hypervisor.name, value=before[hypervisor.name])
            set_addresses(context, hypervisor, before[hypervisor.name])
        except (ConnectionFailed, CommandFailed, StepFailed) as error:
            context.progress(f"{hypervisor.name}: its agent's address can't be put back yet: {error}")
            context.run.record("not undone", step=context.step, host=hypervisor.name, error=str(error))
            continue
        before = {name: value for name, value in before.items() if name != hypervisor.name}
        told: list[str] = records.facts("HypervisorSteps").get("told", [])
        records.remember("HypervisorSteps", addresses=before, told=[name for name in told if name != hypervisor.name])


def written(context: Context, hypervisor: Hypervisor) -> str:
    """The value of `host` in an agent's own file.

    Raises:
        StepFailed: there is no such file, or it has none.
    """
    found = (properties.read(context.host(hypervisor), AGENT_FILE) or {}).get(SETTING)
    if not found:
        raise StepFailed(
            f"{hypervisor.name} has no `host=` in {AGENT_FILE}",
            "agents.method file writes it, and it seems to be no KVM host with cloudstack-agent",
            "correct original.hypervisors, or go back and see the step AgentAddresses in phase prepared",
        )
    return found


def set_addresses(context: Context, hypervisor: Hypervisor, value: str) -> None:
    """Write `host` into an agent's own file, all else kept, and restart the agent; guests are not touched by that."""
    host = context.host(hypervisor)
    kept = properties.without(properties.decode(host.read(AGENT_FILE) or b""), SETTING)
    if kept and not kept.endswith(("\n", "\r")):
        kept += "\n"
    text = f"{kept}{SETTING}={properties.escaped(value)}\n"
    mode = host.run(["stat", "-c", "%a %U:%G", AGENT_FILE]).stdout.split()
    context.progress(f"{hypervisor.name}: {SETTING}={value} in {AGENT_FILE}")
    host.write(AGENT_FILE, properties.encode(text), mode=int(mode[0], 8), owner=mode[1])
    context.progress(f"{hypervisor.name}: restarting {AGENT}")
    host.run(["systemctl", "restart", AGENT], timeout=120)
    if not Services(host).state(AGENT).active:
        raise StepFailed(
            f"{AGENT} on {hypervisor.name} does not run: restarted for its new addresses, it {(end := unit_end.read(host, AGENT)).words}",
            end.cause[0] if end.cause else "its own log says why",
            f"see `journalctl -u {AGENT}` and /var/log/cloudstack/agent/agent.log there, then run the same command again",
        )
