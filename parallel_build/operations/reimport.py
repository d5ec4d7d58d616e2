"""The copy imported again, after a start that may have changed it or an import that was cut off, and from wherever an earlier try of this was cut off.

That the copy is unusable stands in the window's record, on the original's database host, before anything else is forgotten, and goes only when
all of this is done: whoever continues, on whatever machine, begins the import again. Until then no new server is started.
"""

from __future__ import annotations

from collections.abc import Callable

from parallel_build.errors import StepFailed
from parallel_build.operations import forensics, original_database, prove_original_down
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.start_management import first_start
from parallel_build.operations.transfer import transfer
from parallel_build.records.states import copy_change


def make_whole(context: Context, write: Callable[[Context], Outputs]) -> None:
    """Import the copy again where it can't be started on; nothing happens where it is whole, or where a start on it runs or was good.

    Args:
        write: what has to be written into a fresh copy: HostSetting's own.
    """
    start = first_start(context)
    if start.under_way():
        return
    why = start.unusable()
    if why:
        context.progress(f"no server can be started on the copy, {why}: importing it again")
        import_again(context, why, write)


def import_again(context: Context, why: str, write: Callable[[Context], Outputs]) -> None:
    """The new server down, the original's database up alone, copied and compared again, down and masked again, and the copy made ready for a start.

    Raises:
        StepFailed: users may have worked on the new side already; or something of the original is not down.
        ConnectionFailed: the new management server can't be reached, so nothing proves that it leaves the copy alone.
    """
    records = store(context)
    if records.mine().switched:
        raise StepFailed(
            f"the copy can't be imported again: {why}",
            "the new side has been switched to, and what users did there since would be lost",
            f"go back: parallel-build back {context.site.stack}; or repair the first new management server by hand",
        )
    context.intend("import the copy again", why=why)
    forensics.collect_once(context, waiting=True)
    start = first_start(context)
    start.forget(unusable=why)
    start.stop()
    prove_original_down.prove_management(context)
    original_database.start(context)
    transfer(context, unusable=why)
    original_database.stop_servers(context)
    write(context)
    records.note(copy_change(spoilt=None))
