"""The original's source stopped, with nothing written to it since its rows were compared: asked right before the stop, and of its log's files afterwards.

What was written between the two would be on no new server. `dump` then copies again; what was taken over by `replicate` can't be taken over again, so the
step ends and says what was written and who may have written it. Changes of other databases on the same server are theirs: the binary log proves that they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from parallel_build.database.copy import account
from parallel_build.database.replicate import changed_rows, log_end
from parallel_build.database.replicate.log_end import End
from parallel_build.database.schema import definitions
from parallel_build.database.server.dialects import identify
from parallel_build.errors import ParallelBuildError, StepFailed
from parallel_build.operations import galera_stop
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database, schemas, store
from parallel_build.operations.transfer import transfer
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.sql import Session, session

STEP = "OriginalDatabase"
COPY = "DatabaseTransfer"
LOCK = 5  # seconds within which everybody else is to have come to an end
COPIES = 2  # times that the databases are copied again before the step gives up


def stop_unmoved(context: Context, stop: Callable[[], None], start: Callable[[], None]) -> None:
    """Stop the original's source with nothing written since the comparison.

    Args:
        stop: stops it; nothing happens where it is down.
        start: starts it again.
    Raises:
        StepFailed: somebody has written to it, and the copy can't be made again here.
    """
    for copies in range(COPIES + 1):
        noted = _noted(context)
        if noted is None:
            context.progress(
                "the window's record is of an older version, without the original's position at the comparison: whether it was written to since is not checked"
            )
            return stop()
        moved, who = _look_and_stop(context, noted, stop)
        if not moved:
            return None
        fact = f"{original_database(context).name} has been written to since its rows were compared: {moved}"
        if context.configuration.transfer.method == "replicate":
            raise StepFailed(
                fact,
                f"the new source took over before that, so it would be lost. {who}",
                f"stop who writes; then set transfer.method to dump and run the same command again, which copies now, while users wait; or go back: "
                f"parallel-build back {context.site.stack}",
            )
        if copies == COPIES:
            raise StepFailed(
                fact,
                f"it was copied {COPIES} times again meanwhile. {who}",
                f"stop who writes on {original_database(context).name}, then run the same command again",
            )
        context.progress(f"{fact}. {who}. copying again")
        start()
        transfer(context, unusable=store(context).facts(COPY).get("spoilt"))
    return None


def lock_unmoved(context: Context, lock: Callable[[], None]) -> None:
    """Lock CloudStack's accounts on a source that keeps running for others, with nothing of CloudStack's written since the comparison.

    Locked first: from then on nothing comes, so a copy that is made after it is whole, also where no binary log says what was written before.
    Args:
        lock: locks them; nothing happens where they are.
    Raises:
        StepFailed: somebody has written, and the copy can't be made again here.
    """
    lock()
    for copies in range(COPIES + 1):
        noted = _noted(context)
        if noted is None or (noted.position is None and copies):
            return
        moved, end = _moved(context, noted)
        if not moved:
            store(context).remember(STEP, end=end.kept())
            return
        fact = f"{original_database(context).name} has been written to since its rows were compared: {moved}"
        if context.configuration.transfer.method == "replicate" or copies == COPIES:
            raise StepFailed(
                fact,
                "CloudStack's accounts are locked there; who writes is one of original.database.others, or an administrator",
                f"stop who writes; then set transfer.method to dump and run the same command again; or go back: "
                f"parallel-build back {context.site.stack}",
            )
        context.progress(f"{fact}. copying again")
        transfer(context, unusable=store(context).facts(COPY).get("spoilt"))


def moved_since_lock(context: Context) -> str:
    """What of CloudStack's was written on a source that keeps running for others, since its accounts were locked; empty also where no log shows it."""
    kept = store(context).facts(STEP).get("end")
    noted = End.of(kept) if kept else None
    return _moved(context, noted)[0] if noted is not None and noted.position is not None else ""


def _moved(context: Context, noted: End) -> tuple[str, End]:
    """What was written since then by anybody in CloudStack's databases, and where the server is now. Others write on."""
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(session(original_database(context)))
        now = log_end.read(old, schemas(context.configuration))
        if now == noted:
            return "", now
        if noted.position is None or now.position is None:
            return "its counters of written rows and statements have changed (it writes no binary log that would say which)", now
        found = _open_log(context, old, stack).read(noted.position)
        return "" if found.none else found.summary(), now


def _noted(context: Context) -> End | None:
    """Where the original was when it was compared."""
    kept: dict[str, Any] | None = (store(context).facts(COPY).get("copied") or {}).get("original")
    return End.of(kept) if kept else None


def _look_and_stop(context: Context, noted: End, stop: Callable[[], None]) -> tuple[str, str]:
    """Stop it unless it has moved; what was written, and who may have written it, in words."""
    records, host = store(context), original_database(context)
    if find_socket(host) is not None:
        moved, who = _stop_running(context, noted, stop)
        if moved:
            return moved, who
    else:
        stop()
    if written := galera_stop.written_since(context, records.read(), records.facts(STEP).get("writeSet")):
        records.remember(STEP, end=None, writeSet=None)
        return written, "it was written while the server was being stopped, or by somebody who started it since"
    end = records.facts(STEP).get("end")
    if end is None:
        if noted.position is None:
            return "", ""
        end = {**noted.kept(), "fold": True}
    if not end.get("position"):
        return "", ""
    moved = log_end.after_stop(host, End.of(end), schemas(context.configuration), fold=bool(end["fold"]))
    if moved:
        # The next look, on the server when it runs again, counts from the comparison.
        records.remember(STEP, end=None)
    return moved, "it was written while the server was being stopped, or by somebody who started it since"


def _stop_running(context: Context, noted: End, stop: Callable[[], None]) -> tuple[str, str]:
    """Look, and stop it while nobody can write."""
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(session(original_database(context)))
        log: changed_rows.LogReader | None = None
        writers: frozenset[tuple[int, int]] = frozenset()
        while True:
            with _held(context, old):
                now = log_end.read(old, schemas(context.configuration))
                if now == noted:
                    moved: str | None = ""
                elif noted.position is None or now.position is None:
                    moved = "its counters of written rows and statements have changed (it writes no binary log that would say which)"
                elif log is None:
                    moved = None
                else:
                    found = log.read(noted.position)
                    moved, writers = "" if found.none else found.summary(), found.writers
                if moved == "":
                    held = galera_stop.held_at(context, store(context).read(), old)
                    store(context).remember(STEP, end={**now.kept(), "fold": log_end.folds(old)}, **held)
                    if held:  # a Galera node that stops under the lock never ends
                        old.execute("UNLOCK TABLES")
                    stop()
                    return "", ""
            if moved is not None:
                return moved, f"Who: {changed_rows.who(old, writers)}"
            log = _open_log(context, old, stack)


def _open_log(context: Context, old: Session, stack: contextlib.ExitStack) -> changed_rows.LogReader:
    """What reads the original's log: its account can't be made while nobody may write."""
    source, target, names = original_database(context), new_database(context), definitions.existing(old, schemas(context.configuration))
    with session(target) as new:
        server = identify(new)
    way_in = account.make(source, target, names, replication=True)
    stack.callback(_revoke, context)
    return stack.enter_context(changed_rows.LogReader(source, target, server, way_in, None, names))


def _revoke(context: Context) -> None:
    """The account goes; from a server that was stopped meanwhile, with a rollback or never: it lets in the new source's address alone."""
    with contextlib.suppress(ParallelBuildError), session(original_database(context)) as old:
        account.revoke(old)


@contextlib.contextmanager
def _held(context: Context, old: Session) -> Iterator[None]:
    """Nobody writes for the time of the block, where that can be had; the log's files show later what was written all the same."""
    if not log_end.hold(old, LOCK):
        context.progress(
            f"{old.host.name}: a statement has been running for more than {LOCK} s, so it can't be locked; its log's end is read again when it is down"
        )
    try:
        yield
    finally:
        with contextlib.suppress(ParallelBuildError):  # it was stopped, which is what the block is for
            old.execute("UNLOCK TABLES")
