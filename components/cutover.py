"""Phase `switched`: the window's steps in their order, each waiting for the one before, so that they are undone strictly in reverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from parallel_build.components.arguments import MISSING, expected, in_its_own_words, of_cloud
from parallel_build.components.cloud import Cloud
from parallel_build.components.component import Component
from parallel_build.components.preparation import Preparation
from parallel_build.components.steps import (
    Acceptance,
    AdditionalManagement,
    Agents,
    DatabaseTransfer,
    Drain,
    DumpFile,
    FirstManagement,
    HostSetting,
    Hypervisors,
    HypervisorSteps,
    OriginalDatabase,
    OriginalManagement,
    Retirement,
    Routers,
    StepResource,
    SystemVms,
    UserAccess,
    Window,
    statuses,
)
from parallel_build.configuration import Phase
from parallel_build.records.rehearsal_times import rehearsed
from parallel_build.steps.agent_packages import parameters as agents
from parallel_build.steps.dump_file import parameters as dump_file

# The order of an upgrade by parallel build. A name is part of a resource's identity: changing one undoes the step and does it again.
ORDER: tuple[tuple[str, type[StepResource]], ...] = (
    ("window", Window),
    ("user-access", UserAccess),
    ("drain", Drain),
    ("original-management", OriginalManagement),
    ("database-transfer", DatabaseTransfer),
    ("original-database", OriginalDatabase),
    ("host-setting", HostSetting),
    ("hypervisor-steps", HypervisorSteps),
    ("first-management", FirstManagement),
    ("hypervisors", Hypervisors),
    ("system-vms", SystemVms),
    ("acceptance", Acceptance),
    ("additional-management", AdditionalManagement),
    ("routers", Routers),
)


# Where `agents.upgrade` is configured: behind this step of the chain, next to those that follow, ended before Hypervisors.
AGENTS, AGENTS_AFTER = "agents", OriginalManagement
DUMP_FILE = "dump-file"

LEFT = ("left", "failed", "not renewed")
"""How the evidence of a step names what an operator has to see to afterwards."""


@dataclass
class CutoverArgs:
    """What `Cutover` is declared with.

    Attributes:
        cloud: the cloud.
        preparation: what must be done before the window opens.
    """

    cloud: Cloud = MISSING
    preparation: Preparation = MISSING


class Cutover(Component):
    """`cutover:components:Cutover`. Before the cloud's phase is `switched` it has no children.

    Children: the steps of `ORDER`, a chain; with `window.stopBefore` those before that step. Next to them `Agents` (`agents.upgrade`), which ends before
    `Hypervisors`, and `DumpFile` (`window.dumpFile`), which nothing waits for. In phase `retired` also `Retirement`, after everything.

    Attributes:
        cloud: the cloud.
        steps: the steps, in order.
        status: each step's status by its name in the program; an output.
        record: where the window's record is; an output.
        left_to_tidy: by step, what is left for an operator to see to; an output.
    """

    FORMER = "cutover"

    cloud: Cloud
    steps: list[StepResource]
    status: pulumi.Output[dict[str, str]]
    record: pulumi.Output[str]
    left_to_tidy: pulumi.Output[dict[str, Any]]

    @in_its_own_words
    def __init__(self, name: str, args: CutoverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = expected("Cutover", name, "args", args, CutoverArgs)
        self.cloud = expected("Cutover", name, "args.cloud", given.cloud, Cloud)
        preparation = expected("Cutover", name, "args.preparation", given.preparation, Preparation)
        of_cloud("Cutover", name, "args.preparation", preparation, self.cloud)
        super().__init__(name, opts)
        self.steps = []
        self.cloud.declared.window_declared.append(self)
        if self.cloud.declared.reached(Phase.SWITCHED):
            self._declare([*preparation.done, *self.cloud.declared.before_window])
        if self.cloud.declared.reached(Phase.RETIRED):
            opts = self.options("retirement", [*preparation.done, *self.steps])
            Retirement(self.child("retirement"), self.cloud.declared, opts=opts)
        self.status, self.record = statuses(self.steps), self.cloud.record
        self.left_to_tidy = left_to_tidy(self.steps)
        self.register_outputs({"status": self.status, "record": self.record, "leftToTidy": self.left_to_tidy})

    def former(self, label: str) -> list[pulumi.Alias]:
        """A child's earlier name. The stack program's `Retirement` was no component's child."""
        found = super().former(label)
        return [pulumi.Alias(name=label, parent=pulumi.ROOT_STACK_RESOURCE)] if found and label == "retirement" else found

    def _declare(self, prepared: Sequence[pulumi.Resource]) -> None:
        stack, chain = self.cloud.declared, list[StepResource]()
        wave: list[StepResource] = []
        for label, step in ORDER:
            if stack.configuration.window.stop_before == step.STEP:
                break  # A hold point: this step and all after it are not declared yet.
            before = [chain[-1]] if chain else list(prepared)
            chain.append(self._step(label, step, [*before, *wave] if step is Hypervisors else before))
            if step is AGENTS_AFTER:
                if stack.configuration.window.stop_before == Agents.STEP:
                    break
                if stack.configuration.agents.upgrade is not None:
                    wave = [self._step(AGENTS, Agents, [chain[-1]], agents(stack.configuration))]
            if step is OriginalDatabase:
                if stack.configuration.window.stop_before == DumpFile.STEP:
                    break
                if stack.configuration.window.dump_file is not None:  # nothing waits for it
                    self._step(DUMP_FILE, DumpFile, [chain[-1]], dump_file(stack.configuration))

    def _step(
        self, label: str, step: type[StepResource], before: Sequence[pulumi.Resource], parameters: Mapping[str, Any] | None = None
    ) -> StepResource:
        stack = self.cloud.declared
        took = rehearsed(stack.configuration, stack.name, step.STEP)
        made = step(self.child(label), stack, rehearsed=took, parameters=parameters, opts=self.options(label, before))
        self.steps.append(made)
        return made


def left_to_tidy(steps: Sequence[StepResource]) -> pulumi.Output[dict[str, Any]]:
    """What the steps' evidence names as left over, by step."""
    if not steps:
        return pulumi.Output.from_input({})

    def collect(results: Sequence[Any]) -> dict[str, Any]:
        found = {
            step.STEP: {key: value for key, value in (result or {}).items() if key.startswith(LEFT) and value}
            for step, result in zip(steps, results, strict=True)
        }
        return {step: left for step, left in found.items() if left}

    return pulumi.Output.all(*(step.result for step in steps)).apply(collect)
