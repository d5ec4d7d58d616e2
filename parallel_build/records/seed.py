"""What is known of the seed of `transfer: replicate`: kept on the original's database host next to the window's record.

Another operator, on another machine, finds there whether a finished copy is followed, at which position it was last the same, and whether a
window has used it up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from parallel_build.database.copy.copy import CopyReport
from parallel_build.database.replicate.baseline import Baseline
from parallel_build.database.replicate.channel import Position
from parallel_build.records.prepared import PreparedRecord
from parallel_build.records.run_folder import now, seconds_since
from parallel_build.remote.access import Access
from parallel_build.resolved_stack import Site

KEY = "database-seed"
SHOWN = 20  # differences kept


class SeedRecord:
    """The seed's fact sheet.

    Args:
        original: session to the original's source.
        site: the stack.
    """

    def __init__(self, original: Access, site: Site) -> None:
        self._sheet = PreparedRecord(original, site, KEY)

    def facts(self) -> dict[str, Any]:
        """Everything known: `copied` (position of a copy that nothing follows yet), `copy`, `baseline`, `tiers`, `taken`."""
        return self._sheet.facts()

    @property
    def copied_at(self) -> Position | None:
        """Position of a finished copy that nothing follows yet."""
        found = self.facts().get("copied")
        return Position(str(found[0]), int(found[1])) if found else None

    @property
    def baseline(self) -> dict[str, Any] | None:
        """The last comparison of everything, as `compared` wrote it."""
        found: dict[str, Any] | None = self.facts().get("baseline")
        return found

    @property
    def same_at(self) -> Position | None:
        """Position at which both sides were last found the same; None when they never were, or lastly were not."""
        found = self.baseline
        return Position(str(found["position"][0]), int(found["position"][1])) if found and found["same"] else None

    def since(self, longest: timedelta) -> Position | None:
        """Position from which on only what the log names has to be compared; None where everything has to be.

        Args:
            longest: age of the last comparison of everything from which on that is done again: what is in no log adds up otherwise.
        """
        everything = (self.baseline or {}).get("everything compared")
        if everything is None or self.same_at is None:
            return None
        age = seconds_since(str(everything))
        return self.same_at if age is not None and age < longest.total_seconds() else None

    @property
    def taken(self) -> str | None:
        """When a window began to take the seed over; from then on the copy is the new side's."""
        found: str | None = self.facts().get("taken")
        return found

    def copied(self, report: CopyReport) -> None:
        """Keep what was copied, before anything follows it."""
        copy = {"rows": report.rows, "bytes": report.bytes, "tables": report.tables, "seconds": report.seconds, "tls": report.tls,
                "read by": report.read_by, "locked seconds": report.locked_seconds, "definers": list(report.definers),
                "longest wait of a user behind it": report.waited_seconds, "gave way": report.gave_way, "snapshots": report.snapshots,
                "kept from an earlier snapshot": list(report.kept), "when": now()}  # fmt: skip
        self._sheet.remember(copied=list(report.position or ()), copy=copy, baseline=None, tiers=None, taken=None)

    def followed(self) -> None:
        """The copy is followed: it can't be resumed from its own position any more."""
        if self.facts().get("copied"):
            self._sheet.remember(copied=None)

    def compared(self, found: Baseline) -> dict[str, Any]:
        """Keep a comparison; return what was kept."""
        verdict = found.comparison
        before = (self.baseline or {}).get("everything compared")
        baseline = {
            "position": [found.position.file, found.position.offset],
            "same": verdict.same,
            "differences": [str(difference) for difference in verdict.differences[:SHOWN]],
            "not comparable": verdict.not_comparable,
            "rows": verdict.rows,
            "seconds": verdict.seconds,
            "locked seconds": found.locked_seconds,
            "longest wait of a user behind it": found.waited_seconds,
            "changed since": found.changed,
            "everything compared": now() if found.changed is None else before,
            "when": now(),
        }
        self._sheet.remember(baseline=baseline)
        return baseline

    def doubted(self) -> None:
        """The channel had stopped: whatever happened meanwhile, everything is compared again."""
        self._sheet.remember(baseline=None, tiers=None)

    def differs(self, differences: list[str]) -> None:
        """Both sides were found different in a window: the seed must not be used again."""
        before = self.baseline or {"position": ["", 0]}
        self._sheet.remember(baseline={**before, "same": False, "differences": differences[:SHOWN], "when": now()})

    def proved_tiers(self, evidence: dict[str, Any]) -> None:
        """Keep the comparison of the new source with its replica."""
        self._sheet.remember(tiers=evidence)

    def take(self) -> None:
        """A window takes the seed over."""
        self._sheet.remember(taken=now())

    def forget(self) -> None:
        """There is no seed any more."""
        self._sheet.forget()
