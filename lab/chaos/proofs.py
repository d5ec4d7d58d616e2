"""What must hold at the end of each way: one side serves, nothing acknowledged is lost, the original is as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import checksums, status, verification
from lab.chaos import witness
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import Sessions, sessions
from lab.machines import NEW_SOURCE, OLD_MANAGEMENT, OLD_SOURCE
from lab.progress import until
from parallel_build.database.session import session
from parallel_build.errors import ParallelBuildError
from parallel_build.window_record import FOLDER

# What the witness's own calls write besides what running servers write.
WRITTEN_BY_WITNESS = frozenset({"cloud.domain", "cloud.domain_details", "cloud.resource_count"})
PATIENCE = 60.0  # seconds for agents to connect and lists to settle


def baseline(opened: Sessions) -> dict[str, Any]:
    """Checksums of the original's tables."""
    return checksums.read(opened)


def new_serves(lab: Lab, acknowledged: list[str]) -> list[str]:
    """What does not hold of a lab that has been switched; empty when all does."""
    with sessions(lab) as opened:

        def whole() -> str:
            try:
                verification.switched(status.read(lab, opened), opened)
            except ParallelBuildError as error:
                return str(error)
            return ""

        problems = _patiently(whole)
        return problems + _lost(opened, NEW_SOURCE.name, acknowledged)


def original_serves(lab: Lab, before: Path, acknowledged: list[str]) -> list[str]:
    """What does not hold of a lab that has gone back; empty when all does."""
    with sessions(lab) as opened:
        problems = _patiently(lambda: "; ".join(_original(status.read(lab, opened))))
        problems += _lost(opened, OLD_SOURCE.name, acknowledged)
        if opened[OLD_SOURCE].run(["grep", "-q", '"closed": null', f"{FOLDER}/window.json"], timeout=30, ok=None).ok:
            problems.append("the window is still open")
        try:
            found = checksums.compare(before, checksums.read(opened))
        except ParallelBuildError as error:
            return [*problems, str(error)]
        others = sorted(set(found.different) - WRITTEN_BY_WITNESS)
        if others:
            problems.append(f"tables of the original that nobody should have written differ: {', '.join(others)}")
        return problems


def _original(found: status.Status) -> list[str]:
    problems = []
    if found.serving != "original":
        problems.append(f"the serving side is {found.serving}, not the original")
    for server in found.original:
        if not server.users:
            problems.append(f"users do not reach {server.name}")
    for server in found.new:
        if "active" in server.units.values():
            problems.append(f"{server.name} still runs {server.units}")
    names = {machine.name for machine in OLD_MANAGEMENT}
    for agent in found.agents:
        if agent.state != "Up" or not set((agent.connected_to or "nobody").split(",")) <= names:
            problems.append(f"agent {agent.name} is {agent.state}, connected to {agent.connected_to}")
    if found.original and found.original[0].units.get("cloudstack-usage") != "active":
        problems.append(f"usage on {found.original[0].name} is {found.original[0].units.get('cloudstack-usage')}")
    for vm in found.system_vms:
        if vm["state"] != "Running":
            problems.append(f"{vm['kind']} {vm['name']} is {vm['state']}")
    pair = found.replication["original"]
    if not pair or not (pair["receiving"] and pair["applying"]):
        problems.append(f"the original's replica does not follow: {pair}")
    return problems


def _lost(opened: Sessions, source: str, acknowledged: list[str]) -> list[str]:
    machine = NEW_SOURCE if source == NEW_SOURCE.name else OLD_SOURCE
    try:
        with session(opened[machine]) as database:
            lost = witness.missing(database, acknowledged)
    except ParallelBuildError as error:
        return [str(error)]
    return [f"{len(lost)} of {len(acknowledged)} acknowledged rows are lost: {', '.join(lost[:5])}"] if lost else []


def _patiently(problems: Any) -> list[str]:
    """Ask until nothing is wrong; what is wrong at the end of the patience."""
    last = [""]

    def well() -> bool:
        last[0] = problems()
        return not last[0]

    try:
        until("the lab to be as it must be", well, timeout=PATIENCE, interval=1)
    except LabError:
        return [last[0]]
    return []
