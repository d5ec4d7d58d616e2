"""Rules and reports, whoever uses them: nothing hidden, the worst first, and silence is no consent."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from parallel_build.errors import GuardFailed
from parallel_build.rules import Rule, RuleFinding, Severity, Unanswered, examine, refusing


def large(number: int) -> Iterator[RuleFinding]:
    if number > 10:
        yield RuleFinding(f"{number} is large", "it does not fit", "take a smaller one")
    if number > 100:
        yield RuleFinding(f"{number} is far too large", "it breaks", "take a smaller one", Severity.BLOCKS)


def known(number: int) -> Iterator[RuleFinding]:
    if number < 0:
        yield RuleFinding(f"{number} is below zero", "nobody counts like that", "count again")
        raise Unanswered("nobody could be asked")


def even(number: int) -> None:
    """Rule: the number is even,
    since pairs are needed.

    More words.
    """
    if number % 2:
        raise GuardFailed(f"{number} is odd", "pairs are needed", "add one")


RULES = (
    Rule("large", Severity.NOTES, "here", "the number is small", large),
    Rule("known", Severity.WARNS, "here", "the number is known", known),
    refusing(even, even, "here"),
)


def test_what_is_worst_comes_first_and_nothing_is_hidden() -> None:
    report = examine(RULES, 101)
    assert [(each.rule, each.severity) for each in report] == [
        ("large", Severity.BLOCKS), ("even", Severity.BLOCKS), ("large", Severity.NOTES),
    ]  # fmt: skip
    assert report.summary() == "2 blocks, 0 warns, 1 notes" and len(report) == 3
    assert report.failing == ["large", "even"] and len(report.beyond(Severity.WARNS)) == 2
    assert [str(error) for error in report.errors()] == [str(each.error()) for each in report]


def test_a_rule_that_can_not_judge_keeps_what_it_found_and_refuses() -> None:
    report = examine(RULES, -2)
    assert [each.fact for each in report] == ["-2 is below zero"]
    assert report.not_judged == {"known": "nobody could be asked"} and report.failing == ["known"]
    assert [error.fact for error in report.errors()] == ["-2 is below zero", "known can't be judged"]


def test_nothing_found_is_an_empty_report_of_all_that_was_asked() -> None:
    report = examine(RULES, 4)
    assert not report and report.errors() == [] and report.rules == ("large", "known", "even")


def test_a_refusing_function_states_its_rule() -> None:
    assert RULES[2].summary == "the number is even, since pairs are needed." and RULES[2].name == "even"


def test_severities_of_another_kind_have_their_own_order() -> None:
    class Rank(StrEnum):
        HIGH = "high"
        LOW = "low"

    rules: list[Rule[None, RuleFinding]] = [
        Rule(name, rank, "here", name, lambda _: iter([RuleFinding("x", "y", "z")])) for name, rank in (("a", Rank.LOW), ("b", Rank.HIGH))
    ]
    report = examine(rules, None, Rank)
    assert [each.rule for each in report] == ["b", "a"] and report.summary() == "1 high, 1 low"
