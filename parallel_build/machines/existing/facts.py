"""What is true of a server that is there already, before anything is done to it; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from parallel_build.errors import CommandFailed
from parallel_build.remote.access import Access, AccountUnfit
from parallel_build.remote.clock import read_clock
from parallel_build.remote.package_shell import SHELL

SYSTEM_SCHEMAS = {"mysql", "performance_schema", "sys", "information_schema"}
DATA_FOLDER = "/var/lib/mysql"
# $1: the usual data folder, which may be a link to a different disk. Databases of a server whose option files name a folder of its own are there.
DATA = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
data() {
  if [ -L "$1" ]; then say linked "$(readlink -f "$1")"; fi
  own=$(my_print_defaults mysqld server mariadb mariadbd 2>/dev/null | sed -n 's/^--datadir=//p') || true
  for folder in "$1" $own; do
    if [ -d "$folder" ]; then find "$folder/" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name '#*' -type d -printf 'schema\t%f\n'; fi
  done
  [ -d "$1" ] || return 0
  say data "$(find "$1/" -mindepth 1 -maxdepth 1 ! -name lost+found | wc -l)"
  say datasize "$(du -sk "$1/" | cut -f 1)"
}
"""

_SCRIPT = (
    SHELL
    + DATA
    + r"""
. /etc/os-release
say uid "$(id -u)"
say system "${PRETTY_NAME:-unknown}"
say family "${ID:-} ${ID_LIKE:-}"
say release "${VERSION_ID:-}"
case $family in debian) tools="apt-get dpkg-query" ;; *) tools="dnf rpm" ;; esac
handled=yes
for tool in $tools; do command -v "$tool" >/dev/null || handled=no; done
if [ "$handled" = yes ]; then
  say handled yes
  say audit "$(damage | head -n 1)"
  for package in $(packages | awk -F '\t' '$3 != "not-installed" && $1 ~ /^cloudstack/ {sub(":.*", "", $1); print $1}'); do
    say cloudstack "$package"
  done
fi
say selinux "$(getenforce 2>/dev/null || echo none)"
if [ -d /run/systemd/system ]; then say systemd yes; fi
say processors "$(nproc)"
say memory "$(awk '/^MemTotal:/ {print $2}' /proc/meminfo)"
df -Pk /var/lib | awk 'NR == 2 {print "size\t" $2; print "free\t" $4}'
say hostname "$(hostname)"
say resolved "$(getent ahosts "$(hostname)" | awk 'NR == 1 {print $1}')"
ip -o address show | awk '{sub("/.*", "", $4); print "address\t" $4}'
for path in /etc/cloudstack /usr/share/cloudstack-management /usr/share/cloudstack-agent /var/cloudstack /var/lib/cloudstack; do
  if [ -e "$path" ]; then say cloudstack "$path"; fi
done
for unit in mariadb mysql mysqld; do
  case $(systemctl show "$unit" -p LoadState 2>/dev/null | cut -d= -f2-) in
    loaded|masked) say database "$(systemctl show "$unit" -p Id | cut -d= -f2-)" ;;
  esac
done
data /var/lib/mysql
ss -Hltn | awk '{n = split($4, part, ":"); print "port\t" part[n]}'
"""
)


@dataclass(frozen=True)
class ServerFacts:
    """Facts of one server.

    Attributes:
        root: the account of the configuration becomes root there.
        problem: why not, in the server's words.
        login: the account that logs in.
        family: os-release's ID and ID_LIKE.
        memory: MiB.
        size, free: MiB of the file system that /var/lib is on.
        resolved: the address its own host name stands for there; "" for none.
        cloudstack: packages and paths of CloudStack's that are there.
        database_units: units of a database server that are known.
        schemas: databases in /var/lib/mysql, and in the folder that a server's option files name, without the server's own.
        linked: where /var/lib/mysql leads, where it is a link; "" where it is none.
        data: entries in /var/lib/mysql; data_size: MiB.
        ports: TCP ports that something listens on.
        handled: its family's package programs are there.
        audit: their first complaint; "" when there is none.
        selinux: Enforcing, Permissive, Disabled, or none where there is none.
        clock: seconds that its clock is ahead of the operator's machine.
    """

    name: str
    login: str
    root: bool = False
    problem: str = ""
    system: str = ""
    family: str = ""
    handled: bool = False
    selinux: str = ""
    systemd: bool = False
    audit: str = ""
    processors: int = 0
    memory: int = 0
    size: int = 0
    free: int = 0
    hostname: str = ""
    resolved: str = ""
    addresses: tuple[str, ...] = ()
    cloudstack: tuple[str, ...] = ()
    database_units: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    linked: str = ""
    data: int = 0
    data_size: int = 0
    ports: tuple[int, ...] = ()
    clock: float = 0.0


def gather(host: Access) -> ServerFacts:
    """Ask the server.

    Raises:
        ConnectionFailed: it can't be reached.
    """
    try:
        text = host.script(_SCRIPT, timeout=120).stdout
    except (CommandFailed, AccountUnfit) as error:
        # A command that root could not start at all: sudo's words say why.
        return ServerFacts(host.name, host.user, problem=error.cause or error.fact)
    return parse(host.name, host.user, text, read_clock(host).ahead)


def parse(name: str, login: str, text: str, clock: float) -> ServerFacts:
    """Facts from the script's lines, `KEY<tab>VALUE`."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("\t")
        values.setdefault(key, []).append(value.strip())

    def one(key: str) -> str:
        return values.get(key, [""])[0]

    def number(key: str) -> int:
        return int(one(key) or 0)

    return ServerFacts(
        name=name,
        login=login,
        root=one("uid") == "0",
        system=one("system"),
        family=one("family").strip(),
        handled=one("handled") == "yes",
        selinux=one("selinux"),
        systemd=one("systemd") == "yes",
        audit=one("audit"),
        processors=number("processors"),
        memory=number("memory") // 1024,
        size=number("size") // 1024,
        free=number("free") // 1024,
        hostname=one("hostname"),
        resolved=one("resolved"),
        addresses=tuple(values.get("address", [])),
        cloudstack=tuple(dict.fromkeys(values.get("cloudstack", []))),
        database_units=tuple(dict.fromkeys(unit.removesuffix(".service") for unit in values.get("database", []))),
        schemas=tuple(sorted(set(values.get("schema", [])) - SYSTEM_SCHEMAS)),
        linked=one("linked"),
        data=number("data"),
        data_size=number("datasize") // 1024,
        ports=tuple(sorted({int(port) for port in values.get("port", []) if port.isdigit()})),
        clock=clock,
    )
