"""The rehearsal's server: management and database server on one isolated machine, on any platform."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.components.arguments import MISSING, expected, in_its_own_words, refused
from parallel_build.components.cloud import Cloud
from parallel_build.components.component import Component
from parallel_build.components.declared import Stack
from parallel_build.components.machines.build import Content, build_machine
from parallel_build.components.machines.machine import Machine
from parallel_build.components.steps import ManagementInstalled
from parallel_build.configuration import NewMachine
from parallel_build.configuration.role_packages import REHEARSAL_TOOLS
from parallel_build.database.server.settings import before_first_boot, rehearsal_option_file
from parallel_build.machines.provisioning import File


@dataclass
class RehearsalServerArgs:
    """What `RehearsalServer` is declared with.

    Attributes:
        cloud: the cloud; its section `rehearsal.machine` says what the server is.
    """

    cloud: Cloud = MISSING


class RehearsalServer(Component):
    """`cutover:components:RehearsalServer`.

    Children: the machine, its `MachineReady` and its `ManagementInstalled`. They go when the rehearsal is switched off, when the stack goes back
    to `built`, and when it is retired; a rehearsal that passed stays on record.

    Attributes:
        cloud: the cloud.
        machine: the server.
        installed: depend on this to run when everything is on it.
        address: the server's; an output.
    """

    FORMER = "preparation-rehearsal-server"

    cloud: Cloud
    machine: Machine
    installed: ManagementInstalled
    address: pulumi.Output[str]

    @in_its_own_words
    def __init__(self, name: str, args: RehearsalServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = expected("RehearsalServer", name, "args", args, RehearsalServerArgs)
        self.cloud = expected("RehearsalServer", name, "args.cloud", given.cloud, Cloud)
        stack = self.cloud.declared
        machine = stack.configuration.rehearsal.machine
        if machine is None:
            raise refused(
                "RehearsalServer", name, "args.cloud", "has no rehearsal.machine", "the server is described there",
                "give the cloud's args.rehearsal a machine, or leave this component out",
            )  # fmt: skip
        super().__init__(name, opts)
        self.machine = build_machine(stack, machine, content(stack, machine), self)
        self.installed = ManagementInstalled(
            self.child(f"{machine.name}-installed"),
            stack,
            parameters={"name": machine.name},
            machines=[self.machine],
            opts=self.options(f"{machine.name}-installed", [self.machine.ready]),
        )
        self.address = self.machine.address
        self.register_outputs({"address": self.address})


def content(stack: Stack, machine: NewMachine) -> Content:
    """What the server is made with: the new source's settings, half of the memory for the database, and what its firewall is made of.

    The platform `existing` makes no machine and ignores this: there step `Rehearsal` brings the same (`operations.rehearsal_server`).
    """
    database = stack.configuration.new.database
    own, unit = before_first_boot(stack.configuration.new, rehearsal_option_file(stack.configuration, machine))
    return Content(
        files=(File(own.path, own.content),),
        packages=(*database.packages, *REHEARSAL_TOOLS),
        enabled_units=(unit,),
        masked_units=(f"{MANAGEMENT}.service", f"{USAGE}.service"),
    )
