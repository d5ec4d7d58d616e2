"""DatabaseTransfer: every row of the original on the new source, compared, while nobody writes."""

from __future__ import annotations

from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.database import compare, copying
from parallel_build.database.session import session
from parallel_build.errors import StepFailed
from parallel_build.steps import fixes
from parallel_build.steps.base import Context, Outputs, step
from parallel_build.steps.common import new_database, original_database, schemas, store, tolerated
from parallel_build.steps.rollback import SwitchedStep


@step
class DatabaseTransfer(SwitchedStep):
    """The databases copied to the new source and compared (`transfer.method: dump`)."""

    type = "DatabaseTransfer"
    summary = "databases brought over and compared"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Copy and compare."""
        old, new = configuration.original.database.source, configuration.new.database.source
        names = ", ".join(schemas(configuration))
        return [
            f"empty {names} on {new.name} ({new.address}) of anything an earlier try left",
            f"copy {names} from {old.name} ({old.address}) straight to {new.name}: tables, rows, routines, views; "
            f"{configuration.transfer.threads} at a time, secondary indexes last",
            f"compare every table's rows and every schema object of {old.name} with {new.name}",
            *fixes.words(configuration, new.name),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Empty the copy."""
        return [f"empty {', '.join(schemas(configuration))} on {configuration.new.database.source.name}; the original was only read"]

    def apply(self, context: Context) -> Outputs:
        """Copy unless a finished copy is there already, then compare."""
        done = store(context).facts(self.type).get("copied")
        if done:
            context.progress("the copy is there already, compared before")
            found: Outputs = done
            return found
        return transfer(context)

    def verify(self, context: Context) -> Outputs:
        """Look at the record only: after the first start the copy differs from the original, as it must."""
        found: Outputs = store(context).facts(self.type).get("copied") or {}
        return found

    def revert(self, context: Context) -> None:
        """Empty the new databases."""
        with tolerated(context, "emptying the new databases"):
            context.progress("emptying the new databases")
            copying.empty(new_database(context), schemas(context.configuration))
            store(context).remember(self.type, copied=None)


def transfer(context: Context) -> dict[str, Any]:
    """Copy and compare, from whatever an earlier try left; the record says afterwards that a whole copy is there."""
    configuration = context.configuration
    source, target, names = original_database(context), new_database(context), schemas(configuration)
    threads = configuration.transfer.threads
    records = store(context)
    records.remember("DatabaseTransfer", copied=None)
    context.intend("import into the new source", schemas=names, target=target.name)
    _never_serving(context)
    copying.empty(target, names)
    report = copying.copy(source, target, names, threads=threads, cancel=context.cancel, progress=context.progress)
    comparison = compare.compare(source, target, names, threads=threads, cancel=context.cancel, progress=context.progress)
    comparison.raise_if_different()
    evidence = {
        "tables": report.tables,
        "rows": report.rows,
        "bytes": report.bytes,
        "copied in seconds": round(report.seconds, 1),
        "tls": report.tls,
        "definers": list(report.definers),
        "adapted": list(report.adapted),
        "compared rows": comparison.rows,
        "compared in seconds": round(comparison.seconds, 1),
        "not comparable": comparison.not_comparable,
    }
    if replayed := fixes.replay(context):
        evidence["replayed"] = replayed
    records.remember("DatabaseTransfer", copied=evidence)
    return evidence


def _never_serving(context: Context) -> None:
    """Rule: a database that a management server is using is never emptied."""
    with session(new_database(context)) as database:
        users = database.rows("SELECT DISTINCT USER AS u, HOST AS h FROM information_schema.PROCESSLIST WHERE USER = 'cloud'")
    if users:
        raise StepFailed(
            f"{context.configuration.new.database.source.name} has sessions of user cloud from {', '.join(str(u['h']) for u in users)}",
            "a management server uses this database",
            "stop it; a new management server must not run before its database is there",
        )
