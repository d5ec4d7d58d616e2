"""The facts that the health check judges, read once: original's database, servers and API. Changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from parallel_build.cloudstack import endpoint
from parallel_build.cloudstack.keys import database_key
from parallel_build.configuration.fix_files import Fix, read_fixes
from parallel_build.database.replicate import pair_status
from parallel_build.database.replicate.pair_status import ReplicaStatus
from parallel_build.errors import GuardFailed, ParallelBuildError
from parallel_build.facts import new as new_facts
from parallel_build.facts import original as original_facts
from parallel_build.facts.network_targets import resolve
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.health import (
    certificates,
    pool_ha,
    queries,
    scoped,
    server_files,
    servers,
    target_plugins,
    target_scripts,
    target_settings,
)
from parallel_build.health.certificates import Certificate
from parallel_build.health.pool_ha import Pool
from parallel_build.health.scoped import Setting, host_names, local_path
from parallel_build.health.server_files import ServerFiles
from parallel_build.health.servers import ServerFacts
from parallel_build.health.target_scripts import GuestOsInsert
from parallel_build.records.rehearsal import RehearsalRecord, outdated
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import session
from parallel_build.resolved_stack import Site
from parallel_build.rules import Unanswered

T = TypeVar("T")
Row = dict[str, Any]
AT_ONCE = 8
MOST_NAMES = 60  # host names asked for: settings have a handful
# Values that CloudStack's own upgrade scripts and first start wrote, though its default is different: no operator chose them.
WRITTEN_BY_CLOUDSTACK = {
    "xen.heartbeat.timeout": "180", "ovm3.heartbeat.timeout": "180", "ovm3.heartbeat.interval": "10", "direct.agent.load.size": "1000",
    "kvm.storage.online.migration.wait": "10800", "vmware.create.full.clone": "true", "dynamic.apichecker.enabled": "true",
}  # fmt: skip


@dataclass(frozen=True)
class HealthFacts:
    """Everything the rules look at.

    Attributes:
        site: the stack.
        old: what the window's guards look at as well.
        fresh: of the new side, the source's server only; nothing before phase `built`.
        tables: result of each query of `queries.QUERIES` by its name.
        unanswered: queries without a result, and why: this version's schema does not know a table of theirs, or the database was not read.
        servers: facts of each of the original's servers by name.
        replica: the replica's channel; None when there is no replica or it has none.
        replica_problem: why the replica could not be asked, or "".
        certificates: all that were found.
        inserts: rows of guest operating systems that the target's own upgrade scripts insert under fixed numbers; None when the
            scripts can't be read.
        unknown_settings: settings that were changed and that the target's own program does not know; None when that can't be read.
        knows_vmware: whether the target's packages have the plug-in for VMware; None when that can't be read.
        pools: of each XenServer host of the stack that could be asked, its pool.
        files: of each management server of the original, what it has outside the database that its packages did not bring.
        new_files: the same of the first new management server; None before it is there.
        resolved: host names in settings -> the addresses that a server of the original resolves them to.
        fixes: the fixes that the rehearsal and the window run on the copy; none without a rehearsal.
        when: the moment of reading, UTC.
        problems: what could not be read.
    """

    site: Site
    old: OriginalFacts
    tables: dict[str, list[Row]] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    servers: dict[str, ServerFacts] = field(default_factory=dict)
    replica: ReplicaStatus | None = None
    replica_problem: str = ""
    certificates: list[Certificate] = field(default_factory=list)
    inserts: list[GuestOsInsert] | None = None
    unknown_settings: frozenset[str] | None = None
    files: dict[str, ServerFiles] = field(default_factory=dict)
    new_files: ServerFiles | None = None
    resolved: dict[str, list[str]] = field(default_factory=dict)
    fixes: list[Fix] = field(default_factory=list)
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    problems: list[str] = field(default_factory=list)
    fresh: NewFacts = field(default_factory=NewFacts)
    knows_vmware: bool | None = None
    pools: list[Pool] = field(default_factory=list)

    def rows(self, query: str) -> list[Row]:
        """Rows of a query.

        Raises:
            Unanswered: there is no answer to it, so nothing can be judged by it.
        """
        if query in self.unanswered:
            raise Unanswered(self.unanswered[query])
        return self.tables.get(query, [])

    def rehearsed(self, fix: Fix) -> RehearsalRecord | None:
        """The last rehearsal, where it passed with exactly what is configured now, this fix among it; else None."""
        record = self.old.rehearsal
        if record is None or not record.passed or fix.name not in record.fixes or outdated(self.site.configuration, record):
            return None
        return record

    def setting(self, name: str) -> str:
        """A global setting's value, "" when it is not there."""
        return next((str(row["value"] or "") for row in self.rows("settings") if row["name"] == name), "")

    def values(self, name: str) -> list[Setting]:
        """A setting's values that are in force somewhere: the global one first, then those of a domain, account, zone, cluster or store."""
        return [setting for setting in self.settings() if setting.name == name]

    def settings(self) -> list[Setting]:
        """Every setting's values, global and of a domain, account, zone, cluster or store."""
        return list(scoped.everywhere(self.rows, self.unanswered))

    def addresses(self) -> list[Setting]:
        """Addresses that are kept outside of settings: of single sign-on, and of templates that hosts download themselves."""
        return list(scoped.addresses(self.rows, self.unanswered))


def gather(site: Site, connections: Connections) -> HealthFacts:
    """Read everything, the servers side by side; what can't be asked becomes a problem, so that all is reported at once.

    Raises:
        ConfigurationError: a fix does not say what it is for.
    """
    problems: list[str] = []
    configuration = site.configuration
    fixes = read_fixes(configuration.rehearsal.fixes) if configuration.rehearsal.enabled else []
    with Workers(AT_ONCE) as pool:
        old = pool.submit(original_facts.gather, site, connections)
        fresh = pool.submit(new_facts.source, site, connections)
        database = pool.submit(_guarded, problems, lambda: _database(site, connections))
        stored = pool.submit(_guarded, problems, lambda: _stored(site, connections))
        replica = pool.submit(_replica, site, connections)
        scripts = pool.submit(_scripts, site, connections)
        each = {
            server.name: pool.submit(_guarded, problems, lambda server=server: servers.read(connections.host(server)))
            for server in configuration.asked_servers()
        }
        agents = [
            pool.submit(_guarded, problems, lambda host=host: certificates.of_agent(connections.host(host)))
            for host in configuration.original.hypervisors
            if host.kind in ("kvm", "lxc")
        ]
        pools = [
            pool.submit(_guarded, problems, lambda host=host: pool_ha.read(connections.host(host)))
            for host in configuration.original.hypervisors
            if host.kind == "xenserver"
        ]
        whole = endpoint.of_original(configuration)
        own = {server.name: endpoint.of_original(configuration, server) for server in configuration.original.management}
        presented = {(where.host, where.port): (where, what) for what, where in {whole.host: whole, **own}.items()}
        apis = [
            pool.submit(_guarded, problems, lambda where=where, what=what: certificates.of_api(where, what))
            for where, what in presented.values()
        ]
        answers = database.result() or queries.Answers(unanswered=dict.fromkeys(queries.QUERIES, "the database was not read"))
        status, problem = replica.result()
        found = [one for future in [stored, *agents, *apis] for one in future.result() or []]
        settings = answers.tables.get("settings", [])
        everywhere = list(scoped.everywhere(lambda query: answers.tables.get(query, []), answers.unanswered))
        kept = list(scoped.addresses(lambda query: answers.tables.get(query, []), answers.unanswered))
        names = {str(row["name"]) for row in settings}
        asked = {*changed(settings), *(each.name for each in everywhere if each.where and each.name in names)}
        return HealthFacts(
            site,
            old.result(),
            answers.tables,
            answers.unanswered,
            {name: facts for name, future in each.items() if (facts := future.result()) is not None},
            status,
            problem,
            found,
            scripts.result(),
            _on_new_server(
                site,
                connections,
                lambda host: target_settings.unknown(host, asked),
            ),
            *_files(site, connections, everywhere, problems),
            _guarded(problems, lambda: _resolved(site, connections, [*everywhere, *kept])) or {},
            fixes,
            pools=[found_pool for future in pools if (found_pool := future.result()) is not None],
            problems=_problems([*problems, *answers.problems], old.result()),
            fresh=fresh.result(),
            knows_vmware=_on_new_server(site, connections, target_plugins.knows_vmware),
        )


def _problems(found: list[str], old: OriginalFacts) -> list[str]:
    """What is not reported already: the facts shared with the guards name a server that is out of reach as well. One that is put aside is no problem."""
    away = tuple(f"{name}{mark}" for name in old.away for mark in (" ", ":"))
    return sorted(words for words in set(found) - set(old.problems) if not (away and words.startswith(away)))


def _guarded(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ParallelBuildError as error:
        problems.append(str(error))
        return None


def _database(site: Site, connections: Connections) -> queries.Answers:
    with session(connections.host(site.configuration.original.database.source)) as opened:
        return queries.run(opened)


def _files(
    site: Site, connections: Connections, settings: list[Setting], problems: list[str]
) -> tuple[dict[str, ServerFiles], ServerFiles | None]:
    """What the management servers of both sides have outside the database, with the paths that settings name looked for on each."""
    salt = secrets.token_hex(16)
    paths = sorted({path for each in settings if (path := local_path(each))})
    old = [*site.configuration.original.management, *site.configuration.original.usage]
    with Workers(AT_ONCE) as pool:
        each = [
            pool.submit(_guarded, problems, lambda server=server: server_files.read(connections.host(server), salt, paths))
            for server in old
        ]
        fresh = pool.submit(_on_new_server, site, connections, lambda host: server_files.read(host, salt, paths))
        found = {server.name: files for server, future in zip(old, each, strict=True) if (files := future.result()) is not None}
        return found, fresh.result()


def _resolved(site: Site, connections: Connections, settings: list[Setting]) -> dict[str, list[str]]:
    """What the host names in settings resolve to on the original's first management server, which uses them."""
    names = sorted({name for each in settings for name in host_names(each.value)})
    return resolve(connections.host(site.configuration.original.management[0]), names[:MOST_NAMES])


def _stored(site: Site, connections: Connections) -> list[Certificate]:
    original = site.configuration.original
    with session(connections.host(original.database.source)) as opened:
        try:
            found = database_key(site, connections.host(original.management[0]))
            return certificates.of_database(opened, found.secret, found.encryptor)
        except GuardFailed:  # the guard on the key says it
            return certificates.of_database(opened, None)


def _replica(site: Site, connections: Connections) -> tuple[ReplicaStatus | None, str]:
    server = site.configuration.original.database.replica
    if server is None:
        return None, ""
    try:
        with session(connections.host(server)) as opened:
            return pair_status.status(opened), ""
    except ParallelBuildError as error:
        return None, str(error)


def changed(settings: list[Row]) -> list[str]:
    """Names of the settings that somebody gave another value than their default."""
    return [
        str(row["name"])
        for row in settings
        if row["default_value"] is not None
        and row["value"] not in (None, row["default_value"])
        and WRITTEN_BY_CLOUDSTACK.get(str(row["name"])) != row["value"]
    ]


def _scripts(site: Site, connections: Connections) -> list[GuestOsInsert] | None:
    versions = site.configuration.original.version, site.configuration.new.version
    return _on_new_server(site, connections, lambda host: target_scripts.read(host, *versions))


def _on_new_server(site: Site, connections: Connections, read: Callable[[Access], T | None]) -> T | None:
    """From the first new server that has the target's packages; they are there from phase `built` on."""
    for machine in site.configuration.new.management:
        try:
            found = read(connections.host(machine))
        except ParallelBuildError:  # a new server that is not there yet is no illness of the original
            continue
        if found is not None:
            return found
    return None
