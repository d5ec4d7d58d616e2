"""The rehearsal's server: management and database server on one isolated machine, on any platform."""

from __future__ import annotations

import pulumi

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.components.database import UNITS
from parallel_build.components.declared import Stack
from parallel_build.components.machines.build import Content, build_machine
from parallel_build.components.machines.machine import Machine
from parallel_build.components.steps import ManagementInstalled
from parallel_build.configuration import NewMachine
from parallel_build.configuration.role_packages import REHEARSAL_TOOLS
from parallel_build.database.server.settings import rehearsal_option_file
from parallel_build.machines.provisioning import File


class RehearsalServer(pulumi.ComponentResource):
    """`cutover:components:RehearsalServer`.

    Children: the machine, its `MachineReady` and its `ManagementInstalled`. They go when the rehearsal is switched off, when the stack goes back
    to `built`, and when it is retired; a rehearsal that passed stays on record.

    Args:
        machine: the configuration's `rehearsal.machine`.

    Attributes:
        machine: the server.
        installed: depend on this to run when everything is on it.
    """

    machine: Machine
    installed: ManagementInstalled

    def __init__(self, name: str, stack: Stack, machine: NewMachine, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cutover:components:RehearsalServer", name, None, opts)
        self.machine = build_machine(stack, machine, content(stack, machine), self)
        self.installed = ManagementInstalled(
            f"{machine.name}-installed",
            stack,
            parameters={"name": machine.name},
            machines=[self.machine],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.machine.ready]),
        )
        self.register_outputs({})


def content(stack: Stack, machine: NewMachine) -> Content:
    """What the server is made with: the new source's settings, half of the memory for the database, and what its firewall is made of.

    The platform `existing` makes no machine and ignores this: there step `Rehearsal` brings the same (`operations.rehearsal_server`).
    """
    database = stack.configuration.new.database
    own = rehearsal_option_file(stack.configuration, machine)
    return Content(
        files=(File(own.path, own.content),),
        packages=(*database.packages, *REHEARSAL_TOOLS),
        enabled_units=(UNITS[database.engine],),
        masked_units=(f"{MANAGEMENT}.service", f"{USAGE}.service"),
    )
