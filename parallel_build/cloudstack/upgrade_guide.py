"""What the official upgrade guide asks to be done on hypervisors between the packages of the first management server and its start.

The same for targets 4.18 to 4.23 [upgrading/upgrade/upgrade-4.18.rst to upgrade-4.23.rst]: agents of KVM hosts are upgraded; nothing is asked of XenServer
but pool HA; for VMware the management server's packages must be those of a noredist build.
"""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.configuration import Hypervisor, StackConfiguration

# Hosts with CloudStack's agent: the guide's KVM section, which LXC follows.
WITH_AGENT = ("kvm", "lxc")
NOTHING_ASKED = {
    "xenserver": "the guide asks for no step; pool HA must be on (xe pool-ha-enable); the health rule pools_have_high_availability looks",
    "vmware": "the guide asks for no step on hosts; new.packages must be of a noredist build",
    "simulator": "nothing is asked",
}


def agent_words(version: str) -> str:
    """What the guide asks of a KVM host."""
    return (
        f"the guide asks: point the repository at {version}, stop cloudstack-agent, install cloudstack-agent {version} "
        "(apt-get install, or yum/dnf upgrade), start cloudstack-agent; guests keep running"
    )


def unconfigured(configuration: StackConfiguration) -> list[str]:
    """What the guide asks of hypervisors and no `hypervisorSteps` does, one line a kind; empty where each host has its step."""
    if configuration.move:
        return []  # nothing is upgraded
    version = str(configuration.new.version)
    hosts = configuration.original.hypervisors
    if not hosts:
        return [f"KVM hosts, where there are any: not configured; {agent_words(version)}. original.hypervisors lists none"]
    stepped = {name for each in configuration.hypervisor_steps for name in each.hosts}
    if configuration.agents.upgrade is not None:
        stepped |= {host.name for host in configuration.upgraded_agents} | set(configuration.agents.upgrade.later)
    left = [host for host in hosts if host.name not in stepped]
    lines = []
    for kind in dict.fromkeys(host.kind for host in left):
        names = _names([host for host in left if host.kind == kind])
        if kind in WITH_AGENT:
            lines.append(f"{names}: NOT CONFIGURED in agents.upgrade or hypervisorSteps; {agent_words(version)}")
        else:
            lines.append(f"{names}: nothing configured; {NOTHING_ASKED.get(kind, f'see what the guide asks of {kind} hosts')}")
    return lines


def _names(hosts: Sequence[Hypervisor]) -> str:
    return ", ".join(host.name for host in hosts)
