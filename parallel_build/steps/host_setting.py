"""HostSetting: the new addresses first in the copy's `host`, and no stale management server Up in it.

The original's addresses stay at the end of the list until the stack is retired: a new management server hands the list to every agent that
connects, agents write it down, and after a rollback they would otherwise dial nothing but the new servers for ever.
"""

from __future__ import annotations

from parallel_build.configuration import StackConfiguration
from parallel_build.operations import reimport
from parallel_build.operations.actions import planned
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import UNDO_ASKS_FOR, new_database, only_new_side, store
from parallel_build.operations.host_setting import HOST, write, writes
from parallel_build.operations.start_management import first_start
from parallel_build.records.states import COPY, CopyState
from parallel_build.remote.sql import session
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class HostSetting(SwitchedStep):
    """`cloud.configuration`'s `host` names the new side; mshost rows left Up are set Down."""

    type = "HostSetting"
    summary = "`host` names the new servers"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is written."""
        return planned(writes(configuration))

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Put the value back."""
        return [f"on {configuration.new.database.source.name}: `host` back to what it was (the original's own was never changed)"]

    def apply(self, context: Context) -> Outputs:
        """Write both, and read them back. A start that runs on the copy, or was good, is left alone: its own row must not be set Down."""
        if first_start(context).begun():
            return self.verify(context)
        reimport.make_whole(context, write)
        return write(context)

    def verify(self, context: Context) -> Outputs:
        """The value is looked at, not written again: an operator may have changed it on the new side since. A copy that is not whole has none."""
        if not CopyState.of(store(context).facts(COPY)).copied:
            return dict(store(context).facts(self.type))
        with session(new_database(context)) as database:
            value = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
        return {"host": str(value), **store(context).facts(self.type)}

    def revert(self, context: Context) -> None:
        """Put the former value back where the copy still is."""
        previous = store(context).facts(self.type).get("previous")
        if previous is None:
            return
        with only_new_side(context, "`host` in the copy"), session(new_database(context), timeout=UNDO_ASKS_FOR) as database:
            there = database.value(
                "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'configuration'"
            )
            if there:
                database.execute(HOST, [previous])
