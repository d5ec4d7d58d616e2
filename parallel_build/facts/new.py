"""What is true of the new servers; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallel_build.cloudstack.properties import DB_PROPERTIES, parse
from parallel_build.cloudstack.services import AGENT, MANAGEMENT, PORTS, USAGE, Services, UnitState
from parallel_build.configuration import NewMachine
from parallel_build.connection import Connections, Host
from parallel_build.database.session import find_socket, session
from parallel_build.errors import ParallelBuildError
from parallel_build.facts.original import Clock, read_clock
from parallel_build.site import Site


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
    """

    name: str
    units: list[UnitState] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    open_ports: list[int] = field(default_factory=list)
    database_host: str = ""
    local_database: bool = False
    unreachable: list[str] = field(default_factory=list)


@dataclass
class NewFacts:
    """Facts of the new side.

    Attributes:
        tables: tables per schema on the new source, -1 where there is no such schema.
        variables: server variables of the new source.
        free_bytes: free space where the new source keeps its data.
        accounts: accounts of the new source, `user@host`.
    """

    management: list[ManagementFacts] = field(default_factory=list)
    tables: dict[str, int] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    free_bytes: int = 0
    accounts: list[str] = field(default_factory=list)
    clocks: dict[str, Clock] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def gather(site: Site, connections: Connections, schemas: list[str]) -> NewFacts:
    """Read everything; what can't be asked becomes a problem."""
    facts = NewFacts()
    source = connections.host(site.configuration.new.database.source)
    try:
        with session(source) as database:
            for schema in schemas:
                there = database.value("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", [schema])
                count = database.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [schema])
                facts.tables[schema] = int(count) if there else -1
            for row in database.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'datadir', 'wsrep_on')"):
                facts.variables[row["Variable_name"]] = str(row["Value"])
            facts.accounts.extend(str(row["a"]) for row in database.rows("SELECT CONCAT(User, '@', Host) AS a FROM mysql.user"))
        free = source.run(["df", "-B1", "--output=avail", facts.variables["datadir"]], timeout=30).stdout.split()[-1]
        facts.free_bytes = int(free)
    except ParallelBuildError as error:
        facts.problems.append(str(error))
    for machine in site.configuration.new_machines():
        try:
            facts.clocks[machine.name] = read_clock(connections.host(machine))
        except ParallelBuildError as error:
            facts.problems.append(str(error))
    for machine in site.configuration.new.management:
        try:
            facts.management.append(_management(site, connections.host(machine), machine))
        except ParallelBuildError as error:
            facts.problems.append(str(error))
    return facts


def _management(site: Site, host: Host, machine: NewMachine) -> ManagementFacts:
    services = Services(host)
    shown = host.run(["ip", "-o", "addr", "show"], timeout=30).stdout
    raw = host.read(DB_PROPERTIES)
    values = parse(raw.decode(errors="replace")) if raw else {}
    database = site.configuration.new.database
    wanted = [(database.source.name, database.source.address, database.port)]
    wanted += [(h.name, h.address, 22) for h in site.configuration.original.hypervisors if h.kind == "kvm"]
    return ManagementFacts(
        machine.name,
        units=[services.state(unit) for unit in (MANAGEMENT, USAGE, AGENT)],
        addresses=[line.split()[3].split("/")[0] for line in shown.splitlines() if len(line.split()) > 3],
        open_ports=sorted(services.listening(list(PORTS.values()))),
        database_host=values.get("db.cloud.host", ""),
        local_database=find_socket(host) is not None,
        unreachable=[f"{name} ({address}:{port})" for name, address, port in wanted if not _reaches(host, address, port)],
    )


def _reaches(host: Host, address: str, port: int) -> bool:
    probe = 'timeout 5 bash -c "</dev/tcp/$1/$2" 2>/dev/null || nc -z -w 5 "$1" "$2"'
    return host.run(["sh", "-c", probe, "sh", address, str(port)], timeout=30, ok=None).ok
