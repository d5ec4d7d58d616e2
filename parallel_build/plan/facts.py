"""What a plan is made of, asked of the original and of a new server where it is there. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.lists import CloudLists
from parallel_build.cloudstack.releases import Needs, needs, path
from parallel_build.configuration import Server
from parallel_build.database.server.dialects import parse_version
from parallel_build.errors import ParallelBuildError
from parallel_build.plan import faults, package, rebuilds, templates
from parallel_build.plan.faults import Answer, Sources
from parallel_build.plan.package import TargetPackage
from parallel_build.plan.rebuilds import Size, SqlServer, TableWork
from parallel_build.plan.templates import PlannedTemplate
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import together
from parallel_build.remote.sql import Refused, session
from parallel_build.resolved_stack import Site
from parallel_build.rules import Unanswered
from parallel_build.versions import CloudStackVersion

T = TypeVar("T")
Row = dict[str, Any]
Ask = Callable[[str], list[Row]]
OURS = "TABLE_SCHEMA IN ('cloud', 'cloud_usage', 'cloudbridge')"
VERSION = "SELECT version FROM cloud.version WHERE step = 'Complete' ORDER BY id DESC LIMIT 1"
TABLES = (
    "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, TABLE_ROWS AS row_count, DATA_LENGTH + INDEX_LENGTH AS bytes "
    f"FROM information_schema.TABLES WHERE {OURS} AND TABLE_TYPE = 'BASE TABLE'"
)
COLUMNS = (
    "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, COLUMN_NAME AS col, COLUMN_TYPE AS type, IS_NULLABLE AS nullable, "
    f"CHARACTER_SET_NAME AS charset FROM information_schema.COLUMNS WHERE {OURS}"
)
CLUSTERS = "SELECT hypervisor_type, arch FROM cloud.cluster WHERE removed IS NULL"
CLUSTERS_BEFORE_4_20 = "SELECT hypervisor_type FROM cloud.cluster WHERE removed IS NULL"


@dataclass(frozen=True)
class Plan:
    """The plan of one upgrade.

    Attributes:
        name: the stack, or the address of the cloud.
        old, new: from where to where.
        package: the target's own package, where it could be read.
        templates: system VM templates that the target looks up for what this cloud runs; None where that could not be asked.
        work: what the target's scripts do to this cloud's tables; None where scripts or tables could not be read.
        answers: one for each known fault that such an upgrade can meet.
        problems: what could not be read, and why.
        rows: of all tables, by the server's estimate; 0 where they could not be read.
    """

    name: str
    old: CloudStackVersion
    new: CloudStackVersion
    package: TargetPackage | None = None
    templates: list[PlannedTemplate] | None = None
    work: list[TableWork] | None = None
    answers: list[Answer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rows: int = 0
    when: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def steps(self) -> list[str]:
        """The schema's steps: those of the target's own scripts too, where a later release has more than are known here."""
        return path(self.old, self.new)

    @property
    def needs(self) -> Needs:
        """What the target needs."""
        return needs(self.new)


def of_database(
    name: str,
    old: CloudStackVersion,
    new: CloudStackVersion,
    given: TargetPackage | None,
    server: SqlServer,
    sources: Sources,
    mirror: str = "",
) -> Plan:
    """The plan from what a database answers, and from whatever else may be asked.

    Args:
        given: the target's package.
        server: the new side's database server, which runs the scripts.
        sources: who may be asked; `sql` must be there.
    """
    problems: list[str] = []
    assert sources.sql is not None
    ask = sources.sql
    clusters = _answered(problems, "clusters", lambda: _clusters(ask))
    wanted = None if clusters is None else templates.planned(new, given, templates.used(clusters), mirror)
    sizes = None if given is None else _answered(problems, "tables", lambda: _sizes(ask))
    work = None if given is None or sizes is None else _answered(problems, "tables", lambda: _work(ask, given, old, new, server, sizes))
    rows = sum(size.rows for size in (sizes or {}).values())
    return Plan(name, old, new, given, wanted, work, catalogue(old, new, sources), problems, rows)


def catalogue(old: CloudStackVersion, new: CloudStackVersion, sources: Sources) -> list[Answer]:
    """Every known fault of such an upgrade, judged."""
    return [faults.judge(fault, sources) for fault in faults.concerning(faults.CATALOGUE, old, new)]


def _clusters(ask: Ask) -> list[Row]:
    try:
        return ask(CLUSTERS)
    except Unanswered:
        return ask(CLUSTERS_BEFORE_4_20)


def _sizes(ask: Ask) -> dict[str, Size]:
    return {f"{row['db']}.{row['name']}".lower(): Size(int(row["row_count"] or 0), int(row["bytes"] or 0)) for row in ask(TABLES)}


def _work(
    ask: Ask, given: TargetPackage, old: CloudStackVersion, new: CloudStackVersion, server: SqlServer, sizes: Mapping[str, Size]
) -> list[TableWork]:
    if not given.scripts:
        raise Unanswered(f"{given.where} has no schema scripts")
    return rebuilds.of_scripts(given.scripts, old, new, sizes, rebuilds.columns_of(ask(COLUMNS)), server)


def _answered(problems: list[str], what: str, ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except Unanswered as error:
        problems.append(f"{what}: {error}")
        return None


def gather(site: Site, connections: Connections, new: CloudStackVersion, given: TargetPackage | None, mirror: str = "") -> Plan:
    """The plan of a stack: its original is asked, and its new side where it is there."""
    configuration, problems = site.configuration, list[str]()
    there = given or installed(site, connections, new, problems)
    server = new_server(site, connections)
    api = _guarded(problems, lambda: CloudLists(Cloud.original(site)))

    def shell(script: str) -> Mapping[str, list[str]]:
        silent: list[str] = []
        asks = [partial(_lines, connections, manager, script) for manager in configuration.original.management]
        found = dict(together(asks, silent))
        if silent:
            raise Unanswered("; ".join(silent))
        return found

    with session(connections.host(configuration.original.database.source)) as opened:

        def sql(statement: str) -> list[Row]:
            try:
                return opened.rows(statement)
            except Refused as error:
                raise Unanswered("the schema of this version does not have it" if error.unknown else error.reason) from None

        old = configuration.original.version
        rows = sql(VERSION)
        if rows and (real := CloudStackVersion(str(rows[0]["version"]))) != old:
            problems.append(f"the database is of {real}, and original.version is {old}: the plan goes from {real}")
            old = real
        plan = of_database(site.stack, old, new, there, server, Sources(sql, api, shell, configuration.new.database.engine), mirror)
    return replace(plan, problems=[*problems, *plan.problems])


def _lines(connections: Connections, server: Server, script: str) -> tuple[str, list[str]]:
    return server.name, connections.host(server).script(script, []).stdout.splitlines()


def installed(site: Site, connections: Connections, new: CloudStackVersion, problems: list[str]) -> TargetPackage | None:
    """The target's package on the first new management server that has it."""
    for machine in site.configuration.new.management:
        try:
            found = package.from_server(connections.host(machine))
        except ParallelBuildError as error:
            problems.append(f"{machine.name}: {error.reason}")
            continue
        if found is not None and found.version == new:
            return found
        problems.append(f"{machine.name} has {'no CloudStack packages' if found is None else f'CloudStack {found.version}, not {new}'}")
    return None


def new_server(site: Site, connections: Connections) -> SqlServer:
    """The new source's family and version; without a version where it can't be asked: then nothing is taken for instant."""
    configured = site.configuration.new.database
    try:
        with session(connections.host(configured.source)) as opened:
            return SqlServer(*parse_version(str(opened.value("SELECT VERSION()"))))
    except (ParallelBuildError, ValueError):
        return SqlServer(configured.engine)


def _guarded(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ParallelBuildError as error:
        problems.append(error.reason)
        return None
