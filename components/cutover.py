"""Phase `switched`: the window's steps in their order, each waiting for the one before, so that they are undone strictly in reverse."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from parallel_build.components.declared import Stack
from parallel_build.components.steps import (
    Acceptance,
    AdditionalManagement,
    DatabaseTransfer,
    Drain,
    FirstManagement,
    HostSetting,
    Hypervisors,
    HypervisorSteps,
    OriginalDatabase,
    OriginalManagement,
    Routers,
    StepResource,
    SystemVms,
    UserAccess,
    Window,
)
from parallel_build.records.rehearsal_times import rehearsed

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


class Cutover(pulumi.ComponentResource):
    """`cutover:components:Cutover`.

    Children: the steps of `ORDER`, a chain; with `window.stopBefore` those before that step.

    Args:
        prepared: what must be there before the window: the phases `built` and `prepared`.
    """

    steps: list[StepResource]

    def __init__(self, name: str, stack: Stack, prepared: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cutover:components:Cutover", name, None, opts)
        self.steps = []
        for label, step in ORDER:
            if stack.configuration.window.stop_before == step.STEP:
                break  # A hold point: this step and all after it are not declared yet.
            before = [self.steps[-1]] if self.steps else list(prepared)
            took = rehearsed(stack.configuration, stack.name, step.STEP)
            self.steps.append(step(label, stack, rehearsed=took, opts=pulumi.ResourceOptions(parent=self, depends_on=before)))
        self.register_outputs({})
