"""AgentAddresses: agents know the new addresses while they still serve the original, and that is proved on the hosts."""

from __future__ import annotations

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.operations.agent_survey import survey_agents, survey_evidence, wait_for_agents
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import original_database, window_open
from parallel_build.operations.user_access_setting import setting
from parallel_build.records.prepared import PreparedRecord
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep


@step
class AgentAddresses(FoundationStep):
    """`host` on the original lists old and new addresses; every agent has learnt them."""

    type = "AgentAddresses"
    phase = Phase.PREPARED
    summary = "agents know old and new addresses"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The setting, and the proof."""
        if configuration.agents.method == "none":
            return [
                f"where hosts have agents (KVM, LXC): prove that `host` on the original names {configuration.host_setting} already, and that the "
                "agents' files do; no agent is changed"
            ]
        hosts = ", ".join(host.name for host in agents.hosts_with_agent(configuration)) or "no host that the stack may log in to"
        if configuration.agents.method == "file":
            return [
                f"prove that {agents.AGENT_FILE} can be written on {hosts}, and that no other host has an agent; "
                "it is written in the window (HypervisorSteps)"
            ]
        return [
            f"on {configuration.original.api.url}: updateConfiguration name=host value=[what it is],{configuration.host_setting}",
            f"wait until {agents.AGENT_FILE} lists {configuration.host_setting} on {hosts}, "
            f"at most {configuration.agents.timeout.total_seconds():.0f} s",
            f"the same for system VMs, through their KVM host, in {agents.SYSTEM_VM_AGENT_FILE}; what can't be read is reported",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Take the new addresses out again."""
        if configuration.agents.method != "setting":
            return ["nothing: this method changes nothing (where agents.method was setting before, `host` is set back to what it was)"]
        return [
            f"on {configuration.original.api.url}: updateConfiguration name=host value=[what it was], without {configuration.host_setting}",
            f"prove in {agents.AGENT_FILE} on the hosts that are connected that they forgot the new addresses",
        ]

    def apply(self, context: Context) -> Outputs:
        """Change the setting and wait for every agent; the other methods only look whether they will work."""
        if context.configuration.agents.method == "setting":
            return self._tell(context)
        return self.verify(context)

    def _tell(self, context: Context) -> Outputs:
        configuration = context.configuration
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
        survey = wait_for_agents(context, cloud, lambda known: set(new) <= set(known), f"agents to know {', '.join(new)}")
        if survey.behind:
            raise StepFailed(
                f"agents have not learnt {', '.join(new)} within {configuration.agents.timeout.total_seconds():.0f} s: "
                + "; ".join(f"{name} ({seen})" for name, (seen, _, _) in sorted(survey.behind.items())),
                "; ".join(f"{name}: {cause}" for name, (_, cause, _) in sorted(survey.behind.items())),
                "; ".join(f"{name}: {remedy}" for name, (_, _, remedy) in sorted(survey.behind.items())) + "; then `pulumi up`",
            )
        return survey_evidence(context, wanted, survey)

    def verify(self, context: Context) -> Outputs:
        """Look again. While a window is open the original may be silent, and the hosts may be the new side's.

        Where `host` lacks a new address - the method was different, or a server was added - the agents get it.
        """
        configuration = context.configuration
        method = configuration.agents.method
        if window_open(context):
            return {"method": method}
        if method != "setting":
            return self._reused(context) if method == "none" else self._writable(context)
        cloud, new = Cloud.original(context.site), agents.addresses(configuration.host_setting)
        now = setting(cloud, agents.SETTING)
        if agents.unnamed(now, configuration.host_setting):
            return self._tell(context)
        survey = survey_agents(context, cloud, lambda known: set(new) <= set(known))
        if survey.behind:
            raise StepFailed(
                f"agents do not know {', '.join(new)}: {', '.join(sorted(survey.behind))}",
                "; ".join(cause for _, cause, _ in survey.behind.values()),
                "; ".join(sorted({remedy for _, _, remedy in survey.behind.values()})),
            )
        return survey_evidence(context, now, survey)

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
            survey = wait_for_agents(context, cloud, lambda known: not gone & set(known), "agents to forget the new servers", undo=True)
            if survey.behind:
                raise RollbackIncomplete(
                    f"agents still know {', '.join(sorted(gone))}: {', '.join(sorted(survey.behind))}",
                    "; ".join(sorted({cause for _, cause, _ in survey.behind.values()})),
                    "; ".join(sorted({remedy for _, _, remedy in survey.behind.values()})),
                )
        record.forget()

    def _reused(self, context: Context) -> Outputs:
        """The new side answers where agents dial already."""
        configuration, cloud = context.configuration, Cloud.original(context.site)
        wanted = configuration.host_setting
        if not agents.agent_hosts(cloud.list("listHosts", type="Routing"), configuration.original.hypervisors):
            context.progress("no host of this cloud has an agent that dials (KVM, LXC); system VMs are replaced in the window")
            return {"method": "none", "hosts": []}
        now = setting(cloud, agents.SETTING)
        if unknown := agents.unnamed(now, wanted):
            raise GuardFailed(
                f"`host` on the original is {now}, which does not name {', '.join(unknown)}",
                "with agents.method none nobody gives the agents a different address, so they would never find the new servers",
                "use agents.method setting, or name in new.loadBalancer the address that agents know and that will lead to the new servers",
            )
        survey = survey_agents(context, cloud, lambda known: agents.dials(known, wanted))
        if survey.behind:
            raise GuardFailed(
                f"agents do not dial {wanted}: " + "; ".join(f"{name} ({seen})" for name, (seen, _, _) in sorted(survey.behind.items())),
                "with agents.method none nobody gives them a different address",
                f"have {agents.AGENT_FILE} there name it (updateConfiguration of `host` reaches connected agents), or use agents.method setting",
            )
        return {**survey_evidence(context, now, survey), "method": "none"}

    def _writable(self, context: Context) -> Outputs:
        """Every agent's file is within reach."""
        configuration, faults = context.configuration, []
        hosts = agents.hosts_with_agent(configuration)
        everywhere = agents.agent_hosts(Cloud.original(context.site).list("listHosts", type="Routing"), configuration.original.hypervisors)
        faults += [f"{host.name} has an agent and is not in original.hypervisors" for host in everywhere if host.hypervisor is None]
        aside = agents.put_aside((host.item for host in everywhere if not host.connected), hosts)
        for host in hosts:
            try:
                if not agents.learnt(context.host(host)):
                    faults.append(f"{host.name} has no `host=` in {agents.AGENT_FILE}")
                elif not context.host(host).run(["test", "-w", agents.AGENT_FILE], ok=(0, 1)).ok:
                    faults.append(f"{host.name}: {agents.AGENT_FILE} can't be written")
            except (ConnectionFailed, CommandFailed) as error:
                if host.name in aside:
                    context.progress(
                        f"{host.name} is put aside in the cloud and can't be asked whether {agents.AGENT_FILE} can be written: {error.fact}"
                    )
                else:
                    faults.append(str(error))
        if faults:
            raise GuardFailed(
                "agents.method file would not work: " + "; ".join(faults),
                "in the window the addresses are written on each host",
                "correct original.hypervisors, or what was found on these hosts",
            )
        return {"method": "file", "hosts": [host.name for host in hosts]}

    def _record(self, context: Context) -> PreparedRecord:
        return PreparedRecord(original_database(context), context.site, self.type)
