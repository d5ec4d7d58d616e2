"""Which file systems of a server are full: what a failed start is asked first, since a full disk also swallows the log lines that would say so."""

from __future__ import annotations

from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.remote.access import Access

LITTLE = 1024  # KiB: less than a log's next lines and a program's temporary files take
NO_SPACE = ("No space left on device", "Errcode: 28", "error 28")  # ENOSPC in the words of libc, Java and the database servers
MANAGEMENT_PATHS = ("/var/log/cloudstack/management", "/etc/cloudstack/management", "/var/lib", "/tmp", "/run")  # noqa: S108 - looked at only

# Two tables of a path's file system, one of its room and one of its inodes; a path that is not there has none.
_ASK = """
for p; do [ -e "$p" ] || continue
  df -P -k "$p" | tail -n 1 | while read -r _ _ _ free _ at; do echo "$at $free KiB"; done
  df -P -i "$p" | tail -n 1 | while read -r _ all _ free _ at; do [ "$all" = 0 ] || echo "$at $free inodes"; done
done
"""


def full(host: Access, paths: tuple[str, ...] = MANAGEMENT_PATHS) -> list[str]:
    """The full file systems that these paths are on, in words; empty where there is none, or the server can't be asked."""
    try:
        shown = host.script(_ASK, paths).stdout
    except (CommandFailed, ConnectionFailed):
        return []
    found = []
    for line in dict.fromkeys(shown.splitlines()):
        place, _, rest = line.partition(" ")
        number, _, unit = rest.partition(" ")
        if number.isdigit() and int(number) < (LITTLE if unit == "KiB" else 1):
            found.append(f"{place} of {host.name} is full ({number} {unit} free)")
    return found


def says_so(text: str) -> bool:
    """Whether a program's words are about a full disk."""
    return any(words in text for words in NO_SPACE)
