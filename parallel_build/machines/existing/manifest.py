"""How a server was found: written down on the server itself before anything is done to it, and compared with what is there later.

The manifest is a folder that appears complete or not at all (it is made next to its place and renamed). It holds the lists of packages, accounts
and paths, copies of small files that package tools rewrite, and, where a database server was installed already, a copy of its data folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.package_shell import SHELL
from parallel_build.remote.transactions import FOUND

FOLDER = FOUND
TAKE_TIMEOUT, LIST_TIMEOUT = 1800.0, 900.0

# Rewritten by package tools whenever they run, and put back only when every package is as it was found.
COPIED = (
    "/etc/group-", "/etc/gshadow-", "/etc/ld.so.cache", "/etc/passwd-", "/etc/shadow-", "/etc/subgid-", "/etc/subuid-",
    "/var/cache/debconf", "/var/cache/ldconfig", "/var/cache/man", "/var/lib/alternatives", "/var/lib/apt/extended_states", "/var/lib/dpkg/alternatives",
    "/var/lib/dpkg/available", "/var/lib/dpkg/available-old", "/var/lib/dpkg/diversions", "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride", "/var/lib/dpkg/statoverride-old", "/var/lib/dpkg/status-old", "/var/lib/dpkg/triggers",
    "/var/lib/systemd/catalog", "/var/lib/ucf",
)  # fmt: skip
# Everybody's, and CloudStack's set-up adds lines for its user to them [CloudStack 4.22 python/lib/cloudutils/serviceConfigServer.py].
EDITED = ("/etc/security/limits.conf", "/etc/sudoers")
# Large, and replaced by renaming, never written in place: hard links keep them as they were for nothing.
LINKED = ("/var/cache/apt", "/var/cache/dnf", "/var/lib/apt/lists")

LIST = (
    SHELL
    + r"""
starts=/
for folder in /boot /etc /home /opt /root /srv /usr /usr/local /var /var/cache /var/lib /var/lib/mysql /var/log; do
  if mountpoint -q "$folder"; then starts="$starts $folder"; fi
done
paths() {
  find $starts -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path "$1" \
    -o -path "$1.new" \) -prune \
    -o -printf '%y\t%m\t%u:%g\t%s\t%l\t%p\0' | sort -z -u
}
"""
)

_TAKE = (
    LIST
    + r"""
folder=$1 unit=$2; shift 2
new=$folder.new
rm -rf "$new"
mkdir -m 700 "$new" "$new/copies"
packages >"$new/packages"
cut -d: -f1 /etc/passwd | sort >"$new/users"
cut -d: -f1 /etc/group | sort >"$new/groups"
cp -p /etc/hosts "$new/hosts"
paths "$folder" | gzip >"$new/paths"
# From the root and with relative names: cp looks for the parents' attributes there.
cd /
mode=copy
for path; do
  if [ "$path" = -- ]; then mode=link; continue; fi
  [ -e "$path" ] || continue
  if [ "$mode" = link ]; then
    cp -al --parents "${path#/}" "$new/copies" 2>/dev/null || { rm -rf "$new/copies$path"; cp -a --parents "${path#/}" "$new/copies"; }
  else
    cp -a --parents "${path#/}" "$new/copies"
  fi
done
# Behind the lists and the copies: package tools may write to their caches even when they are only asked.
asked >"$new/asked-for"
if [ "$unit" != - ]; then
  was=$(systemctl is-active "$unit" || true)
  # Whatever happens to the copy, the server runs on as it did.
  trap 'if [ "$was" = active ]; then systemctl start "$unit"; fi' EXIT
  systemctl stop "$unit"
  cp -a --parents var/lib/mysql "$new/copies"
fi
cat >"$new/record.json" <<'RECORD'
"""
)


@dataclass(frozen=True)
class Record:
    """What is noted besides the lists.

    Attributes:
        stack: whose manifest it is.
        taken: when, ISO 8601 in UTC.
        named: packages that this stack installs by name.
        units: units that were known: name -> [active, enabled, masked].
        unit: the database server that was there, whose data folder is among the copies; "" for none.
    """

    stack: str
    taken: str
    named: list[str] = field(default_factory=list)
    units: dict[str, list[bool]] = field(default_factory=dict)
    unit: str = ""

    @property
    def data_kept(self) -> bool:
        """Whether a copy of the data folder is among the copies."""
        return bool(self.unit)


KNOWN = tuple(each.name for each in fields(Record))


@dataclass(frozen=True)
class Entry:
    """One path of a file system.

    Attributes:
        kind: find's letter: f, d, l ...; mode: octal; owner: `user:group`; size in bytes; target of a link.
    """

    kind: str
    mode: str
    owner: str
    size: int
    target: str

    def same(self, other: Entry) -> bool:
        """Whether nothing that a list can tell has changed; a folder's size says nothing."""
        return (self.kind, self.mode, self.owner, self.target) == (other.kind, other.mode, other.owner, other.target) and (
            self.kind == "d" or self.size == other.size
        )


Paths = dict[str, Entry]
Packages = dict[str, tuple[str, str]]


def parse_paths(text: str) -> Paths:
    """The list of paths from `find`'s records."""
    found: Paths = {}
    for line in text.split("\0"):
        parts = line.split("\t", 5)
        if len(parts) == 6:
            found[parts[5]] = Entry(parts[0], parts[1], parts[2], int(parts[3]), parts[4])
    return found


def parse_packages(text: str) -> Packages:
    """Package (`name:architecture`) -> version and state, from the tools' list; what was never installed is left out."""
    found: Packages = {}
    for line in text.splitlines():
        name, version, state = line.split("\t")
        if state != "not-installed":
            found[name] = (version, state)
    return found


class Manifest:
    """The manifest on one server.

    Args:
        host: session to it.
    """

    def __init__(self, host: Access) -> None:
        self.host = host

    def record(self) -> Record | None:
        """The record, None where nothing was ever begun. What a later version of this project has added is left alone.

        Raises:
            StepFailed: there is one, and nobody can read it: that is no "nothing was begun".
        """
        raw = self.host.read(f"{FOLDER}/record.json")
        if raw is None:
            return None
        try:
            document = json.loads(raw)
            return Record(**{name: document[name] for name in KNOWN if name in document})
        except (ValueError, TypeError) as error:
            raise StepFailed(
                f"{self.host.name}: {FOLDER}/record.json can't be read: {type(error).__name__}",
                "it says whose the server is and how it was found, and is empty or torn",
                f"see whether {self.host.name}'s disk is damaged; bring the file back from a backup. Where it is lost, nothing can be put back there: "
                f"move {FOLDER} away there, and install the server again",
            ) from None

    def take(self, record: Record) -> None:
        """Write the manifest. A database server that is there is stopped for the copy of its data, and started again."""
        text = _TAKE + json.dumps(asdict(record), sort_keys=True) + '\nRECORD\nsync\nmv -T "$new" "$folder"\nsync "$(dirname "$folder")"\n'
        self.host.script(text, [FOLDER, record.unit or "-", *COPIED, *EDITED, "--", *LINKED], timeout=TAKE_TIMEOUT)

    def packages(self) -> Packages:
        """Packages as they were found."""
        return parse_packages(self._text("packages"))

    def lines(self, name: str) -> list[str]:
        """One of the plain lists: users, groups."""
        return self._text(name).split()

    def hosts(self) -> bytes:
        """/etc/hosts as it was found."""
        return self.host.read(f"{FOLDER}/hosts") or b""

    def paths(self) -> Paths:
        """Every path as it was found."""
        shown = self.host.run(["zcat", "-f", f"{FOLDER}/paths"], timeout=LIST_TIMEOUT).stdout
        return parse_paths(shown)

    def packages_now(self) -> Packages:
        """Packages as they are."""
        return parse_packages(self.host.script(LIST + "packages", timeout=LIST_TIMEOUT).stdout)

    def paths_now(self) -> Paths:
        """Every path as it is, without this tool's own folder."""
        return parse_paths(self.host.script(LIST + 'paths "$1"', [FOLDER], timeout=LIST_TIMEOUT).stdout)

    def _text(self, name: str) -> str:
        return (self.host.read(f"{FOLDER}/{name}") or b"").decode(errors="replace")


def summary(before: Packages, after: Packages) -> dict[str, Any]:
    """What differs between two lists of packages."""
    return {
        "added": sorted(set(after) - set(before)),
        "missing": sorted(set(before) - set(after)),
        "changed": sorted(name for name in set(before) & set(after) if before[name] != after[name]),
    }
