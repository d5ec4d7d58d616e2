"""What the original's database is to contain, and what is known of it afterwards."""

from __future__ import annotations

import datetime
import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import Any

from lab.database.encryption import EncryptorVersion
from lab.database.errors import LabDatabaseError

LINK_LOCAL_ADDRESSES_PER_POD = 65533  # 169.254.0.2 to 169.254.255.254, less the gateway, as CloudStack fills it for each pod

# Data and index bytes of one row in InnoDB, measured with MariaDB 10.11 (information_schema.tables after a load), and
# the shares by which `for_bytes` spreads a size over the tables that grow in real clouds.
STORED_BYTES_PER_ROW = {"usage": 312, "event": 500, "usage_event": 2 * 141, "vm_stats": 490}
_SHARES = {"usage": 0.55, "event": 0.2, "usage_event": 0.15, "vm_stats": 0.1}
_BASE_BYTES = 45_000_000  # everything that does not grow: about 290 tables of 16 KiB pages, and the link-local addresses


@dataclass(frozen=True)
class HypervisorHost:
    """A KVM host of the original: its name and management address."""

    name: str
    address: str


@dataclass(frozen=True)
class ManagementServer:
    """A management server of the original; `mac` (of its interface) gives the msid of its row, else the seed does."""

    name: str
    address: str
    mac: str = ""

    @property
    def msid(self) -> int | None:
        """CloudStack's management server id: the MAC address as a number."""
        return int(self.mac.replace(":", ""), 16) if self.mac else None


@dataclass(frozen=True)
class DatabasePlan:
    """A database to generate. The same plan gives the same bytes.

    Attributes:
        seed: all that is random comes from it.
        version: CloudStack version of the database; the schema carried is 4.20.3.0's.
        database_key: db.cloud.encrypt.secret; made from the seed where empty.
        encryptor: format of encrypted values, V2 or V1 (a cloud that was set up before 4.18).
        hypervisor_hosts: KVM hosts, put into the two pods by turns.
        management_servers: rows of `mshost` (all Down: they have not been started yet) and the setting `host`.
        management_network: network of servers, hosts and system VMs; .100 to .149 and .150 to .199 belong to the pods.
        admin_password: password of the account admin.
        scale: multiplies accounts, users, networks, VMs, volumes and what hangs on them.
        networks: further isolated networks in use, each with a running router; the accounts own them by turns.
        link_local_addresses: rows of op_dc_link_local_ip_address_alloc.
        rows_usage: rows of cloud_usage.cloud_usage.
        rows_event: rows of cloud.event.
        rows_usage_event: rows of usage_event, the same in cloud and in cloud_usage.
        rows_vm_stats: rows of cloud.vm_stats.
        reference_time: newest time in the data; taken as UTC if it names no time zone.
        cloudbridge: also make the empty database that clouds from before 4.6 still have.
        site_tables: add an operator's own tables, trigger, function and event to `cloud`, with the kinds of columns
            that CloudStack has not and that are easily damaged by copying.
    """

    seed: int = 1
    version: str = "4.20.3.0"
    database_key: str = field(default="", repr=False)
    encryptor: EncryptorVersion = "V2"
    hypervisor_hosts: tuple[HypervisorHost, ...] = (
        HypervisorHost("kvm1", "10.91.0.21"),
        HypervisorHost("kvm2", "10.91.0.22"),
    )
    management_servers: tuple[ManagementServer, ...] = (
        ManagementServer("oldms1", "10.91.0.11"),
        ManagementServer("oldms2", "10.91.0.12"),
    )
    management_network: str = "10.91.0.0/24"
    admin_password: str = field(default="password", repr=False)
    scale: float = 1.0
    networks: int = 0
    link_local_addresses: int = 2 * LINK_LOCAL_ADDRESSES_PER_POD
    rows_usage: int = 20_000
    rows_event: int = 20_000
    rows_usage_event: int = 20_000
    rows_vm_stats: int = 10_000
    reference_time: datetime.datetime = datetime.datetime(2026, 6, 1, 12, 0, tzinfo=datetime.UTC)
    cloudbridge: bool = False
    site_tables: bool = False

    def __post_init__(self) -> None:
        if self.version != "4.20.3.0":
            raise LabDatabaseError(
                f"the plan asks for a database of CloudStack {self.version}",
                "the schema that is carried is 4.20.3.0's",
                "use 4.20.3.0, or give a dump of that version",
            )
        if not self.hypervisor_hosts or not self.management_servers:
            raise LabDatabaseError("the plan has no hypervisor host or no management server", "", "name at least one each")
        if self.encryptor not in ("V1", "V2"):
            raise LabDatabaseError(f"encryptor {self.encryptor!r} is not one of CloudStack's", "", "use V1 or V2")
        counts = (
            self.rows_usage,
            self.rows_event,
            self.rows_usage_event,
            self.rows_vm_stats,
            self.link_local_addresses,
            self.networks,
        )
        if self.scale <= 0 or min(counts) < 0:
            raise LabDatabaseError("the plan's scale or a number of rows is below zero", "", "give numbers above zero")
        network = ipaddress.ip_network(self.management_network)
        if network.version != 4 or network.prefixlen > 24:
            raise LabDatabaseError(f"management network {self.management_network} is too small", "the pods need 100 addresses", "use a /24")

    @classmethod
    def for_bytes(cls, size: int, **fields: Any) -> DatabasePlan:
        """A plan whose databases hold about `size` bytes of data and indexes once loaded (within a tenth above 200 MB).

        Args:
            size: bytes, as information_schema.tables counts data_length and index_length on MariaDB 10.11.
            fields: other fields of the plan.
        """
        spread = max(0, size - _BASE_BYTES)
        rows = {f"rows_{name}": int(spread * share / STORED_BYTES_PER_ROW[name]) for name, share in _SHARES.items()}
        return cls(**{**rows, **fields})

    def with_(self, **fields: Any) -> DatabasePlan:
        """The same plan with some fields changed."""
        return replace(self, **fields)


@dataclass(frozen=True)
class ApiUser:
    """A user of the cloud with what is needed to log in and to sign requests; empty keys where it has none."""

    username: str
    account: str
    domain: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class Secrets:
    """What only the one who made the database knows."""

    database_key: str = field(repr=False)
    encryptor: EncryptorVersion
    admin: ApiUser
    users: tuple[ApiUser, ...]
    ssh_private_key: str = field(repr=False)
    ssh_public_key: str


@dataclass(frozen=True)
class KvmHost:
    """A KVM host's row: `agent_guid` stands in its agent.properties, `guid` in the database."""

    id: int
    name: str
    address: str
    agent_guid: str
    guid: str
    pod_id: int
    cluster_id: int


@dataclass(frozen=True)
class SystemVm:
    """A running system VM or router: where it runs and its addresses."""

    id: int
    name: str
    type: str
    host: str
    control_ip: str
    private_ip: str
    public_ip: str


@dataclass(frozen=True)
class Layout:
    """Where things are in the generated cloud."""

    version: str
    zone_id: int
    zone_uuid: str
    zone_name: str
    hosts: tuple[KvmHost, ...]
    system_vms: tuple[SystemVm, ...]
    system_template: str


@dataclass(frozen=True)
class Generated:
    """A generated database: its secrets and layout, rows by `database.table`, and bytes of SQL written."""

    secrets: Secrets
    layout: Layout
    rows: dict[str, int]
    bytes: int


def parse_hosts(text: str) -> tuple[HypervisorHost, ...]:
    """Read `kvm1=10.91.0.21,kvm2=10.91.0.22`. Raises LabDatabaseError for anything else."""
    return tuple(HypervisorHost(name, address) for name, address, _ in _named_addresses(text))


def parse_management_servers(text: str) -> tuple[ManagementServer, ...]:
    """Read `oldms1=10.91.0.11@02:00:00:00:00:0b,oldms2=10.91.0.12`; the MAC address is optional."""
    return tuple(ManagementServer(name, address, mac) for name, address, mac in _named_addresses(text))


def _named_addresses(text: str) -> list[tuple[str, str, str]]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([\w.-]+)=([\d.]+)(?:@((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}))?\s*", part)
        if match is None:
            raise LabDatabaseError(f"{part!r} does not name a server", "", "write NAME=ADDRESS, several with commas")
        try:
            ipaddress.IPv4Address(match[2])
        except ValueError as error:
            raise LabDatabaseError(f"{match[2]!r} in {part!r} is no IPv4 address") from error
        found.append((match[1], match[2], match[3] or ""))
    return found
