"""What commands show: on a terminal with colours and a live table, elsewhere as plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from parallel_build.rules import Report, RuleFinding

NARROW = 60  # columns: a table that is squeezed further is harder to read than lines
STYLES = {"not judged": "bold red", "blocks": "bold red", "warns": "yellow", "notes": "cyan"}


def console() -> Console | None:
    """The terminal; None where there is none, where it is too narrow, or where `NO_COLOR` or `TERM=dumb` asks for plain lines."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR"):
        return None
    found = Console(highlight=False)
    return found if found.width >= NARROW else None


def table(terminal: Console, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], style: int = 0) -> None:
    """Print a table.

    Args:
        style: which column's text decides the row's colour.
    """
    shown = Table(title=title, title_justify="left", expand=False)
    for head in heads:
        shown.add_column(head, overflow="fold")
    for row in rows:
        # As text, not as markup: a name in brackets is no colour.
        shown.add_row(*(Text(cell) for cell in row), style=STYLES.get(row[style], ""))
    terminal.print(shown)


def findings(terminal: Console, title: str, report: Report[RuleFinding]) -> None:
    """Print what rules found as a table, the worst first; at its end those that could not judge."""
    rows = [[str(each.severity.value), each.rule, each.fact, each.cause, each.remedy] for each in report]
    rows += [["not judged", name, why, "", ""] for name, why in report.not_judged.items()]
    table(terminal, f"{title}: {report.summary()}", ("", "rule", "found", "why", "to do"), rows)
