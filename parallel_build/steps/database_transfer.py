"""DatabaseTransfer: every row of the original on the new source, compared, while nobody writes."""

from __future__ import annotations

from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.database import access, channel, compare, copying, objects, seeding
from parallel_build.database.channel import CHANNEL, USER
from parallel_build.database.session import session
from parallel_build.seed_record import SeedRecord
from parallel_build.steps import fixes
from parallel_build.steps.base import Context, Outputs, step
from parallel_build.steps.common import never_serving, new_database, original_database, schemas, store, tolerated
from parallel_build.steps.rollback import SwitchedStep
from parallel_build.steps.same_meaning import prove_same_meaning
from parallel_build.steps.taking_over import let_go, take_over


@step
class DatabaseTransfer(SwitchedStep):
    """The databases on the new source, compared: copied now (`transfer.method: dump`), or taken over from the seed (`replicate`)."""

    type = "DatabaseTransfer"
    summary = "databases brought over and compared"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Copy and compare, or catch up, compare and promote."""
        old, new = configuration.original.database.source, configuration.new.database.source
        names = ", ".join(schemas(configuration))
        if configuration.transfer.method == "replicate":
            return [
                f"wait until {new.name} ({new.address}) has applied {names} up to the last position of {old.name} ({old.address}); "
                "prove that this position moves no more",
                "compare the rows that the original's binary log names since the last comparison (which the window's opening renewed)",
                f"on {new.name}: counters as on {old.name}; stop the channel `{CHANNEL}` and forget it; read only off, "
                f"synced at each commit; events enabled as on {old.name}",
                f"on {old.name}, not in its binary log: DROP USER {USER}",
                f"prove: {configuration.new.database.replica.name} has everything, and a row written on {new.name} now",
                *fixes.words(configuration, new.name),
            ]
        return [
            f"empty {names} on {new.name} ({new.address}) of anything an earlier try left",
            f"copy {names} from {old.name} ({old.address}) straight to {new.name}: tables, rows, routines, views; "
            f"{configuration.transfer.threads} at a time, secondary indexes last, events disabled",
            f"compare every table's rows and every schema object of {old.name} with {new.name}, and what they mean to CloudStack: "
            "version, things by state, management servers, `init` decrypted; then enable the events that run on {old.name}",
            *fixes.words(configuration, new.name),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Leave the copy, which Window's undo empties."""
        new, names = configuration.new.database.source, ", ".join(schemas(configuration))
        if configuration.transfer.method == "replicate":
            return [
                f"before {new.name} was let go: nothing, it goes on following the original",
                f"after: {names} on {new.name} emptied at the end of Window's undo, once the original serves; step DatabaseSeed is then done "
                "again by the next `pulumi up`",
            ]
        return [f"{names} on {new.name} emptied at the end of Window's undo, once the original serves, which was only read"]

    def apply(self, context: Context) -> Outputs:
        """Copy unless a finished copy is there already, then compare."""
        done = store(context).facts(self.type).get("copied")
        if done:
            context.progress("the copy is there already, compared before")
            found: Outputs = done
            return found
        facts = store(context).facts(self.type)
        if facts.get("left"):
            self.empty(context)  # undone, up to a hold point
        elif facts.get("spoilt"):
            # Imported again after a first start, and cut off: that also has the original's database up and down again, and is done before the next start.
            context.progress("the copy is imported again before the next start on it")
            return {"spoilt": facts["spoilt"]}
        return take_over(context) if context.configuration.transfer.method == "replicate" else transfer(context)

    def verify(self, context: Context) -> Outputs:
        """Look at the record only: after the first start the copy differs from the original, as it must."""
        found: Outputs = store(context).facts(self.type).get("copied") or {}
        return found

    def revert(self, context: Context) -> None:
        """Nothing that takes longer with more data stands between users and the original: the copy stays for the moment.

        A seed that was not taken over yet stays for good and goes on following.
        """
        let_go(context)
        if not self._there(context):
            context.progress(
                f"nothing was brought to {new_database(context).name}, or it was not let go and goes on following the original"
            )
            return
        store(context).remember(self.type, copied=None, compared=None, copying=None, left=True)
        context.progress("the new databases stay until the original serves")

    def empty(self, context: Context) -> None:
        """Empty the new databases of what a transfer left, finished, interrupted or undone; the end of Window's undo."""
        if not self._there(context):
            return
        replicate = context.configuration.transfer.method == "replicate"
        with tolerated(context, "emptying the new databases"):
            context.progress("emptying the new databases")
            if replicate:
                channel.end(new_database(context))
            copying.empty(new_database(context), schemas(context.configuration))
            store(context).remember(self.type, copied=None, compared=None, copying=None, left=None, spoilt=None)
        if replicate:
            with tolerated(context, "the seed's accounts on the original"), session(original_database(context)) as original:
                for user in (USER, access.COPY_USER):
                    access.revoke(original, user)

    def _there(self, context: Context) -> bool:
        """Whether this window has brought anything to the new databases."""
        facts = store(context).facts(self.type)
        return any(facts.get(name) for name in ("copied", "compared", "copying", "left"))


def transfer(context: Context, spoilt: str | None = None) -> dict[str, Any]:
    """Copy and compare, from whatever an earlier try left; the record says afterwards that a whole copy is there.

    Args:
        spoilt: why no server may start on the copy yet although it is whole: there is more to be done to it.
    """
    configuration = context.configuration
    source, target, names = original_database(context), new_database(context), schemas(configuration)
    threads = configuration.transfer.threads
    records = store(context)
    records.remember("DatabaseTransfer", copied=None, compared=None, copying=True)
    seed = SeedRecord(source, context.site)
    if seed.facts():
        # Whatever the seed was: what is copied now is the window's, and the new source must not follow beside it.
        seed.take()
        seeding.remove(source, target)
    context.intend("import into the new source", schemas=names, target=target.name)
    never_serving(context)
    copying.empty(target, names)
    report = copying.copy(source, target, names, threads=threads, cancel=context.cancel, progress=context.progress)
    comparison = compare.compare(source, target, names, threads=threads, cancel=context.cancel, progress=context.progress)
    comparison.raise_if_different()
    context.progress(f"{comparison.rows:,} rows and every object compared, all the same ({comparison.seconds:.1f} s)")
    for words in comparison.not_comparable:
        context.progress(f"not comparable: {words}")
    with session(source) as old, session(target) as new:
        meant = prove_same_meaning(context, old, new, states=True)
    evidence = {
        "tables": report.tables,
        "rows": report.rows,
        "bytes": report.bytes,
        "copied in seconds": round(report.seconds, 1),
        "tls": report.tls,
        "read by": report.read_by,
        "definers": list(report.definers),
        "adapted": list(report.adapted),
        "compared rows": comparison.rows,
        "compared in seconds": round(comparison.seconds, 1),
        "not comparable": comparison.not_comparable,
        "meaning": meant,
    }
    with session(source) as old, session(target) as new:
        evidence["events enabled"] = objects.settle_events(old, new, names)
    if replayed := fixes.replay(context):
        evidence["replayed"] = replayed
    records.remember("DatabaseTransfer", copied=evidence, spoilt=spoilt)
    return evidence
