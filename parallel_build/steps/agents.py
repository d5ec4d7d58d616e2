"""Agents: the KVM hosts' agents brought to the target's version, next to the transfer and the first start."""

from __future__ import annotations

from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.services import AGENT
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import RollbackIncomplete
from parallel_build.operations import agent_wave, ha_hold, prove_original_down
from parallel_build.operations.agent_wave import FOLDER, kept_old, known, section
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.records.states import FIRST_START, StartState
from parallel_build.remote.sql import session
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class Agents(SwitchedStep):
    """Install what lies on the hosts, restart the agents; guests run on.

    Parameters: `hosts`, names.
    """

    type = agent_wave.STEP
    summary = "agents of KVM hosts on the target's version"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The order, the limits, and what is held still meanwhile."""
        wanted, hosts = configuration.agents.upgrade, configuration.upgraded_agents
        if wanted is None:
            return []
        names = ", ".join(host.name for host in hosts[:6]) + (f" and {len(hosts) - 6} more" if len(hosts) > 6 else "")
        later = (
            [f"{', '.join(wanted.later)} keep the old agent (agents.upgrade.later): no new VMs there until they are done"]
            if wanted.later
            else []
        )
        return [
            f"from the proof that the original's management is down, next to the steps up to FirstManagement, ended before Hypervisors: {len(hosts)} hosts",
            f"on {names}: stop {AGENT}, install {', '.join(wanted.packages)} {configuration.new.version} from {FOLDER}/new, start {AGENT}; guests run on",
            f"{wanted.canary} as a canary, then {wanted.at_once} at a time; nothing more begins once more than {wanted.failure_rate:.0%} have failed",
            f"{ha_hold.VM_HA} and host HA (each zone) off in the copy before the first start, as found once every host is connected",
            "a host that keeps its old agent is listed, and takes no new VMs on the new side until it is done",
            *later,
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """The reverse."""
        return [
            f"after users are in on the original, side by side: stop {AGENT}, install the files of {FOLDER}/old, start {AGENT}",
            f"{ha_hold.VM_HA} and host HA off on the original before its management starts, as found once its hosts are connected",
        ]

    def apply(self, context: Context) -> Outputs:
        """The hosts that are not done yet; on a new side that serves already high availability is held there meanwhile."""
        serving = bool(StartState.of(store(context).facts(FIRST_START)).good)
        if not serving:
            prove_original_down.prove_management(context)
        elif not self._left(context):
            return self._settle(context, self.verify(context))
        else:
            with session(new_database(context)) as database:
                ha_hold.hold(context, database, "new")
        result = agent_wave.run(context)
        return self._settle(context, result) if serving else result

    def verify(self, context: Context) -> Outputs:
        """The record stands; hosts that were added since are named."""
        wave = known(context)
        kept = kept_old(context)
        if left := [name for name in self._left(context) if name not in kept]:
            context.pending = f"agents are not renewed yet on {', '.join(left[:5])}: `pulumi up` does them"
        return {"done": len(wave.done), "not renewed": kept, "seconds": wave.seconds}

    def revert(self, context: Context) -> None:
        """Nothing that users would wait for: Window's undo puts the old agents back once they are in. At a hold point it is done here."""
        if not context.configuration.window.stop_before:
            if known(context).begun:
                context.progress("the old agents are put back once users are in on the original")
            return
        if left := agent_wave.undo(context):
            raise RollbackIncomplete(
                f"old agents are not back: {'; '.join(left)}",
                "the hosts can't be reached, or refuse the packages",
                "correct that, then run the same command again",
            )

    @staticmethod
    def _left(context: Context) -> list[str]:
        done = set(known(context).done)
        return [host.name for host in context.configuration.upgraded_agents if host.name not in done]

    @staticmethod
    def _settle(context: Context, result: Outputs) -> Outputs:
        """On a new side that serves: hosts connected, those that are done take VMs again, high availability as found."""
        if section(context) and store(context).facts("Hypervisors").get("passed"):
            agent_wave.set_aside(context, asked(context, Cloud.new(context.site)))
            ha_hold.put_back(context, "new")
        return result
