"""AgentAddresses: agents know the new addresses while they still serve the original, and that is proved on the hosts."""

from __future__ import annotations

from collections.abc import Callable

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import agents
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Hypervisor, Phase, StackConfiguration
from parallel_build.errors import ParallelBuildError, StepFailed
from parallel_build.steps.base import Context, Outputs, Step, step
from parallel_build.steps.user_access import setting


@step
class AgentAddresses(Step):
    """`host` on the original lists old and new addresses; every agent has learnt them."""

    type = "AgentAddresses"
    phase = Phase.PREPARED
    summary = "agents know old and new addresses"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The setting, and the proof."""
        if configuration.agents.method == "none":
            return ["nothing: the new servers are reached at an address that agents know already"]
        hosts = ", ".join(host.name for host in hosts_with_agent(configuration)) or "no host that the stack may log in to"
        if configuration.agents.method == "file":
            return [f"prove that {agents.AGENT_FILE} can be written on {hosts}; it is written in the window (HypervisorSteps)"]
        return [
            f"updateConfiguration name=host value=[what it is],{configuration.host_setting} on the original",
            f"wait until {agents.AGENT_FILE} lists {configuration.host_setting} on {hosts}",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Take the new addresses out again."""
        if configuration.agents.method != "setting":
            return ["nothing"]
        return [f"updateConfiguration name=host without {configuration.host_setting}; prove it in {agents.AGENT_FILE} on the hosts"]

    def apply(self, context: Context) -> Outputs:
        """Change the setting and wait for every agent."""
        configuration = context.configuration
        if configuration.agents.method == "none":
            return {"method": "none"}
        hosts = hosts_with_agent(configuration)
        if configuration.agents.method == "file":
            for host in hosts:
                context.host(host).run(["test", "-w", agents.AGENT_FILE], timeout=30)
            return {"method": "file", "hosts": [host.name for host in hosts]}
        cloud, new = Cloud.original(context.site), agents.addresses(configuration.host_setting)
        now = setting(cloud, agents.SETTING)
        wanted = agents.extended(now, new)
        if agents.addresses(now) != agents.addresses(wanted):
            context.intend("extend host", previous=now, value=wanted)
            context.note(previous=now)
            cloud.call("updateConfiguration", name=agents.SETTING, value=wanted)
        self._await(context, hosts, lambda known: set(new) <= set(known), f"agents to know {', '.join(new)}")
        told = {host["name"] for host in cloud.list("listHosts", type="Routing") if host.get("hypervisor") in ("KVM", "LXC")}
        unproved = sorted(told - {host.name for host in hosts})
        if unproved:
            context.progress(f"can't be proved on {', '.join(unproved)}: not in original.hypervisors")
        return {"method": "setting", "host": wanted, "proved": [host.name for host in hosts], "not proved": unproved}

    def revert(self, context: Context) -> None:
        """Set it back to what it was, and prove that."""
        configuration = context.configuration
        if configuration.agents.method != "setting":
            return
        cloud, new = Cloud.original(context.site), agents.addresses(configuration.host_setting)
        now = setting(cloud, agents.SETTING)
        wanted = agents.reduced(now, new)
        if not wanted:
            raise StepFailed(
                f"`host` on the original lists nothing but the new servers: {now}", "", "set it to the original's addresses by hand"
            )
        if agents.addresses(now) != agents.addresses(wanted):
            context.intend("take the new addresses out of host", previous=now, value=wanted)
            cloud.call("updateConfiguration", name=agents.SETTING, value=wanted)
        self._await(context, hosts_with_agent(configuration), lambda known: not set(new) & set(known), "agents to forget the new servers")

    @staticmethod
    def _await(context: Context, hosts: list[Hypervisor], good: Callable[[list[str]], bool], what: str) -> None:
        missing: dict[str, str] = {}

        def all_good() -> bool:
            missing.clear()
            for host in hosts:
                try:
                    known = agents.learnt(context.host(host))
                except ParallelBuildError as error:
                    missing[host.name] = str(error)
                    continue
                if not known or not good(known):
                    missing[host.name] = f"its file lists {', '.join(known) or 'nothing'}"
            context.progress(f"agents: {len(hosts) - len(missing)} of {len(hosts)}")
            return not missing

        try:
            limit = context.configuration.agents.timeout.total_seconds()
            wait_for(what, all_good, timeout=limit, cancel=context.cancel, interval=1)
        except StepFailed:
            words = "; ".join(f"{name}: {why}" for name, why in sorted(missing.items()))
            raise StepFailed(
                f"waited {limit:.0f} s for {what}: {words}",
                "the change reaches connected agents only; a disabled or disconnected host is passed over by some versions",
                "connect or enable that host (reconnectHost), restart its agent, or use agents.method file; then `pulumi up`",
            ) from None


def hosts_with_agent(configuration: StackConfiguration) -> list[Hypervisor]:
    """Hosts that dial the management servers and that the stack may log in to."""
    return [host for host in configuration.original.hypervisors if host.kind in ("kvm", "lxc")]
