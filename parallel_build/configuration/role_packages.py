"""The Debian packages of each role of a new server, besides CloudStack's: for machines that a platform makes, and for servers that exist already."""

from __future__ import annotations

from parallel_build.configuration import StackConfiguration

# A copy is written by a Python program on the server itself. Images of machines that a platform makes have Python; a minimal server may not.
DATABASE_TOOLS = ("python3",)
# Its firewall, and the program that proves it from inside.
REHEARSAL_TOOLS = ("nftables", "python3")
# What takes files in, where `transfer.seed` is physical; both families have a package of that name.
FILE_TOOLS = ("mariadb-backup",)
COMMANDS = {"nftables": "nft", "python3": "python3", "mariadb-backup": "mariadb-backup"}


def database_tools(configuration: StackConfiguration) -> tuple[str, ...]:
    """What a new database server has besides its server's packages."""
    return (*DATABASE_TOOLS, *(FILE_TOOLS if configuration.transfer.seed == "physical" else ()))


def of_roles(configuration: StackConfiguration, name: str, *, database: bool, management: bool) -> list[str]:
    """Every package that steps install by name on a server.

    Args:
        name: the server's.
        database, management: its roles.
    """
    new, rehearsal = configuration.new, configuration.rehearsal.machine
    names = [*new.database.packages, *database_tools(configuration)] if database else []
    if management:
        names += [*new.packages.names, *new.packages.usage_names]
    if rehearsal is not None and rehearsal.name == name:
        names += REHEARSAL_TOOLS
    return sorted({each.split("=")[0].split(":")[0] for each in names})
