"""Comparing a seed with the running original, and waiting for the new replica."""

from __future__ import annotations

import time
from typing import Any

from parallel_build.database.replicate import pair_status as tier
from parallel_build.database.replicate import seed
from parallel_build.database.server.dialects import identify
from parallel_build.durations import duration
from parallel_build.errors import ComparisonFailed, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database, schemas
from parallel_build.records.seed import SeedRecord
from parallel_build.remote.sql import Session

STANDSTILL = 900.0  # seconds without any progress after which the new replica is taken for stuck

CATCH_UP = 600.0

NEAR = 2.0  # seconds within which it is to reach where the original is

BEAT = 60.0


def compare(context: Context, record: SeedRecord) -> dict[str, Any]:
    """Compare everything with the original at one position; where that was done before, only what has changed since.

    Raises:
        ComparisonFailed: they differ; the record then says so, and the seed is not used.
    """
    configuration = context.configuration
    longest = configuration.transfer.compare_everything_after
    since, source, target = record.since(longest), original_database(context), new_database(context)
    if since is None and record.same_at:
        context.progress(f"everything was last compared longer ago than transfer.compareEverythingAfter ({duration(longest)})")
    context.progress(f"comparing {'what has changed since the last comparison' if since else 'everything'} with the running original")
    found = seed.compare_at_position(
        source,
        target,
        schemas(configuration),
        threads=configuration.transfer.threads,
        cancel=context.cancel,
        progress=context.progress,
        since=since,
    )
    baseline = record.compared(found)
    if not found.comparison.same:
        raise ComparisonFailed(
            f"{target.name} is not what {source.name} was at {found.position}: {'; '.join(baseline['differences'][:5])}",
            "somebody wrote to the new source, or the original holds what its binary log does not",
            "run `pulumi up` again: it seeds again; the original is unchanged",
        )
    what = "everything" if found.changed is None else f"{found.changed:,} changes"
    context.progress(
        f"{what} compared, {found.comparison.rows:,} rows the same at {found.position} ({found.comparison.seconds:.1f} s); "
        f"longest wait of a user behind it {found.waited_seconds:.1f} s"
    )
    return baseline


def await_tier(context: Context, source: Session, replica: Session) -> None:
    """Wait until the new replica has everything that the new source has written so far, as long as it makes progress.

    Raises:
        StepFailed: it does not follow, or has made no progress for STANDSTILL seconds.
    """
    position = tier.source_position(source)
    words = identify(replica).dialect.pair
    before, moved, shown_at = tier.replica_position(replica), time.monotonic(), time.monotonic()
    while position:
        found = replica.value(words.wait, [position, 1])
        if found is not None and int(found) == words.arrived:
            return
        context.cancel.check()
        status = tier.status(replica)
        fault = "it has no source" if status is None else status.fault()
        if fault:
            raise StepFailed(
                f"{replica.host.name} does not follow {source.host.name}",
                fault,
                f"remove the cause on {replica.host.name} (SHOW REPLICA STATUS or SHOW SLAVE STATUS there), then START REPLICA or START SLAVE; "
                "then run the same command again",
            )
        has = tier.replica_position(replica)
        if has != before:
            before, moved = has, time.monotonic()
        if time.monotonic() - moved > STANDSTILL:
            raise StepFailed(
                f"{replica.host.name} has made no progress for {STANDSTILL:.0f} s",
                f"it is at {has}, {source.host.name} at {position}",
                f"see what {replica.host.name} is busy with (SHOW PROCESSLIST there, its disk), then run the same command again",
            )
        if time.monotonic() - shown_at >= 5:
            shown_at = time.monotonic()
            context.progress(f"waiting for {replica.host.name} to have what {source.host.name} has written")
