"""What is true of the seed of `transfer: replicate`: the channel, its comparison, the servers' numbers. Changes nothing."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field

from parallel_build.database.replicate import channel
from parallel_build.database.replicate.channel import Status
from parallel_build.database.server.dialects import identify, require
from parallel_build.database.server.state import schemas
from parallel_build.errors import StepFailed
from parallel_build.records.seed import SeedRecord
from parallel_build.remote.host import Connections
from parallel_build.remote.sql import Session, session
from parallel_build.resolved_stack import Site

RECOVERS_WITHIN = 5.0  # seconds within which the channel recovers by itself
PATIENCE = 10.0  # seconds within which the new source is to reach where the original was


@dataclass(frozen=True)
class SeedFacts:
    """Facts of the seed.

    Attributes:
        row_image: the original's binlog_row_image.
        server_ids: server_id by server name.
        status: the channel on the new source, None where there is none.
        left_out: settings of the new source by which it passes over changes or errors, in words.
        behind: seconds until the new source had applied what the original had written; None when it had not within PATIENCE.
        read_only: nobody but replication and administrators can write to the new source.
        baseline: the last comparison as the seed's record has it, None where there was none.
        taken: when a window used the seed up.
    """

    row_image: str = ""
    server_ids: dict[str, int] = field(default_factory=dict)
    status: Status | None = None
    left_out: str = ""
    behind: float | None = None
    read_only: bool = False
    baseline: dict[str, object] | None = None
    taken: str | None = None


def gather(site: Site, connections: Connections) -> SeedFacts:
    """Read everything.

    Raises:
        ConnectionFailed: a server can't be asked.
    """
    pair, original = site.configuration.new.database, connections.host(site.configuration.original.database.source)
    record = SeedRecord(original, site)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(session(original))
        new, *replicas = [stack.enter_context(session(connections.host(server))) for server in pair.servers]
        status = _settled(new)
        return SeedFacts(
            row_image=require(old, "binlog_row_image").upper(),
            server_ids={opened.host.name: int(opened.value("SELECT @@GLOBAL.server_id")) for opened in (old, new, *replicas)},
            status=status,
            left_out=channel.left_out(new, status, [name for name in channel.CLOUDSTACK if name in schemas(old)]) if status else "",
            behind=_behind(old, new, connections) if status and status.applying and require(old, "log_bin") == "ON" else None,
            read_only=require(new, "read_only") == "ON",
            baseline=record.baseline,
            taken=record.taken,
        )


def _settled(new: Session) -> Status | None:
    """The channel's status; a moment is given to what passes over statements about other databases (`foreign_statements`)."""
    server, deadline = identify(new), time.monotonic() + RECOVERS_WITHIN
    while True:
        status = channel.read_status(new, server)
        if status is None or (status.receiving and status.applying) or time.monotonic() > deadline:
            return status
        time.sleep(0.5)


def _behind(old: Session, new: Session, connections: Connections) -> float | None:
    """How long the new source takes to reach where the original is now."""
    position, began = channel.log_position(old, identify(old)), time.monotonic()
    try:
        channel.wait_applied(new, identify(new), position, timeout=PATIENCE, cancel=connections.cancel, progress=lambda text: None)
    except StepFailed:
        return None
    return round(time.monotonic() - began, 3)
