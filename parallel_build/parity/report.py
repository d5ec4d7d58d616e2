"""The comparison's forms: a table and a document."""

from __future__ import annotations

from typing import Any

from parallel_build.parity.compare import Difference, Facts, Rank
from parallel_build.rules import Report

WIDTHS = (6, 26, 34, 26, 26)


def as_document(rehearsed: Facts, real: Facts, report: Report[Difference]) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "rehearsed": {"stack": rehearsed.get("stack", ""), "time": rehearsed.get("time", "")},
        "real": {"stack": real.get("stack", ""), "time": real.get("time", "")},
        "summary": report.counts,
        "differences": [
            {
                "rank": each.severity.value,
                "area": each.words.area,
                "key": each.words.key,
                "rehearsed": each.words.rehearsed,
                "real": each.words.real,
                "why": each.cause,
            }
            for each in report
        ],
        "notRead": [*rehearsed.get("problems", []), *real.get("problems", [])],
    }


def as_text(rehearsed: Facts, real: Facts, report: Report[Difference]) -> str:
    """The comparison as a table, the worst first."""
    one, other = str(rehearsed.get("stack", "")), str(real.get("stack", ""))
    lines = [f"rehearsed on {one} ({rehearsed.get('time', '?')}), meant for {other} ({real.get('time', '?')}): {report.summary()}", ""]
    if report:
        lines += [_row("rank", "area", "what", "rehearsed", "real"), _row(*("-" * width for width in WIDTHS))]
    for each in report:
        lines.append(_row(each.severity.value, each.words.area, each.words.key, each.words.rehearsed or "-", each.words.real or "-"))
        if each.severity is not Rank.LOW:
            lines.append(f"{'':{WIDTHS[0]}}  {each.cause}")
    for problem in [*rehearsed.get("problems", []), *real.get("problems", [])]:
        lines.append(f"not read: {problem}")
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "  ".join(f"{_cut(cell, width):{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
