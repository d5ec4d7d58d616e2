"""The servers of both sides: those that are configured, and those that the window's record has although they are not configured any more.

A server that was started or stopped in a window and then taken out of the stack file still runs, or is still masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from parallel_build.cloudstack.services import UnitState
from parallel_build.configuration import NewMachine, OriginalManagement, Server, StackConfiguration
from parallel_build.errors import GuardFailed
from parallel_build.operations.context import Context
from parallel_build.records.states import FIRST_START, StartState, start_of
from parallel_build.records.touched import DATABASE, MANAGEMENT, NEW, ORIGINAL, START, USAGE, Found, TouchedServer, moved
from parallel_build.records.window import WindowRecord

ADDITIONAL = "AdditionalManagement/"

S = TypeVar("S", bound=Server)


def new_management(configuration: StackConfiguration, record: WindowRecord | None) -> list[NewMachine]:
    """The new management servers."""
    return _with_recorded(configuration.new.management, record, NEW, MANAGEMENT, NewMachine)


def original_management(configuration: StackConfiguration, record: WindowRecord | None) -> list[OriginalManagement]:
    """The original's management servers."""
    return _with_recorded(configuration.original.management, record, ORIGINAL, MANAGEMENT, OriginalManagement)


def original_usage(configuration: StackConfiguration, record: WindowRecord | None) -> list[Server]:
    """The original's hosts that run the usage server alone."""
    return _with_recorded(configuration.original.usage, record, ORIGINAL, USAGE, Server)


def original_databases(configuration: StackConfiguration, record: WindowRecord | None) -> list[Server]:
    """The original's database servers, source first."""
    pair = configuration.original.database
    return _with_recorded(pair.servers, record, ORIGINAL, DATABASE, Server)


def new_databases(configuration: StackConfiguration, record: WindowRecord | None) -> list[NewMachine]:
    """The new database servers that the cloud's management servers write to."""
    return _with_recorded([configuration.new.database.source], record, NEW, DATABASE, NewMachine)


def new_database(configuration: StackConfiguration, record: WindowRecord, name: str) -> NewMachine | None:
    """One of them by its name, also where the record is closed."""
    touched = record.servers.get(name)
    recorded = touched.server() if touched is not None else None
    known = [*configuration.new_machines(), *([recorded] if isinstance(recorded, NewMachine) else [])]
    return next((machine for machine in known if machine.name == name), None)


def _with_recorded(configured: Sequence[S], record: WindowRecord | None, side: str, role: str, kind: type[S]) -> list[S]:
    names = {server.name for server in configured}
    recorded = [
        touched for touched in _servers(record).values() if touched.side == side and role in touched.roles and touched.name not in names
    ]
    return [*configured, *(server for touched in recorded if isinstance(server := touched.server(), kind))]


def _servers(record: WindowRecord | None) -> Mapping[str, TouchedServer]:
    return {} if record is None or record.closed else record.servers


def touch(context: Context, server: Server, *done: str, units: Mapping[str, Found] | None = None) -> TouchedServer:
    """What is to be written down of a server before something is done to it."""
    configuration = context.configuration
    side = NEW if isinstance(server, NewMachine) else ORIGINAL
    pairs = (*configuration.original.database.servers, *configuration.new.database.servers)
    managers = {each.name for each in (*configuration.original.management, *configuration.new.management)}
    keeps = server.name in {each.name for each in pairs}
    role = DATABASE if keeps and server.name not in managers else MANAGEMENT
    if server.name in {each.name for each in configuration.original.usage}:
        role = USAGE
    declared = server.model_copy(update={"platform": configuration.platform_of(server)}) if isinstance(server, NewMachine) else server
    also = (DATABASE,) if keeps and role == MANAGEMENT else ()
    return TouchedServer.of(declared, side, role, *done, units=units, host_key=context.site.host_key(server), also=also)


def ever_started(configuration: StackConfiguration, record: WindowRecord | None, machine: Server) -> bool:
    """Whether this window has begun a start of a new management server, by its record: written down before each start."""
    if record is None or record.closed:
        return False
    touched = record.servers.get(machine.name)
    if touched is not None and START in touched.done:
        return True
    first = configuration.new.management[0].name == machine.name
    # Up to version 2 of the record the first server had no name there: whichever is the first now counts as started.
    return bool(StartState.of(record.facts.get(start_of(machine.name, first=first), {})).began)


def any_started(record: WindowRecord | None) -> bool:
    """Whether this window has begun the start of any new management server."""
    if record is None or record.closed:
        return False
    if any(touched.side == NEW and START in touched.done for touched in record.servers.values()):
        return True
    names = [name for name in record.facts if name == FIRST_START or name.startswith(ADDITIONAL)]
    return any(StartState.of(record.facts[name]).began for name in names)


def found(state: UnitState) -> Found:
    """A unit's state, as it is kept."""
    return Found(state.active, state.enabled, state.masked)


def as_found(record: WindowRecord | None, name: str, unit: str) -> Found:
    """A unit as this window found it; one of which nothing is known ran, and was enabled."""
    touched = _servers(record).get(name)
    if touched is not None and unit in touched.units:
        return touched.units[unit]
    enabled = record.facts.get("OriginalManagement", {}).get("enabled", {}) if record is not None and not record.closed else {}
    return Found(enabled=bool(enabled.get(f"{name}/{unit}", True)))


def check_known(configuration: StackConfiguration, record: WindowRecord) -> None:
    """Rule: a rollback begins only when every server that it must fence or start can be named with its address.

    Raises:
        GuardFailed: one has another address by now, or was started by an earlier version, which recorded no address, and is not configured any more.
    """
    configured: dict[str, Server] = {
        server.name: server
        for server in (
            *configuration.new.management,
            *new_databases(configuration, None),
            *original_management(configuration, None),
            *original_usage(configuration, None),
            *original_databases(configuration, None),
        )
    }
    for touched in _servers(record).values():
        server = configured.get(touched.name)
        if server is not None and server.address != touched.address:
            raise moved(touched, server.address)
    if unknown := without_address(configuration, record):
        raise GuardFailed(
            f"{'; '.join(unknown)}; and not configured any more",
            "the record is of an earlier version and does not have the address, so it could be neither fenced nor started again",
            "put it back into the configuration as it was, then run the same command again",
        )


def without_address(configuration: StackConfiguration, record: WindowRecord | None) -> list[str]:
    """What a record of an earlier version knows by name alone, and the configuration does not have any more, in words."""
    if record is None or record.closed:
        return []
    servers = (
        *configuration.new.management,
        *original_management(configuration, record),
        *original_usage(configuration, record),
        *original_databases(configuration, record),
    )
    known = {*record.servers, *(server.name for server in servers)}
    started = [name.removeprefix(ADDITIONAL) for name, facts in record.facts.items() if name.startswith(ADDITIONAL) and facts.get("began")]
    stopped = [unit.partition("/")[0] for unit in record.facts.get("OriginalManagement", {}).get("enabled", {})]
    stopped += record.facts.get("OriginalDatabase", {}).get("units", {})
    words = [f"{name} was started in this window as new management server" for name in started if name not in known]
    return [*words, *(f"{name} of the original was stopped in this window" for name in dict.fromkeys(stopped) if name not in known)]
