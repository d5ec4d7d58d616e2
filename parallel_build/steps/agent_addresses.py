"""AgentAddresses: agents know the new addresses while they still serve the original, and that is proved on the hosts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.agents import AgentHost
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.systemvms import running, system_vms
from parallel_build.configuration import Hypervisor, Phase, StackConfiguration
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.prepared_record import PreparedRecord
from parallel_build.steps.base import Context, Outputs, Step, step
from parallel_build.steps.common import original_database, window_open
from parallel_build.steps.user_access import setting

SYSTEM_VM_PATIENCE = 60.0  # seconds, once every host has learnt; they are replaced in the window anyway
REPORT_EVERY = 15.0  # seconds without news after which it is said who is still waited for

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


@step
class AgentAddresses(Step):
    """`host` on the original lists old and new addresses; every agent has learnt them."""

    type = "AgentAddresses"
    phase = Phase.PREPARED
    summary = "agents know old and new addresses"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The setting, and the proof."""
        if configuration.agents.method == "none":
            return [f"prove that `host` on the original names {configuration.host_setting} already; no agent is told anything"]
        hosts = ", ".join(host.name for host in hosts_with_agent(configuration)) or "no host that the stack may log in to"
        if configuration.agents.method == "file":
            return [f"prove that {agents.AGENT_FILE} can be written on {hosts}; it is written in the window (HypervisorSteps)"]
        return [
            f"on {configuration.original.api.url}: updateConfiguration name=host value=[what it is],{configuration.host_setting}",
            f"wait until {agents.AGENT_FILE} lists {configuration.host_setting} on {hosts}, "
            f"at most {configuration.agents.timeout.total_seconds():.0f} s",
            f"the same for system VMs, through their KVM host, in {agents.SYSTEM_VM_AGENT_FILE}; where that can't be read it is said",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Take the new addresses out again."""
        if configuration.agents.method != "setting":
            return ["nothing: nothing was changed"]
        return [
            f"on {configuration.original.api.url}: updateConfiguration name=host value=[what it was], without {configuration.host_setting}",
            f"prove in {agents.AGENT_FILE} on the hosts that are connected that they forgot the new addresses",
        ]

    def apply(self, context: Context) -> Outputs:
        """Change the setting and wait for every agent; the other methods only look whether they will work."""
        configuration = context.configuration
        if configuration.agents.method == "none":
            return self._reused(context)
        if configuration.agents.method == "file":
            return self._writable(context)
        cloud, new = Cloud.original(context.site), agents.addresses(configuration.host_setting)
        now = setting(cloud, agents.SETTING)
        wanted = agents.extended(now, new)
        if agents.addresses(now) != agents.addresses(wanted):
            record = self._record(context)
            context.intend("extend host", previous=now, value=wanted)
            if "previous" not in record.facts():
                record.remember(previous=now)
            context.note(previous=now)
            cloud.call("updateConfiguration", name=agents.SETTING, value=wanted)
            context.progress(f"host on the original: {now} -> {wanted}")
        survey = self._await(context, cloud, lambda known: set(new) <= set(known), f"agents to know {', '.join(new)}")
        if survey.behind:
            raise StepFailed(
                f"agents have not learnt {', '.join(new)} within {configuration.agents.timeout.total_seconds():.0f} s: "
                + "; ".join(f"{name} ({seen})" for name, (seen, _, _) in sorted(survey.behind.items())),
                "; ".join(f"{name}: {cause}" for name, (_, cause, _) in sorted(survey.behind.items())),
                "; ".join(f"{name}: {remedy}" for name, (_, _, remedy) in sorted(survey.behind.items())) + "; then `pulumi up`",
            )
        return self._evidence(context, wanted, survey)

    def verify(self, context: Context) -> Outputs:
        """Look again, changing nothing. While a window is open the original may be silent, and the hosts may be the new side's."""
        configuration = context.configuration
        if configuration.agents.method != "setting" or window_open(context):
            return {"method": configuration.agents.method}
        cloud, new = Cloud.original(context.site), agents.addresses(configuration.host_setting)
        survey = self._survey(context, cloud, lambda known: set(new) <= set(known))
        if survey.behind:
            raise StepFailed(
                f"agents do not know {', '.join(new)}: {', '.join(sorted(survey.behind))}",
                "; ".join(cause for _, cause, _ in survey.behind.values()),
                "; ".join(sorted({remedy for _, _, remedy in survey.behind.values()})),
            )
        return self._evidence(context, setting(cloud, agents.SETTING), survey)

    def revert(self, context: Context) -> None:
        """Set it back to what it was, and prove that."""
        configuration, record = context.configuration, self._record(context)
        remembered: str | None = record.facts().get("previous")
        if configuration.agents.method != "setting" and remembered is None:
            return
        cloud, new = Cloud.original(context.site), agents.addresses(configuration.host_setting)
        now = setting(cloud, agents.SETTING)
        wanted = agents.previous(now, new, remembered)
        if not wanted:
            raise RollbackIncomplete(
                f"`host` on the original lists nothing but the new servers: {now}",
                "what it was before is not known",
                "set it to the original's addresses with updateConfiguration, then run the same command again",
            )
        gone = set(new) - set(agents.addresses(wanted))
        if now != wanted:
            context.intend("take the new addresses out of host", previous=now, value=wanted)
            cloud.call("updateConfiguration", name=agents.SETTING, value=wanted)
            context.progress(f"host on the original: {now} -> {wanted}")
        if gone:
            survey = self._await(context, cloud, lambda known: not gone & set(known), "agents to forget the new servers", undo=True)
            if survey.behind:
                raise RollbackIncomplete(
                    f"agents still know {', '.join(sorted(gone))}: {', '.join(sorted(survey.behind))}",
                    "; ".join(sorted({cause for _, cause, _ in survey.behind.values()})),
                    "; ".join(sorted({remedy for _, _, remedy in survey.behind.values()})),
                )
        record.forget()

    def _reused(self, context: Context) -> Outputs:
        now = setting(Cloud.original(context.site), agents.SETTING)
        unknown = [each for each in agents.addresses(context.configuration.host_setting) if each not in agents.addresses(now)]
        if unknown:
            raise GuardFailed(
                f"`host` on the original is {now}, which does not name {', '.join(unknown)}",
                "with agents.method none nobody tells the agents of another address, so they would never find the new servers",
                "use agents.method setting, or give the new servers or the load balancer an address that agents know",
            )
        return {"method": "none", "host": now}

    def _writable(self, context: Context) -> Outputs:
        faults = []
        hosts = hosts_with_agent(context.configuration)
        for host in hosts:
            try:
                if not agents.learnt(context.host(host)):
                    faults.append(f"{host.name} has no `host=` in {agents.AGENT_FILE}")
                elif not context.host(host).run(["test", "-w", agents.AGENT_FILE], timeout=30, ok=(0, 1)).ok:
                    faults.append(f"{host.name}: {agents.AGENT_FILE} can't be written")
            except (ConnectionFailed, CommandFailed) as error:
                faults.append(str(error))
        if faults:
            raise GuardFailed(
                "agents.method file would not work: " + "; ".join(faults),
                "in the window the addresses are written on each host",
                "correct original.hypervisors, or what was found on these hosts",
            )
        return {"method": "file", "hosts": [host.name for host in hosts]}

    def _await(self, context: Context, cloud: Cloud, good: Good, what: str, *, undo: bool = False) -> Survey:
        """Look until everybody who can has learnt, or the time is over; the last look is returned."""
        started = time.monotonic()
        limit = context.configuration.agents.timeout.total_seconds()
        hosts_done: float | None = None
        said, told = "", started
        while True:
            survey = self._survey(context, cloud, good, undo=undo)
            now = time.monotonic()
            if survey.in_words() != said or now - told > REPORT_EVERY:
                said, told = survey.in_words(), now
                context.progress(f"{what}: {said}")
            hosts_done = None if survey.behind else hosts_done or now
            if not survey.waiting or now - started > limit or (hosts_done and now - hosts_done > SYSTEM_VM_PATIENCE):
                return survey
            context.cancel.wait(1)

    def _survey(self, context: Context, cloud: Cloud, good: Good, *, undo: bool = False) -> Survey:
        survey = Survey()
        hosts = agents.agent_hosts(cloud.list("listHosts", type="Routing"), context.configuration.original.hypervisors)
        for host in hosts:
            if host.hypervisor is None:
                survey.unproved.append(host.name)
                continue
            known = self._known(context, host.hypervisor)
            if isinstance(known, list) and good(known):
                survey.proved.append(host.name)
            elif undo and not host.connected:
                # Its agent is given the list when it connects again; until then it finds the old servers first.
                survey.unproved.append(host.name)
            else:
                seen = known if isinstance(known, str) else f"its file lists {', '.join(known) or 'nothing'}"
                survey.behind[host.name] = (seen, *host.cause())
        self._survey_system_vms(context, cloud, hosts, good, survey)
        return survey

    @staticmethod
    def _survey_system_vms(context: Context, cloud: Cloud, hosts: list[AgentHost], good: Good, survey: Survey) -> None:
        by_id = {host.item.get("id"): host for host in hosts}
        for vm in system_vms(cloud):
            if not running(vm):
                continue
            host = by_id.get(vm.get("hostid"))
            known = None
            if host is not None and host.hypervisor is not None and host.name not in survey.behind:
                try:
                    known = agents.learnt_by_system_vm(context.host(host.hypervisor), vm)
                except (ConnectionFailed, CommandFailed):
                    known = None
            if known is None:
                survey.system_vms_unproved.append(str(vm["name"]))
            elif good(known):
                survey.system_vms.append(str(vm["name"]))
            else:
                survey.system_vms_behind[str(vm["name"])] = f"its file lists {', '.join(known) or 'nothing'}"

    @staticmethod
    def _known(context: Context, hypervisor: Hypervisor) -> list[str] | str:
        try:
            return agents.learnt(context.host(hypervisor))
        except (ConnectionFailed, CommandFailed) as error:
            return str(error)

    @staticmethod
    def _evidence(context: Context, value: str, survey: Survey) -> Outputs:
        if survey.unproved:
            context.progress(f"can't be proved on {', '.join(survey.unproved)}: not in original.hypervisors")
        if survey.system_vms_unproved:
            context.progress(f"can't be proved on system VMs {', '.join(survey.system_vms_unproved)}: not readable through their host")
        if survey.system_vms_behind:
            context.progress(
                f"system VMs {', '.join(survey.system_vms_behind)} have not learnt it (4.20.0 does not tell them); the window replaces them"
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

    def _record(self, context: Context) -> PreparedRecord:
        return PreparedRecord(original_database(context), context.site, self.type)


def hosts_with_agent(configuration: StackConfiguration) -> list[Hypervisor]:
    """Hosts that dial the management servers and that the stack may log in to."""
    return [host for host in configuration.original.hypervisors if host.kind in ("kvm", "lxc")]
