"""What a new server is made with in each of its roles, on a platform that makes machines."""

from __future__ import annotations

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.components.declared import Stack
from parallel_build.components.machines.build import Content
from parallel_build.configuration import NewMachine
from parallel_build.database.server.settings import before_first_boot, option_files
from parallel_build.machines.provisioning import File

# CloudStack's unit wants a database server of its own machine, and one with cloud/cloud would be taken for the cloud's by a server that can't
# read its db.properties: where an image brings one, it must not start.
DATABASES = ("mariadb.service", "mysql.service", "mysqld.service")
# Masked before a package is there: Debian's packages start their services as soon as they are installed.
FENCED = (f"{MANAGEMENT}.service", f"{USAGE}.service")


def content(stack: Stack, machine: NewMachine) -> Content:
    """A database server has its option file before it first starts, and its packages; a management server can't start. One machine may be both."""
    new = stack.configuration.new
    keeps = machine.name in {server.name for server in new.database.servers}
    manages = machine.name in {server.name for server in new.management}
    if not keeps:
        return Content(masked_units=(*FENCED, *DATABASES))
    own, _ = option_files(stack.configuration, machine)
    own, unit = before_first_boot(new, own)
    return Content(
        files=(File(own.path, own.content),),
        packages=tuple(new.database.packages),
        enabled_units=(unit,),
        masked_units=FENCED if manages else (),
    )
