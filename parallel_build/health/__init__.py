"""Health of the original before an upgrade: facts read once, then one named rule a finding. An upgrade mends nothing; it makes what is broken harder to see."""

from __future__ import annotations

from collections.abc import Iterable

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
from parallel_build.health.finding import RULES, Finding, Rule, Severity
from parallel_build.health.report import as_document, as_text

# Importing a module registers its rules, in this order.
MODULES = (rules_servers, rules_cloud, rules_storage, rules_work, rules_database, rules_settings, rules_files, rules_upgrade)


def examine(facts: HealthFacts, rules: Iterable[Rule] | None = None) -> list[Finding]:
    """Apply every rule to the facts; what blocks comes first."""
    found = [finding for rule in (RULES if rules is None else rules) for finding in rule.findings(facts)]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


__all__ = ["MODULES", "RULES", "Finding", "HealthFacts", "Rule", "Severity", "as_document", "as_text", "examine", "gather"]
