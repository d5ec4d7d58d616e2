"""What is true of the new servers; changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from parallel_build.cloudstack import properties, web
from parallel_build.cloudstack.properties import DB_PROPERTIES
from parallel_build.cloudstack.services import AGENT, MANAGEMENT, USAGE, Services, UnitState
from parallel_build.cloudstack.web import WebServer
from parallel_build.configuration import NewMachine
from parallel_build.database.replicate import pair_status
from parallel_build.database.replicate.pair_status import ReplicaStatus
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.database.server.state import sessions_of
from parallel_build.facts import carried, seed
from parallel_build.facts.network_targets import Target, used_by_management
from parallel_build.facts.original import own_addresses
from parallel_build.facts.seed import SeedFacts
from parallel_build.remote.access import Access
from parallel_build.remote.clock import Clock, read_clock
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import together
from parallel_build.remote.sql import session
from parallel_build.resolved_stack import Site

# Where a management server calls a hypervisor itself: SSH to install an agent's key and to heal, XAPI, vSphere's API.
DIRECT_PORTS = {"kvm": 22, "xenserver": 443, "vmware": 443}
# Debian's and Red Hat's word for the installed version; nothing where it is not installed.
INSTALLED = (
    f"dpkg-query -W -f='${{Status}} ${{Version}}' {MANAGEMENT} 2>/dev/null | sed -n 's/^install ok installed //p'; "
    f"rpm -q --qf '%{{VERSION}}' {MANAGEMENT} 2>/dev/null | sed '/ /d'"
)


@dataclass(frozen=True)
class ManagementFacts:
    """Facts of one new management server.

    Attributes:
        units: state of its CloudStack units.
        addresses: its own IP addresses.
        open_ports: CloudStack's ports that something listens on.
        database_host: what db.properties names, "" before any set-up.
        local_database: a database server listens on the machine.
        unreachable: `name (address:port)` of what it can't reach but will have to.
        package: version of cloudstack-management, "" where it is not installed.
        resolves: its own host name leads to an address.
        web: what its server.properties will have it open; None where that was not read.
    """

    name: str
    units: list[UnitState] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    open_ports: list[int] = field(default_factory=list)
    database_host: str = ""
    local_database: bool = False
    unreachable: list[str] = field(default_factory=list)
    package: str = ""
    resolves: bool = True
    web: WebServer | None = None


@dataclass
class NewFacts:
    """Facts of the new side.

    Attributes:
        tables: tables per schema on the new source, -1 where there is no such schema.
        variables: server variables of the new source.
        free_bytes: free space where the new source keeps its data.
        accounts: accounts of the new source, `user@host`.
        server: family and version of the new source's server.
        replica_fault: why the new replica does not follow the new source, "" when it does.
        database_users: hosts from which the user `cloud` is connected to the new source.
        addresses: each machine's own IP addresses.
        carried_otherwise: files of `new.carry` that a new server does not have as the original's server has them now.
        seed: the seed of `transfer.method: replicate`; None with another method, or where it could not be read.
    """

    management: list[ManagementFacts] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    free_bytes: int = 0
    accounts: list[str] = field(default_factory=list)
    server: DatabaseServer | None = None
    replica_fault: str = ""
    database_users: list[str] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    seed: SeedFacts | None = None
    carried_otherwise: list[str] = field(default_factory=list)
    clocks: dict[str, Clock] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def gather(site: Site, connections: Connections, schemas: list[str]) -> NewFacts:
    """Read everything; what can't be asked becomes a problem."""
    facts = NewFacts()
    questions: list[Callable[[], None]] = [lambda: _source(site, connections, schemas, facts), lambda: _replica(site, connections, facts)]
    questions.append(lambda: facts.carried_otherwise.extend(carried.differing(site.configuration, connections)))
    if site.configuration.transfer.method == "replicate":
        questions.append(lambda: _seed(site, connections, facts))
    questions += [partial(_machine, connections, machine, facts) for machine in site.configuration.new_machines()]
    together(questions, facts.problems)
    used = [target for found in together([lambda: _used(site, connections)], facts.problems) for target in found]
    facts.management = together(
        [partial(_management, site, connections.host(machine), machine, used) for machine in site.configuration.new.management],
        facts.problems,
    )
    return facts


def source(site: Site, connections: Connections) -> NewFacts:
    """The new source's server alone, for a check before anything else of the new side counts; nothing where it can't be asked."""
    facts = NewFacts()
    together([lambda: _source(site, connections, [], facts)], facts.problems)
    return facts


def _used(site: Site, connections: Connections) -> list[Target]:
    """What management servers talk to and the original's first one reaches: not every network lets one, nor needs every cloud it."""
    original = site.configuration.original
    asker = connections.host(original.management[0])
    with session(connections.host(original.database.source)) as database:
        return [target for target in used_by_management(database) if _reaches(asker, target.address, target.port)]


def _source(site: Site, connections: Connections, schemas: list[str], facts: NewFacts) -> None:
    source = connections.host(site.configuration.new.database.source)
    with session(source) as database:
        for schema in schemas:
            there = database.value("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", [schema])
            count = database.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [schema])
            facts.tables[schema] = int(count) if there else -1
        for row in database.rows(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
            "('version', 'datadir', 'wsrep_on', 'lower_case_table_names', 'group_replication_group_name')"
        ):
            facts.variables[row["Variable_name"]] = str(row["Value"])
        facts.server = identify(database)
        facts.database_users = sessions_of(database, "cloud")
        facts.accounts.extend(str(row["a"]) for row in database.rows("SELECT CONCAT(User, '@', Host) AS a FROM mysql.user"))
    facts.free_bytes = int(source.run(["df", "-B1", "--output=avail", facts.variables["datadir"]]).stdout.split()[-1])


def _replica(site: Site, connections: Connections, facts: NewFacts) -> None:
    replica = site.configuration.new.database.replica
    if replica is None:
        return
    with session(connections.host(replica)) as database:
        facts.replica_fault = _replica_fault(site, pair_status.status(database))


def _seed(site: Site, connections: Connections, facts: NewFacts) -> None:
    facts.seed = seed.gather(site, connections)


def _machine(connections: Connections, machine: NewMachine, facts: NewFacts) -> None:
    host = connections.host(machine)
    facts.clocks[machine.name] = read_clock(host)
    facts.addresses[machine.name] = own_addresses(host)


def _management(site: Site, host: Access, machine: NewMachine, used: list[Target]) -> ManagementFacts:
    services = Services(host)
    values = properties.read(host, DB_PROPERTIES) or {}
    database = site.configuration.new.database
    wanted = [(database.source.name, database.source.address, database.port)]
    wanted += [(h.name, h.address, DIRECT_PORTS[h.kind]) for h in site.configuration.original.hypervisors if h.kind in DIRECT_PORTS]
    wanted += [(target.what, target.address, target.port) for target in used]
    return ManagementFacts(
        machine.name,
        units=[services.state(unit) for unit in (MANAGEMENT, USAGE, AGENT)],
        addresses=own_addresses(host),
        open_ports=sorted(services.listening(site.configuration.new.api.served.every_port)),
        database_host=values.get("db.cloud.host", ""),
        local_database=find_socket(host) is not None,
        unreachable=[f"{name} ({address}:{port})" for name, address, port in wanted if not _reaches(host, address, port)],
        package=host.run(["sh", "-c", INSTALLED], ok=None).stdout.strip(),
        resolves=host.run(["sh", "-c", 'getent hosts "$(hostname)"'], ok=None).ok,
        web=web.read_with_keystore(host),
    )


def _replica_fault(site: Site, found: ReplicaStatus | None) -> str:
    pair = site.configuration.new.database
    if found is None:
        return "it is no replica"
    if not found.points_to(pair.source, pair.port):
        return f"it follows {found.source}:{found.port}"
    return found.fault() or ""


def _reaches(host: Access, address: str, port: int) -> bool:
    probe = 'timeout 5 bash -c "</dev/tcp/$1/$2" 2>/dev/null || nc -z -w 5 "$1" "$2"'
    return host.run(["sh", "-c", probe, "sh", address, str(port)], ok=None).ok
