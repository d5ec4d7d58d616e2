"""What a rehearsal's times are used for: how long a step of the window will take, and next to it how long it took.

A version step lasts from the line `Running upgrade` to the line `Upgrade completed` of the management server's own log, by that server's clock, in the
rehearsal and in the window alike; a start lasts from `systemctl start` to the first look that finds every sign of a good start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.durations import roughly
from parallel_build.records.rehearsal import FILE, RehearsalRecord

NOT_REHEARSED = "not rehearsed"
# The parts of a rehearsal that a step of the window consists of.
PARTS = {
    "DatabaseTransfer": ("copy", "housekeeping", "fixes"),
    "HostSetting": ("host setting",),
    "FirstManagement": ("setup", "start"),
}
START = "start"
SHARE, GRAIN = 0.25, 1.0
"""How far a time of the window may be from the rehearsed one before it is reported as different: a share of the rehearsed time, and seconds. The
seconds are what a look every half a second and the writing of small tables come to: of a step that takes less, no share can be given."""


@dataclass(frozen=True)
class Pair:
    """One part of the first start: seconds in the rehearsal and in the window."""

    part: str
    rehearsed: float
    window: float

    @property
    def like(self) -> bool:
        """Whether the window took as long as the rehearsal, within `SHARE` of it and `GRAIN`."""
        return abs(self.window - self.rehearsed) <= SHARE * self.rehearsed + GRAIN

    def words(self) -> str:
        """`4.21.0.0 4.2 s (4.0 s in rehearsal)`."""
        return f"{self.part} {in_words(self.window)} ({in_words(self.rehearsed)} in rehearsal)"

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def in_words(seconds: float) -> str:
    """A time for a reader: `0.4 s`, `41 s`, `4 min 10 s`, `1 h 5 min`."""
    return f"{seconds:.1f} s" if seconds < 10 else roughly(seconds)


def rehearsed(configuration: StackConfiguration, stack: str, step_type: str) -> str:
    """How long a step took in the last rehearsal that passed with these versions, from this machine's run folder; contacts nothing."""
    record = passed_here(configuration, stack)
    parts = PARTS.get(step_type)
    if record is None or parts is None:
        return NOT_REHEARSED
    if step_type == "DatabaseTransfer":
        return _transfer(record, takes_over=configuration.transfer.method == "replicate")
    took = in_words(sum(record.seconds.get(part, 0.0) for part in parts))
    if step_type == "FirstManagement":
        steps = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in record.schema.items())
        return f"took {took} in rehearsal (schema: {steps})"
    return f"took {took} in rehearsal"


def _transfer(record: RehearsalRecord, *, takes_over: bool) -> str:
    """A rehearsal copies, also where the window takes over."""
    parts = [part for part in PARTS["DatabaseTransfer"] if record.seconds.get(part) and not (takes_over and part == "copy")]
    if takes_over and not parts:
        return NOT_REHEARSED
    done = ", ".join(f"{part} {in_words(record.seconds[part])}" for part in parts)
    without = "the takeover was not" if takes_over else "nothing was compared"
    return f"took {in_words(sum(record.seconds[part] for part in parts))} in rehearsal ({done}; {without})"


def side_by_side(record: RehearsalRecord, start: Mapping[str, Any]) -> list[Pair]:
    """The version steps, the views and the whole start of the window's first server next to the rehearsal's.

    Args:
        start: the evidence of a good start (`parallel_build.cloudstack.startup.as_evidence`).
    Returns:
        one pair for each part that both have, in the order in which they come.
    """
    window = {str(step["version"]): step["seconds"] for step in start.get("steps") or []}
    window |= {"views": start.get("views_seconds"), START: start.get("seconds")}
    before = {**record.schema, START: record.seconds.get(START)}
    return [
        Pair(part, float(earlier), float(now))
        for part, now in window.items()
        if now is not None and (earlier := before.get(part)) is not None
    ]


def compared_in_words(pairs: list[Pair]) -> str:
    """One line for the operator; empty where there is nothing to compare."""
    if not pairs:
        return ""
    other = [pair.part for pair in pairs if not pair.like]
    verdict = f"; not as long as in the rehearsal: {', '.join(other)}" if other else "; as long as in the rehearsal"
    return ", ".join(pair.words() for pair in pairs) + verdict


def passed_here(configuration: StackConfiguration, stack: str) -> RehearsalRecord | None:
    """The last rehearsal of these versions that passed, as this machine's run folder knows it; None where there is none."""
    path = configuration.runs / stack / FILE
    try:
        document = json.loads(path.read_text()).get("passed")
    except (OSError, ValueError, AttributeError):
        return None
    record = RehearsalRecord.of(document) if isinstance(document, dict) else None
    if record is None or (record.old, record.new) != (str(configuration.original.version), str(configuration.new.version)):
        return None
    return record
