"""The cloud that is being made up: its rows so far, and the means to add more that fit."""

from __future__ import annotations

import datetime
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from lab.database.encryption import encrypt
from lab.database.errors import SchemaError
from lab.database.keys import api_key, stream
from lab.database.notation import tables
from lab.database.plan import ApiUser, DatabasePlan, KvmHost, SystemVm

T = TypeVar("T")
Value = object


@dataclass(frozen=True)
class Account:
    """An account of the cloud, with the ids that its belongings need."""

    id: int
    name: str
    domain_id: int
    domain_path: str
    uuid: str
    user_id: int


@dataclass(frozen=True)
class Offering:
    """A service or disk offering."""

    id: int
    name: str
    cores: int = 0
    speed: int = 0
    memory: int = 0
    disk_offering_id: int = 0
    size: int = 0


@dataclass(frozen=True)
class Template:
    """A template that machines can be made of."""

    id: int
    name: str
    guest_os_id: int
    size: int


@dataclass
class Network:
    """A guest network; `next_ip` is the last octet that will be given out next."""

    id: int
    name: str
    account: Account
    offering_id: int
    prefix: str
    vlan: int
    guru: str
    guest_type: str
    implemented: bool
    vpc_id: int | None = None
    next_ip: int = 10


@dataclass(frozen=True)
class Machine:
    """A user VM with its root volume."""

    id: int
    name: str
    uuid: str
    account: Account
    offering: Offering
    template: Template
    network: Network
    state: str
    created: datetime.datetime
    removed: datetime.datetime | None
    volume_id: int
    nic_id: int


@dataclass
class World:
    """All rows of a generated cloud, by (database, table), and what later parts need to know of earlier ones.

    Rows are dicts by column name; a column that is left out takes its default. Ids are given out in order.
    """

    plan: DatabasePlan
    rows: dict[tuple[str, str], list[dict[str, Value]]] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)
    api_users: list[ApiUser] = field(default_factory=list)
    hosts: list[KvmHost] = field(default_factory=list)
    service_offerings: dict[str, Offering] = field(default_factory=dict)
    disk_offerings: dict[str, Offering] = field(default_factory=dict)
    network_offerings: dict[str, int] = field(default_factory=dict)
    templates: list[Template] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    system_vms: list[SystemVm] = field(default_factory=list)
    link_local: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    _last_id: dict[tuple[str, str], int] = field(default_factory=dict)
    _sources: dict[str, random.Random] = field(default_factory=dict)

    def random(self, purpose: str) -> random.Random:
        """The source of randomness of that purpose; the same one each time."""
        return self._sources.setdefault(purpose, stream(self.plan.seed, purpose))

    def uuid(self, purpose: str = "uuid") -> str:
        """A new random UUID."""
        return str(uuid.UUID(bytes=self.random(purpose).randbytes(16), version=4))

    def pick(self, purpose: str, choices: Sequence[T]) -> T:
        """One of several."""
        return self.random(purpose).choice(choices)

    def mac(self, prefix: str, number: int) -> str:
        """A MAC address: two to four given bytes and a number in the rest."""
        rest = 6 - (len(prefix) + 1) // 3
        return prefix + "".join(f":{byte:02x}" for byte in number.to_bytes(rest, "big"))

    def encrypted(self, value: str) -> str:
        """A value as CloudStack stores it under this cloud's database key."""
        return encrypt(value, self.database_key, self.plan.encryptor, self.random("encryption").randbytes)

    @cached_property
    def database_key(self) -> str:
        """The plan's database key, or one made from its seed."""
        return self.plan.database_key or api_key(stream(self.plan.seed, "database key"))[:24]

    @property
    def now(self) -> datetime.datetime:
        """The newest time in the data, in UTC."""
        time = self.plan.reference_time
        return time.replace(tzinfo=datetime.UTC) if time.tzinfo is None else time.astimezone(datetime.UTC)

    def ago(self, days: float = 0, minutes: float = 0) -> datetime.datetime:
        """A time before the newest one, to the second."""
        return (self.now - datetime.timedelta(days=days, minutes=minutes)).replace(microsecond=0)

    @staticmethod
    def seconds(when: datetime.datetime) -> int:
        """A time as seconds since 1970."""
        return int(when.timestamp())

    @classmethod
    def milliseconds(cls, when: datetime.datetime) -> int:
        """A time as milliseconds since 1970."""
        return cls.seconds(when) * 1000

    def scaled(self, number: int) -> int:
        """A number at the plan's scale, at least one."""
        return max(1, round(number * self.plan.scale))

    def start_ids(self, table: str, first: int, database: str = "cloud") -> None:
        """Let the ids of a table begin at `first`, as CloudStack's sequences do for networks and templates."""
        self._last_id[database, table] = first - 1

    def next_id(self, table: str, database: str = "cloud") -> int:
        """The id that the next row of this table will get."""
        return self._last_id.get((database, table), 0) + 1

    def add(self, table: str, database: str = "cloud", /, **columns: Value) -> int:
        """Add a row and return its id (0 for a table without one).

        Raises:
            SchemaError: there is no such table.
        """
        definition = tables(database).get(table)
        if definition is None:
            raise SchemaError(f"database {database} has no table {table}")
        names = {column.name for column in definition.columns}
        identity = 0
        if "id" in names:
            given = columns.get("id")
            if not isinstance(given, int | str):
                given = columns["id"] = self.next_id(table, database)
            if isinstance(given, int):
                identity = given
                self._last_id[database, table] = max(identity, self._last_id.get((database, table), 0))
        if "uuid" in names:
            columns.setdefault("uuid", self.uuid())
        self.rows.setdefault((database, table), []).append(columns)
        return identity

    def usage(self, table: str, **columns: Value) -> int:
        """Add a row to a table of `cloud_usage`."""
        return self.add(table, "cloud_usage", **columns)
