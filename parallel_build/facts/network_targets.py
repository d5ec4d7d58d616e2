"""Everything that a management server of the original talks to, out of the stack's configuration and the database's own settings; changes nothing.

A rehearsal's server must reach none of it: a management server that starts on a copy takes the hypervisors for its own, restarts system VMs,
expunges, and sends mail.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from parallel_build.cloudstack import agents
from parallel_build.configuration import AGENTS, StackConfiguration
from parallel_build.configuration.values import is_address
from parallel_build.facts.service_places import (
    ANY_HYPERVISOR,
    API_OF_STORAGE,
    DEFAULT_PORTS,
    DEVICES,
    HYPERVISOR_PORTS,
    KINDS,
    MAIL_PORTS,
    MAIL_SETTINGS,
    PROVIDERS,
    REMOVED_TOO,
    SCHEME_PORTS,
    STORAGE_PORTS,
    URL_SETTINGS,
)
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote


@dataclass(frozen=True, order=True)
class Target:
    """One thing that must be out of reach.

    Attributes:
        what: what it is, for the operator.
        address: IP address, or a name where the database has one.
        port: TCP port.
    """

    what: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.what} ({self.address}:{self.port})"

    @property
    def kind(self) -> str:
        """What it is, without its name."""
        return next((kind for kind in KINDS if self.what.startswith(kind)), self.what)


def targets(configuration: StackConfiguration, database: Session, resolver: Access) -> list[Target]:
    """Everything, each address and port once; names also as the addresses that a server of the original resolves them to.

    Args:
        database: session to the original's database; only read.
        resolver: a server of the original, whose name service is asked.
    """
    found: dict[tuple[str, int], Target] = {}
    own = {configuration.rehearsal.machine.address} if configuration.rehearsal.machine else set()
    listed = [*_configured(configuration), *_hosts(database), *storage(database), *_services(database)]
    names = sorted({target.address for target in listed if not is_address(target.address)})
    known = resolve(resolver, names)
    listed += [Target(target.what, address, target.port) for target in listed for address in known.get(target.address, ())]
    for target in listed:
        if target.address not in own and not _is_local(target.address):
            found.setdefault((target.address, target.port), target)
    return sorted(found.values())


def _configured(configuration: StackConfiguration) -> Iterator[Target]:
    original, new = configuration.original, configuration.new
    for server in original.management:
        yield from (Target(f"management server {server.name}", server.address, port) for port in (22, *original.served.every_port))
    for database in original.database.servers:
        yield from (Target(f"database server {database.name}", database.address, port) for port in (original.database.port, 22))
    for host in original.hypervisors:
        ports = HYPERVISOR_PORTS.get({"kvm": "KVM", "vmware": "VMware", "xenserver": "XenServer"}.get(host.kind, ""), ANY_HYPERVISOR)
        yield from (Target(f"hypervisor {host.name}", host.address, port) for port in ports)
    for machine in new.management:
        yield from (Target(f"new management server {machine.name}", machine.address, port) for port in (22, *new.api.served.every_port))
    for database in new.database.servers:
        yield from (Target(f"new database server {database.name}", database.address, port) for port in (22, new.database.port))
    for text in configuration.rehearsal.must_not_reach:
        address, port = _split(text)
        yield from (Target("rehearsal.mustNotReach", address, each) for each in ((port,) if port else DEFAULT_PORTS))


def _hosts(database: Session) -> Iterator[Target]:
    if not _has(database, "host"):
        return
    for row in database.rows(
        "SELECT name, hypervisor_type AS kind, type, private_ip_address AS a, storage_ip_address AS s FROM cloud.host "
        "WHERE removed IS NULL AND type IN ('Routing', 'SecondaryStorage', 'SecondaryStorageVM', 'ConsoleProxy', 'Storage')"
    ):
        what = f"hypervisor {row['name']}" if row["type"] == "Routing" else f"{row['type']} {row['name']}"
        ports = HYPERVISOR_PORTS.get(str(row["kind"]), ANY_HYPERVISOR) if row["type"] == "Routing" else (3922, 443)
        for address in {row["a"], row["s"]} - {None, ""}:
            yield from (Target(what, str(address), port) for port in ports)


def storage(database: Session) -> Iterator[Target]:
    """The servers of primary and secondary storage."""
    if _has(database, "storage_pool"):
        for row in database.rows("SELECT name, pool_type AS kind, host_address AS a, port FROM cloud.storage_pool WHERE removed IS NULL"):
            for place in str(row["a"] or "").split(","):  # of a cluster all its monitors, perhaps each with its port
                _, address, port = server_of(place.strip())
                if address and address != "localhost":
                    ports = {*STORAGE_PORTS.get(str(row["kind"]), (2049,)), _port(row["port"], 0), port}
                    yield from (Target(f"primary storage {row['name']}", address, port) for port in sorted(ports) if 0 < port < 65536)
    yield from secondary_storage(database)


def secondary_storage(database: Session) -> Iterator[Target]:
    """The servers of secondary storage; management servers mount it to seed templates and for VMware's operations [CloudStack 4.22]."""
    if _has(database, "image_store"):
        for row in database.rows("SELECT name, url FROM cloud.image_store WHERE removed IS NULL AND url IS NOT NULL"):
            scheme, address, port = server_of(str(row["url"]))
            if address:
                yield Target(f"secondary storage {row['name']}", address, port or SCHEME_PORTS.get(scheme, 2049))


def server_of(url: str) -> tuple[str, str, int]:
    """Scheme, server and port of a store's URL; 0 where it names no port that is a number, and "" where it names no server.

    CloudStack takes more than a URL should be: `nfs://192.0.2.5:export/sec`, an IPv6 address without brackets.
    """
    scheme, _, rest = url.partition("://") if "://" in url else ("", "", url)
    place = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if is_address(place):
        return scheme.lower(), place, 0
    address, port = _split(place)
    if is_address(address) or ":" not in address:
        return scheme.lower(), address, port if 0 < port < 65536 else 0
    return scheme.lower(), address.partition(":")[0], 0


def _services(database: Session) -> Iterator[Target]:
    settings = _settings(database)
    for name, port in MAIL_SETTINGS.items():
        if host := settings.get(name, "").strip():
            ports = {*MAIL_PORTS, _port(settings.get(port, ""), MAIL_PORTS[0])}
            yield from (Target(f"mail server of {name}", host, each) for each in sorted(ports))
    for address in agents.addresses(settings.get("host", "")):
        yield Target("management address in `host`", address, AGENTS)
    yield from _ldap(database)
    yield from vcenters(database)
    yield from controllers(database)


def _settings(database: Session) -> dict[str, str]:
    return {
        str(row["name"]): str(row["value"] or "")
        for row in database.rows(
            "SELECT name, value FROM cloud.configuration WHERE name IN "
            f"({', '.join(repr(name) for name in ('host', *MAIL_SETTINGS, *MAIL_SETTINGS.values()))})"
        )
    }


def _mail(settings: Mapping[str, str]) -> Iterator[Target]:
    """Each mail server at the port that is set."""
    for name, port in MAIL_SETTINGS.items():
        if host := settings.get(name, "").strip():
            yield Target(f"mail server of {name}", host, _port(settings.get(port, ""), MAIL_PORTS[0]))


def _ldap(database: Session) -> Iterator[Target]:
    if _has(database, "ldap_configuration"):
        for row in database.rows("SELECT hostname AS a, port FROM cloud.ldap_configuration"):
            yield Target("LDAP server", str(row["a"]), _port(row["port"], 389))


def used_by_management(database: Session) -> list[Target]:
    """What management servers themselves talk to, besides databases and hosts: vCenters, storage that they command or mount, LDAP, mail."""
    return sorted(
        {
            *vcenters(database), *secondary_storage(database), *_managed_storage(database), *_ldap(database), *_mail(_settings(database)),
            *controllers(database),
        }
    )  # fmt: skip


def controllers(database: Session) -> Iterator[Target]:
    """What CloudStack commands besides hypervisors and storage, and what its settings name by URL: network controllers, devices, object storage, backup."""
    for what, table, name, place, port, usual in PROVIDERS:
        if _has(database, table):
            columns = f"{name} AS name, {place} AS a, {port or 'NULL'} AS port"
            still = "" if table in REMOVED_TOO else " WHERE removed IS NULL"
            for row in database.rows(f"SELECT {columns} FROM cloud.{table}{still}"):
                yield from _at_url(f"{what} {row['name'] or ''}".strip(), row["a"], _port(row["port"], usual))
    if _has(database, "host"):
        kinds = ", ".join(f"'{kind}'" for kind in DEVICES)
        for row in database.rows(f"SELECT name, type, private_ip_address AS a FROM cloud.host WHERE removed IS NULL AND type IN ({kinds})"):
            if row["type"] in DEVICES:
                yield from _at_url(f"network device {row['name']}", row["a"], 443)
    for what, names in URL_SETTINGS:
        for table in ("configuration", "data_center_details"):
            if _has(database, table):
                for row in database.rows(f"SELECT name, value FROM cloud.{table} WHERE name REGEXP %s", [names]):
                    if re.search(names, str(row["name"])) and "://" in str(row["value"]):
                        yield from _at_url(f"{what} of {row['name']}", row["value"], 443)


def _at_url(what: str, place: object, usual: int) -> Iterator[Target]:
    scheme, address, port = server_of(str(place or "").strip())
    if address and address != "localhost":
        yield Target(what, address, port or SCHEME_PORTS.get(scheme, usual))


def _managed_storage(database: Session) -> Iterator[Target]:
    """Primary storage that the management servers command by its own API [CloudStack: SolidFire, PowerFlex, Linstor, StorPool, FlashArray, Primera]."""
    if not _has(database, "storage_pool"):
        return
    pools = database.rows(
        "SELECT id, name, pool_type AS kind, host_address AS a, port FROM cloud.storage_pool WHERE removed IS NULL "
        "AND (managed = 1 OR COALESCE(storage_provider_name, 'DefaultPrimary') <> 'DefaultPrimary')"
    )
    for row in pools:
        for place in str(row["a"] or "").split(","):
            scheme, address, port = server_of(place.strip())
            if address and address != "localhost":
                usual = STORAGE_PORTS.get(str(row["kind"]), (SCHEME_PORTS.get(scheme, 443),))[0]
                yield Target(f"primary storage {row['name']}", address, port or _port(row["port"], usual))
        # Where its API is, when the pool's own address is that of its data [details such as mVip, url, powerflex.gw.url].
        for detail in database.rows(
            f"SELECT value AS v FROM cloud.storage_pool_details WHERE pool_id = {int(row['id'])} AND name REGEXP '{API_OF_STORAGE}'"
        ):
            scheme, address, port = server_of(str(detail["v"] or ""))
            if is_address(address) or "." in address:
                yield Target(f"primary storage {row['name']}", address, port or SCHEME_PORTS.get(scheme, 443))


def vcenters(database: Session) -> Iterator[Target]:
    """The vCenters of VMware's zones: hosts there are reached through them alone, by the management servers."""
    if _has(database, "vmware_data_center"):
        for row in database.rows("SELECT vcenter_host AS a FROM cloud.vmware_data_center"):
            yield from _at_url("vCenter", row["a"], 443)


def _has(database: Session, table: str) -> bool:
    there = database.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = %s", [table])
    return bool(there) and bool(database.value(f"SELECT COUNT(*) FROM cloud.{quote(table)}"))


def resolve(host: Access, names: Iterable[str]) -> dict[str, list[str]]:
    """The addresses that a server's own name service gives for names; names without one are left out."""
    names = list(names)
    if not names:
        return {}
    script = 'for n; do getent ahosts "$n" | while read -r a _; do echo "$n $a"; done; done | sort -u'
    found: dict[str, list[str]] = {}
    for line in host.run(["timeout", "20", "sh", "-c", script, "sh", *names], timeout=30, ok=None).stdout.splitlines():
        name, _, address = line.partition(" ")
        if is_address(address):
            found.setdefault(name, []).append(address)
    return found


def _split(text: str) -> tuple[str, int]:
    """An address with or without a port; IPv6 with a port is written [2001:db8::1]:25."""
    match = re.match(r"^\[(?P<six>[^\]]+)\](?::(?P<p6>\d+))?$|^(?P<any>[^:]+):(?P<p4>\d+)$", text)
    if not match:
        return text.strip("[]"), 0
    return match["six"] or match["any"], int(match["p6"] or match["p4"] or 0)


def _port(value: object, default: int) -> int:
    try:
        port = int(str(value))
    except ValueError:
        return default
    return port if 0 < port < 65536 else default


def _is_local(text: str) -> bool:
    return is_address(text) and (ipaddress.ip_address(text).is_loopback or ipaddress.ip_address(text).is_link_local)
