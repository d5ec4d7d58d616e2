"""The new management servers: installed, never set up, unable to start before the window."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from parallel_build.components.arguments import MISSING, expected, in_its_own_words
from parallel_build.components.cloud import Cloud
from parallel_build.components.component import Component
from parallel_build.components.machines.build import build_machine
from parallel_build.components.machines.contents import content
from parallel_build.components.machines.machine import Machine
from parallel_build.components.steps import ManagementInstalled


@dataclass
class ManagementServersArgs:
    """What `ManagementServers` is declared with.

    Attributes:
        cloud: the cloud; its section `new.management` says what the servers are.
    """

    cloud: Cloud = MISSING


class ManagementServers(Component):
    """`cutover:components:ManagementServers`.

    Children: for each server its machine, `MachineReady` and `ManagementInstalled`. A machine that is a database server too is the child of whichever
    component is declared first.

    Attributes:
        cloud: the cloud.
        machines: the servers, in start order.
        installed: depend on these to run when the packages are there.
        addresses: of the servers, by name; an output.
        host: what CloudStack's setting `host` becomes; an output.
        version: the version that is installed; an output.
    """

    FORMER = "management"

    cloud: Cloud
    machines: list[Machine]
    installed: list[ManagementInstalled]
    addresses: pulumi.Output[dict[str, str]]
    host: pulumi.Output[str]
    version: pulumi.Output[str]

    @in_its_own_words
    def __init__(self, name: str, args: ManagementServersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = expected("ManagementServers", name, "args", args, ManagementServersArgs)
        self.cloud = expected("ManagementServers", name, "args.cloud", given.cloud, Cloud)
        super().__init__(name, opts)
        stack = self.cloud.declared
        self.machines = [build_machine(stack, server, content(stack, server), self) for server in stack.configuration.new.management]
        self.installed = [
            ManagementInstalled(
                self.child(f"{machine.name}-installed"),
                stack,
                parameters={"name": machine.name},
                machines=[machine],
                opts=self.options(f"{machine.name}-installed", [machine.ready, *stack.works_on.get(machine.name, ())]),
            )
            for machine in self.machines
        ]
        for machine, installed in zip(self.machines, self.installed, strict=True):
            stack.works_on.setdefault(machine.name, []).append(installed)
        self.addresses = pulumi.Output.all(**{machine.name: machine.address for machine in self.machines})
        self.host = self.cloud.host
        self.version = pulumi.Output.from_input(str(stack.configuration.new.version))
        self.register_outputs({"addresses": self.addresses, "host": self.host, "version": self.version})
