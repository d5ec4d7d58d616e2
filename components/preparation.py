"""Phase `prepared`: everything that can be done while the original serves."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from parallel_build.components.declared import Stack
from parallel_build.components.machines.machine import Machine
from parallel_build.components.rehearsal import RehearsalServer
from parallel_build.components.steps import (
    AgentAddresses,
    DatabaseSeed,
    HealthCheck,
    Parity,
    Ready,
    Rehearsal,
    StepResource,
    SystemVmTemplate,
)
from parallel_build.configuration import Phase
from parallel_build.steps.rehearsal import parameters


class Preparation(pulumi.ComponentResource):
    """`cutover:components:Preparation`.

    Children: `HealthCheck`, and `Parity` where the configuration names what to compare with; after them, side by side, a `SystemVmTemplate` for each of
    `templates`, `AgentAddresses` and `DatabaseSeed` (method `replicate`); then, where `rehearsal.enabled`, `Rehearsal` on a
    `RehearsalServer` of its own (a stack that is retired has nothing left to rehearse); at last `Ready`, which asks every guard of the window.

    Args:
        built: what must be there before: the whole phase `built`.
        databases: the machines of the new source and replica.
    """

    steps: list[StepResource]

    def __init__(
        self,
        name: str,
        stack: Stack,
        built: Sequence[pulumi.Resource],
        databases: Sequence[Machine],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("cutover:components:Preparation", name, None, opts)
        configuration = stack.configuration

        def after(resources: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, depends_on=list(resources))

        checks: list[StepResource] = [HealthCheck("health-check", stack, opts=after(built))]
        if configuration.parity is not None:
            checks.append(Parity("parity", stack, opts=after(built)))
        ready = [*built, *checks]
        work: list[StepResource] = [
            SystemVmTemplate(
                f"template-{template.name}",
                stack,
                parameters=template.model_dump(mode="json", by_alias=True),
                opts=after(ready),
            )
            for template in configuration.templates
        ]
        work.append(AgentAddresses("agent-addresses", stack, opts=after(ready)))
        if configuration.transfer.method == "replicate":
            renew = {"renew": configuration.transfer.renew}
            work.append(DatabaseSeed("database-seed", stack, parameters=renew, machines=databases, opts=after(ready)))
        rehearsal: list[StepResource] = []
        server = configuration.rehearsal.machine
        if configuration.rehearsal.enabled and server and configuration.phase is not Phase.RETIRED:
            there = RehearsalServer("rehearsal-server", stack, server, opts=pulumi.ResourceOptions(parent=self))
            rehearsal = [
                Rehearsal(
                    "rehearsal",
                    stack,
                    parameters=parameters(configuration),
                    machines=[there.machine],
                    opts=after([*ready, *work, there.installed]),
                )
            ]
        ready_for_window = Ready("ready", stack, opts=after([*ready, *work, *rehearsal]))
        self.steps = [*checks, *work, *rehearsal, ready_for_window]
        self.register_outputs({})
