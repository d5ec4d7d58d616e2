"""Shell for files on a server that are there whole or not at all, wherever the server, its disk or the connection ends in between.

Each is written under another name, synced, and renamed. What was cut off has that other name, and nobody takes it for the file.
"""

from __future__ import annotations

# $1: the file, $2: its mode, $3: its owner; the content comes as input. What a process that is gone left of an earlier try is removed: it may be secret.
REPLACE_FILE = (
    'umask 077; for t in "$1".new.*; do [ ! -e "$t" ] || [ -e "/proc/${t##*.}" ] || rm -f "$t"; done; t="$1.new.$$"; '
    '{ cat >"$t" && chmod "$2" "$t" && chown "$3" "$t" && sync "$t" && mv -f "$t" "$1"; } || { rm -f "$t"; exit 1; }; sync "$(dirname "$1")"'
)
# $1: a file, $2: the name of its copy.
COPY = 'cp -p "$1" "$2.part" && sync "$2.part" && mv -f "$2.part" "$2"'
KEEP = f'[ -e "$2" ] || {{ {COPY}; }}'  # the first copy stays
