"""Reads a dump that was given as the original's database, to know what the lab has to adapt itself to.

Nothing in a dump is changed: its keys, hosts and management servers stay as they are, because a rehearsal with changed
data proves less. What the lab needs instead is found here: the version, the hosts by hypervisor, whether the given keys
fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.database.dumpfile import DumpReader, DumpRow
from lab.database.encryption import EncryptorVersion, decrypt, detect
from lab.database.errors import DecryptionFailed, DumpError


@dataclass(frozen=True)
class DumpHost:
    """A row of `host` that is not removed."""

    id: int
    name: str
    type: str
    hypervisor: str
    address: str
    guid: str
    status: str


@dataclass(frozen=True)
class DumpServer:
    """A row of `mshost`."""

    name: str
    address: str
    state: str
    version: str
    removed: bool


@dataclass(frozen=True)
class DumpUser:
    """A user that is not removed; `secret_key` is as stored."""

    username: str
    account: str
    root_admin: bool
    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class DumpFacts:
    """What is known of a dump.

    Attributes:
        version: newest Complete row of `version`.
        unfinished: versions that are not Complete.
        databases: database -> number of tables.
        views: number of views; `routines`: number of procedures and functions.
        definers: accounts named as definer, with how often.
        hosts: hypervisor hosts and system VMs' agents.
        management_servers: all rows of `mshost`.
        host_setting: setting `host`; `management_network`: setting `management.network.cidr`.
        encryptor: format that `init` has under the key; None without a key, or if it does not fit.
        key_fits: whether the database key decrypts `init` to `true`; None if no key was given or there is no such row.
        users: users, with their keys as stored.
        warnings: what the lab can't do with this dump, or what its user should know.
    """

    version: str
    unfinished: tuple[str, ...]
    databases: dict[str, int]
    views: int
    routines: int
    definers: dict[str, int]
    hosts: tuple[DumpHost, ...]
    management_servers: tuple[DumpServer, ...]
    host_setting: str
    management_network: str
    encryptor: EncryptorVersion | None
    key_fits: bool | None
    users: tuple[DumpUser, ...]
    warnings: tuple[str, ...]

    def hosts_by_hypervisor(self) -> dict[str, int]:
        """Number of hypervisor hosts by kind."""
        return dict(Counter(host.hypervisor for host in self.hosts if host.type == "Routing"))

    def knows_keys(self, api_key: str, secret_key: str, database_key: str) -> bool:
        """Whether an API key and secret key are those of a root administrator of this dump."""
        for user in self.users:
            if user.api_key == api_key and user.root_admin and self.encryptor:
                with suppress(DecryptionFailed):
                    return decrypt(user.secret_key, database_key, self.encryptor) == secret_key
        return False


def adapt(source: Path | Mapping[str, Path], database_key: str | None = None) -> DumpFacts:
    """Read what the lab has to know of a dump.

    Args:
        source: one file that names its databases, or a file for each database; plain, .gz, .xz or .zst.
        database_key: the original's db.cloud.encrypt.secret, if known.

    Raises:
        DumpError: it is no dump of a CloudStack database.
    """
    reader = DumpReader()
    if isinstance(source, Path):
        reader.read(source, "")
    else:
        for name, path in source.items():
            reader.read(path, name)
    rows = reader.rows
    if "cloud" not in reader.tables or not rows["version"]:
        raise DumpError(
            "the dump has no table `version` with rows in a database `cloud`",
            "it is no dump of CloudStack's database, or does not say which database a table belongs to",
            "give mysqldump's files as cloud=FILE and cloud_usage=FILE",
        )
    settings = {row["name"]: row for row in rows["configuration"]}
    complete = [row for row in rows["version"] if row["step"] == "Complete"]
    init = (settings.get("init") or {}).get("value")
    encryptor = detect(init, database_key, "true") if init and database_key else None
    key_fits = encryptor is not None if init and database_key else None
    facts = DumpFacts(
        version=max(complete, key=lambda row: int(row["id"] or 0))["version"] or "" if complete else "",
        unfinished=tuple(row["version"] or "" for row in rows["version"] if row["step"] != "Complete"),
        databases={name: len(tables) for name, tables in reader.tables.items()},
        views=len(reader.views),
        routines=len(reader.routines),
        definers=dict(reader.definers),
        hosts=tuple(_host(row) for row in rows["host"] if row["removed"] is None),
        management_servers=tuple(
            DumpServer(
                row["name"] or "",
                row["service_ip"] or "",
                row["state"] or "",
                row["version"] or "",
                row["removed"] is not None,
            )
            for row in rows["mshost"]
        ),
        host_setting=_setting(settings, "host"),
        management_network=_setting(settings, "management.network.cidr"),
        encryptor=encryptor,
        key_fits=key_fits,
        users=tuple(_users(rows)),
        warnings=(),
    )
    return DumpFacts(**{**facts.__dict__, "warnings": tuple(_warnings(facts))})


def _setting(settings: Mapping[str | None, DumpRow], name: str) -> str:
    return (settings.get(name) or {}).get("value") or ""


def _host(row: DumpRow) -> DumpHost:
    return DumpHost(
        id=int(row["id"] or 0),
        name=row["name"] or "",
        type=row["type"] or "",
        hypervisor=row["hypervisor_type"] or "",
        address=row["private_ip_address"] or "",
        guid=row["guid"] or "",
        status=row["status"] or "",
    )


def _users(rows: Mapping[str, list[DumpRow]]) -> Iterator[DumpUser]:
    accounts = {row["id"]: row for row in rows["account"]}
    for row in rows["user"]:
        account = accounts.get(row["account_id"])
        if row["removed"] is None and account is not None:
            yield DumpUser(
                username=row["username"] or "",
                account=account["account_name"] or "",
                root_admin=account["type"] == "1",
                api_key=row.get("api_key") or "",
                secret_key=row.get("secret_key") or "",
            )


def _warnings(facts: DumpFacts) -> Iterator[str]:
    if facts.unfinished:
        yield f"an upgrade was not finished: version {', '.join(facts.unfinished)} is not Complete"
    if facts.key_fits is False:
        yield "the database key does not decrypt configuration.init: servers will not start on this database"
    if facts.key_fits is None:
        yield "without the database key nothing in this database can be decrypted: servers will not start on it"
    if "cloud_usage" not in facts.databases:
        yield "there is no cloud_usage: the upgrade stops at its first step that changes it"
    if not facts.routines:
        yield "there are no procedures: it was dumped without --routines"
    up = [server.name for server in facts.management_servers if server.state == "Up"]
    if up:
        yield f"management servers were running when it was dumped ({', '.join(up)}): their rows say Up"
    kinds = facts.hosts_by_hypervisor()
    others = {kind: number for kind, number in kinds.items() if kind != "KVM"}
    if others:
        text = ", ".join(f"{number} of {kind}" for kind, number in sorted(others.items()))
        yield f"hosts that the lab has no agents for stay as they are: {text}"
