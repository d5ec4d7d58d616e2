"""The servers: the original's, which are there, and the new ones, which are to be built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from parallel_build.configuration.api import Api, NewApi, ServedApi
from parallel_build.configuration.carry import Carry
from parallel_build.configuration.frontend import Frontend
from parallel_build.configuration.server import Server
from parallel_build.configuration.values import (
    STORED,
    IpAddress,
    Model,
    NameOrAddress,
    PackageName,
    RepositoryLine,
    ServerPath,
)
from parallel_build.versions import CloudStackVersion


class OriginalManagement(Server):
    """A running management server; `usage` says that the usage server runs on it."""

    usage: bool = False


MOST_MEMORY, MOST_DISK = 1 << 24, 1 << 20  # MiB, GiB: more is a slip of the pen


class DatabaseAdmin(Model):
    """The administrator's account on database servers; each session is opened on the server itself, through its socket.

    Without a password (a secret of the stack, or the option file's) the server knows the account by who opens the socket, and that is root.

    Attributes:
        user: the account.
        option_file: file on each of the servers with `user` and `password` in group `client`; it wins over the secret.
        socket: path of the server's socket; None finds it from the running server.
    """

    user: Annotated[str, Field(pattern=r"^[^\s'\"\\`@\x00-\x1f\x7f]{1,80}$")] = "root"
    option_file: ServerPath | None = None
    socket: ServerPath | None = None


class DatabasePair(Model):
    """The original's database servers.

    Attributes:
        admin: the account that this tool's sessions are opened with.
        others: schemas and accounts (`NAME`, or `NAME@HOST` of an account) that aren't CloudStack's. With any, the database servers keep running for them,
            and the accounts that may write to CloudStack's databases are locked instead.
        nodes: the stand-by nodes of a Galera cluster, every node but `source`, which CloudStack writes to; none where the servers are no such cluster.
    """

    engine: Literal["mariadb", "mysql"] = "mariadb"
    source: Server
    replica: Server | None = None
    port: int = Field(default=3306, ge=1, le=65535)
    cloudbridge: bool = False
    admin: DatabaseAdmin = Field(default_factory=DatabaseAdmin)
    others: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    nodes: list[Server] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _nodes_have_a_source(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("nodes") and not values.get("source"):
            raise ValueError(
                "source: missing next to nodes. It is the node that CloudStack writes to, which is the one that is read; the others are the stand-by "
                "nodes. Name it in original.database.source, and take it out of nodes"
            )
        return values

    @property
    def servers(self) -> list[Server]:
        """The source, the replica where there is one, and the stand-by nodes of a Galera cluster."""
        return [self.source, *self.stand_by]

    @property
    def stand_by(self) -> list[Server]:
        """All but the source: they are stopped before it and started after it."""
        return [*([self.replica] if self.replica else []), *self.nodes]


class Hypervisor(Server):
    """A hypervisor host that the tool may log in to (KVM); hosts that need nothing from it are not listed."""

    kind: Literal["kvm", "xenserver", "vmware", "hyperv", "lxc", "ovm3", "simulator"] = "kvm"


class Original(Model):
    """The cloud as it runs today.

    Attributes:
        usage: hosts of their own that run the usage server and no management server.
    """

    version: CloudStackVersion
    management: list[OriginalManagement] = Field(min_length=1)
    usage: list[Server] = Field(default_factory=list)
    database: DatabasePair
    api: Api
    hypervisors: list[Hypervisor] = Field(default_factory=list)
    frontend: list[Frontend] = Field(default_factory=list)

    @property
    def has_usage(self) -> bool:
        """Whether a usage server is configured anywhere."""
        return bool(self.usage) or any(server.usage for server in self.management)

    @property
    def served(self) -> ServedApi:
        """What every management server serves at its own address."""
        return self.api.served(self._addresses)

    @property
    def name_in_certificate(self) -> str | None:
        """Name that the certificate at `api.url` is made out to, where it is not what stands in the url."""
        return self.api.name_in_certificate(self._addresses)

    @property
    def _addresses(self) -> dict[str, str]:
        return {server.name: server.address for server in self.management}


class VspherePlace(Model):
    """Where in vCenter one machine goes, when it is not where `platforms.vsphere` says. Each value overrides the one of the same name.

    Attributes:
        data_disk: a second disk in GiB, mounted at `dataMount` before any database starts; None for none.
        data_mount: where it is mounted.
    """

    resource_pool: str | None = None
    datastore: str | None = None
    folder: str | None = None
    network: str | None = None
    template: str | None = None
    data_disk: int | None = Field(default=None, ge=1, le=MOST_DISK)
    data_mount: str = "/var/lib/mysql"

    @field_validator("data_mount")
    @classmethod
    def _mount(cls, value: str) -> str:
        if not re.fullmatch(r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$", value):
            raise ValueError("a mount point is an absolute path such as /var/lib/mysql")
        return value


class NewMachine(Server):
    """A machine to be built, or (platform `existing`) one that is there and empty.

    Attributes:
        platform: overrides `new.platform`, so that one stack can mix platforms.
        cpus: virtual processors.
        memory: in MiB.
        disk: system disk in GiB.
        vsphere: where in vCenter it goes, and its data disk.
    """

    platform: Literal["libvirt", "container", "existing", "vsphere"] | None = None
    cpus: int = Field(default=2, ge=1, le=256)
    memory: int = Field(default=4096, ge=256, le=MOST_MEMORY)
    disk: int = Field(default=40, ge=2, le=MOST_DISK)
    vsphere: VspherePlace = Field(default_factory=VspherePlace)


class NewDatabase(Model):
    """The new source and replica.

    Attributes:
        engine: server family installed on them.
        replica: the second copy of the databases; may be left out with `new.allInOne` alone.
        buffer_pool: `innodb_buffer_pool_size` in MiB; None takes 70 % of the machine's memory, 40 % where a management server shares it [CloudStack tuning
            guide].
        packages: packages to install where the image lacks them; None takes `mariadb-server` or `mysql-server`, as `engine` says.
        admin: the account of this tool's sessions, on servers of platform `existing` that have a database server already.
    """

    engine: Literal["mariadb", "mysql"] = "mariadb"
    source: NewMachine
    replica: NewMachine | None = None
    port: int = Field(default=3306, ge=1, le=65535)
    buffer_pool: int | None = Field(default=None, ge=64)
    packages: list[PackageName] = Field(default_factory=lambda given: [f"{given.get('engine', 'mariadb')}-server"])
    admin: DatabaseAdmin = Field(default_factory=DatabaseAdmin)

    @property
    def servers(self) -> list[NewMachine]:
        """The source, and the replica where there is one."""
        return [self.source, *([self.replica] if self.replica else [])]


class Network(Model):
    """The management network that new machines get a fixed address on.

    Attributes:
        time_servers: NTP servers that new virtual machines follow, the original's best; empty leaves the image's own time service.
    """

    prefix: int = Field(default=24, ge=8, le=128)
    gateway: IpAddress | None = None
    dns: list[IpAddress] = Field(default_factory=list)
    time_servers: list[NameOrAddress] = Field(default_factory=list)


class Packages(Model):
    """Where the target version's packages come from.

    Attributes:
        repository: an apt `deb ...` line, or the address of an RPM repository for servers of the EL family; None where the machine's own sources have them.
        key: armoured signing key of that repository, as text; None where the line itself says `[trusted=yes]` or names a key.
        names: management packages.
        usage_names: packages of the usage server.
    """

    repository: RepositoryLine | None = None
    key: str | None = None
    names: list[PackageName] = Field(default_factory=lambda: ["cloudstack-management"], min_length=1)
    usage_names: list[PackageName] = Field(default_factory=lambda: ["cloudstack-usage"])

    @model_validator(mode="after")
    def _one_key(self, info: ValidationInfo) -> Packages:
        if self.key and self.repository and "signed-by=" in self.repository and info.context != STORED:
            raise ValueError(
                "key: the repository's line names another file of keys (signed-by), so apt would never look at this one; "
                "leave signed-by out of the line, or leave out key where the image has that file"
            )
        return self


class New(Model):
    """The servers that take over.

    Attributes:
        api: what its management servers serve.
        load_balancer: address that hypervisors and users reach instead of the servers' own; it is then the `host` setting.
        usage: False leaves the usage server out of the new side.
        usage_on: name of the management server that runs the usage server; None means the first.
        carry: what is taken over from the original's management servers that is not in the database.
        all_in_one: a machine may be a management server and a database server at the same time; then `management` or `database.source` may be left out.
    """

    version: CloudStackVersion
    platform: Literal["libvirt", "container", "existing", "vsphere"] = "libvirt"
    all_in_one: bool = False
    management: list[NewMachine] = Field(min_length=1)
    database: NewDatabase
    network: Network = Field(default_factory=Network)
    packages: Packages = Field(default_factory=Packages)
    api: NewApi = Field(default_factory=NewApi)
    load_balancer: NameOrAddress | None = None
    usage: bool = True
    usage_on: str | None = None
    carry: Carry = Field(default_factory=Carry)

    @model_validator(mode="before")
    @classmethod
    def _one_machine_is_written_once(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("allInOne", values.get("all_in_one")) is not True:
            return values
        database, management = values.get("database"), values.get("management")
        if management is None and isinstance(database, Mapping) and database.get("source"):
            return {**values, "management": [database["source"]]}
        if management and isinstance(management, list) and (database is None or isinstance(database, Mapping)):
            return {**values, "database": {"source": management[0], **(database or {})}}
        return values

    def with_both_roles(self) -> set[str]:
        """Names of the machines that are management server and database server."""
        return {machine.name for machine in self.management} & {machine.name for machine in self.database.servers}
