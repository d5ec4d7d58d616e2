"""What an original management server reports about itself: its names, its number in the cluster, and the database that its own files lead to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from parallel_build.cloudstack import properties
from parallel_build.cloudstack.properties import DB_PROPERTIES
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.remote.access import Access

DEFAULT_PORT = 3306
USAGE_PROPERTIES = "/etc/cloudstack/usage/db.properties"
# CloudStack's number of a management server is the MAC address of one of its interfaces [com.cloud.utils.net.MacAddress].
WHO = (
    "hostname; hostname -f 2>/dev/null || echo; hostname -s 2>/dev/null || echo; echo =\n"
    "cat /sys/class/net/*/address 2>/dev/null || true; echo =\n"
    "cat /etc/machine-id 2>/dev/null || echo"
)
NOBODYS = frozenset({"", "localhost", "localhost.localdomain"})


@dataclass(frozen=True)
class DatabaseTarget:
    """A database server that db.properties names.

    Attributes:
        key: the key that names it.
        host: as written.
        port: of it.
        addresses: what the name stands for on this management server.
        file: that has it, where that is not the management server's own.
    """

    key: str
    host: str
    port: int = DEFAULT_PORT
    addresses: tuple[str, ...] = ()
    file: str = ""

    @property
    def place(self) -> str:
        """The key, and the file where it is another than usual."""
        return f"{self.key} in {self.file}" if self.file else self.key


@dataclass(frozen=True)
class ManagementNode:
    """One original management server.

    Attributes:
        names: its own host names, in lower case.
        msids: numbers that it may have in `mshost`.
        machine: its machine id.
        runs: its management unit runs; of a host of usage's own, the usage server.
        usage: its usage unit runs.
        targets: database servers that db.properties leads to; None where there is no such file.
        user: account in db.properties, "" for none.
    """

    names: frozenset[str] = frozenset()
    msids: frozenset[int] = frozenset()
    machine: str = ""
    runs: bool = True
    usage: bool = False
    targets: tuple[DatabaseTarget, ...] | None = ()
    users: frozenset[str] = field(default_factory=frozenset)


def read(host: Access) -> ManagementNode:
    """Read it; changes nothing. A usage server that runs there has a db.properties of its own, as a rule a link to the management server's."""
    found = _read(host, DB_PROPERTIES, MANAGEMENT)
    if not found.usage or found.targets is None:
        return found
    own = properties.read(host, USAGE_PROPERTIES) or {}
    known = {(target.key, target.host, target.port) for target in found.targets}
    more = [target for target in targets(own) if (target.key, target.host, target.port) not in known] if own else []
    return replace(
        found,
        targets=(*found.targets, *(replace(_resolved(host, target), file=USAGE_PROPERTIES) for target in more)),
        users=found.users | _users(own),
    )


def read_usage(host: Access) -> ManagementNode:
    """The same of a host of usage's own, which has a db.properties in usage's folder."""
    return _read(host, USAGE_PROPERTIES, USAGE)


def _read(host: Access, path: str, unit: str) -> ManagementNode:
    names, cards, machine = who(host)
    values = properties.read(host, path)
    units = {each: Services(host).state(each).active for each in {unit, USAGE}}
    return ManagementNode(
        names=names,
        msids=cards,
        machine=machine,
        runs=units[unit],
        usage=units[USAGE],
        targets=None if values is None else tuple(_resolved(host, target) for target in targets(values)),
        users=_users(values or {}),
    )


def _users(values: Mapping[str, str]) -> frozenset[str]:
    return frozenset(user for kind in ("cloud", "usage") if (user := values.get(f"db.{kind}.username", "").strip()))


def who(host: Access) -> tuple[frozenset[str], frozenset[int], str]:
    """A server's own names, its interfaces' addresses as numbers, and its machine id."""
    names, _, rest = host.script(WHO).stdout.partition("=\n")
    cards, _, machine = rest.partition("=\n")
    return (
        frozenset(name.lower() for line in names.splitlines() if (name := line.strip()).lower() not in NOBODYS),
        frozenset(int(card.replace(":", ""), 16) for card in cards.split() if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", card)) - {0},
        machine.strip(),
    )


def targets(values: Mapping[str, str]) -> list[DatabaseTarget]:
    """The database servers that db.properties names, in the order in which CloudStack would take them.

    `db.*.uri` wins over host and port; replicas count where `db.ha.enabled` is true [com.cloud.utils.db.TransactionLegacy].
    """
    found: list[DatabaseTarget] = []
    replicated = values.get("db.ha.enabled", "").strip().lower() == "true"
    for kind in ("cloud", "usage"):
        port = _port(values.get(f"db.{kind}.port", ""), DEFAULT_PORT)
        if uri := values.get(f"db.{kind}.uri", "").strip():
            found += _of_uri(f"db.{kind}.uri", uri)
            continue
        found.append(_of_word(f"db.{kind}.host", values.get(f"db.{kind}.host", "").strip(), port))
        for key in (f"db.{kind}.replicas", f"db.{kind}.slaves") if replicated else ():
            found += [_of_word(key, word.strip(), port) for word in values.get(key, "").split(",") if word.strip()]
    return found


def _of_uri(key: str, uri: str) -> list[DatabaseTarget]:
    """The servers of `jdbc:mysql://HOST:PORT,HOST:PORT/cloud?...`."""
    match = re.match(r"^[a-z:+]+//([^/?]*)", uri, re.IGNORECASE)
    words = match.group(1).rpartition("@")[2].split(",") if match else [""]
    return [_of_word(key, word.strip(), DEFAULT_PORT) for word in words]


def _of_word(key: str, word: str, port: int) -> DatabaseTarget:
    match = re.fullmatch(r"\[?([^\[\]]*?)\]?:(\d+)", word) if word.count(":") == 1 or word.startswith("[") else None
    if match:
        return DatabaseTarget(key, match.group(1), int(match.group(2)))
    return DatabaseTarget(key, word.strip("[]"), port)


def _port(text: str, default: int) -> int:
    return int(text) if text.strip().isdigit() else default


def _resolved(host: Access, target: DatabaseTarget) -> DatabaseTarget:
    return DatabaseTarget(target.key, target.host, target.port, tuple(addresses_of(host, target.host)) if target.host else ())


def addresses_of(host: Access, name: str) -> list[str]:
    """What a name stands for on a server; an address stands for itself."""
    shown = host.run(["getent", "ahosts", name], ok=None).stdout
    return sorted({name, *(line.split()[0] for line in shown.splitlines() if line.strip())})
