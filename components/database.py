"""The new database servers: a source and its replica, with CloudStack's empty databases."""

from __future__ import annotations

import pulumi

from parallel_build.components.declared import Stack
from parallel_build.components.machines.build import Content, build_machine
from parallel_build.components.machines.machine import Machine
from parallel_build.components.steps import CloudDatabases, ReplicationPair
from parallel_build.configuration import NewMachine
from parallel_build.database.server.settings import option_files
from parallel_build.machines.provisioning import File

UNITS = {"mariadb": "mariadb.service", "mysql": "mysql.service"}


class ReplicatedDatabase(pulumi.ComponentResource):
    """`cutover:components:ReplicatedDatabase`.

    Children: the machines of source and replica with their `MachineReady`, `ReplicationPair`, `CloudDatabases`.

    Attributes:
        source, replica: the machines.
        databases: depend on this to run when the empty databases are there.
    """

    source: Machine
    replica: Machine
    databases: CloudDatabases

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cutover:components:ReplicatedDatabase", name, None, opts)
        database = stack.configuration.new.database
        self.source = build_machine(stack, database.source, content(stack, database.source), self)
        self.replica = build_machine(stack, database.replica, content(stack, database.replica), self)
        pair = ReplicationPair(
            "replication-pair",
            stack,
            machines=[self.source, self.replica],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.source.ready, self.replica.ready]),
        )
        self.databases = CloudDatabases(
            "cloud-databases", stack, machines=[self.source, self.replica], opts=pulumi.ResourceOptions(parent=self, depends_on=[pair])
        )
        self.register_outputs({})


def content(stack: Stack, machine: NewMachine) -> Content:
    """What a database server is made with: its option file, there before the server first starts, and its packages."""
    database = stack.configuration.new.database
    own, _ = option_files(stack.configuration, machine)
    return Content(
        files=(File(own.path, own.content),),
        packages=tuple(database.packages),
        enabled_units=(UNITS[database.engine],),
    )
