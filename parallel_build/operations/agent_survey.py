"""Who of those that dial the management servers has written which addresses down, as read on the hosts themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.agents import AgentHost
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.systemvms import running, system_vms
from parallel_build.configuration import Hypervisor
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.operations.context import Context, Outputs
from parallel_build.remote.parallel import AT_ONCE, Workers

SYSTEM_VM_PATIENCE = 60.0  # seconds, once every host has learnt; they are replaced in the window anyway
REPORT_EVERY = 15.0  # seconds without news after which it is shown who is still waited for

Good = Callable[[list[str]], bool]


@dataclass
class Survey:
    """Who has learnt the addresses, as read on the hosts themselves.

    Attributes:
        proved: names of hosts that have.
        behind: names of hosts that have not -> what was seen there, cause and remedy.
        unproved: hosts that the stack may not log in to.
        system_vms: names of system VMs that have.
        system_vms_behind: name -> what was seen there.
        system_vms_unproved: those that can't be read.
    """

    proved: list[str] = field(default_factory=list)
    behind: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    unproved: list[str] = field(default_factory=list)
    system_vms: list[str] = field(default_factory=list)
    system_vms_behind: dict[str, str] = field(default_factory=dict)
    system_vms_unproved: list[str] = field(default_factory=list)

    def in_words(self) -> str:
        """For a progress line."""
        hosts = f"{len(self.proved)} of {len(self.proved) + len(self.behind)} hosts"
        vms = f"{len(self.system_vms)} of {len(self.system_vms) + len(self.system_vms_behind)} system VMs"
        return f"{hosts}, {vms}" + (f"; waiting for {', '.join([*self.behind, *self.system_vms_behind])}" if self.waiting else "")

    @property
    def waiting(self) -> bool:
        """Somebody has not learnt yet."""
        return bool(self.behind or self.system_vms_behind)


def wait_for_agents(context: Context, cloud: Cloud, good: Good, what: str, *, undo: bool = False) -> Survey:
    """Look until everybody who can has learnt, or the time is over; the last look is returned."""
    started = time.monotonic()
    limit = context.configuration.agents.timeout.total_seconds()
    hosts_done: float | None = None
    shown, shown_at = "", started
    while True:
        survey = survey_agents(context, cloud, good, undo=undo)
        now = time.monotonic()
        if survey.in_words() != shown or now - shown_at > REPORT_EVERY:
            shown, shown_at = survey.in_words(), now
            context.progress(f"{what}: {shown}")
        hosts_done = None if survey.behind else hosts_done or now
        if not survey.waiting or now - started > limit or (hosts_done and now - hosts_done > SYSTEM_VM_PATIENCE):
            return survey
        context.cancel.wait(1)


def survey_agents(context: Context, cloud: Cloud, good: Good, *, undo: bool = False) -> Survey:
    """Look once at every agent.

    Args:
        good: what the addresses must be that an agent has written down.
        undo: an agent that is not connected is no obstacle: it is given the list when it connects again.
    """
    survey = Survey()
    hosts = agents.agent_hosts(cloud.list("listHosts", type="Routing"), context.configuration.original.hypervisors)
    with Workers(AT_ONCE, context.cancel) as pool:  # one that is off takes the whole time limit of a connection
        files = list(pool.map(lambda host: None if host.hypervisor is None else _known(context, host.hypervisor), hosts))
    for host, known in zip(hosts, files, strict=True):
        if known is None:
            survey.unproved.append(host.name)
            continue
        if isinstance(known, list) and good(known):
            survey.proved.append(host.name)
        elif (undo or host.aside) and not host.connected:
            # Its agent is given the list when it connects again; until then it finds the old servers first.
            survey.unproved.append(host.name)
        else:
            seen = known if isinstance(known, str) else f"its file lists {', '.join(known) or 'nothing'}"
            survey.behind[host.name] = (seen, *host.cause())
    _survey_system_vms(context, cloud, hosts, good, survey)
    return survey


def _survey_system_vms(context: Context, cloud: Cloud, hosts: list[AgentHost], good: Good, survey: Survey) -> None:
    by_id = {host.item.get("id"): host for host in hosts}
    found = [vm for vm in system_vms(cloud) if running(vm)]

    def ask(vm: dict[str, Any]) -> list[str] | None:
        host = by_id.get(vm.get("hostid"))
        if host is None or host.hypervisor is None or host.name in survey.behind:
            return None
        try:
            return agents.learnt_by_system_vm(context.host(host.hypervisor), vm)
        except (ConnectionFailed, CommandFailed):
            return None

    with Workers(AT_ONCE, context.cancel) as pool:
        files = list(pool.map(ask, found))
    for vm, known in zip(found, files, strict=True):
        if known is None:
            survey.system_vms_unproved.append(str(vm["name"]))
        elif good(known):
            survey.system_vms.append(str(vm["name"]))
        else:
            survey.system_vms_behind[str(vm["name"])] = f"its file lists {', '.join(known) or 'nothing'}"


def _known(context: Context, hypervisor: Hypervisor) -> list[str] | str:
    try:
        return agents.learnt(context.host(hypervisor))
    except (ConnectionFailed, CommandFailed, StepFailed) as error:
        return str(error)


def survey_evidence(context: Context, value: str, survey: Survey) -> Outputs:
    """Tell what could not be proved, and give the survey as plain values; `value` is the setting that was to be learnt."""
    if survey.unproved:
        context.progress(f"whether {', '.join(survey.unproved)} have learnt the new addresses can't be seen: not in original.hypervisors")
    if survey.system_vms_unproved:
        context.progress(
            f"whether system VMs {', '.join(survey.system_vms_unproved)} have learnt the new addresses can't be seen: not readable through their host"
        )
    if survey.system_vms_behind:
        context.progress(
            f"system VMs {', '.join(survey.system_vms_behind)} have not learnt the new addresses (4.20.0 does not send them); the window replaces them"
        )
    return {
        "method": "setting",
        "host": value,
        "proved": survey.proved,
        "notProved": survey.unproved,
        "systemVms": survey.system_vms,
        "systemVmsBehind": survey.system_vms_behind,
        "systemVmsNotProved": survey.system_vms_unproved,
    }
