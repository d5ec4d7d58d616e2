"""HostSetting: the new addresses first in the copy's `host`, and no stale management server Up in it.

The original's addresses stay at the end of the list until the stack is retired: a new management server hands the list to every agent that
connects, agents write it down, and after a way back they would otherwise dial nothing but the new servers for ever.
"""

from __future__ import annotations

from parallel_build.cloudstack import agents
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import reimport
from parallel_build.operations.context_helpers import new_database, store, tolerated
from parallel_build.operations.rollback_window import SwitchedStep
from parallel_build.operations.start_management import first_start
from parallel_build.remote.sql import session
from parallel_build.steps.base import Context, Outputs, step


@step
class HostSetting(SwitchedStep):
    """`cloud.configuration`'s `host` names the new side; mshost rows left Up are set Down."""

    type = "HostSetting"
    summary = "`host` names the new servers"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The two statements."""
        name = configuration.new.database.source.name
        rest = "" if configuration.agents.method == "file" else ",[the original's addresses]"
        return [
            f"on {name}: UPDATE cloud.configuration SET value = '{configuration.host_setting}{rest}' WHERE name = 'host'",
            f"on {name}: UPDATE cloud.mshost SET state = 'Down' WHERE state <> 'Down' (a row left Up stops the first start)",
        ]

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
        if not store(context).facts("DatabaseTransfer").get("copied"):
            return dict(store(context).facts(self.type))
        with session(new_database(context)) as database:
            value = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
        return {"host": str(value), **store(context).facts(self.type)}

    def revert(self, context: Context) -> None:
        """Put the former value back where the copy still is."""
        previous = store(context).facts(self.type).get("previous")
        if previous is None:
            return
        with tolerated(context, "`host` in the copy"), session(new_database(context)) as database:
            there = database.value(
                "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'configuration'"
            )
            if there:
                database.execute("UPDATE cloud.configuration SET value = %s WHERE name = 'host'", [previous])


def write(context: Context) -> Outputs:
    """Write `host` and set stale rows Down, in the copy only; proved by reading."""
    records = store(context)
    with session(new_database(context)) as database:
        now = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
        if now is None:
            raise StepFailed(f"{database.host.name}: cloud.configuration has no `host`", "the copy is not whole", "run `pulumi up` again")
        if "previous" not in records.facts("HostSetting"):
            records.remember("HostSetting", previous=str(now))
        wanted = value_for(context.configuration, str(now))
        context.intend("write host", value=wanted)
        database.execute("UPDATE cloud.configuration SET value = %s WHERE name = 'host'", [wanted])
        stale = database.execute("UPDATE cloud.mshost SET state = 'Down' WHERE state <> 'Down'")
        written = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
        up = database.value("SELECT COUNT(*) FROM cloud.mshost WHERE state = 'Up'")
    if written != wanted or up:
        raise StepFailed(
            f"`host` is {written} and {up} mshost rows are Up on {new_database(context).name}",
            "somebody else writes to the copy",
            "see who is connected to it",
        )
    return {"host": wanted, "previous": records.facts("HostSetting").get("previous"), "stale mshost rows": stale}


def value_for(configuration: StackConfiguration, now: str) -> str:
    """The new side's addresses, then those that are in the setting already.

    With agents.method file the agents are of a version that takes a single address [before CloudStack 4.11.1].
    """
    if configuration.agents.method == "file":
        return configuration.host_setting
    return agents.extended(configuration.host_setting, agents.addresses(now))
