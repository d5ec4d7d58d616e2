"""How long the next window will take, on one page: users out, agents, zones, routers. Pure.

A figure comes from the last window of this stack that got as far as its hosts, else from the last rehearsal that passed. Where neither has one
nothing is guessed: the part is named, and the sum counts as "at least".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.durations import duration
from parallel_build.operations.users_in import configured
from parallel_build.records.rehearsal import RehearsalRecord
from parallel_build.records.rehearsal_times import PARTS, in_words

UNTIL_HOSTS = (
    "UserAccess", "Drain", "OriginalManagement", "DatabaseTransfer", "OriginalDatabase", "HostSetting", "HypervisorSteps", "FirstManagement",
    "Hypervisors",
)  # fmt: skip
UNTIL_USERS = {
    "first": UNTIL_HOSTS,
    "accepted": (*UNTIL_HOSTS, "SystemVms", "Acceptance"),
    "routers": (*UNTIL_HOSTS, "SystemVms", "Acceptance", "AdditionalManagement", "Routers"),
}
DONE = "done"


@dataclass(frozen=True)
class Line:
    """One part.

    Attributes:
        part: a step's name.
        seconds: how long it is expected to take; None where nothing is known.
        source: where that is from, or why there is none.
    """

    part: str
    seconds: float | None
    source: str


@dataclass(frozen=True)
class Cloud:
    """What there is to do, as the original was asked; None where it could not be.

    Attributes:
        jobs: running, and how long the longest has run.
        hosts: with an agent, Up.
        zones: names of those that have system VMs of their own.
        system_vms: that get a successor.
        networks: with a running router.
        idle: without one: left alone.
        problems: what could not be asked, and why.
    """

    jobs: tuple[int, int] | None = None
    hosts: int | None = None
    zones: list[str] | None = None
    system_vms: int | None = None
    networks: int | None = None
    idle: int | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """What is on record on this machine.

    Attributes:
        window: when the last window of this stack opened that got as far as its hosts; empty where there was none.
        steps: seconds of its steps.
        evidence: results of steps, by name.
        rehearsal: the last one that passed with these versions.
    """

    window: str = ""
    steps: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rehearsal: RehearsalRecord | None = None


def last_window(journal: Iterable[Mapping[str, Any]]) -> tuple[str, dict[str, float]]:
    """When the last window opened in which hosts came over, and the longest time that each of its steps took to its good end."""
    windows: list[tuple[str, dict[str, float]]] = []
    for entry in journal:
        kind, step = entry.get("kind"), str(entry.get("step"))
        if kind == "intent" and entry.get("action") == "open the window":
            windows.append((str(entry.get("time", ""))[:10], {}))
        elif kind == "end" and windows and entry.get("operation") == "apply" and entry.get("outcome") == DONE:
            found = windows[-1][1]
            found[step] = max(found.get(step, 0.0), float(entry.get("seconds") or 0.0))
    return next(((when, steps) for when, steps in reversed(windows) if "Hypervisors" in steps), ("", {}))


def users_out(configuration: StackConfiguration, figures: Figures) -> list[Line]:
    """Each step from the first refused call to the first served one."""
    return [_line(configuration, figures, step) for step in UNTIL_USERS[configured(configuration)] if _has_work(configuration, step)]


def _has_work(configuration: StackConfiguration, step: str) -> bool:
    return step != "HypervisorSteps" or bool(configuration.hypervisor_steps) or configuration.agents.method == "file"


def _line(configuration: StackConfiguration, figures: Figures, step: str) -> Line:
    if step in figures.steps:
        return Line(step, figures.steps[step], f"the window of {figures.window}")
    record, parts = figures.rehearsal, PARTS.get(step)
    if record is not None and parts is not None:
        if step == "DatabaseTransfer" and configuration.transfer.method == "replicate":
            return Line(step, None, "the rehearsal copies, and transfer.method replicate does not")
        missing = " and without the comparison" if step == "DatabaseTransfer" else ""
        return Line(step, sum(record.seconds.get(part, 0.0) for part in parts), f"the rehearsal of {record.ended[:10]}{missing}")
    return Line(step, None, "no window and no rehearsal of this stack has one")


def agents(configuration: StackConfiguration, cloud: Cloud, figures: Figures) -> str:
    """The agents' wave."""
    wanted = configuration.agents.upgrade
    if wanted is None:
        return "no wave: agents.upgrade is not configured" + (f"; {cloud.hosts} hosts have an agent" if cloud.hosts is not None else "")
    hosts = len(configuration.upgraded_agents)
    rounds = _rounds(hosts, wanted.canary, wanted.at_once)
    words = f"{hosts} hosts in {rounds} rounds ({wanted.canary} as a canary, then {wanted.at_once} at a time)"
    before = figures.evidence.get("Agents") or {}
    seconds, done = float(before.get("seconds") or 0.0), int(before.get("done") or 0)
    if not (seconds and done):
        return f"{words}; no figure: no window of this stack has had one. It runs next to the transfer and the first start"
    each = seconds / _rounds(done, wanted.canary, wanted.at_once)
    return (
        f"{words}, about {in_words(each * rounds)} ({in_words(each)} a round in the last window), next to the transfer and the first start"
    )


def _rounds(hosts: int, canary: int, at_once: int) -> int:
    first = min(hosts, canary)
    return max(1, (1 if first else 0) + math.ceil((hosts - first) / at_once))


def zones(configuration: StackConfiguration, cloud: Cloud, figures: Figures) -> str:
    """System VMs."""
    if configuration.move:
        return "a move renews only system VMs that do not connect to a new server by themselves"
    if cloud.zones is None or cloud.system_vms is None:
        return "not known: the original could not be asked"
    named = ", ".join(cloud.zones) or "none"
    words = f"{cloud.system_vms} system VMs in {len(cloud.zones)} zones ({named}); of each kind CloudStack makes one zone after the other"
    took = figures.steps.get("SystemVms")
    if took is None:
        return f"{words}; no figure: no window of this stack got that far"
    return f"{words}; {in_words(took)} in the window of {figures.window}"


def routers(configuration: StackConfiguration, cloud: Cloud, figures: Figures) -> str:
    """Router waves."""
    if configuration.move:
        return "left alone: a move renews none"
    if cloud.networks is None:
        return "not known: the original could not be asked"
    at_once, limit = configuration.window.parallel_restarts, configuration.routers.with_up
    words = f"{cloud.networks} networks with a running router, {at_once} at a time; {cloud.idle} idle ones are left alone"
    before, took = figures.evidence.get("Routers") or {}, figures.steps.get("Routers")
    renewed = int(before.get("renewed") or 0)
    if not (took and renewed):
        return f"{words}; no figure: no window of this stack has renewed any. `pulumi up` takes at most {duration(limit)}, parallel-build routers the rest"
    total = took / renewed * cloud.networks
    fits = "within" if total <= limit.total_seconds() else "more than"
    return f"{words}, about {in_words(total)} ({in_words(took / renewed)} a network in the last window): {fits} routers.withUp, {duration(limit)}"


def text(stack: str, configuration: StackConfiguration, cloud: Cloud, figures: Figures) -> str:
    """The page."""
    lines = users_out(configuration, figures)
    out = [f"Forecast of the next window of {stack}: {_sides(configuration)}, transfer {configuration.transfer.method}", ""]
    out += [f"Users out: {_sum(lines)} (users in: {configured(configuration)})"]
    out += [f"  {each.part:<20} {in_words(each.seconds) if each.seconds is not None else 'no figure':<12} {each.source}" for each in lines]
    if cloud.jobs is not None:
        count, longest = cloud.jobs
        now = f"{count} jobs run now, the longest for {duration(longest)}" if count else "no job runs now"
        out.append(f"  {now}; jobs are waited for at most {duration(configuration.window.drain)} (window.drain)")
    out += ["", f"Agents:  {agents(configuration, cloud, figures)}", f"Zones:   {zones(configuration, cloud, figures)}"]
    out += [f"Routers: {routers(configuration, cloud, figures)}"]
    out += ["", *(f"not asked: {problem}" for problem in cloud.problems)] if cloud.problems else []
    return "\n".join(out) + "\n"


def _sides(configuration: StackConfiguration) -> str:
    old, new = configuration.original.version, configuration.new.version
    return f"a move of {new.full} to new servers" if configuration.move else f"{old} to {new}"


def _sum(lines: Sequence[Line]) -> str:
    known = [each.seconds for each in lines if each.seconds is not None]
    missing = [each.part for each in lines if each.seconds is None]
    if not known:
        return "no figure: rehearse first (`parallel-build rehearse`), then only what no rehearsal does is missing"
    return in_words(sum(known)) if not missing else f"at least {in_words(sum(known))}; without a figure: {', '.join(missing)}"


def document(configuration: StackConfiguration, cloud: Cloud, figures: Figures) -> dict[str, Any]:
    """The same as plain values."""
    lines = users_out(configuration, figures)
    return {
        "users out": {
            "seconds": round(sum(each.seconds or 0.0 for each in lines), 1),
            "complete": all(each.seconds is not None for each in lines),
            "parts": [asdict(each) for each in lines],
        },
        "agents": agents(configuration, cloud, figures),
        "zones": zones(configuration, cloud, figures),
        "routers": routers(configuration, cloud, figures),
        "cloud": asdict(cloud),
    }
