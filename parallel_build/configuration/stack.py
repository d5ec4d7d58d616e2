"""The whole stack, and what must hold between its sections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import (
    Field,
    model_validator,
)

from parallel_build.configuration import front_problems, galera_nodes, shared_machines
from parallel_build.configuration.agents import Agents
from parallel_build.configuration.api import useless_keys
from parallel_build.configuration.database_combinations import families_refuse
from parallel_build.configuration.platforms import Platforms
from parallel_build.configuration.preparation import Health, Parity, Rehearsal, Template, Transfer
from parallel_build.configuration.routers import Routers
from parallel_build.configuration.server import Server, Ssh
from parallel_build.configuration.servers import (
    DatabaseAdmin,
    Hypervisor,
    New,
    NewMachine,
    Original,
    OriginalManagement,
)
from parallel_build.configuration.values import (
    LocalPath,
    Model,
    Phase,
)
from parallel_build.configuration.window import Acceptance, HypervisorCommand, Window
from parallel_build.versions import CloudStackVersion

WITH_AGENT = ("kvm", "lxc")  # hosts with an agent that dials the management servers
DATA_FOLDERS = (
    "/var/lib/mysql",
    "/var/lib/mariadb",
    "/var/lib/mysql-files",
)  # where database servers keep their data, unless configured otherwise
WITHOUT_SHELL = ("vmware", "hyperv")  # hosts that CloudStack and this tool know through vCenter or an agent of their own

PATCHES, PATCHED = (
    CloudStackVersion("4.17.0.0"),
    CloudStackVersion("4.14.0.0"),
)  # versions that patch routers live, and whose routers can be


class StackConfiguration(Model):
    """Everything an operator says about one stack."""

    phase: Phase = Phase.BUILT
    ssh: Ssh = Field(default_factory=Ssh)
    original: Original
    new: New
    platforms: Platforms = Field(default_factory=Platforms)
    transfer: Transfer = Field(default_factory=Transfer)
    templates: list[Template] = Field(default_factory=list)
    agents: Agents = Field(default_factory=Agents)
    hypervisor_steps: list[HypervisorCommand] = Field(default_factory=list)
    health: Health = Field(default_factory=Health)
    parity: Parity | None = None
    window: Window
    acceptance: Acceptance = Field(default_factory=Acceptance)
    routers: Routers = Field(default_factory=Routers)
    rehearsal: Rehearsal = Field(default_factory=Rehearsal)
    runs: LocalPath = Path("runs")

    def new_machines(self) -> Iterator[NewMachine]:
        """The machines of the new side, each once: source, replica, then the management servers."""
        databases = self.new.database.servers
        yield from databases
        names = {machine.name for machine in databases}
        yield from (machine for machine in self.new.management if machine.name not in names)

    def built_machines(self) -> Iterator[NewMachine]:
        """Every machine that the stack may build: the new side's, and the rehearsal's where there is one."""
        yield from self.new_machines()
        if self.rehearsal.enabled and self.rehearsal.machine:
            yield self.rehearsal.machine

    def original_servers(self) -> Iterator[Server]:
        """The original's servers that the tool logs in to. A machine with several roles is there once for each, under a name of its own."""
        yield from self.original.management
        yield from self.original.usage
        yield from self.original.database.servers
        yield from self.original.hypervisors

    def asked_servers(self) -> Iterator[Server]:
        """Those of the original's servers that facts are read on: ESXi and Windows have none of the programs that are asked there."""
        apart = {host.name for host in self.original.hypervisors if host.kind in WITHOUT_SHELL}
        yield from (server for server in self.original_servers() if server.name not in apart)

    def _roles(self) -> list[shared_machines.Role]:
        return shared_machines.roles(self.original, self.new, self.rehearsal.machine)

    @property
    def confirmed_down(self) -> frozenset[str]:
        """Names of servers that the operator has switched off himself: a machine is off in all of its roles, whichever of its names is given."""
        confirmed = set(self.window.confirmed_down)
        servers = [role.server for role in self._roles()]
        off = {server.address for server in servers if server.name in confirmed}
        return frozenset(confirmed | {server.name for server in servers if server.address in off})

    def ports_of(self, server: Server) -> list[int]:
        """The ports that a server answers on in any of its roles: a management server's and its database's, where they are one machine."""
        sides = ((self.original, self.original.served.every_port), (self.new, self.new.api.served.every_port))
        found: set[int] = set()
        for side, manages in sides:
            found |= {*manages} if server.address in {each.address for each in side.management} else set()
            found |= {side.database.port} if server.address in {each.address for each in side.database.servers} else set()
        return sorted(found)

    def platform_of(self, machine: NewMachine) -> str:
        """The platform that builds `machine`."""
        return machine.platform or self.new.platform

    @property
    def usage_server(self) -> NewMachine | None:
        """The new management server that runs the usage server; None where there is to be none."""
        if not self.new.usage:
            return None
        if self.new.usage_on is None:
            return self.new.management[0]
        return next(machine for machine in self.new.management if machine.name == self.new.usage_on)

    @property
    def move(self) -> bool:
        """Whether both sides are of one version: the cloud moves to new servers, and nothing is upgraded."""
        return self.new.version.same_build(self.original.version)

    @property
    def upgraded_agents(self) -> list[Hypervisor]:
        """Hosts of the agents' wave, in the order of the list; none where it is not configured."""
        wanted = self.agents.upgrade
        if wanted is None:
            return []
        named = None if wanted.hosts == "all" else set(wanted.hosts)
        with_agent = [host for host in self.original.hypervisors if host.kind in WITH_AGENT]
        return [host for host in with_agent if (named is None or host.name in named) and host.name not in wanted.later]

    @property
    def carried_from(self) -> OriginalManagement:
        """The original's management server that `new.carry` takes from."""
        managers = self.original.management
        return next((server for server in managers if server.name == self.new.carry.source), managers[0])

    @property
    def host_setting(self) -> str:
        """What `host` becomes: the load balancer's address, else every new management server's, first server first."""
        return self.new.load_balancer or ",".join(machine.address for machine in self.new.management)

    @model_validator(mode="after")
    def _consistent(self) -> StackConfiguration:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        yield from shared_machines.problems(self._roles(), self.new)
        servers = [role.server for role in self._roles()]
        if self.new.load_balancer in {server.address for server in servers}:
            yield f"new.loadBalancer: {self.new.load_balancer} is the address of a server of the stack; name the balancer's own, or leave it out"
        probed = self.window.user_access.probe.server if self.window.user_access.probe else None
        if probed and any(other.name == probed.name and other.address != probed.address for other in servers):
            yield f"window.userAccess.probe.server: the name {probed.name} is used twice, give every server its own"
        yield from self._order_problems()
        yield from self._certificate_problems()
        yield from front_problems.problems(
            self.original, list(self.original_servers()), list(self.built_machines()), self.window.user_access
        )
        if self.new.usage_on and self.new.usage_on not in {machine.name for machine in self.new.management}:
            yield f"new.usageOn: {self.new.usage_on} is not one of new.management"
        if self.new.carry.source and self.new.carry.source not in {server.name for server in self.original.management}:
            yield f"new.carry.from: {self.new.carry.source} is not one of original.management"
        if self.new.usage_on and not self.new.usage:
            yield "new.usageOn: has no effect with new.usage false; leave one of the two out"
        databases = [*self.original.database.servers, *self.new.database.servers]
        may_be_off: list[Server] = [*self.new.management, *self.original.management, *self.original.usage, *databases]
        # A name that the stack does not have may be a server's that was taken out of it since the window touched it.
        never_off = {server.name for server in servers} - {server.name for server in may_be_off}
        for name in self.window.confirmed_down:
            if name in never_off:
                yield f"window.confirmedDown: {name} is not one of new.management, original.management, original.usage and the database servers of either side"
        yield from self._version_problems()
        yield from self._agent_problems()
        yield from self._dump_file_problems()
        old, new, method = self.original.database.engine, self.new.database.engine, self.transfer.method
        if refused := families_refuse(old, new, method):
            why, instead = refused
            yield (
                f"transfer.method: {method} does not serve from {old} to {new}, {why}; "
                f"set it to {instead} (or correct original.database.engine and new.database.engine)"
            )
        yield from self._seed_problems()
        yield from galera_nodes.problems(self.original.database, self.transfer)
        for machine in self.built_machines():
            platform = self.platform_of(machine)
            if platform != "existing" and getattr(self.platforms, platform) is None:
                yield f"platforms.{platform}: missing although {machine.name} is built on it"
        if self.new.database.admin != DatabaseAdmin() and not any(
            self.platform_of(machine) == "existing" for machine in self.built_machines()
        ):
            yield "new.database.admin: only for servers of platform existing; what a platform makes lets root in by its socket"
        for machine in self.new.database.servers:
            pool = self.new.database.buffer_pool or 0
            if pool >= machine.memory and self.platform_of(machine) != "existing":
                yield f"new.database.bufferPool: {pool} MiB do not fit into the {machine.memory} MiB of {machine.name}; write less, or leave it out"
        known = {host.name for host in self.original.hypervisors}
        for step in self.hypervisor_steps:
            for name in step.hosts:
                if name not in known:
                    yield f"hypervisorSteps: {name} is not one of original.hypervisors"
        for name in self.rehearsal.dump:
            if name == "cloudbridge" and not self.original.database.cloudbridge:
                yield "rehearsal.dump.cloudbridge: original.database.cloudbridge says that there is no such database"
        if self.rehearsal.dump and "cloud_usage" not in self.rehearsal.dump:
            yield "rehearsal.dump.cloud_usage: missing, the schema upgrade needs that database too"
        if self.agents.method == "file" and not self.original.hypervisors:
            yield "agents.method file: needs original.hypervisors, whose agent.properties it writes"
        if self.agents.method == "setting" and self.original.version < CloudStackVersion("4.11.1.0"):
            yield "agents.method setting: `host` takes a list only since 4.11.1, use method file"

    def _seed_problems(self) -> Iterator[str]:
        """Files are brought by MariaDB's own tool, while nobody writes on the original."""
        if self.transfer.seed != "physical":
            return
        old, new = self.original.database.engine, self.new.database.engine
        if (old, new) != ("mariadb", "mariadb"):
            yield (
                f"transfer.seed: physical does not serve from {old} to {new}, since files are brought by mariadb-backup and MySQL's CLONE is not offered; "
                "set it to auto or logical"
            )
        if self.transfer.method == "replicate":
            yield (
                "transfer.seed: physical serves with transfer.method dump only, and the seed of replicate copies rows; "
                "set it to auto or logical, or transfer.method to dump"
            )

    def _version_problems(self) -> Iterator[str]:
        """The target is a later version, or exactly the one that runs: then it is a move, and takes nothing that belongs to an upgrade."""
        old, new = self.original.version, self.new.version
        if new < old:
            yield f"new.version: {new.full} is not later than original.version {old.full}, and CloudStack's schema goes forward only"
        elif new == old and not self.move:
            yield (
                f"new.version: {new.full} and original.version {old.full} are different builds of one version. CloudStack compares the numbers alone and "
                "upgrades no schema, but the code differs: it is neither an upgrade nor a move. To move the cloud, name the build that runs, and change the "
                "build before or after that"
            )
        if self.routers.renew == "livePatch":
            yield from self._patch_problems()
        if not self.move:
            return
        if self.templates:
            yield (
                f"templates: a move to {new.full} takes none, since the system VMs and routers stay on the template that they have; "
                "leave templates out, or set new.version to a later version"
            )
        if self.rehearsal.enabled:
            yield "rehearsal.enabled: a move has no schema upgrade that could be rehearsed; leave out rehearsal.enabled and rehearsal.machine"
        if any(age is not None for age in self.rehearsal.housekeeping.model_dump(exclude={"batch"}).values()):
            yield "rehearsal.housekeeping: a move takes every row over as it is, and no rehearsal proves what is deleted; leave it out"
        if self.routers.until_renewed != "first":
            yield f"routers.untilRenewed: {self.routers.until_renewed} is about routers that are to be renewed, and a move leaves them alone; leave it out"

    def _patch_problems(self) -> Iterator[str]:
        """Which versions patch a router that runs, and which routers take it [CloudStack 4.17 release notes, upgrading/upgrade/_sysvm_restart.rst]."""
        key, remedy = "routers.renew: livePatch", "leave routers.renew out, and networks are restarted with new routers"
        if self.move:
            yield f"{key} is about routers that are to be renewed, and a move leaves them alone; leave it out"
        if self.new.version < PATCHES:
            yield f"{key} is not known to {self.new.version}, only from {PATCHES} on; {remedy}"
        if self.original.version < PATCHED:
            yield f"{key} fails on routers of {self.original.version}, whose system VM template is older than {PATCHED}; {remedy}"

    def _agent_problems(self) -> Iterator[str]:
        """The agents' wave names hosts that are there and have an agent, and its canary is a trial."""
        wanted = self.agents.upgrade
        if wanted is None:
            return
        if self.move:
            yield "agents.upgrade: a move leaves agents at the version that they have; leave it out, or set new.version to a later version"
        kinds = {host.name: host.kind for host in self.original.hypervisors}
        for key, names in (("hosts", [] if wanted.hosts == "all" else wanted.hosts), ("later", wanted.later)):
            for name in names:
                if name not in kinds:
                    yield f"agents.upgrade.{key}: {name} is not one of original.hypervisors; add it there, or correct the name"
                elif kinds[name] not in WITH_AGENT:
                    yield f"agents.upgrade.{key}: {name} is a host of {kinds[name]}, which has no agent of CloudStack's; leave it out"
        wave = len(self.upgraded_agents)
        if not wave:
            yield "agents.upgrade: no host is left for it; list KVM hosts in original.hypervisors, or leave agents.upgrade out"
        elif wanted.canary > wave:
            yield (
                f"agents.upgrade.canary: {wanted.canary} hosts are more than the wave, {wave}, so the canary would be no trial; make it smaller"
            )

    def _dump_file_problems(self) -> Iterator[str]:
        """The cold copy needs an original that is down, and a place of its own."""
        wanted, pair = self.window.dump_file, self.original.database
        if wanted is None:
            return
        if pair.others:
            yield (
                "window.dumpFile: original.database.others has the database server keep running, so its files are never at rest; "
                "leave dumpFile out, and take a dump of your own"
            )
        servers = [*self.original_servers(), *self.new_machines()]
        known = {server.name: server.address for server in servers}
        if known.get(wanted.server.name, wanted.server.address) != wanted.server.address:
            yield f"window.dumpFile.server: {wanted.server.name} has the address {known[wanted.server.name]} in this stack; name it alike, or rename it"
        of_original = {server.address for server in pair.servers}
        inside = any(f"{wanted.folder}/".startswith(f"{folder}/") for folder in DATA_FOLDERS)
        if wanted.server.address in of_original and inside:
            yield (
                f"window.dumpFile.folder: {wanted.folder} is in the data folder of {wanted.server.address}, on the data volume that it is to be a copy of; "
                "name a folder on a different host or volume"
            )

    def _order_problems(self) -> Iterator[str]:
        """When users are let in must fit what has to be good before that."""
        if self.window.users_in != "first":
            return
        if self.acceptance.commands and self.acceptance.needs_system_vms:
            yield (
                "window.usersIn: first lets users in before the system VMs are renewed, and acceptance.commands need system VMs "
                "(acceptance.needsSystemVms); set window.usersIn to accepted, or leave those commands out"
            )
        if self.routers.until_renewed == "wait":
            yield (
                "window.usersIn: first lets users in at once, and routers.untilRenewed wait keeps them out until the last wave; "
                "set window.usersIn to accepted, or routers.untilRenewed to first or allow"
            )
        if self.window.accept_zones != "all":
            yield (
                "window.acceptZones: with window.usersIn first users wait for the system VMs of no zone, so the list has no effect; "
                "leave it out, or set window.usersIn to accepted"
            )

    def _certificate_problems(self) -> Iterator[str]:
        """Each key about certificates must have an effect, and a user's probe shares the original's authorities."""
        probe = self.window.user_access.probe
        urls = [self.original.api.url, (probe.url if probe else None) or ""]
        old, fresh = self.original.served, self.new.api.served
        secure = old.scheme == "https" or any(url.startswith("https:") for url in urls)
        yield from useless_keys(old, secure, {server.name for server in self.original.management})
        yield from useless_keys(fresh, fresh.scheme == "https", {machine.name for machine in self.new.management})
