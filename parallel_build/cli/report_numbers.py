"""What a change board asks for: how long users and management were out, what was compared, versions, rehearsed next to actual, who did what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from parallel_build.durations import roughly

DONE = "done"
UNKNOWN = "not on record"


@dataclass(frozen=True)
class Numbers:
    """The head of the page.

    Attributes:
        figures: question and answer.
        times: step or part, rehearsed, actual: texts.
        people: who, what, from, to.
    """

    figures: list[tuple[str, str]] = field(default_factory=list)
    times: list[tuple[str, str, str]] = field(default_factory=list)
    people: list[tuple[str, str, str, str]] = field(default_factory=list)


def numbers(journal: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any], versions: str, users_out: Sequence[str] = ()) -> Numbers:
    """Collect them.

    Args:
        journal: its entries, oldest first.
        evidence: by the file's name without ending.
        versions: `4.20.3.0 to 4.22.1.0`, as configured.
        users_out: how long users were out, in words, where it was measured.
    """
    figures = [("Users out", each) for each in users_out] or [("Users out", _between(evidence, "UserAccess", "Acceptance"))]
    figures += [
        ("Management down", _between(evidence, "OriginalManagement", "FirstManagement", begun=False)),
        ("Compared", _compared(evidence)),
        *_versions(evidence, versions),
    ]
    return Numbers(figures, _times(evidence), _people(journal))


def _result(evidence: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    found = evidence.get(step)
    result = found.get("result") if isinstance(found, Mapping) else None
    return result if isinstance(result, Mapping) else {}


def _timing(evidence: Mapping[str, Any], step: str, part: str) -> datetime | None:
    found = evidence.get(step)
    timing = found.get("timing") if isinstance(found, Mapping) and found.get("outcome") == DONE else None
    try:
        return datetime.fromisoformat(str(timing[part])) if isinstance(timing, Mapping) else None
    except (KeyError, ValueError):
        return None


def _between(evidence: Mapping[str, Any], first: str, last: str, *, begun: bool = True) -> str:
    """From a step's begin (or end) to the end of the later one: of its undo, where it was undone since."""
    out = _timing(evidence, first, "started" if begun else "ended")
    if out is None:
        return "no" if first not in evidence else UNKNOWN
    ends = {"the new side": _timing(evidence, last, "ended"), "the original": _timing(evidence, f"{first}.undo", "ended")}
    after = {side: end for side, end in ends.items() if end is not None and end > out}
    if not after:
        return f"since {_moment(out)}"
    side, end = min(after.items(), key=lambda each: each[1])
    return f"from {_moment(out)} to {_moment(end)}, {roughly((end - out).total_seconds())}; then {side} served"


def _compared(evidence: Mapping[str, Any]) -> str:
    result = _result(evidence, "DatabaseTransfer")
    rows = result.get("compared rows")
    if rows is None:
        return UNKNOWN if "DatabaseTransfer" in evidence else "nothing yet"
    tables = f"{result['tables']} tables, " if "tables" in result else ""
    left, objects = result.get("not comparable") or [], result.get("compared objects")
    counted = f"and {objects:,} objects (tables, views, routines, triggers, events)" if objects else "and every object of the databases"
    return f"{tables}{rows:,} rows, {counted}: all the same" + (f"; not comparable: {'; '.join(left)}" if left else "")


def _versions(evidence: Mapping[str, Any], configured: str) -> list[tuple[str, str]]:
    """The versions as configured, as the schema upgrade recorded them, and as system VMs give them by API, database and themselves."""
    start = _result(evidence, "FirstManagement").get("start") or {}
    steps = [str(each.get("version")) for each in start.get("steps") or []]
    found = [("Version, as configured", configured or UNKNOWN), ("Version, by the schema upgrade", ", ".join(steps) or UNKNOWN)]
    proofs = _result(evidence, "SystemVms").get("proofs") or {}
    for witness, name in (("api", "API"), ("database", "database"), ("appliance", "appliances themselves")):
        releases = sorted({str(each[witness]) for each in proofs.values() if isinstance(each, Mapping) and each.get(witness)})
        found.append((f"System VMs, by the {name}", ", ".join(releases) or UNKNOWN))
    return found


def _times(evidence: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rehearsed next to actual: each part that both have."""
    pairs = _result(evidence, "FirstManagement").get("rehearsal") or []
    return [(str(each["part"]), roughly(float(each["rehearsed"])), roughly(float(each["window"]))) for each in pairs]


def _people(journal: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Who did what: for each operator and direction the steps, from the first to the last moment."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in journal:
        if entry.get("kind") == "begin":
            direction = "rolled back" if entry.get("operation") == "undo" else "did"
            found.setdefault((str(entry.get("operator", "")), direction), []).append(entry)
    return [
        (who, f"{what} {', '.join(dict.fromkeys(str(each.get('step', '')) for each in entries))}", *_span(entries))
        for (who, what), entries in found.items()
    ]


def _span(entries: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    times = [str(each.get("time", ""))[:19].replace("T", " ") for each in entries]
    return f"{times[0]} UTC", f"{times[-1]} UTC"


def _moment(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S %Z}"
