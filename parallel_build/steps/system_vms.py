"""SystemVms: secondary storage VMs and console proxies renewed, and their version proved three ways."""

from __future__ import annotations

import contextlib
from typing import Any

from parallel_build.cloudstack import systemvms, zones
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import move, original_numbers, prove_appliances, users_in
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import OpenSession, new_database, store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.renew_system_vms import asked_for, await_kinds, expected, old_ones, renew
from parallel_build.steps.base import step
from parallel_build.steps.hypervisors import await_hosts
from parallel_build.steps.switched import SwitchedStep


@step
class SystemVms(SwitchedStep):
    """Renew what still runs the old template."""

    type = "SystemVms"
    summary = "system VMs on the new template"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """All system VMs side by side."""
        if configuration.move:
            return [
                f"wait up to {move.COME_OVER:.0f} s for the agent of every system VM to connect to a new server "
                "(cloud.host and mshost on the new source); they run on",
                "destroySystemVm only for those that are not connected by then, and wait for their successors",
            ]
        chosen = configuration.window.accept_zones
        where = "every enabled zone that is no Edge zone" if chosen == "all" else f"{', '.join(chosen)} (window.acceptZones)"
        later = [] if chosen == "all" else ["the system VMs of the other enabled zones: after users are in, before the first router wave"]
        return [
            f"destroySystemVm for each secondary storage VM and console proxy of {where}, side by side; CloudStack itself makes their successors "
            "one zone after the other, the two kinds next to each other",
            *later,
            "prove each version by the API, by the database's row of the new VM, and by /etc/cloudstack-release on the appliance",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Done by the original, at the end of Window's undo."""
        return ["nothing here: the original renews them at the end of Window's undo, it needs its management server"]

    def apply(self, context: Context) -> Outputs:
        """Renew what a witness contradicts; what is proved already stays as it is."""
        ensure_running(context)
        await_hosts(context)  # again: a step that resumes after hours may find them away
        if context.configuration.move:
            return self._move(context)
        cloud, window = asked(context, Cloud.new(context.site)), context.configuration.window
        with contextlib.ExitStack() as stack:
            database = OpenSession(new_database(context), stack)
            release = systemvms.required_release(database())
            # From here on a rollback must renew them on the original, whatever else is known by then.
            records = store(context)
            groups = records.facts(self.type).get("kinds") or expected(cloud)
            records.remember(self.type, renewed=True, kinds=groups)
            chosen = self._zones(context, cloud)
            old, _, alone = old_ones(context, cloud, release, database, chosen)
            if alone:
                context.progress(f"left alone, since CloudStack makes no system VMs in their zones: {', '.join(alone)}")
            if old:
                context.intend("renew system VMs", names=[vm["name"] for vm in old])
            timeout = window.system_vm_timeout.total_seconds()
            renewed = renew(context, cloud, old, timeout=timeout)
            await_kinds(context, cloud, [group for group in groups if group[0] in chosen], timeout=timeout)
            context.note(renewed=[*context.done.get("renewed", []), *renewed])
            original_numbers.note(context)
            return {"release": release, "proofs": self._prove_all(context, cloud, release, database, chosen)}

    def verify(self, context: Context) -> Outputs:
        """Prove again, renew nothing."""
        cloud = Cloud.new(context.site)
        if context.configuration.move:
            stand = move.look(context, cloud, self._zones(context, cloud))
            move.prove(stand)
            return {"connected": stand.over, "without an agent": stand.silent}
        with contextlib.ExitStack() as stack:
            database = OpenSession(new_database(context), stack)
            release = systemvms.required_release(database())
            return {"release": release, "proofs": self._prove_all(context, cloud, release, database, self._zones(context, cloud))}

    def _move(self, context: Context) -> Outputs:
        """They come over by themselves; those that don't are renewed."""
        cloud, records = asked(context, Cloud.new(context.site)), store(context)
        groups = records.facts(self.type).get("kinds") or expected(cloud)
        records.remember(self.type, kinds=groups)
        chosen = self._zones(context, cloud)
        timeout = context.configuration.window.system_vm_timeout.total_seconds()
        if records.facts(self.type).get("renewed"):  # a run that was cut off may have destroyed one whose successor has not come
            await_kinds(context, cloud, [group for group in groups if group[0] in chosen], timeout=timeout)
        stand, renewed = move.bring_over(context, cloud, chosen)
        context.note(renewed=[*context.done.get("renewed", []), *renewed])
        original_numbers.note(context)
        return {"connected": stand.over, "without an agent": stand.silent}

    def revert(self, context: Context) -> None:
        """Users out of the new side, where they are in."""
        users_in.leave(context)

    @staticmethod
    def _zones(context: Context, cloud: Cloud) -> list[str]:
        """Names of the zones whose system VMs this step renews."""
        listed = cloud.list("listZones")
        chosen = context.configuration.window.accept_zones
        if chosen != "all" and (unknown := sorted(set(chosen) - {str(zone["name"]) for zone in listed})):
            raise StepFailed(
                f"window.acceptZones names {', '.join(unknown)}, and the cloud has no such zone",
                f"its zones are {', '.join(str(zone['name']) for zone in listed)}",
                "correct window.acceptZones, then `pulumi up`",
            )
        return [str(zone["name"]) for zone in listed if zones.kept(zone) and asked_for(context.configuration, str(zone["name"]))]

    @staticmethod
    def _prove_all(context: Context, cloud: Cloud, release: str, database: OpenSession, chosen: list[str]) -> dict[str, Any]:
        _, proved, _ = old_ones(context, cloud, release, database, chosen)
        bad = [f"{proof.name}: {problem}" for proof in proved for problem in proof.problems]
        if bad:
            raise StepFailed(
                f"system VMs are not on release {release}: {'; '.join(bad[:6])}",
                "they were not made again from the target's template, or have not reported their release yet",
                "see the alerts and the template's state in that zone; then `pulumi up` renews only those",
            )
        if silent := prove_appliances.without_witness(proved):
            context.progress(f"PROVED BY THE DATABASE ALONE, neither the API nor the appliance says a release: {', '.join(silent)}")
        return {
            proof.name: {"api": proof.api, "database": proof.database, "appliance": proof.appliance}
            | ({} if proof.witnessed else {"witness": "none but the database"})
            for proof in proved
        }
