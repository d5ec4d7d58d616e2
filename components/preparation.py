"""Phase `prepared`: everything that can be done while the original serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from parallel_build.components.arguments import MISSING, expected, in_its_own_words, of_cloud
from parallel_build.components.cloud import Cloud
from parallel_build.components.component import Component
from parallel_build.components.database import ReplicatedDatabase
from parallel_build.components.machines.machine import Machine
from parallel_build.components.management import ManagementServers
from parallel_build.components.rehearsal import RehearsalServer, RehearsalServerArgs
from parallel_build.components.steps import (
    AgentAddresses,
    AgentPackages,
    CarriedState,
    DatabaseSeed,
    HealthCheck,
    Parity,
    Ready,
    Rehearsal,
    StepResource,
    SystemVmTemplate,
    statuses,
)
from parallel_build.configuration import Phase
from parallel_build.records.left_outside import left_by_health
from parallel_build.steps.agent_packages import parameters as agents
from parallel_build.steps.rehearsal import parameters


@dataclass
class PreparationArgs:
    """What `Preparation` is declared with.

    Attributes:
        cloud: the cloud.
        database: its new database servers.
        management: its new management servers.
    """

    cloud: Cloud = MISSING
    database: ReplicatedDatabase = MISSING
    management: ManagementServers = MISSING


class Preparation(Component):
    """`cutover:components:Preparation`. Before the cloud's phase is `prepared` it has no children.

    Children: `HealthCheck`, and `Parity` where the configuration names what to compare with; after them, side by side, a `SystemVmTemplate` for each of
    `templates`, `AgentPackages` (`agents.upgrade`), `AgentAddresses`, `CarriedState` (where `new.carry` says anything) and `DatabaseSeed` (method
    `replicate`); then, where `rehearsal.enabled`, `Rehearsal` on a `RehearsalServer` of its own (a stack that is retired has nothing left to rehearse); at
    last `Ready`, which asks every guard of the window.

    Attributes:
        cloud: the cloud.
        steps: the steps, in order.
        done: what a window waits for: these steps and everything that was built.
        status: each step's status by its type; an output.
    """

    FORMER = "preparation"

    cloud: Cloud
    steps: list[StepResource]
    done: list[pulumi.Resource]
    status: pulumi.Output[dict[str, str]]

    @in_its_own_words
    def __init__(self, name: str, args: PreparationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = expected("Preparation", name, "args", args, PreparationArgs)
        self.cloud = expected("Preparation", name, "args.cloud", given.cloud, Cloud)
        database = expected("Preparation", name, "args.database", given.database, ReplicatedDatabase)
        management = expected("Preparation", name, "args.management", given.management, ManagementServers)
        of_cloud("Preparation", name, "args.database", database, self.cloud)
        of_cloud("Preparation", name, "args.management", management, self.cloud)
        super().__init__(name, opts)
        built: list[pulumi.Resource] = [database.databases, *management.installed]
        self.steps = []
        if self.cloud.declared.reached(Phase.PREPARED):
            self.steps = self._declare(built, database.machines, management.machines)
        self.done = [*built, *self.steps]
        self.status = statuses(self.steps)
        self.register_outputs({"status": self.status})

    def _declare(self, built: Sequence[pulumi.Resource], databases: Sequence[Machine], managers: Sequence[Machine]) -> list[StepResource]:
        stack, configuration = self.cloud.declared, self.cloud.declared.configuration

        def step(kind: type[StepResource], label: str, after: Sequence[pulumi.Resource], **more: Any) -> StepResource:
            return kind(self.child(label), stack, opts=self.options(label, after), **more)

        checks = [step(HealthCheck, "health-check", built)]
        if configuration.parity is not None:
            checks.append(step(Parity, "parity", built))
        ready = [*built, *checks]
        work = [
            step(SystemVmTemplate, f"template-{template.name}", ready, parameters=template.model_dump(mode="json", by_alias=True))
            for template in configuration.templates
        ]
        if configuration.agents.upgrade is not None:
            work.append(step(AgentPackages, "agent-packages", ready, parameters=agents(configuration)))
        work.append(step(AgentAddresses, "agent-addresses", ready))
        carry = configuration.new.carry
        if carry.anything or carry.settings:
            # Their values may be sealed; they are changed in the copy, by another step.
            named = carry.model_dump(mode="json", by_alias=True, exclude={"settings": {"__all__": {"value"}}})
            notes = left_by_health(configuration, stack.name)
            work.append(step(CarriedState, "carried-state", ready, parameters=named, machines=managers, notes=notes))
        if configuration.transfer.method == "replicate":
            renew = {"renew": configuration.transfer.renew}
            work.append(step(DatabaseSeed, "database-seed", ready, parameters=renew, machines=databases))
        rehearsal: list[StepResource] = []
        if configuration.rehearsal.enabled and configuration.rehearsal.machine and configuration.phase is not Phase.RETIRED:
            there = RehearsalServer(self.child("rehearsal-server"), RehearsalServerArgs(self.cloud), self.options("rehearsal-server"))
            after = [*ready, *work, there.installed]
            rehearsal = [step(Rehearsal, "rehearsal", after, parameters=parameters(configuration), machines=[there.machine])]
        return [*checks, *work, *rehearsal, step(Ready, "ready", [*ready, *work, *rehearsal])]
