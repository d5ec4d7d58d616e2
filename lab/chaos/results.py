"""The results file of `scripts/chaos`: one JSON object a line, one line a cell, appended as journeys tell; the last line of a cell counts."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.chaos.cells import Cell
from parallel_build.project import PROJECT

PASSED, FAILED, MISSED = "passed", "failed", "not hit"


def append(path: Path, found: dict[str, Any]) -> None:
    """Add one cell's outcome; journeys on several labs write the same file."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(found) + "\n")


def read(path: Path, since: int = 0) -> dict[str, dict[str, Any]]:
    """The last outcome of each cell.

    Args:
        since: only lines behind this many bytes.
    """
    if not path.exists():
        return {}
    with path.open() as file:
        file.seek(since)
        found = [json.loads(text) for text in file if text.strip()]
    return {each["cell"]: each for each in found}


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; empty outside a checkout."""
    done = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+"], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def line(found: dict[str, Any]) -> str:
    """One cell's outcome as a line."""
    causes = f"  {' | '.join(found['causes'])}" if found["causes"] else ""
    return f"{found['verdict']:8} {found['cell']:48} {found['seconds']:6.1f} s  {found['fault']}{causes}"


def table(wanted: Sequence[Cell], found: dict[str, dict[str, Any]], seconds: float) -> str:
    """What became of the wanted cells, and what keeps those from having passed that have not.

    Args:
        found: outcomes as `read` gives them.
        seconds: how long it took.
    """
    rows = [found.get(cell.name) for cell in wanted]
    lines = [line(row) for row in rows if row and row["verdict"] != PASSED]
    count = Counter(row["verdict"] if row else "not tried" for row in rows)
    reported = ", ".join(f"{number} {verdict}" for verdict, number in count.most_common())
    return "\n".join([*lines, f"{len(wanted)} cells: {reported}; {seconds:.0f} s"])
