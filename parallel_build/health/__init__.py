"""Health of the original before an upgrade: facts read once, then one named rule a finding. An upgrade fixes nothing; it makes what is broken harder to see."""

from __future__ import annotations

from collections.abc import Iterable

from parallel_build import rules as judging
from parallel_build.health import (
    rules_cloud,
    rules_database,
    rules_files,
    rules_servers,
    rules_settings,
    rules_storage,
    rules_upgrade,
    rules_work,
)
from parallel_build.health.facts import HealthFacts, gather
from parallel_build.health.finding import RULES
from parallel_build.health.report import as_document, as_text
from parallel_build.rules import Finding, Report, Rule, RuleFinding, Severity

# Importing a module registers its rules, in this order.
MODULES = (rules_servers, rules_cloud, rules_storage, rules_work, rules_database, rules_settings, rules_files, rules_upgrade)


def examine(facts: HealthFacts, rules: Iterable[Rule[HealthFacts, RuleFinding]] | None = None) -> Report[RuleFinding]:
    """Apply every rule to the facts."""
    return judging.examine(RULES if rules is None else rules, facts)


__all__ = ["MODULES", "RULES", "Finding", "HealthFacts", "Report", "Rule", "Severity", "as_document", "as_text", "examine", "gather"]
