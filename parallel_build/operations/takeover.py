"""What `transfer: replicate` does in the window, and just before it: shared by the Window and DatabaseTransfer.

`make_ready` runs while users are still in: the comparison is renewed, so that the window has to compare the last seconds' changes only, and sessions,
account and definitions are kept ready in this process. `take_over` uses them; where they are not there any more (another process, a session that
was lost) it makes them itself, which costs some seconds.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from parallel_build.database.compare import cloudstack_meaning
from parallel_build.database.compare.compare import Comparison
from parallel_build.database.replicate import pair_status as tier
from parallel_build.database.replicate import promotion
from parallel_build.database.replicate.channel import Position
from parallel_build.database.replicate.log_end import End
from parallel_build.database.server import bookkeeping
from parallel_build.database.server.dialects import require
from parallel_build.errors import ComparisonFailed, ConnectionFailed, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import fixes
from parallel_build.operations.compare_seed import await_tier, compare
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, original_database, schemas, store
from parallel_build.operations.database_key import fetch_key
from parallel_build.records.seed import SeedRecord
from parallel_build.records.states import COPY, CopyState, copy_change
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Session, session

CATCH_UP = 300.0
BEAT = 60.0
READY = "takeover"


def make_ready(context: Context) -> None:
    """Before users are out: compare what has changed since the last comparison, and keep everything open for the takeover.

    Raises:
        ComparisonFailed: the new source is not what the original is.
    """
    record = SeedRecord(original_database(context), context.site)
    compare(context, record)
    ready = _open(context, record)
    context.connections.held.callback(_end, ready)
    ready.advance()
    fetch_key(context)
    context.connections.ready[READY] = ready
    context.progress("sessions to both database servers are open for the takeover")


def take_over(context: Context) -> Outputs:
    """Bring the new source to the original's last position, compare what changed, and detach it; the new replica keeps following.

    Raises:
        GuardFailed: there is no seed that was found the same.
        ComparisonFailed: what changed since is not the same on both.
    """
    records, record = store(context), SeedRecord(original_database(context), context.site)
    compared = CopyState.of(records.facts(COPY)).compared
    if compared:
        return _promoted_before(context, compared)
    if record.same_at is None or record.taken:
        raise GuardFailed(
            "there is no seed to take over",
            "a window has used it up" if record.taken else "its last comparison found differences, or there was none",
            "set phase to prepared and run `pulumi up` until the original is in service and the seed is made again; or set transfer.method to dump "
            "and run the same command again, which copies now, while users wait",
        )
    began = time.monotonic()
    ready, last, verdict = _caught_up(context, record)
    try:
        return _take(context, record, ready, last, verdict, began)
    except BaseException:
        _end(ready)
        raise


def _caught_up(context: Context, record: SeedRecord) -> tuple[promotion.Takeover, Position, Comparison]:
    """Both sides at the last position, what changed compared: by what was made ready, or, where that does not serve any more, opened now."""
    ready: promotion.Takeover | None = context.connections.ready.pop(READY, None)
    if ready is not None:
        ready.progress, ready.cancel = context.progress, context.cancel
        try:
            return ready, *_catch_up(context, ready)
        except (ConnectionFailed, StepFailed) as error:
            context.progress(f"the sessions opened for the takeover can't be used any more, opening new ones: {error.fact}")
            _end(ready)
    context.progress("opening sessions for the takeover")
    ready = _open(context, record)
    context.connections.held.callback(_end, ready)
    try:
        return ready, *_catch_up(context, ready)
    except BaseException:
        _end(ready)
        raise


def _catch_up(context: Context, ready: promotion.Takeover) -> tuple[Position, Comparison]:
    context.progress("waiting for the original's last position")
    ready.catch_up(timeout=CATCH_UP)
    verdict = ready.compare_changes()
    return ready.last, verdict


def _open(context: Context, record: SeedRecord) -> promotion.Takeover:
    position = record.same_at
    assert position is not None, "compare() has kept one"
    ready = promotion.Takeover(
        original_database(context),
        new_database(context),
        schemas(context.configuration),
        position,
        threads=context.configuration.transfer.threads,
        cancel=context.cancel,
        progress=context.progress,
        replica=_replica(context),
    )
    return ready.__enter__()


def _replica(context: Context) -> Access | None:
    replica = context.configuration.new.database.replica
    return context.host(replica) if replica else None


def _take(context: Context, record: SeedRecord, ready: promotion.Takeover, last: Position, verdict: Comparison, began: float) -> Outputs:
    records = store(context)
    if not verdict.same:
        record.differs([str(difference) for difference in verdict.differences])
    verdict.raise_if_different()
    with ready.timed("meaning"):
        # By state they were compared row by row: counting them would take longer with more rows.
        meant = prove_same_meaning(context, ready.old, ready.new, states=False)
    context.cancel.check()
    evidence = {
        "method": "replicate",
        "position": str(last),
        "original": End(last, {}, require(ready.old, "log_bin_basename")).kept(),
        "baseline": record.baseline,
        "changes": ready.changes.events,
        "compared rows": verdict.rows,
        "not comparable": verdict.not_comparable,
        "meaning": meant,
    } | ({"compared objects": verdict.objects} if verdict.objects else {})  # its rows alone were compared then, the definitions before
    context.intend("take over", position=str(last), target=ready.target.name)
    # On record before it is done: from here on the copy is the new side's, and an undo has to empty it.
    with ready.timed("noted"), Workers(2) as pool:
        taken = pool.submit(record.take)
        records.note(copy_change(compared=evidence))
        taken.result()
    promoted = ready.promote()
    with ready.timed("replica"):
        replica = _follows_on(context, ready)
    seconds = {**ready.seconds, "together": round(time.monotonic() - began, 3)}
    found = _replayed(context, {**evidence, **promoted, "replica": replica, "seconds": seconds})
    records.note(copy_change(copied=found))
    context.progress(f"{ready.target.name} took over at {last}: {verdict.rows} changed rows compared, {seconds['together']:.2f} s")
    return found


def _promoted_before(context: Context, compared: dict[str, Any]) -> Outputs:
    """An earlier try compared and began to promote: the rest of that is done, each part only where it is not."""
    context.progress("compared before, continuing with the takeover")
    SeedRecord(original_database(context), context.site).take()
    with session(original_database(context)) as old, session(new_database(context)) as new:
        promoted = promotion.promote(old, new, new_database(context), schemas(context.configuration))
        if (host := _replica(context)) is not None:
            with session(host) as replica:
                await_tier(context, new, replica)
    found = _replayed(context, {**compared, **promoted})
    store(context).note(copy_change(copied=found))
    return found


def _replayed(context: Context, evidence: Outputs) -> Outputs:
    """Housekeeping and fixes as they were rehearsed, on what is the new side's now."""
    replayed = fixes.replay(context)
    return {**evidence, "replayed": replayed} if replayed else evidence


def _follows_on(context: Context, ready: promotion.Takeover) -> dict[str, Any] | None:
    """The second tier follows again: what the new source writes now arrives on its replica; None where there is no replica."""
    if ready.tier is None:
        return None
    await_tier(context, ready.new, ready.tier)
    seconds = bookkeeping.beat(ready.new, ready.tier, timeout=BEAT, cancel=context.cancel)
    status = tier.status(ready.tier)
    return {"heartbeatSeconds": round(seconds, 3), "lag": status.lag if status else None, "tls": bool(status and status.tls)}


def detach_seed(context: Context) -> None:
    """End what `make_ready` keeps open, when the window goes back instead."""
    ready: promotion.Takeover | None = context.connections.ready.pop(READY, None)
    if ready is not None:
        _end(ready)


def _end(ready: promotion.Takeover) -> None:
    """A server that is gone keeps nothing from ending; an account that could not be dropped is, by the next seed or its undo."""
    with contextlib.suppress(ParallelBuildError):
        ready.close()


def prove_same_meaning(context: Context, old: Session, new: Session, *, states: bool) -> dict[str, Any]:
    """Version, management servers, whether `init` decrypts, and (`states`) things by state: the same on both.

    Args:
        old, new: the original and the copy; nobody writes to either.
        states: also count rows by state, which takes longer with more rows.
    Returns:
        What both say, for the evidence.
    Raises:
        ComparisonFailed: they differ, or the original's database key does not decrypt the copy.
    """
    key = fetch_key(context)
    with Workers(2) as pool:
        ours, theirs = pool.map(lambda opened: cloudstack_meaning.read(opened, key.secret, key.encryptor, states=states), (old, new))
    Comparison(old.host.name, new.host.name, differences=cloudstack_meaning.differences(ours, theirs)).raise_if_different()
    if theirs.init is False:
        raise ComparisonFailed(
            f"the original's database key does not decrypt configuration.init on {new.host.name}",
            "wrong key, or wrong encryptor version; no management server could start on this copy",
            "unset the stack's secret databaseKey to take the original's own, or correct it; the original is unchanged",
        )
    facts = {"version": theirs.version, "init decrypts": theirs.init, "management servers": theirs.management}
    return {**facts, "by state": theirs.states} if states else facts
