"""What must hold at the end of each way: one side serves, nothing acknowledged is lost, the original is as it was."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lab import checksums, status, verification
from lab.chaos import witness
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import Sessions, sessions
from lab.machines import NEW_REPLICA, NEW_SOURCE, OLD_REPLICA, OLD_SOURCE
from lab.progress import until
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.sql import session

# What the witness's own calls write besides what running servers write.
WRITTEN_BY_WITNESS = frozenset({"cloud.domain", "cloud.domain_details", "cloud.resource_count"})


def baseline(opened: Sessions) -> dict[str, Any]:
    """Checksums of the original's tables."""
    return checksums.read(opened)


def new_serves(lab: Lab, acknowledged: list[str]) -> list[str]:
    """What does not hold of a lab that has been switched; empty when all does."""
    with sessions(lab) as opened:
        return _problems(lab, opened, verification.switched) + _lost(opened, NEW_SOURCE.name, acknowledged)


def original_serves(lab: Lab, before: Path, acknowledged: list[str]) -> list[str]:
    """What does not hold of a lab that has gone back; empty when all does."""
    with sessions(lab) as opened:
        problems = _problems(lab, opened, verification.original) + _lost(opened, OLD_SOURCE.name, acknowledged)
        try:
            found = checksums.compare(before, checksums.read(opened))
        except ParallelBuildError as error:
            return [*problems, str(error)]
        others = sorted(set(found.different) - WRITTEN_BY_WITNESS)
        if others:
            problems.append(f"tables of the original that nobody should have written differ: {', '.join(others)}; rows: {found.damaged}")
        return problems


def serving(lab: Lab) -> list[str]:
    """The sides whose API answers."""
    with sessions(lab) as opened:
        return status.sides_now(lab, opened, status.power(lab, lab.options().management))[0]


def nothing_new_runs(lab: Lab) -> list[str]:
    """What of the new side runs, in words."""
    with sessions(lab) as opened:
        _, found = status.sides_now(lab, opened, status.power(lab, lab.options().management))
    return [f"{server.name} runs {server.units}" for server in found["new"] if "active" in server.units.values()]


def one_side(lab: Lab, side: str, acknowledged: list[str], without: str = "") -> list[str]:
    """What does not hold of a lab in which one side serves, alone and with every row that was acknowledged; empty when all does.

    Args:
        without: a machine that is gone.
    """
    sources = {"original": [OLD_SOURCE, OLD_REPLICA], "new": [NEW_SOURCE, NEW_REPLICA]}[side]
    with sessions(lab) as opened:

        def alone(_: Any = None) -> list[str]:
            serving, found = status.sides_now(lab, opened, status.power(lab, lab.options().management))
            others = found["new" if side == "original" else "original"]
            wrong = [] if serving == [side] else [f"the sides that serve are {serving}, not {side} alone"]
            wrong += [f"{server.name} runs {server.units}" for server in others if "active" in server.units.values()]
            if not any(server.users for server in found[side]):
                wrong.append(f"users reach no server of the {side} side")
            return wrong

        problems = ["nothing was asked"]

        def well() -> bool:
            problems[:] = alone()
            return not problems

        with contextlib.suppress(LabError):
            until(f"the {side} side to serve alone", well, timeout=verification.PATIENCE, interval=2)
        there = next(machine for machine in sources if machine.name != without)
        return [*problems, *_lost(opened, there.name, acknowledged)]


def _problems(lab: Lab, opened: Sessions, check: verification.Check) -> list[str]:
    try:
        verification.settled(lab, opened, check)
    except ParallelBuildError as error:
        return [str(error)]
    return []


def _lost(opened: Sessions, source: str, acknowledged: list[str]) -> list[str]:
    machine = next(each for each in (OLD_SOURCE, OLD_REPLICA, NEW_SOURCE, NEW_REPLICA) if each.name == source)
    try:
        with session(opened[machine]) as database:
            lost = witness.missing(database, acknowledged)
    except ParallelBuildError as error:
        return [str(error)]
    return [f"{len(lost)} of {len(acknowledged)} acknowledged rows are lost: {', '.join(lost[:5])}"] if lost else []
