"""What must hold at the end of each way: one side serves, nothing acknowledged is lost, the original is as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import checksums, verification
from lab.chaos import witness
from lab.files import Lab
from lab.hosts import Sessions, sessions
from lab.machines import NEW_SOURCE, OLD_SOURCE
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


def _problems(lab: Lab, opened: Sessions, check: verification.Check) -> list[str]:
    try:
        verification.settled(lab, opened, check)
    except ParallelBuildError as error:
        return [str(error)]
    return []


def _lost(opened: Sessions, source: str, acknowledged: list[str]) -> list[str]:
    machine = NEW_SOURCE if source == NEW_SOURCE.name else OLD_SOURCE
    try:
        with session(opened[machine]) as database:
            lost = witness.missing(database, acknowledged)
    except ParallelBuildError as error:
        return [str(error)]
    return [f"{len(lost)} of {len(acknowledged)} acknowledged rows are lost: {', '.join(lost[:5])}"] if lost else []
