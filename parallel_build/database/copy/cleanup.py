"""What a copy leaves on the new server while it runs, and how a later start, or the undo, finds and clears it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from parallel_build.database.copy import bulk_load_settings
from parallel_build.database.server import processes
from parallel_build.errors import StepFailed
from parallel_build.remote import kept_note
from parallel_build.remote.access import Access
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.sql import Session, session

UNIT = "cutover-copy"
RUN_FOLDER = "/run/cutover-copy"  # a memory file system: what is secret in it never reaches a disk
RECORD = "/var/lib/cutover-copy/record.json"

# Ends the unit, then opens the writing end of each named pipe once: a server thread that waits for a writer there wakes up and ends.
END = r"""
unit=$1 run=$2 fifos=$3
if command -v systemctl >/dev/null && [ "$(systemctl is-active "$unit" 2>/dev/null)" != inactive ]; then
  systemctl stop "$unit" 2>/dev/null || true
  systemctl reset-failed "$unit" 2>/dev/null || true
fi
if [ -n "$fifos" ] && [ -d "$fifos" ]; then
  for pipe in "$fifos"/stream*; do
    [ -p "$pipe" ] || continue
    timeout 2 dd if=/dev/null of="$pipe" oflag=nonblock conv=notrunc 2>/dev/null || true
    rm -f "$pipe"
  done
  rmdir "$fifos" 2>/dev/null || true
fi
rm -rf "$run"
"""


@dataclass
class Record:
    """What is known of the last copy on a new server, kept on its disk.

    Attributes:
        schemas: databases being written.
        finished: the copy came to its end.
        settings: global settings changed for its time, with the values to put back.
        fifos: folder of the named pipes.
        report: of a finished copy that nothing follows yet, see `copying.CopyReport`.
        layers: tables that lost snapshots brought whole, `{"position": [file, offset], "tables": {"schema.table": digest}}`, oldest first; those of
            a finished copy are to be brought to its position (`align_snapshots`).
        origin, server: which original, and which run of the new server's database, they are right for (`detached`).
    """

    schemas: list[str] = field(default_factory=list)
    finished: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    fifos: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    origin: str = ""
    server: str = ""


def read_record(target: Access) -> Record | None:
    """The record of the last copy, or None.

    Raises:
        StepFailed: there is one, and nobody can read it: that is no "none".
    """
    return kept_note.read(
        target,
        RECORD,
        lambda known: Record(**known),
        cause="it names the databases of the last copy and the settings to put back, and is empty, torn or of another version",
        remedy=f"see whether {target.name}'s disk is damaged; stop {UNIT}.service there, restart the database server (settings of a copy end with it), "
        f"remove {RECORD}, then run the same command again: what is in the new databases is looked at before anything is written",
    )


def write_record(target: Access, record: Record) -> None:
    """Keep the record, synced to disk."""
    target.run(["mkdir", "-p", "-m", "700", RECORD.rpartition("/")[0]], cancellable=False)
    target.write(RECORD, json.dumps(asdict(record)))


def settle(target: Access) -> Record | None:
    """End whatever an interrupted copy left: its unit, its pipes, its sessions, its secrets; put changed settings back.

    What it wrote into the databases stays, see `copy.empty`. Idempotent.

    Returns:
        The record of the last copy, or None when there was none.
    """
    record = read_record(target)
    fifos = record.fifos if record else ""
    target.run(["sh", "-s", "--", UNIT, RUN_FOLDER, fifos], input="set -eu\n" + END, timeout=120, cancellable=False)
    if record and record.settings and find_socket(target):
        with session(target) as opened:
            end_sessions(opened)
            bulk_load_settings.restore(opened, record.settings)
        record.settings = {}
        write_record(target, record)
    return record


def end_sessions(opened: Session) -> None:
    """End statements of a copy that still run although their client is gone, and wait until they are."""
    sessions = processes.table(opened)
    for _ in range(240):
        running = opened.rows(
            f"SELECT ID AS i FROM {sessions} WHERE USER = SUBSTRING_INDEX(USER(), '@', 1) AND ID <> CONNECTION_ID() "
            # Nobody else loads files or adds keys as that account while a copy is unfinished here.
            "AND (INFO LIKE 'LOAD DATA INFILE %' OR INFO LIKE 'ALTER TABLE % ADD %')"
        )
        if not running:
            return
        for row in running:
            with contextlib.suppress(StepFailed):  # ended by itself since it was listed
                opened.execute(f"KILL {int(row['i'])}")
        opened.execute("DO SLEEP(0.25)")
    raise StepFailed(
        f"{opened.host.name}: statements of an interrupted copy still run after 60 s",
        "the database server is undoing what they wrote",
        f"wait until SHOW PROCESSLIST on {opened.host.name} is quiet, then run the same command again",
    )


def followed(target: Access) -> None:
    """A finished copy is followed, or given up: it can't be resumed from its own position any more."""
    record = read_record(target)
    if record and (record.report or record.layers):
        record.report, record.layers = {}, []
        write_record(target, record)


def forget(target: Access, schemas: Sequence[str]) -> None:
    """Drop the record once nothing of the copied databases is left."""
    record = read_record(target)
    if record and not set(record.schemas) - set(schemas):
        target.run(["rm", "-f", RECORD], cancellable=False)
