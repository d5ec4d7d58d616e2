"""Ready: the last word of phase `prepared`: every guard of the window holds now, so that the window can be opened."""

from __future__ import annotations

import time

from parallel_build import guards
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.facts import new as new_facts
from parallel_build.facts import original as original_facts
from parallel_build.rehearsal_record import in_review
from parallel_build.steps import definitions
from parallel_build.steps.base import Context, Outputs, Step, step
from parallel_build.steps.common import prove_or_tell, schemas, window_open

PATIENCE = 120.0  # seconds for jobs, VMs in transition and hosts to come to rest by themselves
BETWEEN = 5.0
AT_REST = f"what comes to rest by itself (jobs, VMs in transition, hosts) is waited for, at most {PATIENCE:.0f} s"


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
            definitions.words(configuration),
            AT_REST,
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing."""
        return ["nothing: it only looked"]

    def apply(self, context: Context) -> Outputs:
        """Ask until all hold; a guard that does not pass by itself fails at once."""
        return prove_or_tell(context, lambda: {"guards": await_guards(context), **self._definitions(context)})

    @staticmethod
    def _definitions(context: Context) -> Outputs:
        return {} if window_open(context) else {"made": definitions.prove_makeable(context)}

    def revert(self, context: Context) -> None:
        """Nothing was done."""


def await_guards(context: Context) -> list[str]:
    """Ask every guard, and again while only such fail as pass by themselves.

    Returns:
        names of the guards; all hold.
    Raises:
        GuardFailed: names every guard that does not hold.
    """
    began = time.monotonic()
    passing = {guard.__name__ for guard in guards.PASSING}
    while True:
        context.progress("reading both sides")
        old = original_facts.gather(context.site, context.connections)
        fresh = new_facts.gather(context.site, context.connections, schemas(context.configuration))
        failing = [guard for guard in guards.GUARDS if guards.failures(context.site, old, fresh, [guard])]
        if not failing or time.monotonic() - began > PATIENCE or not all(guard.__name__ in passing for guard in failing):
            holding = guards.check(context.site, old, fresh)
            context.progress(f"{len(holding)} guards hold")
            return holding
        context.progress(f"waiting for {', '.join(guard.__name__ for guard in failing)}")
        context.cancel.wait(BETWEEN)
