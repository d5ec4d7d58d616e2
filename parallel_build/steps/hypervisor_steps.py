"""HypervisorSteps: what the official guide asks to be done on hypervisors, in its place: before the first start."""

from __future__ import annotations

import shlex

from parallel_build.cloudstack import upgrade_guide
from parallel_build.cloudstack.agents import AGENT_FILE, hosts_with_agent
from parallel_build.cloudstack.services import AGENT
from parallel_build.configuration import StackConfiguration
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.hypervisor_commands import run_on, undo, write_addresses
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class HypervisorSteps(SwitchedStep):
    """Configured commands; the agents' address by file where they can't learn it (before 4.11.1)."""

    type = "HypervisorSteps"
    summary = "hypervisor-specific steps"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The commands as configured, and what the guide asks beside them."""
        lines = [f"on {', '.join(s.hosts)}: {shlex.join(s.command)}" for s in configuration.hypervisor_steps]
        if configuration.agents.method == "file":
            for host in hosts_with_agent(configuration):
                lines.append(f"on {host.name}: host={configuration.host_setting} in {AGENT_FILE}, restart {AGENT}")
        return [*lines, *upgrade_guide.unconfigured(configuration)]

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
        configuration, records = context.configuration, store(context)
        done: list[str] = records.facts(self.type).get("done", [])
        for number, each in enumerate(configuration.hypervisor_steps):
            left = [f"{number}/{name}" for name in each.hosts if f"{number}/{name}" not in done]
            for marks in [left] if each.at_once and left else [[mark] for mark in left]:
                context.cancel.check()
                names = [mark.split("/", 1)[1] for mark in marks]
                context.progress(f"{', '.join(names)}: {shlex.join(each.command)}")
                context.intend("hypervisor step", hosts=names, command=shlex.join(each.command))
                # On record before it runs: half a command is undone by its reverse as a whole one is. Refused once a way back has begun.
                started: list[str] = records.facts(self.type).get("started", [])
                records.note({self.type: {"started": [*started, *(mark for mark in marks if mark not in started)]}}, forward=True)
                failed = run_on(context, each, each.command, names)
                done = [*done, *(mark for mark, name in zip(marks, names, strict=True) if name not in failed)]
                records.remember(self.type, done=done)
                for error in failed.values():
                    raise error
        if configuration.agents.method == "file":
            write_addresses(context)
        return {"done": done}

    def verify(self, context: Context) -> Outputs:
        """Nothing to do again."""
        return {"done": store(context).facts(self.type).get("done", [])}

    def revert(self, context: Context) -> None:
        """The reverse of what was begun, last first; what can't be undone yet stays on record."""
        undo(context)
