"""Writing `host` into the copy: the new side's addresses first."""

from __future__ import annotations

from parallel_build.cloudstack import agents
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.facts.carried_settings import label
from parallel_build.operations import carried_settings, close_cut_work, ha_hold, router_minimum
from parallel_build.operations.actions import Action, carried_out
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, store
from parallel_build.remote.sql import Session, session

HOST = "UPDATE cloud.configuration SET value = %s WHERE name = 'host'"
NO_ROW_UP = "UPDATE cloud.mshost SET state = 'Down' WHERE state <> 'Down'"
"""What is executed here, and shown by the step's plan."""


def writes(configuration: StackConfiguration) -> list[Action[[Context, Session], Outputs]]:
    """What is written into the copy: shown by the step's plan, and done by `write`."""
    on = f"on {configuration.new.database.source.name}"
    host = "'" + value_for(configuration, "[the original's addresses]") + "'"
    return [
        Action([f"{on}: {HOST.replace('%s', host)}"], _host),
        Action(
            [f"{on}: jobs that were cut off marked as failed, as CloudStack itself does; what was left in transition settled or listed"],
            lambda context, database: {"closed": close_cut_work.close(context, database)},
        ),
        Action(
            [f"{on}: {NO_ROW_UP} (a row left Up stops the first start)"],
            lambda context, database: {"stale mshost rows": database.execute(NO_ROW_UP)},
        ),
        Action(
            [f"{on}: vm.ha.enabled and host HA of each zone off until every host is connected (agents.upgrade)"]
            if configuration.agents.upgrade
            else [],
            _hold_ha,
        ),
        Action(
            [
                f"{on}: {label(each)} = '{each.value}' (new.carry.settings); the original's own is not changed"
                for each in configuration.new.carry.settings
            ],
            lambda context, database: {"carried settings": carried_settings.write(context, database)},
        ),
        Action(
            [
                f"{on}: {router_minimum.SETTING} of each zone = the lowest release of its routers, put back as found after the last wave. RISK "
                "(routers.untilRenewed: allow): until then the new version gives commands to routers of the old release, which nobody tests together"
            ]
            if router_minimum.is_lowered(configuration)
            else [],
            _lower,
        ),
    ]


def write(context: Context) -> Outputs:
    """Write all of it, in the copy only; `host` and the rows are proved by reading."""
    evidence: Outputs = {}
    with session(new_database(context)) as database:
        for given in carried_out(writes(context.configuration), context, database):
            evidence |= given
        written = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
        up = database.value("SELECT COUNT(*) FROM cloud.mshost WHERE state = 'Up'")
    if written != evidence["host"] or up:
        raise StepFailed(
            f"`host` is {written} and {up} mshost rows are Up on {new_database(context).name}",
            "somebody else writes to the copy",
            "find out who is connected to it (SHOW PROCESSLIST on the new source) and stop it, then run the same command again",
        )
    return evidence


def _host(context: Context, database: Session) -> Outputs:
    records = store(context)
    now = database.value("SELECT value FROM cloud.configuration WHERE name = 'host'")
    if now is None:
        raise StepFailed(f"{database.host.name}: cloud.configuration has no `host`", "the copy is not whole", "run `pulumi up` again")
    if "previous" not in records.facts("HostSetting"):
        records.remember("HostSetting", previous=str(now))
    wanted = value_for(context.configuration, str(now))
    context.intend("write host", value=wanted)
    database.execute(HOST, [wanted])
    return {"host": wanted, "previous": records.facts("HostSetting").get("previous")}


def _hold_ha(context: Context, database: Session) -> Outputs:
    if ha_hold.AGENTS in store(context).mine().steps:  # an earlier version's window does without
        ha_hold.hold(context, database, "new")
    return {}


def _lower(context: Context, database: Session) -> Outputs:
    lowered = router_minimum.lower(context, database)
    return {"lowered minimum of routers": lowered} if lowered else {}


def value_for(configuration: StackConfiguration, now: str) -> str:
    """The new side's addresses, then those that are in the setting already, but for `localhost` (the default): whoever dials that dials itself.

    With agents.method file the agents are of a version that takes a single address [before CloudStack 4.11.1].
    """
    if configuration.agents.method == "file":
        return configuration.host_setting
    return agents.extended(configuration.host_setting, [each for each in agents.addresses(now) if not agents.is_loopback(each)])
