"""What a rule of the health check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.health.queries import Unanswered
from parallel_build.resolved_stack import Site

if TYPE_CHECKING:
    from parallel_build.health.facts import HealthFacts

LISTED = 8  # names in one sentence


class Severity(StrEnum):
    """What a finding means for the upgrade."""

    BLOCKS = "blocks"  # the upgrade would fail, lose something, or be refused in the window
    WARNS = "warns"  # it will probably go through, and somebody should decide that knowingly
    NOTES = "notes"  # good to know beforehand


@dataclass(frozen=True)
class Said:
    """A rule's words: what is so, why it matters, what to do. `severity` where it is not the rule's own."""

    fact: str
    cause: str
    remedy: str
    severity: Severity | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        rule: name of the rule that found it.
        severity, fact, cause, remedy: see `Severity` and `Said`.
    """

    rule: str
    severity: Severity
    fact: str
    cause: str
    remedy: str


Judge = Callable[["HealthFacts"], Iterator[Said]]


@dataclass(frozen=True)
class Rule:
    """A named rule.

    Attributes:
        name: its function's name.
        severity: of its findings, unless one says another.
        source: where it is known from.
        summary: what it looks for, in a sentence.
    """

    name: str
    severity: Severity
    source: str
    summary: str
    judge: Judge

    def findings(self, facts: HealthFacts) -> list[Finding]:
        """What the rule finds in the facts; where it can't judge, what it had found until then."""
        return self._judged(facts)[0]

    def not_judged(self, facts: HealthFacts) -> str:
        """Why it can't judge these facts; "" where it can."""
        return self._judged(facts)[1]

    def _judged(self, facts: HealthFacts) -> tuple[list[Finding], str]:
        found: list[Finding] = []
        try:
            for said in self.judge(facts):
                found.append(Finding(self.name, said.severity or self.severity, said.fact, said.cause, said.remedy))
        except Unanswered as error:
            return found, str(error)
        return found, ""


RULES: list[Rule] = []


def rule(severity: Severity, source: str) -> Callable[[Judge], Judge]:
    """Register a function as a rule; its docstring's first line is the rule's summary."""

    def register(judge: Judge) -> Judge:
        summary = (judge.__doc__ or "").strip().splitlines()[0]
        RULES.append(Rule(judge.__name__, severity, source, summary, judge))
        return judge

    return register


def guard_rule(guard: Callable[[Site, OriginalFacts, NewFacts], None], severity: Severity = Severity.BLOCKS) -> None:
    """Register a guard of the window as a rule: what would be refused at night is found in daylight."""

    def judge(facts: HealthFacts) -> Iterator[Said]:
        try:
            guard(facts.site, facts.old, facts.fresh)
        except GuardFailed as error:
            yield Said(error.fact, error.cause, error.remedy)

    summary = (guard.__doc__ or "").strip().splitlines()[0].removeprefix("Rule: ")
    RULES.append(Rule(guard.__name__, severity, f"guard of the window, parallel_build/guards ({guard.__name__})", summary, judge))


def listed(names: list[str]) -> str:
    """Some names for a sentence; of many the first, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
