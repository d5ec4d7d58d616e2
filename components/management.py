"""The new management servers: installed, never set up, unable to start before the window."""

from __future__ import annotations

import pulumi

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.components.declared import Stack
from parallel_build.components.machines.build import Content, build_machine
from parallel_build.components.machines.machine import Machine
from parallel_build.components.steps import ManagementInstalled

# CloudStack's unit wants a database server of its own machine, and one with cloud/cloud would be taken for the cloud's by a server that can't
# read its db.properties: where an image brings one, it must not start.
DATABASES = ("mariadb.service", "mysql.service", "mysqld.service")
# Masked before a package is there: Debian's packages start their services as soon as they are installed.
FENCED = Content(masked_units=(f"{MANAGEMENT}.service", f"{USAGE}.service", *DATABASES))


class ManagementServers(pulumi.ComponentResource):
    """`cutover:components:ManagementServers`.

    Children: for each server its machine, `MachineReady` and `ManagementInstalled`.

    Attributes:
        machines: the servers, the first first.
        installed: depend on these to run when the packages are there.
    """

    machines: list[Machine]
    installed: list[ManagementInstalled]

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cutover:components:ManagementServers", name, None, opts)
        self.machines = [build_machine(stack, server, FENCED, self) for server in stack.configuration.new.management]
        self.installed = [
            ManagementInstalled(
                f"{machine.name}-installed",
                stack,
                parameters={"name": machine.name},
                machines=[machine],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[machine.ready]),
            )
            for machine in self.machines
        ]
        self.register_outputs({})
