"""What is true of the original cloud: read from its database, its servers and its API; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from parallel_build.cloudstack import agents, heartbeats, router_networks, web, work
from parallel_build.cloudstack.api import ApiRefused, ApiUnavailable, Cloud
from parallel_build.cloudstack.keys import database_key, prove
from parallel_build.cloudstack.left_running import LEFT, Guest, not_proved_gone
from parallel_build.cloudstack.work import Work
from parallel_build.configuration import Server
from parallel_build.database.replicate import log_proof
from parallel_build.database.replicate.log_proof import LogFacts
from parallel_build.database.schema import cloudstack_numbers as numbers
from parallel_build.database.server import galera, rights
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.database.server.galera import GaleraStatus
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed
from parallel_build.facts import carried, carried_settings, cluster_managers, database_users, fenceable, front_places, management_node
from parallel_build.facts.cluster_managers import ClusterManager
from parallel_build.facts.database_users import DatabaseUse
from parallel_build.facts.front_places import FrontMachine
from parallel_build.facts.management_node import ManagementNode, addresses_of
from parallel_build.records.rehearsal import RehearsalRecord, RehearsalStore
from parallel_build.records.window import WindowStore
from parallel_build.remote.access import Access
from parallel_build.remote.clock import Clock, read_clock
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import together
from parallel_build.remote.sql import Session, session
from parallel_build.resolved_stack import Site

BEHIND = 60  # seconds that two servers which replicate from each other may be apart
LONG = 60  # seconds
# INNODB_TRX shows the time of the server's own zone, whatever a session's is.
HERE_NOW = "CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')"
PER_SERVER = ("clocks", "addresses", "learnt", "systemd", "apis", "nodes", "uses", "managers", "unmaskable", "away", "galera")
Facts = dict[str, Any]


@dataclass(frozen=True)
class LeftGuest:
    """A system VM or router of an earlier window's new side, as its rollback left it on record.

    Attributes:
        taken: the original has a VM of that name by now.
        coming: the original has not yet given that number away.
    """

    guest: Guest
    taken: bool
    coming: bool


@dataclass(frozen=True)
class OriginalFacts:
    """Facts of the original.

    Attributes:
        version: newest complete row of `cloud.version`.
        unfinished: versions whose step is not Complete.
        management: mshost rows: id, msid, name, service_ip, state, version, age of the heartbeat in seconds, `beats` (it is written now).
        nodes: what each management server reports about itself.
        uses: who else uses each database server.
        galera: what each database server is in its Galera cluster, where original.database.nodes says that there is one.
        managers: programs on each management and database server that start and stop units or move addresses.
        fronts: machines that original.frontend names.
        work: jobs in progress, and what is between two states.
        hosts: API's routing hosts: id, name, state, resourcestate, hypervisor.
        system_vms: API's system VMs.
        zones: API's zones.
        names: what a configuration may name: networks (names and ids, of VPCs too), domains (paths), accounts.
        templates: API's templates of the names that the stack registers.
        key_problem: why the database key does not fit, or None.
        variables: database server variables of interest.
        bytes: data and indexes of the databases that travel.
        definers: accounts that views and routines are defined by.
        accounts: accounts of the database server, `user@host`.
        server: family and version of the source's server.
        account: that this tool's sessions are opened with; rights_missing: what it needs there and has not.
        replicates_from: the server that the configured source is itself a replica of, "" for none.
        upstreams: addresses of each server that it is a replica of, by the name it has for it.
        log: how it writes its binary log; None where it could not be asked.
        read_only: the configured source takes no writes.
        long_transactions: transactions that have written, or still run a statement, after LONG seconds.
        host_setting: `host` of cloud.configuration.
        learnt: management servers that each listed hypervisor's agent knows.
        addresses: each server's own IP addresses.
        clocks: by server name.
        systemd: of each management and database server, whether systemd runs it.
        unmaskable: of each of them, what keeps its units from being masked.
        apis: what is wrong with each management server's API at its own address, "" where a signed call is served.
        api_servers: names of the management servers that the API at original.api.url does not call down; None where it does not say.
        rows: rows of the databases that travel, as the server estimates them.
        rehearsal: the last rehearsal, passed or not, where the stack has one.
        left_running: what an earlier window's new side made and nobody has seen removed since: `LeftGuest`.
        away: hypervisors that can't be asked and that the cloud has put aside (maintenance, disabled), with the reason.
        problems: facts that could not be read, with the reason.
    """

    version: str = ""
    unfinished: list[str] = field(default_factory=list)
    management: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[str, ManagementNode] = field(default_factory=dict)
    uses: dict[str, DatabaseUse] = field(default_factory=dict)
    galera: dict[str, GaleraStatus] = field(default_factory=dict)
    managers: dict[str, list[ClusterManager]] = field(default_factory=dict)
    fronts: dict[str, FrontMachine] = field(default_factory=dict)
    work: list[Work] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    system_vms: list[dict[str, Any]] = field(default_factory=list)
    zones: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)
    templates: list[dict[str, Any]] = field(default_factory=list)
    key_problem: GuardFailed | None = None
    variables: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    definers: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    server: DatabaseServer | None = None
    account: str = ""
    rights_missing: list[str] = field(default_factory=list)
    replicates_from: str = ""
    upstreams: dict[str, list[str]] = field(default_factory=dict)
    unapplied: list[str] = field(default_factory=list)
    log: LogFacts | None = None
    read_only: bool = False
    long_transactions: list[str] = field(default_factory=list)
    host_setting: str = ""
    learnt: dict[str, list[str]] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    systemd: dict[str, bool] = field(default_factory=dict)
    unmaskable: dict[str, list[str]] = field(default_factory=dict)
    apis: dict[str, str] = field(default_factory=dict)
    api_servers: list[str] | None = None
    rows: int = 0
    rehearsal: RehearsalRecord | None = None
    left_running: list[LeftGuest] = field(default_factory=list)
    not_carried: list[str] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def gather(site: Site, connections: Connections) -> OriginalFacts:
    """Read everything; a server that can't be asked becomes a problem, not an exception, so that all is reported at once."""
    problems: list[str] = []
    whole: list[Callable[[], Facts]] = [
        lambda: _database(site, connections),
        lambda: _cloud(site),
        lambda: _beating(site, connections),
        lambda: _carried(site, connections),
        lambda: {"fronts": front_places.read(site.configuration, connections)},
    ]
    pair = site.configuration.original.database
    whole += [partial(_uses, connections, server) for server in pair.servers]
    whole += [partial(_member, connections, server) for server in pair.servers if pair.nodes]
    hypervisors = site.configuration.original.hypervisors
    each: list[Callable[[], Facts]] = [
        partial(_hypervisor if server in hypervisors else _server, site, connections, server)
        for server in site.configuration.asked_servers()
    ]
    found: Facts = {}
    for answer in together([*whole, *each], problems):
        for name, value in answer.items():
            # Of each server its own entry: clocks, addresses, what its agent has learnt.
            found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) and name in PER_SERVER else value
    away: dict[str, str] = found.pop("away", {})
    aside = agents.put_aside(found.get("hosts", []), hypervisors)
    problems += [words for name, words in away.items() if name not in aside]
    return OriginalFacts(**found, away={name: words for name, words in away.items() if name in aside}, problems=problems)


def _database(site: Site, connections: Connections) -> Facts:
    original = site.configuration.original
    with session(connections.host(original.database.source)) as database:
        found = {**_from_database(database), **_as_server(database)}
        if site.configuration.rehearsal.enabled:
            found["rehearsal"] = RehearsalStore(database.host, site).last()
        found["left_running"] = left_running(site, connections, database)
        try:
            prove(database_key(site, connections.host(original.management[0])), database)
        except GuardFailed as error:
            found["key_problem"] = error
    return found


def _carried(site: Site, connections: Connections) -> Facts:
    found, wanted = carried.problems(site.configuration, connections), site.configuration.new.carry.settings
    if wanted:
        with session(connections.host(site.configuration.original.database.source)) as database:
            found += carried_settings.missing(database, wanted)
    return {"not_carried": found}


def _beating(site: Site, connections: Connections) -> Facts:
    with session(connections.host(site.configuration.original.database.source)) as database:
        return {"management": heartbeats.watch(database)}


def _uses(connections: Connections, server: Server) -> Facts:
    """Who uses a database server; nobody one that is down."""
    host = connections.host(server)
    if find_socket(host) is None:
        return {"uses": {server.name: DatabaseUse()}}
    with session(host) as database:
        return {"uses": {server.name: database_users.read(database)}}


def _member(connections: Connections, server: Server) -> Facts:
    """What a database server is in its cluster; nothing one that is down."""
    host = connections.host(server)
    if find_socket(host) is None:
        return {"galera": {server.name: GaleraStatus()}}
    with session(host) as database:
        return {"galera": {server.name: galera.read(database)}}


def left_running(site: Site, connections: Connections, database: Session) -> list[LeftGuest]:
    """What the last window's rollback could not remove, less what its own KVM host denies now."""
    record = WindowStore(database.host, site).read()
    noted = record.facts.get(LEFT, {}).get("guests") if record is not None and record.closed else None
    if not noted:
        return []
    rows = database.rows("SELECT instance_name AS n FROM cloud.vm_instance WHERE removed IS NULL AND type <> 'User'")
    names, counted = {str(row["n"]) for row in rows}, numbers.read(database).get(numbers.INSTANCES, 0)
    guests = not_proved_gone(site.configuration.original.hypervisors, connections.host, [Guest.of(guest) for guest in noted])
    return [LeftGuest(guest, guest.name in names, guest.number >= counted) for guest in guests]


def _cloud(site: Site) -> Facts:
    cloud = Cloud.original(site)
    names = {template.name for template in site.configuration.templates}
    return {
        "hosts": cloud.list("listHosts", type="Routing"),
        "system_vms": cloud.list("listSystemVms"),
        "zones": cloud.list("listZones"),
        "api_servers": _listed_servers(cloud),
        "templates": [item for name in sorted(names) for item in cloud.list("listTemplates", templatefilter="all", name=name)],
    }


def _listed_servers(cloud: Cloud) -> list[str] | None:
    """Names of the management servers that the API does not call down, in small letters; None where it has no such command, or gives no names."""
    try:
        listed = cloud.list("listManagementServers")
    except ApiRefused:
        return None
    if not all(each.get("name") for each in listed):
        return None
    return sorted({str(each["name"]).lower() for each in listed if each.get("state") != "Down"})


def _server(site: Site, connections: Connections, server: Server) -> Facts:
    host = connections.host(server)
    found: Facts = {"clocks": {server.name: read_clock(host)}, "addresses": {server.name: own_addresses(host)}}
    if server in site.configuration.original.management:
        found["apis"] = {server.name: _own_api(site, host, server)}
        found["nodes"] = {server.name: management_node.read(host)}
    if server in site.configuration.original.usage:
        found["nodes"] = {server.name: management_node.read_usage(host)}
    if server in site.configuration.original.hypervisors:
        found["learnt"] = {server.name: agents.learnt(host)}
    else:
        found["managers"] = {server.name: cluster_managers.read(host)}
        found["systemd"] = {server.name: host.run(["test", "-d", "/run/systemd/system"], ok=(0, 1)).ok}
        if found["systemd"][server.name]:
            found["unmaskable"] = {server.name: fenceable.problems(host, site.configuration, server)}
    return found


def _hypervisor(site: Site, connections: Connections, server: Server) -> Facts:
    """The same of a hypervisor; of one that can't be asked the reason: whether that is a problem, the cloud's own list of hosts says."""
    try:
        return _server(site, connections, server)
    except (ConnectionFailed, CommandFailed) as error:
        return {"away": {server.name: str(error)}}


def _own_api(site: Site, host: Access, server: Server) -> str:
    """What is wrong with a management server's API where the window and the rollback ask it: at its own address."""
    try:
        Cloud.original(site, server).call("listCapabilities")
    except (ApiRefused, ApiUnavailable) as error:
        return f"{error} Its server.properties says: {web.read(host).words}."
    return ""


def own_addresses(host: Access) -> list[str]:
    """The IP addresses that a server itself has."""
    shown = host.run(["ip", "-o", "addr", "show"]).stdout
    return [line.split()[3].split("/")[0] for line in shown.splitlines() if len(line.split()) > 3]


def _from_database(database: Session) -> dict[str, Any]:
    versions = database.rows("SELECT version, step FROM cloud.version ORDER BY id")
    complete = [row["version"] for row in versions if row["step"] == "Complete"]
    variables = {
        row["Variable_name"]: str(row["Value"])
        for row in database.rows(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
            "('version', 'log_bin', 'binlog_format', 'wsrep_on', 'gtid_mode', 'datadir', 'lower_case_table_names', 'group_replication_group_name')"
        )
    }
    return {
        "version": complete[-1] if complete else "",
        "unfinished": [row["version"] for row in versions if row["step"] != "Complete"],
        "work": work.read(database),
        "names": router_networks.names(database),
        "variables": variables,
        "bytes": int(
            database.value(
                "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES "
                "WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage', 'cloudbridge')"
            )
        ),
        "rows": int(
            database.value(
                "SELECT COALESCE(SUM(TABLE_ROWS), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage', 'cloudbridge')"
            )
        ),
        "definers": [
            str(row["d"])
            for row in database.rows(
                "SELECT DISTINCT DEFINER AS d FROM information_schema.VIEWS WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage') UNION "
                "SELECT DISTINCT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA IN ('cloud', 'cloud_usage')"
            )
        ],
        "accounts": [str(row["a"]) for row in database.rows("SELECT CONCAT(User, '@', Host) AS a FROM mysql.user")],
    }


def _unapplied(row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Why a source of the original's source may hold what that has not applied, "" where it does not."""
    host = row[names["host"]]
    stands = [f"{what} {row[names[key]]}" for key, what in (("io", "receiving"), ("sql", "applying")) if row[names[key]] != "Yes"]
    errors = [str(row[names[key]]) for key in ("io_error", "sql_error") if row[names[key]]]
    if stands:
        return f"{host} ({', '.join(stands)}{': ' if errors else ''}{' | '.join(errors)})"
    lag = row[names["lag"]]
    return "" if lag is not None and int(lag) <= BEHIND else f"{host} ({'?' if lag is None else lag} s behind)"


def _as_server(database: Session) -> dict[str, Any]:
    """What the source is as a database server: its version, its part in replication, and who holds it up."""
    server = identify(database)
    upstream = database.rows(server.dialect.replica_status)
    sources = [str(row[server.dialect.status_fields["host"]]) or "?" for row in upstream]
    running = database.rows(
        f"SELECT trx_mysql_thread_id AS id, TIMESTAMPDIFF(SECOND, trx_started, {HERE_NOW}) AS age, trx_rows_modified AS wrote "
        f"FROM information_schema.INNODB_TRX WHERE trx_started < {HERE_NOW} - INTERVAL %s SECOND "
        "AND (trx_rows_modified > 0 OR trx_query IS NOT NULL)",
        [LONG],
    )
    return {
        "server": server,
        "account": str(database.value("SELECT CURRENT_USER()")),
        "rights_missing": rights.missing(database, server),
        "replicates_from": sources[0] if sources else "",
        "upstreams": {name: addresses_of(database.host, name) for name in sources},
        "unapplied": [words for row in upstream if (words := _unapplied(row, server.dialect.status_fields))],
        "log": log_proof.read(database, server),
        "read_only": str(database.value("SELECT @@GLOBAL.read_only")) in ("1", "ON"),
        "long_transactions": [f"connection {row['id']}, {row['age']} s, {row['wrote']} rows written" for row in running],
        "host_setting": str(database.value("SELECT value FROM cloud.configuration WHERE name = 'host'") or ""),
    }
