"""Servers that their operator has switched off himself: the command that confirms it, and what it means where the original serves again."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.configuration import Server, StackConfiguration
from parallel_build.errors import ConnectionFailed, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.records.window import WindowRecord


def command(configuration: StackConfiguration, stack: str, name: str, before: Sequence[str] = ()) -> str:
    """The command for one server, to be run as it stands: it keeps the names that are in the list already.

    Args:
        before: further servers whose commands are printed before this one.
    """
    known = [*configuration.window.confirmed_down, *(other for other in before if other not in configuration.window.confirmed_down)]
    return f"pulumi config set --path 'window.confirmedDown[{len(known)}]' {name} --stack {stack}"


def is_lost(context: Context, server: Server, error: ParallelBuildError) -> bool:
    """Whether a server of the original that could not be brought back is one that is off for good: then no rollback waits for it."""
    confirmed = server.name in context.configuration.confirmed_down
    return confirmed and isinstance(error, ConnectionFailed) and not context.host(server).reachable()


def left_behind(context: Context, record: WindowRecord) -> list[str]:
    """Of servers of the original that are off for good: what the window has left on each, in words."""
    original = context.configuration.original
    servers = [*original.management, *original.usage, *original.database.servers]
    found = []
    for server in servers:
        touched = record.servers.get(server.name)
        if server.name in context.configuration.confirmed_down and touched is not None and touched.units:
            units = " ".join(sorted(touched.units))
            found.append(f"{server.name} is off (window.confirmedDown). If it is ever used again, there: systemctl unmask {units}")
    return found
