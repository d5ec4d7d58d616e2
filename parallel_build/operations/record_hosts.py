"""The two hosts of the window's record, and what proves that one of them is down, so that the other's copy alone may be acted on."""

from __future__ import annotations

from functools import partial

from parallel_build.configuration import NewMachine, Phase, Server
from parallel_build.errors import ConnectionFailed, ParallelBuildError
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import MadeGuest
from parallel_build.operations import open_ports
from parallel_build.operations.confirmed_down import command
from parallel_build.operations.context import Context
from parallel_build.records import window
from parallel_build.records.host_copy import HostNotes
from parallel_build.records.window import WindowStore
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site

READY = "record hosts"


def both(context: Context) -> WindowStore:
    """The window's record: on the original's source, and on the new source once that has the data."""
    configuration = context.configuration
    first, second = (context.host(pair.source) for pair in (configuration.original.database, configuration.new.database))
    notes = context.connections.ready.setdefault(READY, HostNotes())
    found = window.on_both(first, second, context.site, partial(proved_down, context), notes)
    if found.copies:
        found.copies.tell = partial(_passed_over, context)
    return found


def _passed_over(context: Context, text: str) -> None:
    context.progress(text)
    context.run.record("copy passed over", text=text)


def looked_at(site: Site, connections: Connections, *, limit: float | None = None) -> WindowStore:
    """The record, only to be looked at: nothing is proved.

    Args:
        limit: seconds that a look at one host may take; both are asked at the same time then.
    """
    first, second = (connections.host(pair.source) for pair in (site.configuration.original.database, site.configuration.new.database))
    found = window.on_both(first, second, site, notes=HostNotes(two=limit is not None), limit=limit)
    if found.copies:
        found.copies.doubting = site.configuration.phase.reached(Phase.PREPARED)  # before it there may be no new source yet
    return found


def proved_down(context: Context, host: Access, error: ParallelBuildError, returning: bool) -> None:
    """Whether a host of the record that can't be asked is down: by its platform, or by the operator's word while it does not answer.

    Args:
        returning: a rollback is under way: the new source's power is cut then, and not otherwise.
    Raises:
        ConnectionFailed: nothing proves it.
    """
    configuration = context.configuration
    server: Server = next(
        pair.source for pair in (configuration.original.database, configuration.new.database) if pair.source.name == host.name
    )
    why = ""
    if returning and isinstance(server, NewMachine):
        try:
            how = _cut(context, server)
        except MachineFailed as refused:
            why = f"; {refused.reason}"
        else:
            context.progress(f"{server.name} can't be asked for its copy of the window's record, and is off: {how}")
            context.run.record("powered off", server=server.name, by=how, error=str(error))
            return
    if server.name in configuration.confirmed_down:
        ports = {configuration.original.database.port, configuration.new.database.port, *configuration.ports_of(server)}
        if open_ports.answers(context, server, sorted(ports)):
            raise ConnectionFailed(
                f"{server.name} ({server.address}) can't be asked for its copy of the window's record, and its database answers",
                f"{error.reason}{why}",
                "restore the connection to it, or power it off, then run the same command again",
            )
        context.progress(
            f"{server.name} can't be reached and does not answer; window.confirmedDown says that the operator has switched it off"
        )
        context.run.record("confirmed down", server=server.name, error=str(error))
        return
    raise ConnectionFailed(
        f"{server.name} ({server.address}) can't be asked for its copy of the window's record, and it may still be running",
        f"{error.reason}. The other copy alone may be looked at (parallel-build recover {context.site.stack}), but not acted on: "
        f"{server.name} may know more{why}",
        "restore the connection to it; or, where it is gone for good or powered off, confirm it: "
        f"{command(configuration, context.site.stack, server.name)}; then run the same command again",
    )


def _cut(context: Context, machine: NewMachine) -> str:
    """Cut its power by its platform; what it is there, the copy that can be read says."""
    record = both(context).look()
    known = record.facts.get("Window", {}).get("machines", {}) if record is not None and not record.closed else {}
    made = MadeGuest.of(known.get(machine.name))
    return power.cut(context.site, machine, made) if made else power.cut(context.site, machine)
