"""Drain: the original's jobs end, and nothing is in transition, before its servers are stopped."""

from __future__ import annotations

from parallel_build.configuration import StackConfiguration
from parallel_build.durations import duration
from parallel_build.errors import StepFailed
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.drain import allow_jobs, asks_servers, drain
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class Drain(SwitchedStep):
    """Users are out; what they began comes to its end."""

    type = "Drain"
    summary = "jobs come to their end"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Ask, wait, and what follows at the limit."""
        window, version = configuration.window, configuration.original.version
        ask = (
            ["prepareForShutdown on the original's management servers, one after the other: they take no more jobs"]
            if asks_servers(version)
            else [f"no prepareForShutdown: in {version} it makes parts of running jobs fail; users are out, and the job table is watched"]
        )
        then = {
            "back": "what still runs then ends the step: jobs allowed, users in again, nothing stopped",
            "cut": "what still runs then is cut off: on record with its object, closed in the copy before the first start",
        }[window.drain_then]
        return [*ask, f"wait until no job runs and no VM, volume or snapshot is between two states, at most {duration(window.drain)}", then]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Jobs allowed."""
        return ["cancelShutdown on each server that was asked and still takes no jobs"]

    def apply(self, context: Context) -> Outputs:
        """Wait for rest."""
        return drain(context)

    def verify(self, context: Context) -> Outputs:
        """Nothing to do again: the original is down by now, or a hold point leaves it as it is."""
        return {}

    def revert(self, context: Context) -> None:
        """Let the servers take jobs; one that still refuses them keeps nobody out: Window's undo asks again, and lists it.

        Raises:
            StepFailed: one still refuses them, and the undo ends here, at a hold point, with users out.
        """
        refused = allow_jobs(context)
        if refused and context.configuration.window.stop_before == self.type:
            raise StepFailed("; ".join(refused), "it was asked to take no more jobs, and that still holds", "run the same command again")
        for words in refused:
            context.progress(words)
