"""The check's forms: a text and a document."""

from __future__ import annotations

from typing import Any

from parallel_build import parity
from parallel_build.plan import report as plan_report
from parallel_build.plan.cloud.check import CloudCheck
from parallel_build.plan.report import indented, wrapped
from parallel_build.rules import Severity


def as_text(found: CloudCheck, seconds: float) -> str:
    """The check for a reader."""
    report = found.health
    unjudged = f", {len(report.not_judged)} of them not judged" if report.not_judged else ""
    lines = [
        f"{found.url}: CloudStack {found.version}, by its API alone, in {seconds:.1f} s",
        "",
        f"Health: {len(report.rules)} rules{unjudged}: {report.summary()}",
    ]
    for each in report:
        lines += wrapped("  - ", f"{each.severity.value.upper()} {each.rule}: {each.fact}")
        lines += indented(f"why: {each.cause}" if each.cause else "") + indented(f"to do: {each.remedy}" if each.remedy else "")
    for name, why in report.not_judged.items():
        lines += wrapped("  - ", f"NOT JUDGED {name}: {why}")
    lines += ["", plan_report.as_text(found.plan, by_api=True).rstrip("\n")]
    if found.differences is not None:
        lines += ["", "Parity: " + found.differences.summary()]
        for difference in found.differences:
            lines += wrapped("  - ", f"{difference.severity.value} {difference.fact}: {difference.cause}")
    lines += wrapped(
        "", "What only the database and the servers show - tables, files, accounts, clocks, disks - is judged by `health` and `plan`."
    )
    return "\n".join(lines) + "\n"


def as_document(found: CloudCheck, seconds: float, against: dict[str, Any] | None = None) -> dict[str, Any]:
    """The check as plain values; `facts` is what `parity` compares."""
    document: dict[str, Any] = {
        "url": found.url, "version": str(found.version), "seconds": round(seconds, 1), "rules": list(found.health.rules),
        "findings": [
            {"rule": each.rule, "severity": each.severity.value, "fact": each.fact, "cause": each.cause, "remedy": each.remedy}
            for each in found.health
        ],
        "notJudged": [{"rule": name, "why": why} for name, why in found.health.not_judged.items()],
        "plan": plan_report.as_document(found.plan), "facts": found.facts,
    }  # fmt: skip
    if found.differences is not None and against is not None:
        document["parity"] = parity.as_document(against, found.facts, found.differences)
    return document


def blocked(found: CloudCheck) -> bool:
    """Whether something would end the upgrade."""
    return any(each.severity is Severity.BLOCKS for each in found.health) or plan_report.blocked(found.plan)
