"""What a rehearsal leaves behind: what the Window's guard demands, and where "took 4 min 10 s in rehearsal" comes from.

It is kept on the original's database host next to the window's record, so that the guard sees it whichever operator opens the window, and as
`rehearsal.json` in the run folder, where the change review reads it without contacting anything. No secrets, no rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from parallel_build import private_file
from parallel_build.configuration import StackConfiguration
from parallel_build.configuration.fix_files import read_fixes
from parallel_build.records.prepared import PreparedRecord
from parallel_build.records.run_folder import seconds_since
from parallel_build.remote.access import Access
from parallel_build.resolved_stack import Site

FILE = "rehearsal.json"
SHEET = "rehearsal"


def checksums(configuration: StackConfiguration) -> dict[str, str]:
    """Checksum of each fix by its name, in order."""
    return {fix.name: fix.checksum for fix in read_fixes(configuration.rehearsal.fixes)}


def housekeeping_of(configuration: StackConfiguration) -> dict[str, str]:
    """The retentions that are set, as texts by table group."""
    ages = configuration.rehearsal.housekeeping.model_dump(mode="json", by_alias=True, exclude={"batch"})
    return {group: str(age) for group, age in ages.items() if age is not None}


def skipped(configuration: StackConfiguration) -> list[str]:
    """What is configured to be done on the copy and is not, for want of a rehearsal: names of fixes, and groups of housekeeping."""
    if configuration.rehearsal.enabled:
        return []
    return [*checksums(configuration), *(f"housekeeping of {group}" for group in housekeeping_of(configuration))]


def in_review(configuration: StackConfiguration) -> list[str]:
    """What the change review shows for a window that opens unrehearsed; nothing where a rehearsal is demanded."""
    if configuration.move:
        return [f"A MOVE of {configuration.new.version.full} to new servers: no schema upgrade, so nothing is rehearsed; no fix is run"]
    if configuration.rehearsal.enabled:
        return []
    if configuration.rehearsal.waived is None:
        return ["REFUSED: nothing is rehearsed; set rehearsal.enabled, or say in rehearsal.waived why the window may open without it"]
    return [f"NOT REHEARSED: the schema upgrade runs for the first time in this window; rehearsal.waived: {configuration.rehearsal.waived}"]


@dataclass(frozen=True)
class RehearsalRecord:
    """One rehearsal.

    Attributes:
        passed: it came to its good end.
        cause: why it did not, as the operator read it.
        old, new: the versions.
        fixes: checksum by name, in the order they ran.
        housekeeping: retention by table group.
        rows: rows of the original's databases, as its server estimates them, when the copy was made.
        seconds: how long each part took: `copy`, `housekeeping`, `fixes`, `host setting`, `setup`, `start`.
        schema: seconds of each version step, and of `views`, in order.
        deleted: rows that housekeeping deleted, by table.
        began, ended: times (ISO 8601, UTC).
        machine: name of the server.
        source: what the copy was made of.
        fingerprint: of the views and procedures that the upgrade left.
        isolation: what was tried from inside, and what held it.
    """

    passed: bool
    cause: str
    old: str
    new: str
    fixes: dict[str, str] = field(default_factory=dict)
    housekeeping: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    schema: dict[str, float] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    began: str = ""
    ended: str = ""
    machine: str = ""
    source: str = ""
    fingerprint: str = ""
    isolation: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The record as plain values."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RehearsalRecord | None:
        """A record from plain values; None where they are none, or of another version of this project."""
        names = {each.name for each in fields(cls)}
        try:
            return cls(**{name: value for name, value in document.items() if name in names})
        except TypeError:
            return None

    def age(self) -> float | None:
        """Seconds since it ended; None where its time can't be read, or is still to come: a clock was wrong then, or is now."""
        return seconds_since(self.ended)

    def upgrade_seconds(self) -> float:
        """The schema upgrade alone."""
        return round(sum(self.schema.values()), 3)


def difference(rehearsed: dict[str, str], now: dict[str, str]) -> str:
    """How two sets of fixes differ, in words."""
    added = sorted(set(now) - set(rehearsed))
    gone = sorted(set(rehearsed) - set(now))
    changed = sorted(name for name in set(now) & set(rehearsed) if now[name] != rehearsed[name])
    parts = [f"{verb}: {', '.join(names)}" for verb, names in (("new", added), ("missing", gone), ("changed", changed)) if names]
    return "; ".join(parts) or "none was rehearsed"


def outdated(configuration: StackConfiguration, record: RehearsalRecord) -> str:
    """Why a passed rehearsal is not one of what is configured now, in words; empty where it is."""
    if (record.old, record.new) != (str(configuration.original.version), str(configuration.new.version)):
        return f"it was of {record.old} -> {record.new}"
    if record.fixes != (now := checksums(configuration)):
        return f"the fixes are others since: {difference(record.fixes, now)}"
    if record.housekeeping != housekeeping_of(configuration):
        return "the housekeeping settings have changed since the rehearsal"
    return ""


class RehearsalStore:
    """The last rehearsal's record, on the original's database host and in the run folder.

    Args:
        host: session to the original's source.
        site: the stack.
    """

    def __init__(self, host: Access, site: Site) -> None:
        self.sheet = PreparedRecord(host, site, SHEET)
        self.local = site.configuration.runs / site.stack / FILE

    def last(self) -> RehearsalRecord | None:
        """The last rehearsal, passed or not; None where there was none."""
        return RehearsalRecord.of(self.sheet.facts().get("last") or {})

    def passed(self) -> RehearsalRecord | None:
        """The last one that passed."""
        return RehearsalRecord.of(self.sheet.facts().get("passed") or {})

    def keep(self, record: RehearsalRecord) -> None:
        """Keep it in both places; the times of the last one that passed stay known next to one that failed."""
        facts = {"last": record.document()} | ({"passed": record.document()} if record.passed else {})
        self.sheet.remember(**facts)
        self.mirror()

    def mirror(self) -> None:
        """Write what the original's host knows into this machine's run folder."""
        facts = self.sheet.facts()
        if not facts:
            return
        self.local.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_file.replace(self.local, json.dumps(facts, indent=1, sort_keys=True) + "\n")
