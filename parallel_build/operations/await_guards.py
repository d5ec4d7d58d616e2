"""Asking every guard of the window until all hold."""

from __future__ import annotations

import time

from parallel_build import guards
from parallel_build.facts import new as new_facts
from parallel_build.facts import original as original_facts
from parallel_build.facts.original import OriginalFacts
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import schemas

PATIENCE = 120.0  # seconds for hosts, system VMs and long transactions to come to rest by themselves

BETWEEN = 5.0

AT_REST = f"wait up to {PATIENCE:.0f} s for hosts, system VMs and long transactions to settle"


def await_guards(context: Context) -> list[str]:
    """Ask every guard, and again while only such fail as pass by themselves.

    Returns:
        names of the guards; all hold.
    Raises:
        GuardFailed: names every guard that does not hold.
    """
    return hold(context)[0]


def hold(context: Context) -> tuple[list[str], OriginalFacts]:
    """The same, with the facts of the original by which they hold."""
    began = time.monotonic()
    while True:
        context.progress("reading both sides")
        old = original_facts.gather(context.site, context.connections)
        fresh = new_facts.gather(context.site, context.connections, schemas(context.configuration))
        failing = guards.report(context.site, old, fresh).failing
        if not failing or time.monotonic() - began > PATIENCE or not guards.PASSING.issuperset(failing):
            holding = guards.check(context.site, old, fresh)
            for line in guards.notices(context.site, old):
                context.progress(line)
            context.progress(f"{len(holding)} guards hold")
            return holding, old
        context.progress(f"waiting for {', '.join(failing)}")
        context.cancel.wait(BETWEEN)
