"""A guard as a rule: a function over both sides that raises GuardFailed where the window may not open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.resolved_stack import Site
from parallel_build.rules import Rule, RuleFinding, refusing


class BothSides(Protocol):
    """What guards judge."""

    @property
    def site(self) -> Site:
        """The stack."""

    @property
    def old(self) -> OriginalFacts:
        """Facts of the original."""

    @property
    def fresh(self) -> NewFacts:
        """Facts of the new servers."""


@dataclass(frozen=True)
class Sides:
    """Both sides as they were read.

    Attributes:
        site: the stack.
        old, fresh: facts of the original, and of the new servers.
    """

    site: Site
    old: OriginalFacts
    fresh: NewFacts


Guard = Callable[[Site, OriginalFacts, NewFacts], None]


def rule_of(guard: Guard) -> Rule[BothSides, RuleFinding]:
    """The rule that a guard's function is; its docstring's first paragraph states it."""

    def refuse(sides: BothSides) -> None:
        guard(sides.site, sides.old, sides.fresh)

    return refusing(guard, refuse, f"guard of the window, parallel_build/guards ({guard.__name__})")


def rules_of(*guards: Guard) -> tuple[Rule[BothSides, RuleFinding], ...]:
    """The same of several."""
    return tuple(rule_of(guard) for guard in guards)
