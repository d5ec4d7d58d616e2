"""The rules of the health check: how a function becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from parallel_build.guards.rule import Guard, rule_of
from parallel_build.rules import Rule, RuleFinding, Severity, summary_of

if TYPE_CHECKING:
    from parallel_build.health.facts import HealthFacts

Judge = Callable[["HealthFacts"], Iterator[RuleFinding]]
RULES: list[Rule[HealthFacts, RuleFinding]] = []


def rule(severity: Severity, source: str) -> Callable[[Judge], Judge]:
    """Register a function as a rule; its docstring's first paragraph is the rule's summary."""

    def register(judge: Judge) -> Judge:
        RULES.append(Rule(judge.__name__, severity, source, summary_of(judge), judge))
        return judge

    return register


def guard_rule(guard: Guard, severity: Severity = Severity.BLOCKS) -> None:
    """Register a guard of the window as a rule: what would be refused at night is found in daylight."""
    RULES.append(replace(rule_of(guard), severity=severity))
