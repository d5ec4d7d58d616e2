"""The original proved down, asked of its servers now: before anything of the new side is started, and wherever one of them is silent.

That its steps stopped and masked everything proves nothing about this moment: a hold point, a colleague or half a rollback may have come since.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import OriginalManagement, Server
from parallel_build.errors import ConnectionFailed, ParallelBuildError, StepFailed
from parallel_build.operations import galera_stop, known_servers, original_locks
from parallel_build.operations.confirmed_down import command
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store, units_of
from parallel_build.operations.open_ports import answers
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import Workers

SSH = 22
__all__ = ["answers", "prove", "prove_management", "silent"]


def prove(context: Context) -> None:
    """Rule: before a new server starts, the original's management, usage and database units are down and masked.

    Raises:
        StepFailed: some are not, or a server can't be reached and it may still be running.
    """
    configuration, record = context.configuration, store(context).read()
    if unknown := known_servers.without_address(configuration, record):
        raise StepFailed(
            f"{'; '.join(unknown)}; and not configured any more",
            "the record is of an earlier version and does not have the address, so it can't be asked whether it is down",
            "put it back into the configuration as it was, then run the same command again",
        )
    units = store(context).facts("OriginalDatabase").get("units", {})
    questions: list[Callable[[], list[str]]] = [partial(_cloudstack, context, server) for server in _with_units(context, record)]
    questions += [partial(_database, context, server, units) for server in known_servers.original_databases(configuration, record)]
    _ask(context, questions, "a new server must not start while anything of the original may run")


def prove_management(context: Context) -> None:
    """Rule: the original's database is only started alone while its management and usage units are down and masked.

    Raises:
        StepFailed: one is not, or a server can't be reached and it may still be running.
    """
    questions: list[Callable[[], list[str]]] = [
        partial(_cloudstack, context, server) for server in _with_units(context, store(context).read())
    ]
    _ask(context, questions, "the original's database must not start for the new side while its management may run")


def silent(context: Context, server: Server, error: ParallelBuildError) -> None:
    """Whether one of the original's servers that can't be reached counts as down: only by the operator's word, and while it is silent.

    The stack did not make these machines, so there is no platform whose word could be had. The source may be such a server once the new source has a
    copy of the window's record: without one nobody gets as far as this. A machine with several roles must be silent in all of them.
    Raises:
        StepFailed: it still answers, or the operator has not confirmed in `window.confirmedDown` that he has switched it off.
    """
    name, original = server.name, context.configuration.original
    manages = isinstance(server, OriginalManagement) or server.address in {each.address for each in original.management}
    usage = server.name in {each.name for each in original.usage}
    # A usage server listens nowhere: whether its machine is on is asked of its SSH.
    usual = original.served.every_port if manages else [server.ssh_port or SSH] if usage else [original.database.port]
    ports = sorted({*usual, *context.configuration.ports_of(server)})
    if (manages and api.answers(endpoint.of_original(context.configuration, server))) or answers(context, server, ports):
        raise StepFailed(
            f"{name} ({server.address}) of the original can't be reached over SSH, and still answers",
            error.reason,
            "restore the connection to it, or power it off, then run the same command again",
        )
    if name not in context.configuration.confirmed_down:
        raise StepFailed(
            f"{name} ({server.address}) of the original can't be reached, and it may still be running",
            f"{error.reason}. It does not answer, but if it is only unreachable from here, it may still be managing the hypervisors",
            "restore the connection to it; or power it off for good and confirm it: "
            f"{command(context.configuration, context.site.stack, name)}; then run the same command again; or go back: "
            f"parallel-build back {context.site.stack}",
        )
    context.progress(f"{name} can't be reached and does not answer; window.confirmedDown says that the operator has switched it off")
    context.run.record("confirmed down", server=name, error=str(error))


def _ask(context: Context, questions: list[Callable[[], list[str]]], rule: str) -> None:
    with Workers(len(questions)) as pool:
        found = [problem for future in [pool.submit(question) for question in questions] for problem in future.result()]
    if found:
        raise StepFailed(
            f"the original is not down: {'; '.join(found)}",
            f"{rule}; it was started or unmasked after this window stopped it",
            "ask who, and run `systemctl mask --now UNIT` on that server (where it keeps running: lock these accounts, end these sessions); then the same "
            "command again; before the first start it copies the databases again, with what was written since; "
            f"or go back: parallel-build back {context.site.stack}",
        )


def _with_units(context: Context, record: WindowRecord | None) -> list[Server]:
    """The original's servers that run something of CloudStack's."""
    configuration = context.configuration
    return [*known_servers.original_management(configuration, record), *known_servers.original_usage(configuration, record)]


def _cloudstack(context: Context, server: Server) -> list[str]:
    try:
        services = Services(context.host(server))
        found = [_runs(server, unit, services) for unit in units_of(server)]
    except ConnectionFailed as error:
        silent(context, server, error)
        return []
    return [problem for problem in found if problem]


def _database(context: Context, server: Server, units: dict[str, str]) -> list[str]:
    try:
        services = Services(context.host(server))
        problem = _runs(server, units.get(server.name) or services.database_unit(), services)
        record = store(context).read()
        accounts = original_locks.locked(record, server.name)
        if problem and accounts:
            return original_locks.problems(context, server, accounts)
        problem = problem or galera_stop.ran_since(context, record, server)
    except ConnectionFailed as error:
        silent(context, server, error)
        return []
    return [problem] if problem else []


def _runs(server: Server, unit: str, services: Services) -> str:
    """What is wrong with a unit, "" where it is down and masked."""
    state = services.state(unit)
    if state.fenced:
        return ""
    return f"{unit} on {server.name} " + ("runs" if state.active else "is not masked")
