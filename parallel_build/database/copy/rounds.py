"""The snapshots of one copy, one after another: what they brought together, and whether they get anywhere.

A table that somebody changes while it is read is left for the next snapshot. A copy of a running original therefore takes one snapshot or several.
"""

from __future__ import annotations

from typing import Any

from parallel_build.errors import StepFailed

STUCK = 5  # snapshots one after another after which fewer tables must be left than before
ADDED = ("rows", "bytes", "gave_way")
LONGEST = ("locked_seconds", "waited_seconds")


class Rounds:
    """What the snapshots so far brought.

    Args:
        keeps: what one brought stays; else each brings everything.
    """

    def __init__(self, *, keeps: bool) -> None:
        self.count, self._keeps = 0, keeps
        self.usual: float | None = None  # statements of others that ran before the first one
        self._total: dict[str, Any] = {"tables": {}}
        self._fewest = 0
        self._vain = 0

    def take_in(self, status: dict[str, Any]) -> dict[str, Any]:
        """Count a snapshot's end in; return its status with the figures of all of them."""
        self.count += 1
        self.usual = status.get("usual") if self.usual is None else self.usual
        for name in ADDED:
            before = self._total.get(name, 0) if self._keeps or name == "gave_way" else 0
            self._total[name] = before + status.get(name, 0)
        for name in LONGEST:
            self._total[name] = max(self._total.get(name, 0.0), status.get(name, 0.0))
        self._total["tables"] |= status.get("tables", {})
        self._total["started"] = min(self._total.get("started", status["started"]), status["started"])
        return {**status, **self._total}

    def check(self, source: str, status: dict[str, Any]) -> str:
        """Why another snapshot is needed, in words.

        Raises:
            StepFailed: the last ones brought nothing further.
        """
        left = status["left"]
        if self.count == 1 or len(left) < self._fewest:
            self._fewest, self._vain = len(left), 0
        self._vain += 1
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        if self._vain >= STUCK:
            raise StepFailed(
                f"{source}: {names} could not be read in {STUCK} snapshots one after another",
                "somebody changes or locks these tables more often than they can be read once",
                "run the same command again when nobody does; the tables that are whole are kept",
            )
        return f"{names} changed on {source} or were waited for while they were read: reading them in another snapshot"
