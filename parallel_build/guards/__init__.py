"""Rules that must hold before anything is changed: each a named function over facts that returns nothing or raises GuardFailed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from parallel_build.errors import GuardFailed, ParallelBuildError
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards import both_sides, new, original, seed
from parallel_build.resolved_stack import Site

Guard = Callable[[Site, OriginalFacts, NewFacts], None]

GUARDS: tuple[Guard, ...] = (*original.GUARDS, *new.GUARDS, *both_sides.GUARDS, *seed.GUARDS)
# What passes by itself on a cloud that is in use: a check that has time may ask again.
PASSING: tuple[Guard, ...] = (
    original.no_job_is_running,
    original.nothing_is_in_transition,
    original.hosts_are_up,
    original.system_vms_run,
    original.no_transaction_is_long,
    seed.seed_is_caught_up,
)


def failures(site: Site, old: OriginalFacts, fresh: NewFacts, guards: Iterable[Guard] = GUARDS) -> list[GuardFailed]:
    """Apply every guard; return those that fail, none hidden behind another."""
    found = []
    for guard in guards:
        try:
            guard(site, old, fresh)
        except GuardFailed as error:
            found.append(error)
    return found


def check(site: Site, old: OriginalFacts, fresh: NewFacts) -> list[str]:
    """Apply every guard.

    Returns:
        names of the guards that hold.
    Raises:
        GuardFailed: one error that names every guard that does not hold.
    """
    failed = failures(site, old, fresh)
    if failed:
        raise GuardFailed(
            f"{len(failed)} of {len(GUARDS)} guards do not hold:\n" + "\n".join(f"  - {error}" for error in failed) + "\n",
            "each of them would break the window, or the way back",
            "nothing has been changed; mend these and run the same command again",
        )
    return [guard.__name__ for guard in GUARDS]


__all__ = ["GUARDS", "Guard", "ParallelBuildError", "check", "failures"]
