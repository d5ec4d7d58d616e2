"""Writing `host` into the copy: the new side's addresses first."""

from __future__ import annotations

from parallel_build.cloudstack import agents
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import carried_settings, close_cut_work, ha_hold, router_minimum
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.remote.sql import session

HOST = "UPDATE cloud.configuration SET value = %s WHERE name = 'host'"
NO_ROW_UP = "UPDATE cloud.mshost SET state = 'Down' WHERE state <> 'Down'"
"""What is executed here, and shown by the step's plan."""


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
        database.execute(HOST, [wanted])
        closed = close_cut_work.close(context, database)
        stale = database.execute(NO_ROW_UP)
        written = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
        up = database.value("SELECT COUNT(*) FROM cloud.mshost WHERE state = 'Up'")
        lowered = router_minimum.lower(context, database)
        if context.configuration.agents.upgrade is not None and ha_hold.AGENTS in records.mine().steps:
            ha_hold.hold(context, database, "new")
        carried = carried_settings.write(context, database)
    if written != wanted or up:
        raise StepFailed(
            f"`host` is {written} and {up} mshost rows are Up on {new_database(context).name}",
            "somebody else writes to the copy",
            "find out who is connected to it (SHOW PROCESSLIST on the new source) and stop it, then run the same command again",
        )
    evidence = {"host": wanted, "previous": records.facts("HostSetting").get("previous"), "stale mshost rows": stale, "closed": closed}
    evidence |= {"carried settings": carried} if carried else {}
    return evidence | ({"lowered minimum of routers": lowered} if lowered else {})


def value_for(configuration: StackConfiguration, now: str) -> str:
    """The new side's addresses, then those that are in the setting already, but for `localhost` (the default): whoever dials that dials itself.

    With agents.method file the agents are of a version that takes a single address [before CloudStack 4.11.1].
    """
    if configuration.agents.method == "file":
        return configuration.host_setting
    return agents.extended(configuration.host_setting, [each for each in agents.addresses(now) if not agents.is_loopback(each)])
