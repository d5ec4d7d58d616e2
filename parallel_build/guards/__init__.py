"""Rules that must hold before anything is changed: each a named function over facts that returns nothing or raises GuardFailed."""

from __future__ import annotations

from collections.abc import Iterable

from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards import both_sides, frontend, galera, new, original, seed, waves, world
from parallel_build.guards.rule import BothSides, Sides, rule_of
from parallel_build.resolved_stack import Site
from parallel_build.rules import Report, Rule, RuleFinding, examine

GUARDS: tuple[Rule[BothSides, RuleFinding], ...] = (
    *original.GUARDS,
    *galera.GUARDS,
    *waves.GUARDS,
    *world.GUARDS,
    *frontend.GUARDS,
    *new.GUARDS,
    *both_sides.GUARDS,
    *seed.GUARDS,
)
# Guards whose failing passes by itself on a cloud that is in use: a check that has time may ask again.
PASSING = frozenset(
    guard.__name__
    for guard in (
        original.nothing_hangs,
        original.hosts_are_up,
        original.system_vms_run,
        original.no_transaction_is_long,
        seed.seed_is_caught_up,
    )
)


def report(site: Site, old: OriginalFacts, fresh: NewFacts, guards: Iterable[Rule[BothSides, RuleFinding]] = GUARDS) -> Report[RuleFinding]:
    """Apply every guard."""
    return examine(guards, Sides(site, old, fresh))


def failures(site: Site, old: OriginalFacts, fresh: NewFacts, guards: Iterable[Rule[BothSides, RuleFinding]] = GUARDS) -> list[GuardFailed]:
    """Apply every guard; return those that fail, none hidden behind another."""
    return report(site, old, fresh, guards).errors()


def notices(site: Site, old: OriginalFacts) -> list[str]:
    """What keeps no window from opening and somebody should know."""
    return [*original.forecast(site, old), *world.notices(site, old), *frontend.notices(site, old)]


def check(site: Site, old: OriginalFacts, fresh: NewFacts) -> list[str]:
    """Apply every guard.

    Returns:
        names of the guards that hold.
    Raises:
        GuardFailed: one error that names every guard that does not hold.
    """
    found = report(site, old, fresh)
    if failed := found.errors():
        raise GuardFailed(
            f"{len(failed)} of {len(GUARDS)} guards do not hold:\n" + "\n".join(f"  - {error}" for error in failed) + "\n",
            "each of them would break the window, or the rollback",
            "nothing has been changed; fix these and run the same command again",
        )
    return list(found.rules)


__all__ = ["GUARDS", "PASSING", "check", "failures", "notices", "report", "rule_of"]
