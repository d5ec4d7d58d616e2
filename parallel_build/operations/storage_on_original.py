"""Storage of the cloud that is on one of the original's own servers: on a small cloud one of them exports it, and users' disks are there."""

from __future__ import annotations

import contextlib
import ipaddress

from parallel_build.configuration import Server
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, ParallelBuildError
from parallel_build.facts import network_targets
from parallel_build.facts.original import own_addresses
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database
from parallel_build.remote.sql import session


def look(context: Context) -> list[str]:
    """Servers of the original that must stay because of it, in words; also where nobody can tell."""
    original = context.configuration.original
    try:
        with session(new_database(context)) as database:
            targets = sorted(set(network_targets.storage(database)))
        resolver = context.host(context.configuration.new.management[0])
        known = network_targets.resolve(resolver, sorted({target.address for target in targets}))
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        return [f"every server of the original running until somebody has looked whether storage of the cloud is on it: {error.reason}"]
    found: dict[str, list[str]] = {}
    for server in (*original.management, *original.usage, *original.database.servers):
        own = _names_of(context, server)
        here = [f"{target.what} ({target.address})" for target in targets if own & {target.address.lower(), *known.get(target.address, ())}]
        if here:
            found.setdefault(server.address, [server.name]).extend(here)
    return [f"{name} running, the cloud's storage is on it: {', '.join(dict.fromkeys(there))}" for name, *there in found.values()]


def _names_of(context: Context, server: Server) -> set[str]:
    """What a store's server may be called when it is this one: its name, and every address that it has."""
    found = {server.name, server.address}
    with contextlib.suppress(ConnectionFailed, CommandFailed):  # it is off: nothing is mounted from it at any other address
        found |= {address for address in own_addresses(context.host(server)) if not ipaddress.ip_address(address).is_loopback}
    return found
