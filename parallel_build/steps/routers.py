"""Routers: after users are in, wave by wave; what does not fit into this step's time is left to `parallel-build routers`."""

from __future__ import annotations

from parallel_build.configuration import StackConfiguration
from parallel_build.durations import duration
from parallel_build.operations import router_waves, users_in
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.later_zones import renew_later
from parallel_build.records.waves import ROUTERS, WaveState
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep

UNTIL = {
    "first": "until its wave CloudStack refuses calls in a network that need its router; such a network comes first (routers.untilRenewed: first)",
    "allow": "RISK: until its wave the new version gives commands to a network's router of the old release (routers.untilRenewed: allow)",
    "wait": "users are out until the last wave has been tried (routers.untilRenewed: wait)",
}


@step
class Routers(SwitchedStep):
    """Renew the routers that run, network by network."""

    type = ROUTERS
    summary = "routers on the new template, wave by wave"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The order, the limits, and what users may meet meanwhile."""
        if configuration.move:
            return ["nothing: a move leaves routers alone, they run on and are the new servers'"]
        section, at_once = configuration.routers, configuration.window.parallel_restarts
        named = [wave.title for wave in section.waves]
        hours = f", only at {', '.join(section.hours.spans)} {section.hours.time_zone}" if section.hours else ""
        limit = (
            "to their end"
            if section.until_renewed == "wait"
            else f"for at most {duration(section.with_up)}, then parallel-build routers continues"
        )
        patched = section.renew == "livePatch"
        how = (
            "restartNetwork livepatch=true and restartVPC livepatch=true, new scripts for routers where they run (VPCs without tiers: cleanup=true),"
            if patched
            else "restartNetwork cleanup=true and restartVPC cleanup=true"
        )
        return [
            f"{how} for every network that is implemented and whose router runs; idle ones are left alone",
            f"{section.canary} as a canary, then {', then '.join([*named, 'the rest zone by zone'])}; {at_once} at a time{hours}; {limit}",
            f"a wave stops when more than {section.failure_rate:.0%} of it fail; what fails is tried {section.tries} times, listed, and keeps nobody waiting",
            UNTIL[section.until_renewed],
            *users_in.planned(configuration, "routers"),
            f"prove each router by its softwareversion, {configuration.new.version}, and by a scriptsversion that has changed, never by the call"
            if patched
            else "prove each router by the API, by the database's row of the new VM, and by /etc/cloudstack-release on the appliance",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Done by the original, at the end of Window's undo."""
        if configuration.move:
            return ["users out on the new side, where they are in"]
        names = ", ".join(machine.name for machine in configuration.new.management)
        patched = ["routers that were patched are replaced by the original: it does not know their scripts"]
        return [
            f"users out on the new side (method {configuration.window.user_access.method}); {names} stopped and masked, at the same time",
            "the original renews them at the end of Window's undo, users in meanwhile: each network keeps its new router until its own restart",
            *(patched if configuration.routers.renew == "livePatch" else []),
        ]

    def takes_part(self, context: Context) -> bool:
        """Also in a window that an earlier version opened, unless that has let users in already: it renewed all routers before that."""
        record = store(context).read()
        return super().takes_part(context) or (record is not None and not users_in.earlier_version(record))

    def apply(self, context: Context) -> Outputs:
        """What fits."""
        ensure_running(context)
        later = renew_later(context)
        if context.configuration.move:
            context.pending = ". ".join(later)
            return {"left alone": "a move renews no router"}
        waits = users_in.settle(context) == "routers"
        limit = None if waits else context.configuration.routers.with_up.total_seconds()
        result = router_waves.run(context, limit=limit)
        router_waves.let_users_in(context, result)
        words = result.words(context.site.stack)
        context.progress(words)
        led = users_in.led(context) if waits else ""
        context.pending = ". ".join([*later, *([words] if result.left else []), *([led] if led else [])])
        return result.document()

    def verify(self, context: Context) -> Outputs:
        """The record says how they stand; nothing is renewed."""
        state = WaveState.of(store(context).facts(ROUTERS))
        return {"networks": state.total, "renewed": state.done}

    def revert(self, context: Context) -> None:
        """Users out of the new side; its routers run on until the original restarts their networks."""
        users_in.leave(context)
