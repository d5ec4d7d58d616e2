"""The comparison's forms: a table and a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parallel_build.parity.compare import Difference, Facts, Rank

WIDTHS = (6, 26, 34, 26, 26)


def summary(differences: Sequence[Difference]) -> str:
    """`1 high, 2 medium, 5 low`."""
    return ", ".join(f"{sum(1 for each in differences if each.rank is rank)} {rank.value}" for rank in Rank)


def beyond(differences: Sequence[Difference], threshold: Rank) -> list[Difference]:
    """Those that are at least as bad as the threshold."""
    return [each for each in differences if each.rank.place <= threshold.place]


def as_document(rehearsed: Facts, real: Facts, differences: Sequence[Difference]) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "rehearsed": {"stack": rehearsed.get("stack", ""), "time": rehearsed.get("time", "")},
        "real": {"stack": real.get("stack", ""), "time": real.get("time", "")},
        "summary": {rank.value: sum(1 for each in differences if each.rank is rank) for rank in Rank},
        "differences": [
            {
                "rank": each.rank.value,
                "area": each.area,
                "key": each.key,
                "rehearsed": each.rehearsed,
                "real": each.real,
                "why": each.why,
            }
            for each in differences
        ],
        "notRead": [*rehearsed.get("problems", []), *real.get("problems", [])],
    }


def as_text(rehearsed: Facts, real: Facts, differences: Sequence[Difference]) -> str:
    """The comparison as a table, the worst first."""
    one, other = str(rehearsed.get("stack", "")), str(real.get("stack", ""))
    lines = [f"rehearsed on {one} ({rehearsed.get('time', '?')}), meant for {other} ({real.get('time', '?')}): {summary(differences)}", ""]
    if differences:
        lines += [_row("rank", "area", "what", "rehearsed", "real"), _row(*("-" * width for width in WIDTHS))]
    for each in differences:
        lines.append(_row(each.rank.value, each.area, each.key, each.rehearsed or "-", each.real or "-"))
        if each.rank is not Rank.LOW:
            lines.append(f"{'':{WIDTHS[0]}}  {each.why}")
    for problem in [*rehearsed.get("problems", []), *real.get("problems", [])]:
        lines.append(f"not read: {problem}")
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "  ".join(f"{_cut(cell, width):{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
