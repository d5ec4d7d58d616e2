"""Workload: domains, accounts, networks and VMs for tests of the upgrade, on the original, made before the window and removed after it."""

from __future__ import annotations

from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import workload_window
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import window_open
from parallel_build.steps.base import Step, step
from parallel_build.workload import kept
from parallel_build.workload.profile import Profile
from parallel_build.workload.run import Workload as Run
from parallel_build.workload.things import DOMAIN, counted


@step
class Workload(Step):
    """A described workload through the original's API.

    Parameters: `profile`, all its numbers; `zone`, the zone's name, "" for the first that is enabled.
    """

    type = "Workload"
    phase = Phase.BUILT
    summary = "a workload for tests of the upgrade"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is made, and where."""
        numbers = ", ".join(f"{number} of kind {kind}" for kind, number in counted(self._profile()).items())
        zone = f"zone {self.parameters['zone']}" if self.parameters.get("zone") else "the first enabled zone"
        return [
            f"prove through {configuration.original.api.url} that {zone} has offerings, templates and room for it, and that no other workload is there",
            f"make in the domain {DOMAIN}, what is missing of it: {numbers}; tag what can be tagged",
            f"keep the passwords of its users in {kept.FILE} in the run's folder",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Exactly that goes."""
        return [
            f"remove exactly this from {DOMAIN}, the last first; refused while a window is open, and while others have something in that domain"
        ]

    def before_apply(self, context: Context) -> None:
        """Refused in a window."""
        workload_window.refuse(context, "create")

    def apply(self, context: Context) -> Outputs:
        """Make what is missing."""
        profile = self._profile()
        context.intend("make the workload", domain=DOMAIN, profile=profile.digest)
        found = self._run(context)
        left_out = found.create(profile, kept.passwords(context.run.path, profile), str(self.parameters.get("zone") or ""))
        for kind, why in left_out.items():
            context.progress(f"left out: {kind}: {why}")
        return {"there": {kind: own for kind, (_, own) in found.status().items()}, "left out": left_out, "profile": profile.digest}

    def verify(self, context: Context) -> Outputs:
        """What is missing is made; in a window the original is silent on purpose."""
        return {} if window_open(context) else self.apply(context)

    def before_revert(self, context: Context) -> None:
        """Refused in a window: a rollback would bring it back."""
        workload_window.refuse(context, "remove")

    def revert(self, context: Context) -> None:
        """Remove it."""
        context.intend("remove the workload", domain=DOMAIN)
        left = self._run(context).remove()
        if left:
            raise StepFailed(
                f"the domain {DOMAIN} has what is not the workload's, so that stays: {', '.join(left)}",
                "others have put it there",
                "move or remove it, then run the same command again",
            )
        kept.forget(context.run.path)

    def _profile(self) -> Profile:
        return Profile.model_validate(self.parameters.get("profile") or {})

    @staticmethod
    def _run(context: Context) -> Run:
        return Run(Cloud.original(context.site), context.cancel, context.progress)
