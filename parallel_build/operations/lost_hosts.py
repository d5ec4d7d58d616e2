"""Hypervisors that died in the window: nobody waits for one that its operator has put aside, and what can't be undone there keeps no window open.

Silence alone is not enough: the operator has put the host into maintenance, disabled it, or taken it out of the cloud, where it is waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from parallel_build.cloudstack.agents import ASIDE, put_aside
from parallel_build.cloudstack.api import ApiNotTrusted, ApiRefused, ApiUnavailable
from parallel_build.cloudstack.kvm_guests import named
from parallel_build.operations import agent_wave, hypervisor_commands, original_management
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store

WINDOW = "Window"


def put_aside_since(before: Collection[str] | None, ours: Collection[str], hosts: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Ids of hosts that are not Up and that their operator has put aside on the new side.

    Args:
        before: ids of those that were put aside when the window opened, and Up all the same; None where that was not noted.
        ours: ids of those that the agents' wave has disabled.
        hosts: items of listHosts by id.
    """
    if before is None:
        return set()
    return {
        identity
        for identity, host in hosts.items()
        if host.get("state") != "Up" and host.get("resourcestate") in ASIDE and identity not in {*before, *ours}
    }


def give_up(context: Context) -> None:
    """In a rollback: hosts that are put aside on the original, or not in its cloud any more, and that can't be reached, are taken off the record.

    What is to be done on each before it runs VMs again is reported and recorded.
    """
    touched = hypervisor_commands.hosts_on_record(context) | set(agent_wave.known(context).begun)
    aside = touched & _put_aside(context) if touched else set()
    for hypervisor in context.configuration.original.hypervisors:
        if hypervisor.name not in aside or context.host(hypervisor).reachable():
            continue
        left = [*hypervisor_commands.forget(context, hypervisor.name), *agent_wave.forget(context, hypervisor.name)]
        context.progress(
            f"{hypervisor.name} can't be reached and is put aside in the cloud: it is not waited for. "
            f"Before it runs VMs again, there: {'; '.join(left) or 'nothing'}; then systemctl restart cloudstack-agent"
        )
        context.run.record("given up", step=context.step, host=hypervisor.name, left=left)


def _put_aside(context: Context) -> set[str]:
    """Names in the stack of hosts that the original's cloud has put aside, or has not any more; nobody where it can't be asked."""
    try:
        listed = original_management.answering(context).list("listHosts", type="Routing")
    except (ApiRefused, ApiUnavailable, ApiNotTrusted):
        return set()
    if not listed:
        return set()
    expected: dict[str, str] = store(context).facts(WINDOW).get("hosts_up", {})
    there = {str(host["id"]) for host in listed}
    hypervisors = context.configuration.original.hypervisors
    removed = [named(hypervisors, name) for identity, name in expected.items() if identity not in there]
    aside = put_aside((host for host in listed if host.get("state") != "Up"), hypervisors)
    return aside | {hypervisor.name for hypervisor in removed if hypervisor is not None}
