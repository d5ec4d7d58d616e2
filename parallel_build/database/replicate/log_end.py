"""Where a server had got to when its rows were compared, and whether anything of CloudStack's was written since: by its binary log, else by its counters."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parallel_build.database.replicate import log_events, log_reader
from parallel_build.database.replicate.channel import Position
from parallel_build.database.server.dialects import identify, require
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, quote

TAIL = 16 << 20  # bytes of a log's end that are looked at here; more than a stop ever takes
# A log that MySQL encrypts begins so, with a header that no position counts; MariaDB's has an event of this kind behind the first [rpl_log_encryption.h].
MYSQLS, MYSQLS_HEADER, START_ENCRYPTION = b"\xfdbin", 512, 164
STOP_ALONE = 64  # bytes: a server's STOP event has 23
# Rows as InnoDB counts them (of users' tables), and statements that change rows or definitions; accounts are made by this tool as well.
COUNTED = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_rows_inserted', 'Innodb_rows_updated', 'Innodb_rows_deleted', 'Com_insert', 'Com_insert_select', "
    "'Com_update', 'Com_update_multi', 'Com_delete', 'Com_delete_multi', 'Com_replace', 'Com_replace_select', 'Com_load', 'Com_truncate', "
    "'Com_rename_table') OR (Variable_name REGEXP '^Com_(alter|create|drop)_' AND Variable_name NOT REGEXP '_(user|role)$')"
)
LAST_BYTES = r"""
file=$1 from=$2 most=$3
[ -f "$file" ] || { echo missing; exit 0; }
head -c 1024 "$file" | base64 -w 0; echo
tail -c "+$((from + 1))" "$file" | head -c "$most" | base64 -w 0; echo
next=$4
[ -e "$next" ] && echo more || echo last
"""


@dataclass(frozen=True)
class End:
    """Where a server's writes had got to.

    Attributes:
        position: the end of its binary log; None where it writes none.
        counters: what it counts of writes, and sums of tables that InnoDB does not count; only where it writes no binary log.
        base: path of its binary log's files without their number; empty where it writes none.
    """

    position: Position | None
    counters: dict[str, str]
    base: str = ""

    def kept(self) -> dict[str, Any]:
        """As a record has it."""
        return {
            "position": [self.position.file, self.position.offset] if self.position else None,
            "counters": self.counters,
            "base": self.base,
        }

    @classmethod
    def of(cls, kept: dict[str, Any]) -> End:
        """From a record."""
        found = kept.get("position")
        return cls(Position(str(found[0]), int(found[1])) if found else None, dict(kept.get("counters") or {}), str(kept.get("base") or ""))


def read(opened: Session, schemas: Sequence[str]) -> End:
    """Ask a server where it is. Reads only."""
    server = identify(opened)
    row = opened.row(server.dialect.log_status)
    if row is None:
        return End(None, _counters(opened, schemas))
    return End(Position(str(row["File"]), int(row["Position"])), {}, require(opened, "log_bin_basename"))


def _counters(opened: Session, schemas: Sequence[str]) -> dict[str, str]:
    found = {str(row["Variable_name"]): str(row["Value"]) for row in opened.rows(COUNTED)}
    others = opened.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB' "
        f"AND TABLE_SCHEMA IN ({', '.join(['%s'] * len(schemas))})",
        list(schemas),
    )
    for row in others:
        name = f"{quote(str(row['s']))}.{quote(str(row['t']))}"
        found[name] = str((opened.row(f"CHECKSUM TABLE {name}") or {}).get("Checksum"))
    return found


def hold(opened: Session, seconds: int) -> bool:
    """Let nobody write for as long as the session lasts; whether that could be had within some seconds."""
    opened.execute(f"SET SESSION lock_wait_timeout = {seconds}")
    try:
        opened.execute("FLUSH TABLES WITH READ LOCK")
    except Exception as error:
        if "1205" not in str(error):
            raise
        return False
    return True


def after_stop(host: Access, end: End, schemas: Sequence[str], *, fold: bool) -> str:
    """What of CloudStack's the log's files hold behind `end`, now that the server is down; in words, empty for nothing.

    Args:
        fold: the server does not tell capitals from small letters in names.
    """
    assert end.position is not None, "asked only of a server with a binary log"
    path = f"{end.base.rpartition('/')[0]}/{end.position.file}"
    later = f"{end.base.rpartition('/')[0]}/{log_reader.following(end.position.file)}"
    answer = host.script(LAST_BYTES, [path, str(end.position.offset), str(TAIL), later]).stdout.splitlines()
    if len(answer) != 3 or answer[2] != "last":
        return f"more than {path} (its file is gone, or there is one after it)"
    first, tail = base64.b64decode(answer[0]), base64.b64decode(answer[1])
    if len(tail) >= TAIL:
        return f"more than {TAIL >> 20} MiB behind {end.position}"
    return of_tail(first, tail, schemas, fold=fold)


def of_tail(first: bytes, tail: bytes, schemas: Sequence[str], *, fold: bool) -> str:
    """What of these databases the end of a log file changes.

    Args:
        first: the file's first bytes, with the event that says how the others are written.
        tail: from the end of an event to the end of the file.
    """
    found = log_reader.Found({"schemas": list(schemas), "fold": fold, "keys": None, "many": 0})
    if not tail:
        return ""
    encrypted = _encrypted(first)
    if encrypted is not None and 0 < len(tail) - encrypted <= STOP_ALONE:
        return ""  # what a stop writes; the shortest transaction is longer, and a start begins another file
    length, kind = (log_events.HEADER.unpack_from(first, len(log_events.MAGIC))[3], first[8]) if len(first) > 64 else (0, 0)
    if first[:4] != log_events.MAGIC or kind != log_events.FORMAT:
        return f"{len(tail)} bytes that can't be read (the log may be encrypted)"
    try:
        for event in log_events.events(io.BytesIO(first[: len(log_events.MAGIC) + length] + tail).read):
            found.take(event)
    except log_events.Unknown as error:
        return f"{len(tail)} bytes that can't be read: {error}"
    words = [f"{found.events} events of changed rows"] if found.events else []
    return "; ".join([*words, *found.doubts[:3]])


def _encrypted(first: bytes) -> int | None:
    """By how many bytes an encrypted log's file is longer than its positions say; None for a log that is not encrypted."""
    if first[:4] == MYSQLS:
        return MYSQLS_HEADER
    begin = len(log_events.MAGIC)
    if first[:begin] != log_events.MAGIC or len(first) < begin + log_events.HEADER.size:
        return None
    second = begin + log_events.HEADER.unpack_from(first, begin)[3]
    return 0 if first[second + 4 : second + 5] == bytes((START_ENCRYPTION,)) else None


def folds(opened: Session) -> bool:
    """Whether a server does not tell capitals from small letters in names."""
    return require(opened, "lower_case_table_names") != "0"
