"""Settings of the new server that are relaxed for the time of a copy, and how they are put back and proved.

They are the whole server's, so what they were is on record before they change (`leftovers.Record`). Nothing of a copy is lost by them that
a copy begun again would not bring back, and none is done before everything is on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable

from parallel_build.errors import StepFailed
from parallel_build.remote.sql import Session

# Flushing at every commit is for data that exists nowhere else. The binary log is flushed now and then, so that not all of it is left for the end.
FLUSHING = {"innodb_flush_log_at_trx_commit": "0", "sync_binlog": "8"}
# Pages a second. At the usual 200 to 2000 the redo log is full most of the time, and each row then waits, and spins, until old pages are written.
WRITING = {"innodb_io_capacity": "20000", "innodb_io_capacity_max": "40000"}
# What a transaction writes to the binary log is held in memory up to this, and else written to a file, read and written again; a part of a table is smaller.
LOGGING = {"binlog_cache_size": str(32 << 20)}
# A value comes whole or not at all: what the original could send, this server takes in, whatever packet it is set to.
PACKET = {"max_allowed_packet": str(1 << 30)}
# Per cent of the buffer pool from which pages are written as fast as that; the low-water mark may not be above it.
DIRTY = {"innodb_max_dirty_pages_pct_lwm": "0", "innodb_max_dirty_pages_pct": "10"}


def wanted(opened: Session) -> dict[str, str]:
    """The settings that a copy gives this server; one that writes as fast already is left so."""
    return FLUSHING | lower(opened, WRITING | LOGGING | PACKET) | DIRTY


def lower(opened: Session, settings: dict[str, str]) -> dict[str, str]:
    """Those of the settings whose present value is lower."""
    return {name: value for name, value in settings.items() if int(opened.value(f"SELECT @@GLOBAL.{name}")) < int(value)}


def current(opened: Session, names: Iterable[str]) -> dict[str, str]:
    """The values of global settings, to be written down before they are changed."""
    return {name: str(opened.value(f"SELECT @@GLOBAL.{name}")) for name in names}


def change(opened: Session, settings: dict[str, str]) -> None:
    """Set global settings."""
    for name, value in settings.items():
        opened.execute(f"SET GLOBAL {name} = {value}")


def restore(opened: Session, settings: dict[str, str]) -> None:
    """Put global settings back and prove it; the last changed comes first, as settings that limit one another need it.

    Raises:
        StepFailed: the server does not say the old value afterwards.
    """
    for name, value in reversed(settings.items()):
        opened.execute(f"SET GLOBAL {name} = {value}")
    for name, found in current(opened, settings).items():
        if found != settings[name]:
            raise StepFailed(
                f"{opened.host.name}: {name} is {found} and could not be put back to {settings[name]}",
                "the server took SET GLOBAL and keeps what the copy had set",
                f"there: SET GLOBAL {name} = {settings[name]}",
            )
