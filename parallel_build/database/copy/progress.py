"""A copy's progress in words: bytes, rows, tables, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from parallel_build.durations import roughly

TELL_EVERY = 2.0


def size(count: float) -> str:
    """A number of bytes in the unit that reads well (binary units)."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


class Meter:
    """Turns the worker's status into progress lines, at most one every two seconds.

    Args:
        tell: shows a line.
        weight: estimated bytes in all.
        tables: number of tables.
    """

    def __init__(self, tell: Callable[[str], None], weight: int, tables: int) -> None:
        self._tell, self._weight, self._tables = tell, max(1, weight), tables
        self._started = time.monotonic()
        self._shown_at = 0.0
        self._first: float | None = None  # of a copy that was under way already: what was done before says nothing of the time

    def tell(self, status: dict[str, Any]) -> None:
        """Show where the copy is, when the last line is old enough."""
        now = time.monotonic()
        if status.get("phase") == "copying" and self._first is None:
            self._first = self._share(status)
        if now - self._shown_at >= TELL_EVERY and status.get("state") == "running":
            self._shown_at = now
            self._tell(self.line(status, now - self._started))

    def line(self, status: dict[str, Any], elapsed: float) -> str:
        """One line for a status."""
        if status["phase"] != "copying":
            return str(status["phase"])
        share = self._share(status)
        gain = share - (self._first or 0.0)
        words = [f"{size(status['bytes'])}, {status['rows']:,} rows, {status['tables_done']} of {self._tables} tables, {share:.0%}"]
        if gain > 0.03 and elapsed > 2:
            words.append(f"about {roughly(elapsed * (1 - share) / gain)} left")
        if status.get("share", 1) < 1:
            words.append(f"at {status['share']:.0%} of the limit, because more runs on the original than before")
        if status["building"]:
            words.append("building the keys of " + ", ".join(status["building"]))
        return "; ".join(words)

    def _share(self, status: dict[str, Any]) -> float:
        """How much is done. Rows on the way in unfinished parts count too: the ratio of travelled bytes to weight is known from the finished ones."""
        finished = status["finished_bytes"]
        if finished and status["done"]:
            return float(min(1.0, status["bytes"] * status["done"] / finished / self._weight))
        return float(min(1.0, status["done"] / self._weight))
