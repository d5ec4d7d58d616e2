"""OriginalDatabase: the old MySQL down and disabled, so that nothing can write where the truth no longer is."""

from __future__ import annotations

from parallel_build.cancel import wait_for
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import Server, StackConfiguration
from parallel_build.database.session import session
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.steps.base import Context, Outputs, step
from parallel_build.steps.common import store
from parallel_build.steps.rollback import SwitchedStep


def servers(configuration: StackConfiguration) -> list[Server]:
    """The original's database servers, replica first: it is stopped first and started last, as replication wants it."""
    pair = configuration.original.database
    return [pair.replica, pair.source] if pair.replica else [pair.source]


@step
class OriginalDatabase(SwitchedStep):
    """Old MySQL servers stopped, disabled and masked."""

    type = "OriginalDatabase"
    summary = "original MySQL down"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Stop, disable, mask, prove."""
        port = configuration.original.database.port
        return [
            *(f"on {s.name} ({s.address}): systemctl disable, mask and stop the database server" for s in servers(configuration)),
            f"prove: port {port} closed, units masked",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Unmask, enable, start, wait; the source now, the replica when the original serves."""
        pair = configuration.original.database
        lines = [
            f"on {pair.source.name} ({pair.source.address}): systemctl unmask, enable and start the database server; wait until it answers SQL"
        ]
        if pair.replica:
            lines.append(f"on {pair.replica.name} ({pair.replica.address}): the same at the end of Window's undo, once the original serves")
        return lines

    def apply(self, context: Context) -> Outputs:
        """Stop and fence both."""
        units = self._units(context)
        context.intend("stop the original's databases", units=units)
        for server in servers(context.configuration):
            context.progress(f"stopping {units[server.name]} on {server.name}")
            services = Services(context.host(server))
            services.stop_and_fence(units[server.name], timeout=600)
            wait_for(
                f"port {context.configuration.original.database.port} of {server.name} to close",
                lambda: not services.listening([context.configuration.original.database.port]),  # noqa: B023 - used at once
                timeout=60,
                cancel=context.cancel,
            )
            context.note(stopped=[*context.done.get("stopped", []), server.name])
        return {"units": units}

    def revert(self, context: Context) -> None:
        """Release and start the source, and wait until it answers; the replica is Window's."""
        start(context)

    def _units(self, context: Context) -> dict[str, str]:
        records = store(context)
        remembered: dict[str, str] | None = records.facts(self.type).get("units")
        if remembered is None:
            remembered = {s.name: Services(context.host(s)).database_unit() for s in servers(context.configuration)}
            records.remember(self.type, units=remembered)
        return remembered


def start(context: Context) -> None:
    """Start the original's source and wait until it answers; nothing happens where it runs.

    Raises:
        ConnectionFailed: it can't be reached.
    """
    _start(context, context.configuration.original.database.source)


def start_replica(context: Context) -> list[str]:
    """Start the original's replica, where it has one: management does not wait for it.

    Returns:
        what is missing: a replica that can't be reached does not keep the original from serving.
    """
    replica = context.configuration.original.database.replica
    if replica is None:
        return []
    try:
        _start(context, replica)
    except ConnectionFailed as error:
        context.progress(f"{replica.name} can't be brought back yet: {error}")
        return [f"replica {replica.name}: {error}"]
    return []


def _start(context: Context, server: Server) -> None:
    remembered: dict[str, str] = store(context).facts("OriginalDatabase").get("units", {})
    host = context.host(server)
    services = Services(host)
    unit = remembered.get(server.name) or services.database_unit()
    if services.bring_up(unit, timeout=600):
        context.progress(f"{unit} started on {server.name}")

    def answers() -> bool:
        try:
            with session(host) as database:
                return bool(database.value("SELECT 1") == 1)
        except (ConnectionFailed, CommandFailed):
            return False

    wait_for(f"the database server on {server.name}", answers, timeout=600, cancel=context.cancel, progress=context.progress)
