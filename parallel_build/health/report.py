"""The health check's report: a readable text and a document."""

from __future__ import annotations

import textwrap
from typing import Any

from parallel_build.cloudstack.releases import path
from parallel_build.health.facts import HealthFacts
from parallel_build.rules import Report, RuleFinding, Severity

WIDTH = 120
LARGEST = 5


def figures(facts: HealthFacts) -> dict[str, Any]:
    """What is reported whatever is found: sizes, counts, the way."""
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


def headline(report: Report[RuleFinding]) -> str:
    """`52 rules, 2 of them not judged: 0 blocks, 1 warns, 3 notes`."""
    unjudged = len(report.not_judged)
    return f"{len(report.rules)} rules" + (f", {unjudged} of them not judged" if unjudged else "") + f": {report.summary()}"


def as_document(facts: HealthFacts, report: Report[RuleFinding]) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "stack": facts.site.stack,
        "time": facts.when.isoformat(timespec="seconds"),
        "healthy": not any(finding.severity is not Severity.NOTES for finding in report),
        "summary": report.counts,
        "findings": [
            {"rule": each.rule, "severity": each.severity.value, "fact": each.fact, "cause": each.cause, "remedy": each.remedy}
            for each in report
        ],
        "notJudged": [{"rule": name, "why": why} for name, why in report.not_judged.items()],
        "figures": figures(facts),
        "rules": list(report.rules),
    }


def as_text(facts: HealthFacts, report: Report[RuleFinding]) -> str:
    """The report for a reader."""
    known = figures(facts)
    lines = [
        f"Health of the original of stack {facts.site.stack}, {facts.when:%Y-%m-%d %H:%M:%S} UTC",
        headline(report),
        "",
    ]
    for finding in report:
        lines += _paragraph(f"{finding.severity.value.upper()} {finding.rule}: ", finding.fact)
        lines += _paragraph("    why:   ", finding.cause) if finding.cause else []
        lines += _paragraph("    to do: ", finding.remedy) if finding.remedy else []
        lines.append("")
    if report.not_judged:
        for name, why in report.not_judged.items():
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
