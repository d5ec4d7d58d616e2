"""The new database servers: a source and its replica, with CloudStack's empty databases."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from parallel_build.components.arguments import MISSING, expected, in_its_own_words
from parallel_build.components.cloud import Cloud
from parallel_build.components.component import Component
from parallel_build.components.machines.build import build_machine
from parallel_build.components.machines.contents import content
from parallel_build.components.machines.machine import Machine
from parallel_build.components.steps import CloudDatabases, ReplicationPair


@dataclass
class ReplicatedDatabaseArgs:
    """What `ReplicatedDatabase` is declared with.

    Attributes:
        cloud: the cloud; its section `new.database` says what the servers are.
    """

    cloud: Cloud = MISSING


class ReplicatedDatabase(Component):
    """`cutover:components:ReplicatedDatabase`.

    Children: the machines of source and replica with their `MachineReady`, `ReplicationPair`, `CloudDatabases`.

    Attributes:
        cloud: the cloud.
        source, replica: the machines; there may be no replica with `new.allInOne`.
        machines: those that there are.
        databases: depend on this to run when the empty databases are there.
        addresses: of source and replica, by name; an output.
        port: where they serve; an output.
    """

    FORMER = "database"

    cloud: Cloud
    source: Machine
    replica: Machine | None
    machines: list[Machine]
    databases: CloudDatabases
    addresses: pulumi.Output[dict[str, str]]
    port: pulumi.Output[int]

    @in_its_own_words
    def __init__(self, name: str, args: ReplicatedDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = expected("ReplicatedDatabase", name, "args", args, ReplicatedDatabaseArgs)
        self.cloud = expected("ReplicatedDatabase", name, "args.cloud", given.cloud, Cloud)
        super().__init__(name, opts)
        stack = self.cloud.declared
        database = stack.configuration.new.database
        self.source = build_machine(stack, database.source, content(stack, database.source), self)
        self.replica = build_machine(stack, database.replica, content(stack, database.replica), self) if database.replica else None
        machines = [self.source, *([self.replica] if self.replica else [])]
        before = [each for machine in machines for each in (machine.ready, *stack.works_on.get(machine.name, ()))]
        pair = ReplicationPair(
            self.child("replication-pair"),
            stack,
            machines=machines,
            opts=self.options("replication-pair", before),
        )
        self.databases = CloudDatabases(
            self.child("cloud-databases"), stack, machines=machines, opts=self.options("cloud-databases", [pair])
        )
        for machine in machines:
            stack.works_on.setdefault(machine.name, []).append(self.databases)
        self.machines = machines
        self.addresses = pulumi.Output.all(**{machine.name: machine.address for machine in machines})
        self.port = pulumi.Output.from_input(database.port)
        names = {"source": self.source.name, "replica": self.replica.name if self.replica else None, "engine": database.engine}
        self.register_outputs({**names, "addresses": self.addresses, "port": self.port})
