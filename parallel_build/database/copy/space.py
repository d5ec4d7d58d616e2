"""Disk space on the new server, checked before a copy begins."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.database.copy.progress import size
from parallel_build.database.schema.definitions import Schema
from parallel_build.errors import GuardFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session

GROWTH = 1.15  # freshly loaded tables differ a little in size from grown ones, mostly downwards
ROOM = 512 << 20  # redo and undo logs, temporary tables, the system's own breathing space


def needed(definitions: Sequence[Schema], *, log: bool) -> tuple[int, int]:
    """Bytes needed in the data folder and in the binary log's.

    Building the keys of the largest table sorts them in temporary files of about their own size.
    """
    tables = [table for one in definitions for table in one.tables]
    data = sum(table.data_bytes for table in tables)
    keys = sum(table.index_bytes for table in tables)
    sorting = max((table.index_bytes for table in tables), default=0)
    return round((data + keys) * GROWTH) + sorting + ROOM, (data if log else 0)


def check(target: Access, opened: Session, definitions: Sequence[Schema], *, log: bool) -> list[str]:
    """Rule: the new server's disks hold the copy. Returns the folders to watch meanwhile.

    Raises:
        GuardFailed: they don't; the message has what is there and what is needed.
    """
    row = opened.row("SELECT @@GLOBAL.datadir AS d, @@GLOBAL.log_bin AS l, @@GLOBAL.log_bin_basename AS b") or {}
    data, logged = needed(definitions, log=log and str(row.get("l")) in ("1", "ON"))
    places = {str(row["d"]): data}
    if logged:
        folder = str(row["b"]).rpartition("/")[0] or str(row["d"])
        places[folder] = places.get(folder, 0) + logged
    by_disk: dict[str, tuple[int, int, str]] = {}
    for folder, wanted in places.items():
        lines = target.run(["df", "-B1", "--output=source,avail", folder]).stdout.split("\n")
        disk, available = lines[1].rsplit(maxsplit=1)
        by_disk[disk] = (by_disk.get(disk, (0, 0, ""))[0] + wanted, int(available), folder)
    for total, free, where in by_disk.values():
        if free < total:
            raise GuardFailed(
                f"{target.name}: {size(free)} are free in {where}, the copy needs {size(total)}",
                "data, keys, the sorting of the largest table's keys and the binary log",
                f"give {target.name} a larger disk, or clear old event and usage rows before the window",
            )
    return list(places)
