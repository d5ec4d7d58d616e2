"""Bringing a lab up, stage by stage. Each looks what is there first: an interrupted lab continues, one that runs stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab import databases, fileserver, given_dump, libvirtd, network, original, packages, rpm_packages, stack, timeserver
from lab.database import DatabasePlan, HypervisorHost, ManagementServer, describe
from lab.errors import LabError
from lab.files import Lab, Options
from lab.hosts import NO_SERVICE, create, in_parallel, sessions
from lab.images import base_root, el_root, family_root, guest_image, kvm_available
from lab.machines import ALL_KVM_HOSTS, OLD_MANAGEMENT, OLD_NODE, OLD_REPLICA, OLD_SOURCE, REHEARSAL, TIME_SERVER, Machine
from lab.progress import Times
from parallel_build.configuration import Phase
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
from parallel_build.machines.provisioning import mac_address
from parallel_build.secret import Secret
from tools.cache import cache_directory

MARK = "original"
DISK = 8  # GiB of a machine with a disk of its own; only what is written takes space


def plan(lab: Lab, options: Options) -> DatabasePlan:
    """The database that is generated for the original."""
    servers = tuple(
        ManagementServer(server.name, server.address, mac_address(server.name, server.address))
        for server in OLD_MANAGEMENT[: options.management]
    )
    hosts = tuple(HypervisorHost(host.name, host.address) for host in ALL_KVM_HOSTS[: options.kvm_hosts])
    found = DatabasePlan(seed=options.seed, management_servers=servers, networks=options.networks, hypervisor_hosts=hosts)
    if options.rows is not None:
        found = replace(
            found,
            rows_usage=options.rows,
            rows_event=options.rows,
            rows_usage_event=options.rows,
            rows_vm_stats=options.rows,
        )
    return found


def up(lab: Lab, options: Options, given: dict[str, Secret | None]) -> Times:
    """Bring the lab up as far as the phase `prepared`; a lab that is further stays where it is.

    Args:
        options: what the lab is to be.
        given: secrets of a given dump: `database_key`, `original_management_key`, `original_api_key`, `original_api_secret`.
    Returns:
        how long each stage took.
    Raises:
        LabError, MachineFailed, ToolError, LabDatabaseError: a stage failed; the same command resumes there.
    """
    times = Times()
    _check(lab, options, given)
    lab.begin(options)
    lab.secrets().set(**given)
    with times.stage("images and packages"):
        root = el_root() if options.family == "el" else base_root()
        for family in options.families:
            family_root(family)
        if options.hosts == "libvirt":
            guest_image()
            kvm_available()
        repository = packages.build(cache_directory())
        shaped = rpm_packages.build(cache_directory()) if "el" in options.systems else None
    with times.stage("network, package and template server"):
        network.up(lab)
        if options.rehearsal:
            network.isolate(lab, REHEARSAL)
        versions = {version: repository.repository(version) for version in (packages.OLD, packages.NEW, options.target)}
        if shaped is not None:
            versions |= {f"{rpm_packages.PREFIX}{version}": shaped.repository(version) for version in versions}
        fileserver.start(lab, versions)
    namespace.enter(lab.namespace)
    if options.hosts == "libvirt":
        with times.stage("libvirtd"):
            libvirtd.start(lab)
            libvirtd.power_on(lab)
    with times.stage("the original's machines"):
        lab.operator_key()
        in_parallel(lambda machine: _machine(lab, machine, root), _machines(lab, options))
        for name in container.names(lab.new):
            if container.exists(lab.new, name):
                container.power_on(lab.new, name)
        _write_known_hosts(lab, options)
    if not lab.done(MARK):
        _original(lab, options, times)
    with times.stage("the stack's configuration"):
        stack.prepare(lab)
    _phases(lab, times)
    return times


def _check(lab: Lab, options: Options, given: dict[str, Secret | None]) -> None:
    for path in (options.dump, options.usage_dump):
        if path and not Path(path).is_file():
            raise LabError(f"there is no dump {path}", "", "name a file .sql, .sql.gz, .sql.xz or .sql.zst")
    if "mysql" in options.families:
        _check_mysql(options)
    if "el" in options.systems and (options.hosts != "containers" or options.one_server or options.families != ("mariadb", "mariadb")):
        raise LabError(
            "--family el is for containers with MariaDB, each with one role",
            "",
            "give --hosts containers and no --database, no --one-server",
        )
    if options.one_server and (options.hosts != "containers" or options.management != 1 or options.families != ("mariadb", "mariadb")):
        raise LabError("--one-server is for one container with MariaDB", "", "give --hosts containers --management 1 and no --database")
    if options.galera and (
        options.hosts != "containers" or options.one_server or options.database != "mariadb" or options.family != "debian"
    ):
        raise LabError(
            "--galera is for containers with MariaDB", "", "give --hosts containers, and neither --one-server nor --database mysql"
        )
    if options.dump:
        if options.original != "created":
            raise LabError(f"--original {options.original} is for a generated database", "a dump was given", "leave one of the two out")
        kept = lab.secrets()
        given_dump.check(options, {name: given.get(name) or kept.get(name) for name in given_dump.KEYS})


def _check_mysql(options: Options) -> None:
    """The lab's image with MySQL is a container's, and has nothing that a management server needs besides it."""
    if options.hosts != "containers":
        raise LabError("MySQL is for containers only", "the guests' image has MariaDB", "give --hosts containers")
    if options.rehearsal:
        raise LabError("a rehearsal with MySQL is not possible in the lab", "its server's image has MariaDB", "leave --rehearsal out")


def _machines(lab: Lab, options: Options) -> list[Machine]:
    hosts = (
        [agent.machine for agent in given_dump.agents(options, _database_key(lab))] if options.dump else ALL_KVM_HOSTS[: options.kvm_hosts]
    )
    databases_apart = [] if options.one_server else [OLD_SOURCE, OLD_REPLICA, *([OLD_NODE] if options.galera else [])]
    return [*OLD_MANAGEMENT[: options.management], *databases_apart, *hosts]


def _database_key(lab: Lab) -> str:
    return lab.secrets().must("database_key").reveal()


def _machine(lab: Lab, machine: Machine, root: Path) -> None:
    if container.exists(lab.original, machine.name) and lab.done(MARK):
        container.power_on(lab.original, machine.name)
        return
    disk = DISK if lab.options().disks else None
    if machine.role in ("source", "replica"):
        family, system = lab.options().database, lab.options().family
        files, units = (databases.configuration(machine, family, system, cluster=lab.options().galera),), (databases.UNIT[family],)
        more, where = (("mariadb-server",), root) if system == "el" else ((), family_root(family))
        create(lab, machine, where, packages.OLD, files=files, units=units, packages=more, disk=disk)
    else:
        more = ("cloudstack-usage",) if machine == OLD_MANAGEMENT[0] else ()
        service = timeserver.SERVICE if machine == TIME_SERVER else NO_SERVICE
        keeps = machine == OLD_MANAGEMENT[0] and lab.options().one_server
        own = [databases.configuration(OLD_SOURCE, "mariadb")] if keeps else []
        started = [databases.UNIT["mariadb"]] if keeps else []
        create(lab, machine, root, packages.OLD, files=own, units=started, service=service, packages=more, disk=disk)


def _original(lab: Lab, options: Options, times: Times) -> None:
    """Fill the databases and set the original up; done once, and started over when interrupted."""
    wanted = plan(lab, options)
    if options.dump:
        kept = original.secrets_for(lab, {})
        agents = given_dump.agents(options, _database_key(lab))
        encryptor = given_dump.facts(options, _database_key(lab)).encryptor or ""
    else:
        generated = describe(wanted)
        admin = generated.secrets.admin
        kept = original.secrets_for(
            lab,
            {
                "database_key": Secret(generated.secrets.database_key),
                "original_api_key": Secret(admin.api_key),
                "original_api_secret": Secret(admin.secret_key),
            },
        )
        agents = original.agents_of(generated.layout)
        encryptor = generated.secrets.encryptor
    with sessions(lab) as opened:
        if not lab.done("databases"):
            with times.stage("the original's databases"):
                source = databases.source_of(options, wanted)
                databases.fill(lab, opened, source, kept.must("original_cloud_password"))
            lab.mark("databases")
        if options.family == "el":
            databases.give_root_a_password(lab, opened)
        with times.stage("the original's management servers and agents"):
            original.set_up(lab, opened, options.management, agents, encryptor)
    lab.mark(MARK)


def _phases(lab: Lab, times: Times) -> None:
    """Bring the stack to `prepared`, by way of `built`; where it is further, only finish what was interrupted."""
    if not lab.done("built"):
        with times.stage("pulumi up: built"):
            stack.set_phase(lab, Phase.BUILT)
            stack.up(lab)
        lab.mark("built")
        stack.set_phase(lab, Phase.PREPARED)
    if not lab.done("prepared"):
        with times.stage("pulumi up: prepared"):
            stack.up(lab)
        lab.mark("prepared")


def _write_known_hosts(lab: Lab, options: Options) -> None:
    lines = [f"{machine.address} {' '.join(lab.host_key(machine.name).split()[:2])}" for machine in _machines(lab, options)]
    lab.known_hosts.write_text("\n".join(lines) + "\n")


def forget_stack(lab: Lab) -> None:
    """After a `pulumi destroy`: the next `up` builds the new servers again."""
    lab.unmark("built", "prepared")
    stack.set_phase(lab, Phase.BUILT)
