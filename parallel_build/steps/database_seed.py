"""DatabaseSeed: the new source a replica of the running original, both found the same at one position, the new replica behind it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.database.copy import account, copy, detached
from parallel_build.database.replicate import channel, seed
from parallel_build.database.server import bookkeeping
from parallel_build.database.server.dialects import identify
from parallel_build.durations import duration
from parallel_build.errors import ComparisonFailed, RollbackIncomplete, StepFailed
from parallel_build.operations import after_rollback, original_accounts, served
from parallel_build.operations.compare_seed import BEAT, CATCH_UP, NEAR, await_tier, compare
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import never_serving, new_database, original_database, schemas, store, tolerated
from parallel_build.records.seed import SeedRecord
from parallel_build.records.states import COPY, CopyState
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep

AGAIN = "the copy was switched to and is not the original's any more: the next `pulumi up` seeds again"


@step
class DatabaseSeed(FoundationStep):
    """The running original copied to the new source, which follows it from then on (`transfer.method: replicate`)."""

    type = "DatabaseSeed"
    phase = Phase.PREPARED
    summary = "new source seeded from the running original, following it"
    spent_by_switch = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Copy, follow, compare."""
        old, new = configuration.original.database.source, configuration.new.database.source
        replica, names = configuration.new.database.replica, ", ".join(schemas(configuration))
        limit = configuration.transfer.bytes_per_second
        speed = (
            f"at most {limit:,} bytes a second, and down to an eighth of that while more statements run there than before"
            if limit
            else "as fast as both servers allow (transfer.bytesPerSecond limits it)"
        )
        return [
            f"on {old.name} ({old.address}), not in its binary log: CREATE USER '{account.COPY_USER}'@'{new.address}' to read {names} while rows "
            f"are copied or compared; then DROP USER; CREATE USER '{channel.USER}'@'{new.address}' with REPLICATION SLAVE; "
            "both with random passwords, over TLS where the original offers it",
            f"copy {names} from {old.name} straight to {new.name} ({new.address}) at one binary log position, {speed}; "
            "whoever changes a definition there meanwhile waits for less than a second; events disabled on the copy",
            f"should this machine or its network go meanwhile, the copy continues for at most {duration(detached.UNWATCHED)}, and the next `pulumi up` "
            "takes it up; where a database server or the network between the two goes, large tables that are whole stay",
            f"on {new.name}: replicate {names} from {old.name} by a channel `{channel.CHANNEL}` from that position on; read only, and "
            "not synced at each commit, until the window",
            *(
                [f"compare {new.name} with {replica.name} ({replica.address}), row by row, while {new.name} stands still"]
                if replica
                else []
            ),
            f"compare every row and schema object of {old.name} with {new.name} at one position while the original serves; when that is done "
            "already, only the rows that the original's binary log names since",
            f"prove: {new.name} follows without error" + (f", a row written there is on {replica.name}" if replica else ""),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """No trace."""
        old, new = configuration.original.database.source, configuration.new.database.source
        return [
            f"on {new.name} ({new.address}): stop the channel `{channel.CHANNEL}` and forget it, remove {' or '.join(channel.FILTER_FILE.values())}",
            f"on {old.name} ({old.address}), not in its binary log: DROP USER {channel.USER}, {account.COPY_USER}",
            f"on {new.name}: end the copy where it still runs; empty {', '.join(schemas(configuration))}, unless a window has switched to them",
        ]

    def apply(self, context: Context) -> Outputs:
        """Resume from whatever is there: copy, follow, compare; a seed that a window used up or that was found different is made again."""
        record = SeedRecord(original_database(context), context.site)
        if self._in_window(context, record):
            return record.facts()
        after_rollback.clear(context)
        facts = record.facts()
        if record.taken or (facts.get("baseline") and record.same_at is None):
            context.progress(
                "seeding again: " + ("a window has used the last seed up" if record.taken else "the last comparison found differences")
            )
            self._start_over(context, record)
        report = self._seed(context, record)
        with session(new_database(context)) as source, self._on_replica(context) as replica:
            if replica and (report or not record.facts().get("tiers")):
                self._compare_tiers(context, record, source, replica)
            baseline = compare(context, record)
            lag = self._prove(context, source, replica)
        return {**record.facts(), "baseline": baseline, **lag}

    def verify(self, context: Context) -> Outputs:
        """Prove the seed again, renew its comparison, repair what is broken: as `apply`, which is cheap where all is well."""
        return self.apply(context)

    def revert(self, context: Context) -> None:
        """Leave no trace on the original, and the databases empty unless a window has switched to them."""
        old, new = original_database(context), new_database(context)
        record = SeedRecord(old, context.site)
        window = store(context).read()
        ours = window is not None and window.closed is None and window.identity in context.site.identities
        context.intend("end the seed", source=old.name, target=new.name)
        if not (ours and record.taken):
            with tolerated(context, f"the channel on {new.name}"):
                if channel.end(new):
                    context.progress(f"the seed is undone: {new.name} no longer follows {old.name}")
            with tolerated(context, f"emptying the databases on {new.name}"):
                self._empty(context, new)
        if original_accounts.down_for_good(old):
            original_accounts.drop(context, [channel.USER, account.COPY_USER])
            record.forget()
            return
        with session(old) as original:
            dropped = account.revoke(original, channel.USER) + account.revoke(original, account.COPY_USER)
            left = [name for name in (channel.USER, account.COPY_USER)
                    if original.value("SELECT COUNT(*) FROM mysql.user WHERE User = %s", [name])]  # fmt: skip
        if left:
            raise RollbackIncomplete(
                f"{old.name}: accounts {', '.join(left)} are still there",
                "they were dropped, and somebody has made them again",
                "run the same command again",
            )
        if dropped:
            context.progress(f"{old.name}: {dropped} account(s) of the seed dropped")
        record.forget()

    @staticmethod
    def _empty(context: Context, new: Access) -> None:
        """Unless users have worked on them."""
        served.give_up(context)
        with session(new) as database:
            if bookkeeping.SERVED in bookkeeping.marks(database):
                context.progress(f"the databases on {new.name} stay: they were switched to, and users may have worked on them")
                return
        never_serving(context)
        context.progress(f"emptying the databases on {new.name}")
        copy.empty(new, schemas(context.configuration))

    def _in_window(self, context: Context, record: SeedRecord) -> bool:
        """Nothing is touched while a window is open. One that took the seed over leaves none: that is noted for the next `up`."""
        records = store(context)
        window = records.read()
        if window is None or window.closed:
            return False
        records.check_owner(window)
        transfer = CopyState.of(window.facts.get(COPY, {}))
        used = record.taken or bool(transfer.compared or transfer.copying or transfer.copied)
        if used:
            context.pending = AGAIN
        context.progress(f"a window is open, the seed is left alone; {AGAIN if used else 'it was not used yet'}")
        return True

    def _start_over(self, context: Context, record: SeedRecord) -> None:
        never_serving(context)
        context.intend("remove the last seed", target=new_database(context).name)
        seed.remove(original_database(context), new_database(context))
        copy.empty(new_database(context), schemas(context.configuration))
        record.forget()

    def _seed(self, context: Context, record: SeedRecord) -> copy.CopyReport | None:
        transfer = context.configuration.transfer
        source, target = original_database(context), new_database(context)
        followed = self._follows(target)
        if not followed:
            never_serving(context)
            context.intend("seed", source=source.name, target=target.name)
        report = seed.seed(
            source,
            target,
            schemas(context.configuration),
            threads=transfer.threads,
            cancel=context.cancel,
            progress=context.progress,
            bytes_per_second=transfer.bytes_per_second,
            copied_at=record.copied_at,
            on_copied=record.copied,
        )
        record.followed()
        if report is None and not followed:
            record.doubted()
        if report:
            context.note(
                copied={
                    "rows": report.rows,
                    "bytes": report.bytes,
                    "seconds": report.seconds,
                    "longest wait of a user": report.waited_seconds,
                }
            )
            context.progress(f"{report.rows:,} rows copied in {report.seconds:.0f} s, {target.name} follows; {report.waits}")
        return report

    @staticmethod
    def _follows(target: Access) -> bool:
        with session(target) as new:
            found = channel.steady(new, identify(new))
        return found is not None and found.receiving and found.applying and not found.error

    def _compare_tiers(self, context: Context, record: SeedRecord, source: Session, replica: Session) -> None:
        """The new source with its replica, both standing still: before the original is asked again."""
        configuration = context.configuration
        context.progress(f"comparing {source.host.name} with {replica.host.name}")
        verdict = seed.compare_tiers(
            source.host,
            replica.host,
            schemas(configuration),
            threads=configuration.transfer.threads,
            cancel=context.cancel,
            progress=context.progress,
            caught_up=lambda: await_tier(context, source, replica),
        )
        if not verdict.same:
            record.differs([str(difference) for difference in verdict.differences])
            raise ComparisonFailed(
                f"{replica.host.name} does not hold what {source.host.name} does: {'; '.join(str(found) for found in verdict.differences[:5])}",
                "somebody wrote to one of the new servers outside its binary log",
                "run `pulumi up` again: it seeds again; the original is unchanged",
            )
        record.proved_tiers({"rows": verdict.rows, "seconds": verdict.seconds, "not comparable": verdict.not_comparable})

    def _prove(self, context: Context, source: Session, replica: Session | None) -> dict[str, Any]:
        server, started = identify(source), time.monotonic()
        with session(original_database(context)) as original:
            # What is reached late is not where the original is by then: asked again until it is reached at once.
            while True:
                position, began = channel.log_position(original, identify(original)), time.monotonic()
                status = channel.wait_applied(source, server, position, timeout=CATCH_UP, cancel=context.cancel, progress=context.progress)
                behind = time.monotonic() - began
                if behind <= NEAR:
                    break
                if time.monotonic() - started > CATCH_UP:
                    raise StepFailed(
                        f"{source.host.name} does not keep up with {original.host.name}: it is {behind:.0f} s behind after {CATCH_UP:.0f} s",
                        "the original writes faster than one session of the new source applies it",
                        "give the new source faster disks, or run `pulumi up` again at a quieter time",
                    )
        found = {"followed": str(position), "behindSeconds": round(behind, 3), "tls": status.tls}
        if replica is None:
            context.progress(f"{source.host.name} reached {position} of the original after {behind:.2f} s")
            return found
        await_tier(context, source, replica)
        beat = bookkeeping.beat(source, replica, timeout=BEAT, cancel=context.cancel)
        context.progress(
            f"{source.host.name} reached {position} of the original after {behind:.2f} s, a row written there was on "
            f"{replica.host.name} after {beat * 1000:.0f} ms"
        )
        return {**found, "replicaSeconds": round(beat, 3)}

    @staticmethod
    def _on_replica(context: Context) -> contextlib.AbstractContextManager[Session | None]:
        """A session to the new replica; None where there is none."""
        replica = context.configuration.new.database.replica
        return session(context.host(replica)) if replica else contextlib.nullcontext()
