"""DatabaseTransfer: every row of the original on the new source, compared, while nobody writes."""

from __future__ import annotations

from parallel_build.configuration import StackConfiguration
from parallel_build.database.copy import account
from parallel_build.database.replicate.channel import CHANNEL, USER
from parallel_build.operations import bring_files, fixes
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, schemas, store
from parallel_build.operations.takeover import detach_seed, take_over
from parallel_build.operations.transfer import brought, empty, transfer
from parallel_build.records.states import COPY, CopyState, copy_change
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


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
                *(
                    f"prove: {replica.name} has everything, and a row written on {new.name} now"
                    for replica in configuration.new.database.servers[1:]
                ),
                *fixes.words(configuration, new.name),
            ]
        return [
            f"empty {names} on {new.name} ({new.address}) of anything an earlier try left",
            f"copy {names} from {old.name} ({old.address}) straight to {new.name}: tables, rows, routines, views; "
            f"{configuration.transfer.threads} at a time, secondary indexes last, events disabled",
            *bring_files.words(configuration),
            f"compare every table's rows and every schema object of {old.name} with {new.name}, and what they mean to CloudStack: "
            f"version, things by state, management servers, `init` decrypted; then enable the events that run on {old.name}",
            *fixes.words(configuration, new.name),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Leave the copy, which Window's undo empties."""
        new, names = configuration.new.database.source, ", ".join(schemas(configuration))
        if configuration.transfer.method == "replicate":
            return [
                f"before {new.name} was detached: nothing, it still follows the original",
                f"after: {names} on {new.name} emptied at the end of Window's undo, once the original serves; step DatabaseSeed is then done "
                "again by the next `pulumi up`",
            ]
        return [
            f"{names} on {new.name} emptied at the end of Window's undo, once the original serves, which was only read",
            f"on {configuration.original.database.source.name}, not in its binary log: DROP USER {account.COPY_USER}, where a copy that was cut "
            "off has left it",
        ]

    def apply(self, context: Context) -> Outputs:
        """Copy unless a finished copy is there already, then compare."""
        known = CopyState.of(store(context).facts(COPY))
        if known.copied:
            context.progress("the copy is there already, compared before")
            return known.copied
        if known.left:
            empty(context)  # undone, up to a hold point
        elif known.spoilt:
            # Imported again after a first start, and cut off: that also has the original's database up and down again, and is done before the next start.
            context.progress("the copy is imported again before the next start on it")
            return {"spoilt": known.spoilt}
        return take_over(context) if context.configuration.transfer.method == "replicate" else transfer(context)

    def verify(self, context: Context) -> Outputs:
        """Look at the record only: after the first start the copy differs from the original, as it must."""
        return CopyState.of(store(context).facts(COPY)).copied or {}

    def revert(self, context: Context) -> None:
        """Nothing that takes longer with more data stands between users and the original: the copy stays for the moment.

        A seed that was not taken over yet stays for good and keeps following.
        """
        detach_seed(context)
        if not brought(context):
            context.progress(f"nothing was brought to {new_database(context).name}, or it was not detached and still follows the original")
            return
        store(context).note(copy_change(copied=None, compared=None, copying=None, left=True))
        context.progress("the new databases stay until the original serves")
