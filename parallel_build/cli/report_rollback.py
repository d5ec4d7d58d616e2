"""What a rollback would do now, and what it would cost, from what is on record. Pure: no server is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from parallel_build.cli.report_page import Operation
from parallel_build.configuration import StackConfiguration, SwitchedStepName
from parallel_build.durations import duration, roughly
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY

SWITCH = "FirstManagement"


def rollback_plan(configuration: StackConfiguration, evidence: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What a rollback would do now: the undo of each step of the window that was begun and not undone since, the last first."""
    load_all()
    begun = [step for step in ("Window", *get_args(SwitchedStepName)) if step in REGISTRY and _stands(evidence, step)]
    return [(step, REGISTRY[step]().undo(configuration)) for step in reversed(begun)]


def rollback_cost(
    configuration: StackConfiguration, evidence: Mapping[str, Any], runs: Sequence[Sequence[Operation]], now: datetime
) -> list[tuple[str, str]]:
    """What it would cost: until when it is allowed, how long it takes, what users lose, what is renewed once more; nothing where no window is open.

    Args:
        runs: the journal's runs, the newest first.
        now: the time that counts for `window.rollbackWindow`.
    """
    if not _stands(evidence, "Window"):
        return []
    return [
        ("Allowed", _allowed(configuration, evidence, now)),
        ("Time", _time(runs)),
        ("What users lose", _lost(evidence)),
        ("Networks", _networks(evidence)),
        ("System VMs", "renewed once more by the original" if _stands(evidence, "SystemVms") else "as they are"),
    ]


def _allowed(configuration: StackConfiguration, evidence: Mapping[str, Any], now: datetime) -> str:
    limit = configuration.window.rollback_window
    switched = _ended(evidence.get(SWITCH)) if _stands(evidence, SWITCH) else None
    if switched is None:
        return "yes: nothing has been switched to the new side"
    end = switched + limit
    words = f"{_moment(end)}, {duration(limit)} after the switch (window.rollbackWindow)"
    return f"until {words}; {roughly((end - now).total_seconds())} left" if now < end else f"no longer, since {words}"


def _time(runs: Sequence[Sequence[Operation]]) -> str:
    """As long as the last one took."""
    for group in runs:
        ends = [
            operation.ended
            for operation in group
            if operation.step == "Window" and operation.verb == "undo" and operation.outcome == "done"
        ]
        if ends and ends[-1] is not None:
            took = roughly(ends[-1] - group[0].began)
            return f"the last rollback of this stack took {took}, on {_moment(datetime.fromtimestamp(group[0].began, UTC))}"
    return "not measured: no rollback of this stack is on record here"


def _lost(evidence: Mapping[str, Any]) -> str:
    since = _served_since(evidence)
    if since is None:
        return "nothing: users have not been in on the new side"
    return f"what they made or changed on the new side since {_moment(since)}: it is listed (evidence/tidying.json) and not brought back"


def _served_since(evidence: Mapping[str, Any]) -> datetime | None:
    """When users were let in on the new side first, where they were."""
    times = (evidence.get("users-out") or {}).get("times") or []
    found = [datetime.fromtimestamp(float(each["in"]), UTC) for each in times if each.get("side") == "new"]
    if found:
        return min(found)
    return _ended(evidence.get("Acceptance")) if _stands(evidence, "Acceptance") else None


def _networks(evidence: Mapping[str, Any]) -> str:
    if not _stands(evidence, "Routers"):
        return "none is restarted: the new side has renewed no router"
    renewed = (evidence["Routers"].get("result") or {}).get("renewed")
    if renewed == 0:
        return "none is restarted: the new side has renewed no router"
    how_many = "all" if renewed is None else str(renewed)
    return f"{how_many} whose routers the new side renewed are restarted by the original, in waves, users in meanwhile"


def _stands(evidence: Mapping[str, Any], step: str) -> bool:
    """Whether a step was begun and has not been undone since."""
    done, undone = (_ended(evidence.get(name)) for name in (step, f"{step}.undo"))
    return done is not None and (undone is None or undone < done)


def _ended(found: Any) -> datetime | None:
    timing = found.get("timing") if isinstance(found, Mapping) else None
    try:
        return datetime.fromisoformat(str(timing["ended"])) if isinstance(timing, Mapping) else None
    except (KeyError, ValueError):
        return None


def _moment(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S %Z}"
