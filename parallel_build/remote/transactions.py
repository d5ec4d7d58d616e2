"""What our own package transactions bring to a server that existed before: marked in apt's history, and every path that appears meanwhile noted.

Only on a server whose state was written down first (`machines.existing.manifest`); on a machine that a platform made nothing is noted.
"""

from __future__ import annotations

from collections.abc import Mapping

from parallel_build.remote.access import Access

FOUND = "/var/lib/parallel-build-found"
MARK = "CloudstackParallelBuild=yes"  # an option that apt does not know and writes into its history with the command
LIST_TIMEOUT = 600.0

_LIST = r"""
list() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /home -o -path /var/log \
    -o -path /var/cache -o -path "$1" -o -path "$1.new" \) -prune -o -print0 | LC_ALL=C sort -z
}
accounts() { cut -d: -f1 /etc/passwd /etc/group | LC_ALL=C sort -u; }
"""
# A list that an interrupted transaction left stays: what it brought counts as well.
_BEGIN = (
    _LIST
    + r"""
if [ ! -e "$1/record.json" ] || [ -e "$1/before" ]; then exit 0; fi
accounts >"$1/before.accounts"
list "$1" >"$1/before.new"
mv "$1/before.new" "$1/before"
"""
)
_END = (
    _LIST
    + r"""
[ -e "$1/before" ] || exit 0
known() { [ ! -e "$1" ] || cat "$1"; }
{ known "$1/appeared.accounts"; accounts | LC_ALL=C comm -13 "$1/before.accounts" -; } >"$1/appeared.accounts.new"
{ known "$1/appeared"; list "$1" | LC_ALL=C comm -z -13 "$1/before" -; } >"$1/appeared.new"
sync "$1/appeared.new" "$1/appeared.accounts.new"
mv "$1/appeared.accounts.new" "$1/appeared.accounts"
mv "$1/appeared.new" "$1/appeared"
rm -f "$1/before" "$1/before.accounts"
"""
)

# apt's history, oldest entry first: `Start-Date`, `Commandline`, `Install`.
_HISTORY = r"""
for file in $(ls -tr /var/log/apt/history.log* 2>/dev/null); do zcat -f "$file"; echo; done
"""


def begin(host: Access) -> None:
    """Before packages are installed."""
    host.script(_BEGIN, [FOUND], timeout=LIST_TIMEOUT)


def end(host: Access) -> None:
    """After it, also where it failed or was interrupted, and once more before an undo."""
    host.script(_END, [FOUND], timeout=LIST_TIMEOUT, cancellable=False)


def appeared(host: Access) -> list[str]:
    """Every path that appeared while packages were installed by us."""
    return [path for path in (host.read(f"{FOUND}/appeared") or b"").decode(errors="surrogateescape").split("\0") if path]


def appeared_accounts(host: Access) -> set[str] | None:
    """Users and groups that appeared while packages were installed by us; None where nobody noted any."""
    content = host.read(f"{FOUND}/appeared.accounts")
    return None if content is None else set(content.decode(errors="replace").split())


def installers(host: Access) -> dict[str, bool]:
    """Package -> whether our transaction installed it last; of what history does not name nothing is known."""
    return parse_history(host.script(_HISTORY, timeout=LIST_TIMEOUT).stdout)


def parse_history(text: str) -> dict[str, bool]:
    """The same from the text of apt's history, entries parted by empty lines; later ones count."""
    entries = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "Start-Date" in fields and "Install" in fields:
            entries.append(fields)
    found: dict[str, bool] = {}
    for fields in sorted(entries, key=lambda each: each["Start-Date"]):
        ours = MARK in fields.get("Commandline", "").split()
        found |= dict.fromkeys(_names(fields), ours)
    return found


def _names(fields: Mapping[str, str]) -> list[str]:
    """`gawk:amd64 (1:5.2.1-2, automatic), libmpfr6:amd64 (4.2.0-1, automatic)` -> the names.

    Without the architecture: apt gives a package for all of them this server's, dpkg says `all`.
    """
    return [part.split(":")[0].split()[0] for part in fields["Install"].replace("), ", ")\n").split("\n") if part.split()]
