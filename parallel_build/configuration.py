"""The stack's configuration: typed, complete, and checked in full before anything is contacted.

The keys are written in camelCase in `stacks/Pulumi.<stack>.yaml`; every section is one Pulumi configuration value of the project.
`StackConfiguration` is what an operator writes; `parallel_build.site.Site` adds what is only known once machines exist.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path, PosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from parallel_build.errors import ConfigurationError
from parallel_build.machines.commands import PROJECT
from parallel_build.secret import Secret
from parallel_build.versions import CloudStackVersion

USER_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]{0,62}$")
# What ssh is told to connect to: never a word that it would take for an option.
SSH_DESTINATION = re.compile(r"^[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]{0,253}$")
HOST_KEY = re.compile(r"^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,2}( [^\n\r]*)?$")
PACKAGE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,100}$")
TEMPLATE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,254}$")
CHECKSUM = re.compile(r"^(\{(MD5|SHA-?1|SHA-?224|SHA-?256|SHA-?384|SHA-?512)\})?[0-9A-Fa-f]{32,128}$")
URL = re.compile(r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[A-Za-z0-9._~%/+@,=-]*)?$")
PRINTABLE = re.compile(r"^[\x21-\x7e]+$")
LONGEST_DURATION = timedelta(days=3650)
HOST_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$")
# cloudstack-setup-databases refuses ' space \ ` and its shell mangles $ and " [CloudStack 4.22 setup/bindir/cloud-setup-databases.in].
SHELL_SAFE_SECRET = re.compile(r"^[A-Za-z0-9._+=-]{8,128}$")
# Validation context of a configuration that a state holds, perhaps written on another machine.
STORED = "stored"
DURATION = re.compile(r"^(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m(?:in)?)?\s*(?:(\d+)s)?$")


def parse_duration(value: object) -> object:
    """Turn `90s`, `5m`, `2h`, `1d 12h` or a number of seconds into a timedelta; leave anything else to the validator."""
    if isinstance(value, bool):
        raise ValueError("a duration is written as 90s, 5m, 2h or 1d 12h")
    if isinstance(value, int | float):
        return _limited(0, 0, 0, value)
    if isinstance(value, str) and not value.startswith("P"):  # ISO 8601, as a dumped configuration has it, is pydantic's
        match = DURATION.fullmatch(value.strip())
        if not match or not any(match.groups()):
            raise ValueError("a duration is written as 90s, 5m, 2h or 1d 12h")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return _limited(days, hours, minutes, seconds)
    return value


def _limited(days: int, hours: int, minutes: int, seconds: float) -> timedelta:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not 0 < total <= LONGEST_DURATION.total_seconds():
        raise ValueError(f"a duration is longer than nothing and at most {LONGEST_DURATION.days}d")
    return timedelta(seconds=total)


def parse_address(value: str) -> str:
    """An IP address that one machine can have."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("an address is an IPv4 or IPv6 address such as 192.0.2.10") from None
    if found.is_unspecified or found.is_loopback or found.is_multicast or "%" in value or str(found) == "255.255.255.255":
        raise ValueError(f"{value} is not the address of a machine that others reach; write one such as 192.0.2.10")
    return str(found)


class WrittenPath(PosixPath):
    """A path of this machine that knows how it was written: the state keeps `~/key`, and whoever goes on elsewhere has their own `~`."""

    written: str = ""


def expand_path(value: object, info: ValidationInfo) -> object:
    """Expand `~` and `${NAME}` in a path; a relative one begins at the checkout.

    An environment variable that is not set is an error, not an empty text - except in what comes out of a state (`STORED`): there an undo may
    not need that path at all.
    """
    if not isinstance(value, str | Path):
        return value
    text = value.written or str(value) if isinstance(value, WrittenPath) else str(value)
    if not text or not text.isprintable():
        raise ValueError("a path is not empty and has no control characters")
    expanded = os.path.expandvars(text)
    if "${" in expanded and info.context != STORED:
        raise ValueError(f"{text} names an environment variable that is not set")
    try:
        found = WrittenPath(PROJECT / Path(expanded).expanduser())
    except RuntimeError:
        raise ValueError(f"{text} names a user whose home is not known here") from None
    found.written = text
    return found


def write_path(path: Path) -> str:
    """The path as it was written."""
    return getattr(path, "written", "") or str(path)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
LocalPath = Annotated[Path, BeforeValidator(expand_path), PlainSerializer(write_path, return_type=str)]


PackageName = Annotated[str, Field(pattern=PACKAGE_NAME.pattern)]
IpAddress = Annotated[str, AfterValidator(parse_address)]


class Phase(StrEnum):
    """Hold points of a stack, in order."""

    BUILT = "built"
    PREPARED = "prepared"
    SWITCHED = "switched"
    RETIRED = "retired"

    def reached(self, other: Phase) -> bool:
        """Whether this phase includes everything of `other`."""
        order = list(Phase)
        return order.index(self) >= order.index(other)


class Model(BaseModel):
    """Base of every section: unknown keys are errors, values are not coerced silently, keys are camelCase."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _not_coerced(cls, value: object, info: ValidationInfo) -> object:
        """A number in quotes, or a truth value for a number, is a slip, not a number."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        if wanted in (int, int | None) and isinstance(value, bool | str):
            raise ValueError(f"{value!r} is not a number; write it without quotes")
        if wanted is bool and value is not None and not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false; write one of them without quotes")
        return value


class Ssh(Model):
    """How servers are reached. The user's own `~/.ssh/config` counts (jump hosts, agent) unless `configFile` names another.

    Attributes:
        user: account on the servers; not root needs passwordless sudo.
        identity_file: private key file; None leaves the choice to ssh and its agent.
        public_key_file: the operator's public key put on new machines; default is `identityFile` with `.pub`.
        config_file: an ssh configuration file used instead of the user's own.
        known_hosts: file that holds the host keys of the servers that exist already.
        connect_timeout: time limit of one connection attempt.
    """

    user: Annotated[str, Field(pattern=USER_NAME.pattern)] = "root"
    identity_file: LocalPath | None = None
    public_key_file: LocalPath | None = None
    config_file: LocalPath | None = None
    known_hosts: LocalPath | None = None
    connect_timeout: Duration = timedelta(seconds=10)


class Server(Model):
    """A server that is there, or will be.

    Attributes:
        name: short host name; unique in the stack, and part of file and resource names.
        address: IP address other servers reach it at.
        ssh_host: what to hand to ssh instead of the address, such as a name in the ssh configuration.
        ssh_port: port of its ssh server.
        ssh_user: account there, when it is not the one of the section `ssh`.
        host_key: public SSH host key (`ssh-ed25519 AAAA...`), when it is not in `ssh.knownHosts`.
    """

    name: str
    address: str
    ssh_host: str | None = None
    ssh_port: int | None = Field(default=None, ge=1, le=65535)
    ssh_user: str | None = None
    host_key: str | None = None

    @field_validator("name")
    @classmethod
    def _host_name(cls, value: str) -> str:
        if not HOST_NAME.fullmatch(value):
            raise ValueError("a server's name is a lower-case host name of letters, digits and hyphens")
        return value

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        return parse_address(value)

    @field_validator("ssh_host")
    @classmethod
    def _destination(cls, value: str | None) -> str | None:
        if value is not None and not SSH_DESTINATION.fullmatch(value):
            raise ValueError("what ssh connects to is a name or an address")
        return value

    @field_validator("ssh_user")
    @classmethod
    def _user(cls, value: str | None) -> str | None:
        if value is not None and not USER_NAME.fullmatch(value):
            raise ValueError("an account's name has letters, digits, _ . and -")
        return value

    @field_validator("host_key")
    @classmethod
    def _key(cls, value: str | None) -> str | None:
        if value is not None and not HOST_KEY.fullmatch(value):
            raise ValueError("a host key is one line such as `ssh-ed25519 AAAA...`, as ssh-keyscan prints it without the name")
        return value


class OriginalManagement(Server):
    """A running management server; `usage` says that the usage server runs on it."""

    usage: bool = False


class DatabasePair(Model):
    """The original's database servers. `adminUser` None means root through the server's own socket."""

    engine: Literal["mariadb", "mysql"] = "mariadb"
    source: Server
    replica: Server | None = None
    port: int = Field(default=3306, ge=1, le=65535)
    cloudbridge: bool = False


class Hypervisor(Server):
    """A hypervisor host that the tool may log in to (KVM); hosts that need nothing from it are not listed."""

    kind: Literal["kvm", "xenserver", "vmware", "hyperv", "lxc", "ovm3", "simulator"] = "kvm"


class Api(Model):
    """The original cloud's API.

    Attributes:
        url: for example `http://192.0.2.10:8080/client/api`.
        timeout: time limit of one call.
        ca_file: certificates to check https against, when not the system's.
    """

    url: str
    timeout: Duration = timedelta(seconds=30)
    ca_file: LocalPath | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        port = re.search(r":([0-9]{1,5})(/|$)", value.partition("://")[2].rpartition("]")[2])
        if not URL.fullmatch(value) or (port and not 0 < int(port[1]) < 65536):
            raise ValueError("an API url looks like http://192.0.2.10:8080/client/api, without user, query and fragment")
        return value


class Original(Model):
    """The cloud as it runs today."""

    version: CloudStackVersion
    management: list[OriginalManagement] = Field(min_length=1)
    database: DatabasePair
    api: Api
    hypervisors: list[Hypervisor] = Field(default_factory=list)


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
    data_disk: int | None = Field(default=None, ge=1)
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
    memory: int = Field(default=4096, ge=256)
    disk: int = Field(default=40, ge=2)
    vsphere: VspherePlace = Field(default_factory=VspherePlace)


class NewDatabase(Model):
    """The new source and replica.

    Attributes:
        engine: server family installed on them.
        buffer_pool: `innodb_buffer_pool_size` in MiB; None takes 70 % of the machine's memory [CloudStack tuning guide].
        packages: Debian packages to install where the image lacks them.
    """

    engine: Literal["mariadb", "mysql"] = "mariadb"
    source: NewMachine
    replica: NewMachine
    port: int = Field(default=3306, ge=1, le=65535)
    buffer_pool: int | None = Field(default=None, ge=64)
    packages: list[PackageName] = Field(default_factory=lambda: ["mariadb-server"])


class Network(Model):
    """The management network that new machines get a fixed address on."""

    prefix: int = Field(default=24, ge=8, le=128)
    gateway: IpAddress | None = None
    dns: list[IpAddress] = Field(default_factory=list)


class Packages(Model):
    """Where the target version's packages come from.

    Attributes:
        repository: an apt `deb ...` line or None where the machine's own sources have them.
        key: armoured signing key of that repository, as text; None where the line itself says `[trusted=yes]` or names a key.
        names: management packages.
        usage_names: packages of the usage server.
    """

    repository: str | None = None
    key: str | None = None
    names: list[PackageName] = Field(default_factory=lambda: ["cloudstack-management"], min_length=1)
    usage_names: list[PackageName] = Field(default_factory=lambda: ["cloudstack-usage"])

    @field_validator("repository")
    @classmethod
    def _line(cls, value: str | None) -> str | None:
        if value is not None and (not value.isprintable() or not re.fullmatch(r"^deb (\[[^\]]*\] )?\S+ \S.*", value)):
            raise ValueError("a repository is one line such as `deb https://example.org/apt jammy 4.22`")
        return value


class New(Model):
    """The servers that take over.

    Attributes:
        load_balancer: address that hypervisors and users reach instead of the servers' own; it is then the `host` setting.
        usage_on: name of the management server that runs the usage server; None means the first.
    """

    version: CloudStackVersion
    platform: Literal["libvirt", "container", "existing", "vsphere"] = "libvirt"
    management: list[NewMachine] = Field(min_length=1)
    database: NewDatabase
    network: Network = Field(default_factory=Network)
    packages: Packages = Field(default_factory=Packages)
    load_balancer: str | None = None
    usage_on: str | None = None

    @field_validator("load_balancer")
    @classmethod
    def _balancer(cls, value: str | None) -> str | None:
        if value is None or HOST_NAME.fullmatch(value):
            return value
        return parse_address(value)


class LibvirtPlatform(Model):
    """Settings of pulumi-libvirt.

    Attributes:
        uri: connection, for example `qemu:///system` or `qemu+ssh://root@192.0.2.5/system`.
        image: qcow2 base image with cloud-init.
        kernel: kernel to boot the image with, where it has no boot loader of its own.
        initrd: its initial ram disk.
        kernel_arguments: words of the kernel's command line, used with `kernel`.
        pool_path: folder on the hypervisor that the volumes are kept in.
        bridge: bridge the machines are put on.
        domain_type: `auto` takes KVM only where a guest really runs, else `qemu` (emulation).
    """

    uri: str = "qemu:///system"
    image: LocalPath
    kernel: LocalPath | None = None
    initrd: LocalPath | None = None
    kernel_arguments: list[str] = Field(default_factory=lambda: ["console=ttyS0", "root=/dev/vda", "net.ifnames=0", "rw"])
    pool_path: str
    bridge: str
    domain_type: Literal["auto", "kvm", "qemu"] = "auto"


class ContainerPlatform(Model):
    """Settings of systemd-nspawn machines (lab and tests).

    Attributes:
        root: unpacked root file system, never written to.
        folder: where each machine's own layer and record are kept.
        namespace: network namespace that holds the bridge.
        bridge: bridge in it.
        disks: whether each machine has a disk of its own, of its `disk`, which may become full; else the folder's space.
    """

    root: LocalPath
    folder: LocalPath
    namespace: str
    bridge: str
    disks: bool = False


class VspherePlatform(Model):
    """Settings of pulumi-vsphere. Objects are named as vCenter shows them; the password is the secret `vspherePassword`.

    Attributes:
        server: vCenter's name or address, with `:port` where it is not 443.
        user: account with the privileges of docs/vsphere.md.
        allow_unverified_tls: don't check vCenter's certificate; only for a vCenter on a network that nobody else is on.
        datacenter: name of the data centre.
        cluster: cluster whose root resource pool machines go to; anti-affinity rules are made in it.
        resource_pool: name or inventory path of a resource pool used instead of the cluster's own.
        datastore: datastore of the disks.
        folder: folder below the data centre's VM folder (`cloudstack/new`); empty for that folder itself.
        network: port group or network of the machines' card.
        distributed_switch: distributed switch of that port group, where two port groups have one name.
        template: name or inventory path of the template, with cloud-init and open-vm-tools.
        linked_clone: disks on the template's snapshot instead of copies; such machines need the template for ever.
        anti_affinity: rules that keep source and replica, and the management servers, on different hosts.
        tags: put vCenter tags on the machines that name the stack; without the privilege for it, false.
        reserve_memory: reserve all of a machine's memory, so that the hypervisor never swaps a database out.
        vtpm: give each machine a virtual TPM; needs a key provider in vCenter.
        address_timeout: time limit until a new machine reports its address through VMware Tools, in whole minutes.
    """

    server: str = Field(min_length=1)
    user: str = Field(min_length=1)
    allow_unverified_tls: bool = False
    datacenter: str = Field(min_length=1)
    cluster: str | None = None
    resource_pool: str | None = None
    datastore: str = Field(min_length=1)
    folder: str = ""
    network: str = Field(min_length=1)
    distributed_switch: str | None = None
    template: str = Field(min_length=1)
    linked_clone: bool = False
    anti_affinity: bool = True
    tags: bool = True
    reserve_memory: bool = False
    vtpm: bool = False
    address_timeout: Duration = timedelta(minutes=10)

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        if not re.fullmatch(r"^[A-Za-z0-9.\[\]:_-]+$", value):
            raise ValueError("write vCenter's name or address without https:// and path, such as vcenter.example.com")
        return value

    @field_validator("folder")
    @classmethod
    def _folder(cls, value: str) -> str:
        return value.strip("/")

    @field_validator("address_timeout")
    @classmethod
    def _minutes(cls, value: timedelta) -> timedelta:
        if value < timedelta(minutes=1) or value % timedelta(minutes=1):
            raise ValueError("this time limit is whole minutes, at least 1m")
        return value

    @model_validator(mode="after")
    def _place(self) -> VspherePlatform:
        if not self.cluster and not self.resource_pool:
            raise ValueError("name a cluster or a resourcePool")
        if self.anti_affinity and not self.cluster:
            raise ValueError("antiAffinity needs the cluster that the rules are made in; name it, or set antiAffinity to false")
        return self


class Platforms(Model):
    """Settings of each platform that machines of the stack use; `existing` needs none."""

    libvirt: LibvirtPlatform | None = None
    container: ContainerPlatform | None = None
    vsphere: VspherePlatform | None = None


class Template(Model):
    """A system VM template to register on the original cloud under its exact name [CloudStack upgrade guide].

    Attributes:
        name: exactly what the target version looks up, for example `systemvm-kvm-4.22.0-x86_64`.
        checksum: as the API takes it, `{SHA-512}...` or a bare MD5; None leaves the file unchecked.
    """

    hypervisor: Literal["KVM", "XenServer", "VMware", "Hyperv", "LXC", "Ovm3", "Simulator"]
    name: str
    url: str
    format: Literal["QCOW2", "VHD", "OVA", "RAW"] = "QCOW2"
    os_type: str = "Debian GNU/Linux 12 (64-bit)"
    checksum: str | None = None
    arch: Literal["x86_64", "aarch64"] | None = "x86_64"

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not TEMPLATE_NAME.fullmatch(value):
            raise ValueError("a template's name has letters, digits, . _ - and spaces, as the target version looks it up")
        return value

    @field_validator("url")
    @classmethod
    def _template_url(cls, value: str) -> str:
        if not URL.fullmatch(value):
            raise ValueError("a template's url is http or https, without user, query and fragment")
        return value

    @field_validator("checksum")
    @classmethod
    def _checksum(cls, value: str | None) -> str | None:
        if value is not None and not CHECKSUM.fullmatch(value):
            raise ValueError("a checksum is {SHA-512} and hexadecimal digits, or a bare MD5")
        return value


class UserProbe(Model):
    """From where it is proved that users are out, and in again: one of `server` and `source`.

    Attributes:
        server: a machine in the users' network that the tool may log in to; it needs curl.
        source: an address of this machine that is a user's to the cloud: none of `administrators`.
        url: the API's address as users have it, such as a load balancer's; None asks every management server itself.
    """

    server: Server | None = None
    source: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _one(self) -> UserProbe:
        if (self.server is None) == (self.source is None):
            raise ValueError("a probe asks from a server or from a source address: name one of them")
        if self.source is not None:
            try:
                ipaddress.ip_address(self.source)
            except ValueError:
                raise ValueError(f"source: {self.source!r} is not an address such as 192.0.2.10") from None
        if self.url is not None and not URL.fullmatch(self.url):
            raise ValueError("url: an API url looks like http://192.0.2.10:8080/client/api")
        return self


class UserAccess(Model):
    """How users are kept out during the window.

    Attributes:
        method: `firewall` on the original's management servers, `cidr` by `api.allowed.source.cidr.list`, or `command` for a load balancer.
        administrators: networks that keep access.
        close: command that takes users out (method `command`), run on this machine.
        open: command that lets them in again.
        probe: from where both are proved; without it only the means are looked at.
    """

    method: Literal["firewall", "cidr", "command"] = "firewall"
    administrators: list[str] = Field(default_factory=list)
    close: list[str] = Field(default_factory=list)
    open: list[str] = Field(default_factory=list)
    probe: UserProbe | None = None

    @model_validator(mode="after")
    def _complete(self) -> UserAccess:
        for network in self.administrators:
            try:
                found = ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"administrators: {network!r} is not a network such as 192.0.2.0/24") from None
            if found.prefixlen == 0:
                raise ValueError(f"administrators: {network} is everybody; name the networks that keep access")
        if self.method == "command" and not (self.close and self.open):
            raise ValueError("method command needs both close and open, each a list of words")
        if self.method != "command" and not self.administrators:
            raise ValueError(f"method {self.method} needs administrators, or nobody could work in the window")
        address = self.probe and (self.probe.source or (self.probe.server.address if self.probe.server else None))
        if address and any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in self.administrators):
            raise ValueError(f"probe: {address} is an administrator's, what it reaches says nothing about users")
        return self


SwitchedStepName = Literal[
    "UserAccess",
    "OriginalManagement",
    "DatabaseTransfer",
    "OriginalDatabase",
    "HostSetting",
    "HypervisorSteps",
    "FirstManagement",
    "Hypervisors",
    "SystemVms",
    "AdditionalManagement",
    "Acceptance",
]


class Window(Model):
    """The cutover's limits.

    Attributes:
        deadline: time from the window's opening within which the new management server must start.
        rollback_window: time since the switch within which going back is allowed.
        force_rollback: go back although the rollback window has passed or the stack is retired.
        start_timeout: time limit of one management server start, schema upgrade included.
        hosts_timeout: time limit for every hypervisor host to be Up again.
        system_vm_timeout: time limit for one system VM or network restart.
        parallel_restarts: networks restarted at the same time.
        stop_before: a hold point: this step and those after it are not declared; None for the whole switch.
        forensics: what is kept of the new side, in the run's folder, when it is left again: its logs and state, a dump as well, or nothing.
    """

    deadline: Duration = timedelta(hours=2)
    rollback_window: Duration = timedelta(days=1)
    force_rollback: bool = False
    start_timeout: Duration = timedelta(hours=1)
    hosts_timeout: Duration = timedelta(minutes=15)
    system_vm_timeout: Duration = timedelta(minutes=15)
    parallel_restarts: int = Field(default=4, ge=1, le=64)
    stop_before: SwitchedStepName | None = None
    forensics: Literal["logs", "dump", "none"] = "logs"
    user_access: UserAccess


class Transfer(Model):
    """How the databases are brought over.

    Attributes:
        method: `dump` costs time with the data; `replicate` does not.
        threads: parallel connections for copying and comparing.
        bytes_per_second: limit for reading the running original while `replicate` seeds the new source; None for none.
        renew: any text; a changed one has the next `up` look at the seed again, renew its comparison, and seed anew where it is broken.
    """

    method: Literal["dump", "replicate"] = "dump"
    threads: int = Field(default=4, ge=1, le=64)
    bytes_per_second: int | None = Field(default=None, ge=65536)
    renew: str = ""


class HypervisorCommand(Model):
    """A hypervisor-specific command of the official upgrade guide, with its reverse; run on each of `hosts` (names of original.hypervisors).

    Attributes:
        at_once: on all hosts at the same time, instead of one after the other in the order of the list.
    """

    hosts: list[str] = Field(min_length=1)
    command: list[str] = Field(min_length=1)
    reverse: list[str] = Field(default_factory=list)
    timeout: Duration = timedelta(minutes=10)
    at_once: bool = False


class Agents(Model):
    """How indirect agents (KVM, LXC) find the new servers.

    Attributes:
        method: `setting` changes `host` through the API (4.11.1 and later), `file` writes agent.properties on each host in the window,
            `none` where an address or a load balancer is re-used.
        timeout: time limit until every agent has learnt the addresses.
    """

    method: Literal["setting", "file", "none"] = "setting"
    timeout: Duration = timedelta(minutes=15)


class Health(Model):
    """What the health check of the original lets pass.

    Attributes:
        accepted: names of rules whose findings are told but do not end the step (docs/health.md lists the rules).
    """

    accepted: list[str] = Field(default_factory=list)


class Parity(Model):
    """What this cloud is compared with before the upgrade that was rehearsed there is done here.

    Attributes:
        against: facts of the cloud that was rehearsed on: a file that `python -m parallel_build facts` wrote (relative to the project), or a stack's name.
        fail_at: the least rank of a difference that fails the step; `never` only tells.
    """

    against: str = Field(min_length=1)
    fail_at: Literal["high", "medium", "low", "never"] = "high"


class Acceptance(Model):
    """Functional tests run on the new servers before users are let in: commands on this machine that must end with exit code 0."""

    commands: list[list[str]] = Field(default_factory=list)
    timeout: Duration = timedelta(hours=1)


class Housekeeping(Model):
    """Old rows taken out of the copy before the schema upgrade, in the rehearsal and in the window alike; the original keeps them.

    Each table group has the age from which its rows go; None leaves the group alone.

    Attributes:
        events: `cloud.event`.
        alerts: `cloud.alert`.
        usage_events: `cloud.usage_event`, only rows that the usage server has processed.
        usage: `cloud_usage.cloud_usage`, the records that bills are made of.
        statistics: `cloud.vm_stats` and `cloud.volume_stats`.
        jobs: finished rows of `cloud.async_job`.
        batch: rows deleted by one statement.
    """

    events: Duration | None = None
    alerts: Duration | None = None
    usage_events: Duration | None = None
    usage: Duration | None = None
    statistics: Duration | None = None
    jobs: Duration | None = None
    batch: int = Field(default=10000, ge=1, le=1_000_000)


class Rehearsal(Model):
    """The upgrade done once on an isolated server with a copy of the databases, before the window.

    Attributes:
        enabled: build the machine in phase `prepared`, rehearse, and demand a passed rehearsal before a window opens.
        machine: the server; management and database server together.
        max_age: a rehearsal older than this does not count any more.
        growth: how many times the rows it was done with the databases may have when the window opens.
        fixes: folder of `*.sql` files, run in the order of their names on the copy before the upgrade, in the rehearsal and in the window.
        housekeeping: old rows that go first.
        dump: dump files (.sql, .gz, .xz, .zst) by database, used instead of a copy of the running original.
        bytes_per_second: limit for reading the running original; None for none.
        must_not_reach: `address` or `address:port` that must be out of the server's reach beside what the original's own settings name.
        allow: networks that the server's firewall lets it open connections to, such as that of a time server.
        isolated_network: prove that the network itself has no way out, so that the server's own firewall is the second barrier and not the
            only one.
    """

    enabled: bool = False
    machine: NewMachine | None = None
    max_age: Duration = timedelta(days=14)
    growth: float = Field(default=1.5, ge=1)
    fixes: LocalPath = Path("fixes")
    housekeeping: Housekeeping = Field(default_factory=Housekeeping)
    dump: dict[Literal["cloud", "cloud_usage", "cloudbridge"], LocalPath] = Field(default_factory=dict)
    bytes_per_second: int | None = Field(default=30_000_000, ge=1024)
    must_not_reach: list[str] = Field(default_factory=list)
    allow: list[str] = Field(default_factory=list)
    isolated_network: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Rehearsal:
        if self.enabled and self.machine is None:
            raise ValueError("enabled needs machine: the name and address of a server that nobody else uses")
        for network in self.allow:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"allow: {network!r} is not a network such as 192.0.2.7/32") from None
        for target in self.must_not_reach:
            address, _, port = target.rpartition(":")
            if not target or (address and port.isdigit() and not 0 < int(port) < 65536):
                raise ValueError(f"mustNotReach: {target!r} is not an address such as 192.0.2.7, or 192.0.2.7:25 with a port")
        if self.dump and "cloud" not in self.dump:
            raise ValueError("dump: names no file for the database cloud")
        return self


class Secrets(Model):
    """Secret values; each is a Pulumi secret of the same name.

    Attributes:
        original_api_key, original_api_secret: a root administrator's keys on the original.
        cloud_password: password of the database user `cloud` on the new servers.
        replication_password: password of the replication user.
        management_key: key of the new servers' db.properties.
        database_key: key of the values in the database; None reads it from the original's management server.
    """

    original_api_key: Secret
    original_api_secret: Secret
    cloud_password: Secret
    replication_password: Secret
    management_key: Secret
    database_key: Secret | None = None

    @field_validator("cloud_password", "replication_password", "management_key", "database_key")
    @classmethod
    def _shell_safe(cls, value: Secret | None) -> Secret | None:
        if value is not None and not SHELL_SAFE_SECRET.fullmatch(value.reveal()):
            raise ValueError("this secret is handed through CloudStack's own shell commands: use 8 to 128 letters, digits and . _ + = -")
        return value

    @field_validator("original_api_key", "original_api_secret")
    @classmethod
    def _not_empty(cls, value: Secret) -> Secret:
        if not value:
            raise ValueError("this secret is empty")
        if not PRINTABLE.fullmatch(value.reveal()):
            raise ValueError("this secret has spaces, line ends or other characters that no API key has")
        return value

    def all(self) -> list[Secret]:
        """Every secret that is set, for masking."""
        return [value for value in (getattr(self, name) for name in type(self).model_fields) if value]


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
    rehearsal: Rehearsal = Field(default_factory=Rehearsal)
    runs: LocalPath = Path("runs")

    def new_machines(self) -> Iterator[NewMachine]:
        """The machines of the new side: source, replica, then the management servers."""
        yield self.new.database.source
        yield self.new.database.replica
        yield from self.new.management

    def built_machines(self) -> Iterator[NewMachine]:
        """Every machine that the stack may build: the new side's, and the rehearsal's where there is one."""
        yield from self.new_machines()
        if self.rehearsal.enabled and self.rehearsal.machine:
            yield self.rehearsal.machine

    def original_servers(self) -> Iterator[Server]:
        """The original's servers that the tool logs in to."""
        yield from self.original.management
        yield self.original.database.source
        if self.original.database.replica:
            yield self.original.database.replica
        yield from self.original.hypervisors

    def platform_of(self, machine: NewMachine) -> str:
        """The platform that builds `machine`."""
        return machine.platform or self.new.platform

    @property
    def usage_server(self) -> NewMachine:
        """The new management server that runs the usage server."""
        if self.new.usage_on is None:
            return self.new.management[0]
        return next(machine for machine in self.new.management if machine.name == self.new.usage_on)

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
        seen_names: dict[str, str] = {}
        seen_addresses: dict[str, str] = {}
        sides = [(server, "original") for server in self.original_servers()]
        sides += [(machine, "new") for machine in self.new_machines()]
        if self.rehearsal.machine:
            sides.append((self.rehearsal.machine, "rehearsal"))
        for server, side in sides:
            if server.name in seen_names:
                yield f"{side}: the name {server.name} is used twice, give every server its own"
            seen_names[server.name] = side
            if server.address in seen_addresses and not self._may_share(server, side):
                other = seen_addresses[server.address]
                yield f"{side}: {server.name} has the address {server.address} that {other} has already, give it its own"
            seen_addresses.setdefault(server.address, server.name)
        if self.new.load_balancer in {server.address for server, _ in sides}:
            yield f"new.loadBalancer: {self.new.load_balancer} is the address of a server of the stack; name the balancer's own, or leave it out"
        probed = self.window.user_access.probe.server if self.window.user_access.probe else None
        if (
            probed
            and probed.name in seen_names
            and probed.address != next(other.address for other, _ in sides if other.name == probed.name)
        ):
            yield f"window.userAccess.probe.server: the name {probed.name} is used twice, give every server its own"
        if self.new.usage_on and self.new.usage_on not in {machine.name for machine in self.new.management}:
            yield f"new.usageOn: {self.new.usage_on} is not one of new.management"
        if not self.new.version > self.original.version:
            yield f"new.version: {self.new.version} is not later than original.version {self.original.version}"
        for machine in self.built_machines():
            platform = self.platform_of(machine)
            if platform != "existing" and getattr(self.platforms, platform) is None:
                yield f"platforms.{platform}: missing although {machine.name} is built on it"
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

    def _may_share(self, server: Server, side: str) -> bool:
        """On the original a small cloud may run management and MySQL on one server."""
        return side == "original" and any(server.address == other.address for other in self.original_servers())


def describe(error: ValidationError, prefix: str = "") -> str:
    """One line a finding: the key as written in the stack file, and what is wrong with it."""
    lines = []
    for finding in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in finding["loc"]) or "configuration"
        reason = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            reason = "this key is not known here, check its spelling and its place"
        elif finding["type"] == "missing":
            reason = "this key is missing"
        lines.append(f"{prefix}{key}: {reason}")
    return "\n  ".join(lines)


def load(values: dict[str, Any], stack: str, *, stored: bool = False) -> StackConfiguration:
    """Check the stack's plain values.

    Args:
        values: the configuration values by section, keys in camelCase, without secrets.
        stack: name of the stack, for the message.
        stored: they come out of a state: paths of the machine that wrote it may not be there.
    Raises:
        ConfigurationError: names every key that is wrong, all at once.
    """
    try:
        return StackConfiguration.model_validate(values, context=STORED if stored else None)
    except ValidationError as error:
        raise ConfigurationError(
            f"stacks/Pulumi.{stack}.yaml can't be used:\n  {describe(error)}\n",
            "",
            "correct these keys (docs/configuration.md lists them all); nothing has been contacted or changed",
        ) from None


def load_secrets(values: dict[str, Any], stack: str) -> Secrets:
    """Check the stack's secret values.

    Raises:
        ConfigurationError: names every secret that is missing or unfit, never its value.
    """
    try:
        return Secrets.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(
            f"the secrets of stack {stack} can't be used:\n  {describe(error)}\n",
            "",
            "set each with `pulumi config set --secret NAME` (docs/configuration.md); nothing has been contacted or changed",
        ) from None
