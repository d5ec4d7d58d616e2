"""What is true of one of the original's servers: its file systems and CloudStack's units."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallel_build.remote.access import Access

# Where CloudStack and database servers write. Those that are not there are left out; two on one file system count once.
PLACES = ("/", "/tmp", "/var/log", "/var/lib/mysql", "/var/lib/cloudstack", "/var/cloudstack/management")  # noqa: S108 - looked at only
READ = r"""
for place; do [ -d "$place" ] && df -P -k "$place" | tail -n 1; done
echo units
for unit in cloudstack-management cloudstack-usage cloudstack-agent mariadb mysql mysqld; do
  echo "$unit $(systemctl is-active "$unit" 2>/dev/null || true) $(systemctl is-enabled "$unit" 2>/dev/null || true)"
done
echo names
{ hostname; hostname -f; hostname -A; } 2>/dev/null || true
"""


@dataclass(frozen=True)
class FileSystem:
    """A file system, sizes in bytes."""

    mount: str
    size: int
    free: int


@dataclass(frozen=True)
class ServerFacts:
    """Facts of a server.

    Attributes:
        file_systems: those that CloudStack or a database server writes to.
        units: unit -> (active, enabled) in systemd's words; empty texts where there is none.
        names: host names, short and full, by which the server calls itself.
    """

    file_systems: list[FileSystem] = field(default_factory=list)
    units: dict[str, tuple[str, str]] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def read(host: Access) -> ServerFacts:
    """Ask a server, with one command."""
    shown = host.script(READ, PLACES).stdout
    disks, _, rest = shown.partition("units\n")
    units, _, names = rest.partition("names\n")
    found: dict[str, FileSystem] = {}
    for line in disks.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1].isdigit() and words[3].isdigit():
            mount = " ".join(words[5:])
            found[mount] = FileSystem(mount, int(words[1]) * 1024, int(words[3]) * 1024)
    states = {}
    for line in units.splitlines():
        name, _, state = line.partition(" ")
        active, _, enabled = state.partition(" ")
        states[name] = (active.strip(), enabled.strip())
    return ServerFacts(sorted(found.values(), key=lambda each: each.mount), states, tuple(dict.fromkeys(names.split())))
