"""Ready: the last word of phase `prepared`: every guard of the window holds now, so that the window can be opened."""

from __future__ import annotations

from collections.abc import Collection

from parallel_build import guards
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.operations import bring_files, dump_file, new_firewalls, prove_agents_reach, prove_makeable, prove_users_can_be_out
from parallel_build.operations.await_guards import AT_REST, hold
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import prove_or_tell, window_open
from parallel_build.records.rehearsal import in_review
from parallel_build.steps.base import Step, step


@step
class Ready(Step):
    """All guards of both sides, asked before anybody plans a window around them."""

    type = "Ready"
    phase = Phase.PREPARED
    summary = "every guard of the window holds"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Ask."""
        return [
            *in_review(configuration),
            f"ask the {len(guards.GUARDS)} guards of the window on both sides; changes nothing",
            prove_makeable.words(configuration),
            *bring_files.proof(configuration),
            prove_agents_reach.words(configuration),
            AT_REST,
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing."""
        return ["nothing: it only looked"]

    def apply(self, context: Context) -> Outputs:
        """Ask until all hold; a guard that does not pass by itself fails at once."""
        return prove_or_tell(context, lambda: self._proved(context))

    def _proved(self, context: Context) -> Outputs:
        holding, old = hold(context)
        return {"guards": holding, **self._definitions(context, old.away)}

    @staticmethod
    def _definitions(context: Context, away: Collection[str]) -> Outputs:
        if window_open(context):
            return {}
        dump_file.prove_room(context)
        warned = [*prove_users_can_be_out.prove_users_can_be_out(context), *new_firewalls.warn_of_closed_ports(context)]
        reached = prove_agents_reach.prove(context, away)
        seed = bring_files.prove(context)
        made = prove_makeable.prove_makeable(context)
        return {"reached": reached, "made": made, **({"seed": seed} if seed else {}), **({"warned": warned} if warned else {})}

    def revert(self, context: Context) -> None:
        """Nothing was done."""
