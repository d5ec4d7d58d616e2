"""Programs on an original server that may start or stop its units, or move addresses, by themselves: found and judged by their own configuration.

Changes nothing. What such a program could do is taken from its files; files that can't be read leave it unknown, which is never "nothing".
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

from parallel_build.cloudstack.services import DATABASE_UNITS, MANAGEMENT, USAGE
from parallel_build.remote.access import Access

# kind -> its units, and where its configuration is. Corosync alone does nothing to a service: Pacemaker does.
MANAGERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pacemaker": (("pacemaker",), ("/var/lib/pacemaker/cib/cib.xml",)),
    "heartbeat": (("heartbeat",), ("/etc/ha.d/haresources", "/var/lib/heartbeat/crm/cib.xml")),
    "rgmanager": (("rgmanager",), ("/etc/cluster/cluster.conf",)),
    "keepalived": (("keepalived",), ("/etc/keepalived/*.conf", "/etc/keepalived/*/*.conf")),
    "ucarp": (("ucarp",), ("/etc/ucarp/*", "/etc/default/ucarp", "/etc/network/interfaces", "/etc/network/interfaces.d/*")),
    "monit": (
        ("monit",),
        ("/etc/monitrc", "/etc/monit/monitrc", "/etc/monit.conf", "/etc/monit.d/*", "/etc/monit/conf.d/*", "/etc/monit/conf-enabled/*"),
    ),
    "supervisor": (("supervisor", "supervisord"), ("/etc/supervisord.conf", "/etc/supervisor/*.conf", "/etc/supervisor*.d/*", "/etc/supervisor/conf.d/*")),
    "patroni": (("patroni",), ("/etc/patroni.yml", "/etc/patroni/*")),
    "vip-manager": (("vip-manager",), ("/etc/default/vip-manager*", "/etc/vip-manager*")),
    "orchestrator": (("orchestrator",), ("/etc/orchestrator.conf.json", "/usr/local/orchestrator/orchestrator.conf.json")),
    "mha": (("mha4mysql-manager", "mha-manager", "masterha_manager"), ("/etc/mha*", "/etc/mha/*", "/etc/masterha*", "/etc/masterha/*")),
    "replication-manager": (("replication-manager", "replication-manager-osc", "replication-manager-pro"), ("/etc/replication-manager/*",)),
    "maxscale": (("maxscale",), ("/etc/maxscale.cnf", "/etc/maxscale.cnf.d/*", "/var/lib/maxscale/maxscale.cnf.d/*")),
    "mmm": (("mysql-mmm-monitor", "mysql-mmm-agent"), ("/etc/mysql-mmm/*",)),
    # An agent that unmasks what it starts [puppet, lib/puppet/provider/service/systemd.rb]; those that don't can start nothing that is masked.
    "puppet": (("puppet", "puppet-run.timer", "puppet.timer"), tuple(
        f"catalog:{folder}/client_data/catalog/*.json"
        for folder in ("/opt/puppetlabs/puppet/cache", "/var/lib/puppet", "/var/lib/puppet/state", "/var/cache/puppet")
    )),
}  # fmt: skip
# What these do is not written in files of units and addresses: they start servers, or make a different one the source, by their trade.
BY_TRADE = frozenset({"orchestrator", "mha", "replication-manager", "mmm"})

READ = r"""
show() {
  for f in $1; do
    if [ ! -f "$f" ]; then continue; fi
    if [ -r "$f" ]; then printf 'file %s ' "$f"; head -c 262144 "$f" | base64 | tr -d '\n'; echo; else echo "unreadable $f"; fi
  done
}
services() {
  for f in $1; do
    if [ ! -f "$f" ]; then continue; fi
    if [ -r "$f" ]; then
      printf 'file %s ' "$f"; tr '{}' '\n\n' <"$f" | grep -A 1 '"type": *"Service"' | head -c 262144 | base64 | tr -d '\n'; echo
    else echo "unreadable $f"; fi
  done
}
for each; do
  case $each in
    path=catalog:*) services "${each#path=catalog:}";;
    kind=*) echo "kind ${each#kind=}";;
    unit=*) if systemctl is-active --quiet "${each#unit=}" 2>/dev/null; then echo active; fi
            case $(systemctl is-enabled "${each#unit=}" 2>/dev/null) in enabled*|generated) echo enabled;; esac;;
    path=*) show "${each#path=}";;
  esac
done
"""
UNITS = (*DATABASE_UNITS, "mysqld_safe", "mariadbd", "galera", MANAGEMENT, USAGE)
UNIT_WORD = re.compile(rf"(?<![\w-])({'|'.join(sorted(UNITS, key=len, reverse=True))})(?:\.service|@[\w.-]*)?(?![\w-])", re.IGNORECASE)
ACTS = re.compile(
    r"\b(start|stop|restart|try-restart|reload-or-restart|kill|pkill|killall|isolate|mask|unmask|enable|disable|promote|failover)\b",
    re.IGNORECASE,
)
ASKS = re.compile(r"\b(pkill|killall|kill)\s+-0\b")  # whether a process is there
ADDRESS = re.compile(r"(?<![\w.:])(\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f]*)(?![\w.])")
SERVICE = re.compile(r'"type": *"Service".*?"title": *"([^"]+)"')
SERVICE_NAME = re.compile(r'"name": *"([^"]+)"')
KEPT_UP = re.compile(r'"ensure": *(?:"running"|true)|"enable": *(?:true|"true")')
SCRIPT = re.compile(r"(?<![\w.])(/(?:etc|usr|opt|root|home|srv|var)/[A-Za-z0-9_./-]+)")


@dataclass(frozen=True)
class ClusterManager:
    """One such program on one server.

    Attributes:
        kind: which.
        units: of ours that it can start or stop.
        addresses: that it can move.
        unknown: why what it can do is not known, "" where it is.
    """

    kind: str
    units: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    unknown: str = ""


@dataclass
class _Found:
    running: bool = False
    files: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def read(host: Access) -> list[ClusterManager]:
    """Those that run, or start at boot."""
    words: list[str] = []
    for kind, (units, paths) in MANAGERS.items():
        words += [f"kind={kind}", *(f"unit={unit}" for unit in units)]
        words += [f"path={path}" for path in paths]
    found = _parse(host.script(READ, words).stdout)
    managers = {kind: each for kind, each in found.items() if each.running}
    for each in managers.values():
        if scripts := sorted({path for text in each.files.values() for path in SCRIPT.findall(text)} - set(each.files)):
            started = _parse(host.script(READ, ["kind=scripts", *(f"path={path}" for path in scripts)]).stdout)["scripts"]
            each.files |= started.files
    return [judge(kind, each.files, each.unreadable) for kind, each in managers.items()]


def _parse(text: str) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    current = _Found()
    for line in text.splitlines():
        what, _, rest = line.partition(" ")
        if what == "kind":
            current = found.setdefault(rest, _Found())
        elif what in ("active", "enabled"):
            current.running = True
        elif what == "unreadable":
            current.unreadable.append(rest)
        elif what == "file":
            path, _, content = rest.rpartition(" ")
            current.files[path] = base64.b64decode(content).decode(errors="replace")
    return found


def judge(kind: str, files: dict[str, str], unreadable: list[str] | None = None) -> ClusterManager:
    """What a program can do, by its files."""
    if kind in BY_TRADE:
        return ClusterManager(kind, ("mysqld",))
    if unreadable or not files:
        return ClusterManager(kind, unknown=f"can't read {', '.join(unreadable)}" if unreadable else "none of its files was found")
    texts = {path: text if kind == "puppet" else _without_comments(text) for path, text in files.items()}
    units = {unit for path, text in texts.items() for unit in _units(kind, path, text)}
    addresses = {address for text in texts.values() for address in _addresses(kind, text)}
    return ClusterManager(kind, tuple(sorted(units)), tuple(sorted(addresses)))


def _units(kind: str, path: str, text: str) -> set[str]:
    if path.endswith("cib.xml"):
        return _resources(text)
    if kind == "puppet":
        return _services(text)
    if kind in ("heartbeat", "rgmanager", "supervisor"):
        return {match.group(1).lower() for match in UNIT_WORD.finditer(text)}  # naming a program there is running it
    return {match.group(1).lower() for line in text.splitlines() if ACTS.search(line) for match in UNIT_WORD.finditer(line)}


def _services(text: str) -> set[str]:
    """Services that a catalog keeps running or enabled: each resource of it is a line, its parameters are the next."""
    lines, found = text.splitlines(), set[str]()
    for line, parameters in zip(lines, [*lines[1:], ""], strict=True):
        title, name = SERVICE.search(line), SERVICE_NAME.search(parameters)
        unit = UNIT_WORD.search((name or title).group(1)) if title else None
        if unit and KEPT_UP.search(parameters):
            found.add(unit.group(1).lower())
    return found


def _addresses(kind: str, text: str) -> set[str]:
    if text.lstrip().startswith("<"):
        return _nvpairs(text)
    if kind == "keepalived":
        blocks = re.findall(r"virtual_ipaddress(?:_excluded)?\s*\{([^}]*)\}", text)
        servers = re.findall(r"^\s*virtual_server\s+(\S+)", text, re.MULTILINE)
        return {match for block in [*blocks, *servers] for match in ADDRESS.findall(block)}
    if kind in ("heartbeat", "ucarp", "vip-manager", "patroni"):
        return set(ADDRESS.findall(text))
    return set()


def _resources(text: str) -> set[str]:
    """Pacemaker's resources that are one of the units, by systemd, an init script or an agent of its own."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - a file of the operator's own server, entities are not resolved
    except ElementTree.ParseError:
        return {match.group(1).lower() for match in UNIT_WORD.finditer(text)}
    kinds = [each.get("type", "").lower() for each in root.iter("primitive")]
    return {kind for kind in kinds if UNIT_WORD.search(kind)}


def _nvpairs(text: str) -> set[str]:
    """Addresses of resources in Pacemaker's base, and in other XML every address that a resource `ip` has."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - as above
    except ElementTree.ParseError:
        return set(ADDRESS.findall(text))
    values = [each.get("value", "") for each in root.iter("nvpair") if each.get("name") in ("ip", "ipaddr", "cidr", "address")]
    values += [each.get("address", "") for each in root.iter("ip")]
    return {match for value in values for match in ADDRESS.findall(value)}


def _without_comments(text: str) -> str:
    text = ASKS.sub("", text)
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "!", ";", "//")))
