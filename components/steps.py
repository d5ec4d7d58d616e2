"""The typed step resources: one class a step, each a resource of the project's own provider.

Type token: `cutover:index:<Step>`. Every step resource has the same inputs and outputs:

Inputs:
    site: the resolved stack, a secret JSON text.
    parameters: what distinguishes several resources of one step.
    machines: what the machines that the step works on are, by name: their resources' ids. A different id is a different, empty machine, on
        which the step is done again.
    plan: the exact actions in order; undo: what its deletion does; rehearsed: how long it took in rehearsal. Texts for the reader of
        `pulumi preview --diff`; their change alone is no diff.
Outputs: the inputs, and
    result: the step's evidence; status: `done`, or `partial: ...` with the reason.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import pulumi

from parallel_build.components.provided import ProvidedResource
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import ConfigurationError
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY


def is_registered(step: str) -> bool:
    """Whether this installation knows the step."""
    load_all()
    return step in REGISTRY


class Resolved(Protocol):
    """What a step is declared from: the stack, or what a platform is asked to build."""

    @property
    def configuration(self) -> StackConfiguration:
        """The stack's configuration."""

    @property
    def site(self) -> pulumi.Output[str]:
        """The resolved stack as JSON text, a secret."""

    def readable(self, texts: Sequence[str], shape: Callable[[Sequence[str]], list[str]]) -> pulumi.Input[list[str]]:
        """Texts for the reader of a preview, without secrets."""


LONGEST = 120  # characters; the CLI cuts longer texts off in a preview


def lines(actions: Sequence[str]) -> list[str]:
    """The actions for a reader of the preview: a long one continues in further lines, so that nothing of it is cut off."""
    return [
        line
        for action in actions
        for line in textwrap.wrap(action, LONGEST, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    ]


class MachineRef(Protocol):
    """The parts of a machine that a step's declaration uses."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def made(self) -> pulumi.Output[str]:
        """What distinguishes it from a later machine of its name."""


class StepResource(ProvidedResource):
    """Base of the step resources; see the module.

    Args:
        resource_name: the resource's name.
        stack: the stack it belongs to.
        parameters: plain values, no secrets; `name` becomes part of the resource's id.
        machines: the machines whose contents are the step's work.
        notes: what the reader of the plan is shown after it.
        opts: parent and dependencies.
    Raises:
        ConfigurationError: this installation does not have the step.
    """

    STEP: ClassVar[str]

    site: pulumi.Output[str]
    parameters: pulumi.Output[Mapping[str, Any]]
    plan: pulumi.Output[list[str]]
    undo: pulumi.Output[list[str]]
    rehearsed: pulumi.Output[str]
    result: pulumi.Output[Mapping[str, Any]]
    status: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        stack: Resolved,
        *,
        parameters: Mapping[str, Any] | None = None,
        rehearsed: str = "not rehearsed",
        machines: Sequence[MachineRef] = (),
        notes: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        if not is_registered(self.STEP):
            raise ConfigurationError(
                f"the step {self.STEP} is not part of this installation",
                "the configuration asks for it",
                "install a version that has it, or take it out of the configuration",
            )
        step = REGISTRY[self.STEP](parameters)
        inputs = {
            "site": stack.site,
            "parameters": dict(parameters or {}),
            "machines": {machine.name: machine.made for machine in machines},
            "plan": stack.readable([*step.plan(stack.configuration), *notes], lines),
            "undo": stack.readable(step.undo(stack.configuration), lines),
            "rehearsed": rehearsed,
            "result": None,
            "status": None,
        }
        options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["site"]))
        super().__init__(self.STEP, resource_name, inputs, options)


def statuses(steps: Sequence[StepResource]) -> pulumi.Output[dict[str, str]]:
    """Each step's status, by its name in the program: an output of the component that they belong to."""
    return pulumi.Output.all(**{step._name: step.status for step in steps}) if steps else pulumi.Output.from_input({})


class MachineReady(StepResource):
    """`cutover:index:MachineReady`: a new machine answers over SSH with its own host key, and its first boot has ended."""

    STEP = "MachineReady"


class ReplicationPair(StepResource):
    """`cutover:index:ReplicationPair`: source and replica over TLS, the replica read only."""

    STEP = "ReplicationPair"


class CloudDatabases(StepResource):
    """`cutover:index:CloudDatabases`: the user `cloud` for exactly the new management addresses, and empty databases."""

    STEP = "CloudDatabases"


class ManagementInstalled(StepResource):
    """`cutover:index:ManagementInstalled`: the target version's packages on one new server, nothing set up, nothing able to start."""

    STEP = "ManagementInstalled"


class HealthCheck(StepResource):
    """`cutover:index:HealthCheck`: the original is fit to be upgraded."""

    STEP = "HealthCheck"


class Parity(StepResource):
    """`cutover:index:Parity`: a different stack, a rehearsal's, next to this one."""

    STEP = "Parity"


class Workload(StepResource):
    """`cutover:index:Workload`: a workload for tests of the upgrade, on the original. Parameters: `profile`, `zone`."""

    STEP = "Workload"


class SystemVmTemplate(StepResource):
    """`cutover:index:SystemVmTemplate`: a template, on the original and ready in every zone. Parameters: the template's section."""

    STEP = "SystemVmTemplate"


class AgentPackages(StepResource):
    """`cutover:index:AgentPackages`: the new agents' packages on the KVM hosts, nothing installed. Parameters: hosts and packages."""

    STEP = "AgentPackages"


class Agents(StepResource):
    """`cutover:index:Agents`: agents of KVM hosts on the target's version, next to the transfer and the first start. Parameters: hosts."""

    STEP = "Agents"


class AgentAddresses(StepResource):
    """`cutover:index:AgentAddresses`: agents know the old and the new management servers."""

    STEP = "AgentAddresses"


class CarriedState(StepResource):
    """`cutover:index:CarriedState`: what `new.carry` names of the original's management servers is on the new ones. Parameters: what is carried."""

    STEP = "CarriedState"


class DatabaseSeed(StepResource):
    """`cutover:index:DatabaseSeed`: the new source follows the original (`transfer.method: replicate`)."""

    STEP = "DatabaseSeed"


class Rehearsal(StepResource):
    """`cutover:index:Rehearsal`: the upgrade, done once on an isolated copy."""

    STEP = "Rehearsal"


class Ready(StepResource):
    """`cutover:index:Ready`: every guard of the window holds."""

    STEP = "Ready"


class Window(StepResource):
    """`cutover:index:Window`: guards, lock, deadline; deleted last, it converges to the original serving."""

    STEP = "Window"


class UserAccess(StepResource):
    """`cutover:index:UserAccess`: users out, administrators stay."""

    STEP = "UserAccess"


class OriginalManagement(StepResource):
    """`cutover:index:OriginalManagement`: the original's management and usage servers down and fenced."""

    STEP = "OriginalManagement"


class DatabaseTransfer(StepResource):
    """`cutover:index:DatabaseTransfer`: the databases on the new source, compared."""

    STEP = "DatabaseTransfer"


class OriginalDatabase(StepResource):
    """`cutover:index:OriginalDatabase`: the original's database servers down and fenced."""

    STEP = "OriginalDatabase"


class DumpFile(StepResource):
    """`cutover:index:DumpFile`: a cold copy of the stopped original's data folder, next to the steps that follow. Parameters: server, folder, readBack."""

    STEP = "DumpFile"


class Drain(StepResource):
    """`cutover:index:Drain`: the original takes no more jobs, and those that run have ended."""

    STEP = "Drain"


class HostSetting(StepResource):
    """`cutover:index:HostSetting`: `host` in the new databases names the new servers."""

    STEP = "HostSetting"


class HypervisorSteps(StepResource):
    """`cutover:index:HypervisorSteps`: the hypervisor-specific commands of the configuration."""

    STEP = "HypervisorSteps"


class FirstManagement(StepResource):
    """`cutover:index:FirstManagement`: the first new server set up and started, its schema upgrade followed, its start proved."""

    STEP = "FirstManagement"


class Hypervisors(StepResource):
    """`cutover:index:Hypervisors`: every host that was Up is Up again."""

    STEP = "Hypervisors"


class SystemVms(StepResource):
    """`cutover:index:SystemVms`: system VMs renewed, their versions proved."""

    STEP = "SystemVms"


class AdditionalManagement(StepResource):
    """`cutover:index:AdditionalManagement`: the other new management servers one at a time, and usage on one."""

    STEP = "AdditionalManagement"


class Acceptance(StepResource):
    """`cutover:index:Acceptance`: the configured tests, then users in, unless they are in already."""

    STEP = "Acceptance"


class Routers(StepResource):
    """`cutover:index:Routers`: routers that run renewed, a canary first, then wave by wave, with users in."""

    STEP = "Routers"


class Retirement(StepResource):
    """`cutover:index:Retirement`: the new side names the original's servers no more, and going back is refused."""

    STEP = "Retirement"
