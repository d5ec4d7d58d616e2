"""What must hold at the end of each way: one side serves, everything is connected to it, and its replica follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from lab import status
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import Sessions
from lab.machines import NEW_MANAGEMENT, NEW_REPLICA, NEW_SOURCE, OLD_MANAGEMENT, OLD_SOURCE, Machine
from lab.packages import OLD, TEMPLATES
from lab.progress import until
from lab.status import Management, Status
from parallel_build.cloudstack.systemvms import same_release
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.frame import FOLDER
from parallel_build.remote.sql import session

SCHEMA = "lab_check"
PATIENCE = 60.0  # seconds for agents to connect and lists to settle

Check = Callable[[Status, Sessions], None]


def settled(lab: Lab, opened: Sessions, check: Check, patience: float = PATIENCE) -> Status:
    """Read the lab's status until a check finds nothing wrong with it; that status.

    Args:
        check: `switched` or `original`.
        patience: seconds.
    Raises:
        ParallelBuildError: what is still wrong at the end of the patience.
    """
    wrong: list[ParallelBuildError] = []

    def well() -> Status | None:
        try:
            found = status.read(lab, opened)
            check(found, opened)
        except ParallelBuildError as error:
            wrong.append(error)
            return None
        return found

    try:
        return until("the lab to be as it must be", well, timeout=patience, interval=1)
    except LabError:
        raise wrong[-1] from None


def switched(found: Status, opened: Sessions) -> None:
    """Check a lab that has been switched.

    Args:
        found: what its status says.
        opened: sessions to its machines.
    Raises:
        LabError: names everything that does not hold, at once.
    """
    new = found.target
    problems = [*_side(found, "new", found.new, new), *_agents(found, NEW_MANAGEMENT, new)]
    problems += [f"{vm['kind']} {vm['name']} is to be renewed" for vm in found.system_vms if vm["requires_upgrade"]]
    problems += _system_vms(found, TEMPLATES[new])
    if problems:
        raise _wrong("switched lab", problems)
    if found.one_server != "both":
        row_travels(opened)


def original(found: Status, opened: Sessions) -> None:
    """Check a lab whose original serves: not switched yet, gone back, or left by `destroy`.

    Args:
        found: what its status says.
        opened: sessions to its machines.
    Raises:
        LabError: names everything that does not hold, at once.
    """
    problems = [*_side(found, "original", found.original, OLD), *_agents(found, OLD_MANAGEMENT, OLD)]
    for server in found.new:
        if "active" in server.units.values():
            problems.append(f"{server.name} still runs {server.units}")
    if found.original and found.original[0].units.get("cloudstack-usage") != "active":
        problems.append(f"usage on {found.original[0].name} is {found.original[0].units.get('cloudstack-usage')}")
    problems += _system_vms(found, TEMPLATES[OLD])
    pair = found.replication["original"]
    if found.nodes is not None:
        problems += [f"the original's node {name} is {state or 'down'}" for name, state in found.nodes.items() if state != "Synced of 3"]
    elif not found.one_server and (not pair or not (pair["receiving"] and pair["applying"])):
        problems.append(f"the original's replica does not follow: {pair}")
    if opened[OLD_SOURCE].run(["grep", "-q", '"closed": null', f"{FOLDER}/window.json"], timeout=30, ok=None).ok:
        problems.append("the window is still open")
    if problems:
        raise _wrong("lab whose original serves", problems)


def _side(found: Status, side: str, servers: Sequence[Management], version: str) -> Iterator[str]:
    """What is wrong with the management servers of the side that should serve."""
    if found.serving != side:
        yield f"the serving side is {found.serving}, not {side}"
    for server in servers:
        if server.version != version:
            yield f"the API of {server.name} says {server.version}, not {version}"
        if not server.users:
            yield f"users do not reach {server.name}"


def _system_vms(found: Status, template: str) -> Iterator[str]:
    """System VMs and routers that do not run, or are of another release; on a simulated hypervisor there is none to ask (None)."""
    for vm in found.system_vms:
        release = vm["version_appliance"]
        if vm["state"] != "Running" or (release and not same_release(release, template)):
            yield f"{vm['kind']} {vm['name']} is {vm['state']} with version {release}, not {template}"


def _agents(found: Status, servers: Sequence[Machine], version: str) -> Iterator[str]:
    """Agents that are not Up, have another version, or are connected to anybody else."""
    names = {machine.name for machine in servers}
    for agent in found.agents:
        if agent.state != "Up" or not set((agent.connected_to or "nobody").split(",")) <= names:
            yield f"agent {agent.name} is {agent.state}, connected to {agent.connected_to}"
        if agent.version != version:
            yield f"the agent of {agent.name} has version {agent.version}, not {version}"


def _wrong(which: str, problems: Sequence[str]) -> LabError:
    return LabError(f"the {which} is not as it should be:\n  " + "\n  ".join(problems) + "\n", "", "scripts/lab status")


def row_travels(opened: Sessions) -> None:
    """Write a row on the new source and wait until it is on the replica; nothing of it stays.

    Raises:
        LabError: it does not arrive.
    """
    token = str(time.time_ns())
    with session(opened[NEW_SOURCE]) as source, session(opened[NEW_REPLICA]) as replica:
        source.execute(f"CREATE DATABASE IF NOT EXISTS {SCHEMA}")
        try:
            source.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.travelling (token VARCHAR(40) PRIMARY KEY)")
            source.execute(f"INSERT INTO {SCHEMA}.travelling VALUES (%s)", [token])

            def arrived() -> bool:
                present = replica.value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s", [SCHEMA])
                return bool(present and replica.row(f"SELECT 1 FROM {SCHEMA}.travelling WHERE token = %s", [token]))

            until("a row written on newdb1 on newdb2", arrived, timeout=30, remedy="see SHOW SLAVE STATUS on newdb2")
        finally:
            source.execute(f"DROP DATABASE {SCHEMA}")
