"""The health check's report: a readable text and a document."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import RULES, Finding, Severity
from parallel_build.health.rules_upgrade import path

WIDTH = 120
LARGEST = 5


def figures(facts: HealthFacts) -> dict[str, Any]:
    """What is told whatever is found: sizes, counts, the way."""
    configuration = facts.site.configuration
    tables = facts.tables.get("tables", [])
    return {
        "version": facts.old.version,
        "target": str(configuration.new.version),
        "steps": path(configuration.original.version, configuration.new.version),
        "managementServers": len(configuration.original.management),
        "hosts": sum(1 for row in facts.tables.get("hosts", []) if row["type"] == "Routing"),
        "systemVms": len(facts.tables.get("system_vms", [])),
        "routers": len(facts.tables.get("routers", [])),
        "databaseBytes": facts.old.bytes,
        "largestTables": [
            {"table": f"{row['db']}.{row['name']}", "rows": int(row["row_count"] or 0), "bytes": int(row["bytes"] or 0)}
            for row in tables[:LARGEST]
        ],
    }


def count(findings: Sequence[Finding], severity: Severity) -> int:
    """How many findings are of a severity."""
    return sum(1 for finding in findings if finding.severity is severity)


def summary(findings: Sequence[Finding]) -> str:
    """`2 block, 1 warns, 3 notes`."""
    return ", ".join(f"{count(findings, severity)} {severity.value}" for severity in Severity)


def not_judged(facts: HealthFacts) -> dict[str, str]:
    """Rules that can't be applied to these facts -> why."""
    return {rule.name: why for rule in RULES if (why := rule.not_judged(facts))}


def headline(facts: HealthFacts, findings: Sequence[Finding]) -> str:
    """`52 rules, 2 of them not judged: 0 blocks, 1 warns, 3 notes`."""
    unjudged = len(not_judged(facts))
    return f"{len(RULES)} rules" + (f", {unjudged} of them not judged" if unjudged else "") + f": {summary(findings)}"


def as_document(facts: HealthFacts, findings: Sequence[Finding]) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "stack": facts.site.stack,
        "time": facts.when.isoformat(timespec="seconds"),
        "healthy": not any(finding.severity is not Severity.NOTES for finding in findings),
        "summary": {severity.value: count(findings, severity) for severity in Severity},
        "findings": [
            {"rule": each.rule, "severity": each.severity.value, "fact": each.fact, "cause": each.cause, "remedy": each.remedy}
            for each in findings
        ],
        "notJudged": [{"rule": name, "why": why} for name, why in not_judged(facts).items()],
        "figures": figures(facts),
        "rules": [rule.name for rule in RULES],
    }


def as_text(facts: HealthFacts, findings: Sequence[Finding]) -> str:
    """The report for a reader."""
    known = figures(facts)
    lines = [
        f"Health of the original of stack {facts.site.stack}, {facts.when:%Y-%m-%d %H:%M:%S} UTC",
        headline(facts, findings),
        "",
    ]
    for finding in findings:
        lines += _paragraph(f"{finding.severity.value.upper()} {finding.rule}: ", finding.fact)
        lines += _paragraph("    why:   ", finding.cause) if finding.cause else []
        lines += _paragraph("    to do: ", finding.remedy) if finding.remedy else []
        lines.append("")
    if unjudged := not_judged(facts):
        for name, why in unjudged.items():
            lines += _paragraph(f"NOT JUDGED {name}: ", why)
        lines.append("")
    lines += [
        f"CloudStack {known['version']} to {known['target']}: schema steps {', '.join(known['steps']) or 'none'}",
        f"{known['managementServers']} management servers, {known['hosts']} hosts, {known['systemVms']} system VMs, {known['routers']} routers",
        f"databases {known['databaseBytes'] / 1e6:.1f} MB; largest tables: "
        + ", ".join(f"{each['table']} ({each['rows']:,} rows, {each['bytes'] / 1e6:.1f} MB)" for each in known["largestTables"]),
    ]
    return "\n".join(lines) + "\n"


def _paragraph(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        label + text, WIDTH, subsequent_indent=" " * (11 if label.startswith(" ") else 4), break_long_words=False, break_on_hyphens=False
    )
