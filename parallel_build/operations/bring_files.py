"""Whether the databases are brought as files or as rows, and the bringing as files: `transfer.seed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.database.compare import compare
from parallel_build.database.copy.progress import size
from parallel_build.database.physical import copy, facts, judge, staging
from parallel_build.database.physical.copy import FilesReport
from parallel_build.database.physical.judge import Decision, Files
from parallel_build.database.schema import definitions as schema
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database, schemas, store, tolerated
from parallel_build.records.states import copy_change
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import session


def words(configuration: StackConfiguration) -> list[str]:
    """For the plan of the transfer; nothing where rows are copied anyway."""
    if configuration.transfer.seed == "logical" or configuration.transfer.method != "dump":
        return []
    if not _both_mariadb(configuration):
        return []
    old, servers = configuration.original.database.source.name, configuration.new.database.servers
    names, sides = " and ".join(server.name for server in servers), [old, *(server.name for server in servers)]
    all_ = f"{', '.join(sides[:-1])} and {sides[-1]}"
    way = f"mariadb-backup on {old}, streamed through this machine to {names}, prepared there; each table's file imported, outside of the binary log"
    if configuration.transfer.seed == "physical":
        return [f"instead of copying rows, bring files: {way}"]
    return [f"instead of copying rows, where {all_} have the tool and there is 1 GiB or more, bring files: {way}"]


def proof(configuration: StackConfiguration) -> list[str]:
    """For the plans of what proves that it is possible; nothing where rows may be copied as well."""
    if configuration.transfer.seed != "physical":
        return []
    names = ", ".join(server.name for server in (configuration.original.database.source, *configuration.new.database.servers))
    return [
        f"prove that files can be brought: mariadb-backup, series, page size, encryption and room of {names}, and the original's tables"
    ]


def _both_mariadb(configuration: StackConfiguration) -> bool:
    return {configuration.original.database.engine, configuration.new.database.engine} == {"mariadb"}


def replicas(context: Context) -> list[Access]:
    """The new source's replica, where there is one."""
    return [context.host(machine) for machine in context.configuration.new.database.servers[1:]]


def decide(context: Context) -> tuple[Decision, Files]:
    """The way, and what would be brought.

    Raises:
        GuardFailed: `transfer.seed: physical` is not possible; names all that is in the way.
    """
    wanted, nothing = context.configuration.transfer.seed, Files(0, 0)
    if wanted == "auto":
        with session(original_database(context)) as opened:
            most = facts.at_most(opened, schemas(context.configuration))
        if most < judge.WORTH:  # no other server needs to be asked
            return judge.too_small(f"at most {size(most)}"), nothing
    try:
        old, new = _servers(context)
    except ConnectionFailed as error:
        if wanted == "auto" and (away := _away(context)):  # rows need no replica: it follows the new source once it is back
            return Decision(False, f"{away} can't be asked: {error.fact}"), nothing
        raise
    if not judge.servers_fit(old, new):
        return judge.decide(wanted, old, new, None), nothing
    with session(original_database(context)) as opened:
        names = schema.existing(opened, schemas(context.configuration))
        files = facts.files(opened, [schema.read(opened, name) for name in names])
    return judge.decide(wanted, old, new, files), files


def _servers(context: Context) -> tuple[judge.ServerFacts, list[judge.ServerFacts]]:
    """Of all of them at the same time: users are out."""
    hosts = [original_database(context), new_database(context), *replicas(context)]
    with Workers(len(hosts), context.cancel) as pool:
        old, *new = pool.map(lambda host: facts.server(host, original=host is hosts[0]), hosts)
    return old, new


def _away(context: Context) -> str:
    """A new replica that can't be reached, or its database server; empty where all of them answer."""
    for host in replicas(context):
        try:
            with session(host):
                pass
        except ConnectionFailed:
            return host.name
    return ""


def prove(context: Context) -> dict[str, Any]:
    """Rule: what `transfer.seed: physical` asks for is possible now. Anything else is decided when the databases are brought.

    Raises:
        GuardFailed: it is not; names all that is in the way.
    """
    if context.configuration.transfer.seed != "physical":
        return {}
    _, files = decide(context)
    context.progress(f"the files of {len(files.filled)} tables can be brought as they are, {files.total / 2**20:,.0f} MiB")
    return {"files": len(files.filled), "bytes": files.total}


def settle(context: Context) -> None:
    """Clear away what an interrupted try left on the new servers, and on the original a backup that still runs. Where the record has `files`."""
    with tolerated(context, "a backup that may still run on the original"):
        staging.end_backup(original_database(context))
    if staging.settle(new_database(context), replicas(context), context.cancel):
        context.progress("what an interrupted try to bring files had left is cleared away")


def bring(context: Context, names: Sequence[str]) -> FilesReport | None:
    """Bring the databases as files where that is the way; None where they are to be copied as rows, which is shown with its reason.

    Raises:
        GuardFailed, StepFailed: `transfer.seed: physical` is not possible, or could not be done.
    """
    wanted = context.configuration.transfer.seed
    if wanted == "logical":
        return None
    if not _both_mariadb(context.configuration):
        context.progress("copying rows, not files: files are brought from MariaDB to MariaDB only")
        return None
    try:
        decision, files = decide(context)
        if decision.physical:
            context.progress(f"bringing files: {decision.why}")
            store(context).note(copy_change(files=True))
            report = copy.copy(
                original_database(context), new_database(context), replicas(context), names, files,
                threads=context.configuration.transfer.threads, cancel=context.cancel, progress=context.progress,
            )  # fmt: skip
            store(context).note(copy_change(files=None))
            return report
        why = decision.why
    except (Cancelled, ConnectionFailed, Fenced):
        raise
    except (CommandFailed, StepFailed) as problem:
        if wanted == "physical":
            raise
        why = problem.reason
        settle(context)
    context.progress(f"copying rows, not files: {why}")
    return None


def prove_replicas(context: Context, names: Sequence[str]) -> int:
    """Rule: the new replica has the very rows of the new source, although no log has brought them. Returns the rows compared.

    Raises:
        ComparisonFailed: it has not.
    """
    rows = 0
    for replica in replicas(context):
        found = compare.compare(
            new_database(context),
            replica,
            names,
            threads=context.configuration.transfer.threads,
            cancel=context.cancel,
            progress=context.progress,
        )
        found.raise_if_different()
        context.progress(f"{replica.name}: {found.rows:,} rows compared with {new_database(context).name}, all the same")
        rows += found.rows
    return rows
