"""HypervisorSteps: what the official guide asks to be done on hypervisors, in its place: before the first start."""

from __future__ import annotations

import shlex
from functools import partial

from parallel_build.cloudstack import upgrade_guide
from parallel_build.cloudstack.agents import AGENT_FILE, hosts_with_agent
from parallel_build.cloudstack.services import AGENT
from parallel_build.configuration import StackConfiguration
from parallel_build.operations.actions import Action, carried_out, planned
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.hypervisor_commands import applied, run_step, undo, write_addresses
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class HypervisorSteps(SwitchedStep):
    """Configured commands; the agents' address by file where they can't learn it (before 4.11.1)."""

    type = "HypervisorSteps"
    summary = "hypervisor-specific steps"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The commands as configured, and what the guide asks besides them."""
        return [*planned(self._actions(configuration)), *upgrade_guide.unconfigured(configuration)]

    @staticmethod
    def _actions(configuration: StackConfiguration) -> list[Action[[Context], None]]:
        by_file = hosts_with_agent(configuration) if configuration.agents.method == "file" else []
        return [
            *(
                Action([f"on {', '.join(each.hosts)}: {shlex.join(each.command)}"], partial(run_step, each=each))
                for each in configuration.hypervisor_steps
            ),
            Action(
                [f"on {host.name}: host={configuration.host_setting} in {AGENT_FILE}, restart {AGENT}" for host in by_file], write_addresses
            ),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Their reverse, last first."""
        lines = []
        if configuration.agents.method == "file":
            lines = [f"on {host.name}: {AGENT_FILE} as before, restart {AGENT}" for host in reversed(hosts_with_agent(configuration))]
        for each in reversed(configuration.hypervisor_steps):
            if each.reverse:
                lines.append(f"on {', '.join(each.hosts)}: {shlex.join(each.reverse)}")
        return lines or ["nothing"]

    def apply(self, context: Context) -> Outputs:
        """Each command once: what has been done is on record."""
        carried_out(self._actions(context.configuration), context)
        return self.verify(context)

    def verify(self, context: Context) -> Outputs:
        """Nothing to do again."""
        return {"done": [f"{entry.host}: {shlex.join(entry.command)}" for entry in applied(context).values() if entry.done]}

    def revert(self, context: Context) -> None:
        """The reverse of what was begun, last first; what can't be undone yet stays on record."""
        undo(context)
