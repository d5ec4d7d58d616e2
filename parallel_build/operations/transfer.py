"""Bringing the databases to the new source by a dump, and emptying it of what a transfer left."""

from __future__ import annotations

from typing import Any

from parallel_build.database.compare import compare
from parallel_build.database.copy import copy, create
from parallel_build.database.physical.copy import FilesReport
from parallel_build.database.replicate import channel, log_end
from parallel_build.database.replicate import seed as seeding
from parallel_build.operations import bring_files, fixes, original_accounts, served
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import never_serving, new_database, only_new_side, original_database, schemas, store
from parallel_build.operations.takeover import prove_same_meaning
from parallel_build.records.seed import SeedRecord
from parallel_build.records.states import COPY, CopyState, copy_change
from parallel_build.remote.sql import session


def empty(context: Context) -> None:
    """Empty the new databases of what a transfer left, finished, interrupted or undone, and drop the accounts that it read the original with.

    The end of Window's undo.
    """
    original_accounts.drop(context, original_accounts.unneeded(context))
    if not brought(context):
        return
    replicate = context.configuration.transfer.method == "replicate"
    with only_new_side(context, "emptying the new databases"):
        context.progress("emptying the new databases")
        served.give_up(context)
        if replicate:
            channel.end(new_database(context))
        if CopyState.of(store(context).facts(COPY)).files:
            bring_files.settle(context)
        copy.empty(new_database(context), schemas(context.configuration))
        store(context).note(copy_change(copied=None, compared=None, copying=None, left=None, files=None, spoilt=None))


def brought(context: Context) -> bool:
    """Whether this window has brought anything to the new databases."""
    return CopyState.of(store(context).facts(COPY)).brought


def _of_rows(report: copy.CopyReport) -> dict[str, Any]:
    """What is on record of a copy of rows."""
    return {
        "tables": report.tables,
        "rows": report.rows,
        "bytes": report.bytes,
        "copied in seconds": round(report.seconds, 1),
        "tls": report.tls,
        "read by": report.read_by,
        "definers": list(report.definers),
        "adapted": list(report.adapted),
    }


def _of_files(report: FilesReport, rows: int) -> dict[str, Any]:
    """The same of files; nobody has counted their rows but the comparison."""
    return {
        "tables": report.tables,
        "rows": rows,
        "bytes": report.bytes,
        "copied in seconds": round(report.seconds, 1),
        "tls": True,  # inside SSH
        "read by": f"mariadb-backup: {report}",
        "definers": list(report.definers),
        "adapted": [],
    }


def transfer(context: Context, unusable: str | None = None) -> dict[str, Any]:
    """Copy and compare, from whatever an earlier try left; the record says afterwards that a whole copy is there.

    Args:
        unusable: why no server may start on the copy yet although it is whole: there is more to be done to it.
    """
    configuration = context.configuration
    source, target, names = original_database(context), new_database(context), schemas(configuration)
    threads = configuration.transfer.threads
    records = store(context)
    records.note(copy_change(copied=None, compared=None, copying=True))
    seed = SeedRecord(source, context.site)
    if seed.facts():
        # Whatever the seed was: what is copied now is the window's, and the new source must not follow at the same time.
        seed.take()
        seeding.remove(source, target)
    context.intend("import into the new source", schemas=names, target=target.name)
    never_serving(context)
    if CopyState.of(records.facts(COPY)).files:
        bring_files.settle(context)
    copy.empty(target, names)
    copied = bring_files.bring(context, names) or copy.copy(
        source, target, names, threads=threads, cancel=context.cancel, progress=context.progress
    )
    # What is written from here on may be missed by the comparison: the original's stop asks for it.
    with session(source) as old:
        before = log_end.read(old, names)
    comparison = compare.compare(source, target, names, threads=threads, cancel=context.cancel, progress=context.progress)
    comparison.raise_if_different()
    context.progress(f"{comparison.rows:,} rows and {comparison.objects:,} objects compared, all the same ({comparison.seconds:.1f} s)")
    for words in comparison.not_comparable:
        context.progress(f"not comparable: {words}")
    with session(source) as old, session(target) as new:
        meant = prove_same_meaning(context, old, new, states=True)
    if isinstance(copied, FilesReport):
        bring_files.prove_replicas(context, names)
    evidence = {
        **(_of_files(copied, comparison.rows) if isinstance(copied, FilesReport) else _of_rows(copied)),
        "compared rows": comparison.rows,
        "compared objects": comparison.objects,
        "compared in seconds": round(comparison.seconds, 1),
        "not comparable": comparison.not_comparable,
        "meaning": meant,
        "original": before.kept(),
    }
    with session(source) as old, session(target) as new:
        evidence["events enabled"] = create.settle_events(old, new, names)
    if replayed := fixes.replay(context):
        evidence["replayed"] = replayed
    records.note(copy_change(copied=evidence, spoilt=unusable))
    return evidence
