"""What a rule is, what it finds, and the report of many: for guards, the health check, parity, and servers that are there already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar, overload

from parallel_build.errors import GuardFailed

LISTED = 8  # names in one sentence


class Severity(StrEnum):
    """What a finding means for the upgrade, the worst first."""

    BLOCKS = "blocks"  # the upgrade would fail, lose something, or be refused in the window
    WARNS = "warns"  # it will probably go through, and somebody should decide that knowingly
    NOTES = "notes"  # good to know beforehand


class Unanswered(Exception):
    """What a rule needs could not be asked: it can't judge. The text says why."""


@dataclass(frozen=True)
class RuleFinding:
    """A rule's words: what is so, why it matters, what to do. `severity` where it is not the rule's own."""

    fact: str
    cause: str
    remedy: str
    severity: StrEnum | None = None


Facts = TypeVar("Facts")
RuleFindingT = TypeVar("RuleFindingT", bound=RuleFinding)
Facts_contra = TypeVar("Facts_contra", contravariant=True)


@dataclass(frozen=True)
class Finding(Generic[RuleFindingT]):
    """One thing that is not as it should be.

    Attributes:
        rule: name of the rule that found it.
        severity: what it means.
        words: what is so, why it matters, what to do.
    """

    rule: str
    severity: StrEnum
    words: RuleFindingT

    @property
    def fact(self) -> str:
        """What is so."""
        return self.words.fact

    @property
    def cause(self) -> str:
        """Why it matters."""
        return self.words.cause

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.words.remedy

    def error(self) -> GuardFailed:
        """The finding as the error that refuses."""
        return GuardFailed(self.fact, self.cause, self.remedy)


@dataclass(frozen=True)
class Rule(Generic[Facts_contra, RuleFindingT]):
    """A named rule.

    Attributes:
        name: its function's name.
        severity: of its findings, unless one says another.
        source: where it is known from.
        summary: what it looks for, in a sentence.
        judge: yields what is not as it should be.
    """

    name: str
    severity: StrEnum
    source: str
    summary: str
    judge: Callable[[Facts_contra], Iterator[RuleFindingT]]

    def judged(self, facts: Facts_contra) -> tuple[list[Finding[RuleFindingT]], str]:
        """What the rule finds in the facts, and why it can't judge them ("" where it can): then it is what it had found until then."""
        found: list[Finding[RuleFindingT]] = []
        try:
            for words in self.judge(facts):
                found.append(Finding(self.name, words.severity or self.severity, words))
        except Unanswered as error:
            return found, str(error)
        return found, ""


@dataclass(frozen=True, eq=False)
class Report(Sequence[Finding[RuleFindingT]]):
    """What rules found, the worst first.

    Attributes:
        rules: names of the rules that were asked, in their order.
        findings: all of them.
        not_judged: rules that could not judge -> why.
        levels: the severities there are, the worst first.
    """

    rules: tuple[str, ...]
    findings: tuple[Finding[RuleFindingT], ...]
    not_judged: Mapping[str, str]
    levels: type[StrEnum] = Severity

    @overload
    def __getitem__(self, index: int) -> Finding[RuleFindingT]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding[RuleFindingT]]: ...
    def __getitem__(self, index: int | slice) -> Finding[RuleFindingT] | Sequence[Finding[RuleFindingT]]:
        """The findings, in order."""
        return self.findings[index]

    def __len__(self) -> int:
        """How many findings there are."""
        return len(self.findings)

    @property
    def failing(self) -> list[str]:
        """Rules that found something, or could not judge."""
        found = {finding.rule for finding in self.findings} | set(self.not_judged)
        return [name for name in self.rules if name in found]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings are of each severity."""
        return {level.value: sum(1 for finding in self.findings if finding.severity is level) for level in self.levels}

    def summary(self) -> str:
        """`2 blocks, 1 warns, 3 notes`."""
        return ", ".join(f"{number} {level}" for level, number in self.counts.items())

    def beyond(self, threshold: StrEnum) -> list[Finding[RuleFindingT]]:
        """Findings that are at least as bad as the threshold."""
        order = list(self.levels)
        return [finding for finding in self.findings if order.index(finding.severity) <= order.index(threshold)]

    def errors(self) -> list[GuardFailed]:
        """Each finding as the error that refuses; none hidden behind another. A rule that can't judge refuses too: silence is no consent."""
        return [
            *(finding.error() for finding in self.findings),
            *(GuardFailed(f"{name} can't be judged", why, "see why it is not answered, then run the same command again")
              for name, why in self.not_judged.items()),
        ]  # fmt: skip


def examine(rules: Iterable[Rule[Facts, RuleFindingT]], facts: Facts, levels: type[StrEnum] = Severity) -> Report[RuleFindingT]:
    """Apply every rule to the facts."""
    asked, found, unjudged = [], [], {}
    for rule in rules:
        asked.append(rule.name)
        findings, why = rule.judged(facts)
        found += findings
        if why:
            unjudged[rule.name] = why
    order = list(levels)
    return Report(tuple(asked), tuple(sorted(found, key=lambda finding: order.index(finding.severity))), unjudged, levels)


def summary_of(function: Callable[..., object]) -> str:
    """What a rule looks for: the first paragraph of its function's docstring, as one line."""
    return " ".join((function.__doc__ or "").split("\n\n")[0].split()).removeprefix("Rule: ")


def refusing(
    name: Callable[..., object], refuse: Callable[[Facts], None], source: str, severity: Severity = Severity.BLOCKS
) -> Rule[Facts, RuleFinding]:
    """A rule that says what is wrong by raising GuardFailed, for one thing at a time.

    Args:
        name: the function that names and describes it.
        refuse: it, over the facts.
    """

    def judge(facts: Facts) -> Iterator[RuleFinding]:
        try:
            refuse(facts)
        except GuardFailed as error:
            yield RuleFinding(error.fact, error.cause, error.remedy)

    return Rule(name.__name__, severity, source, summary_of(name), judge)


def listed(names: list[str]) -> str:
    """Some names for a sentence; of many the first, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
