"""What must hold after a switch: the new servers serve, everything is connected to them, and their replica follows."""

from __future__ import annotations

import time

from lab.errors import LabError
from lab.hosts import Sessions
from lab.machines import NEW_MANAGEMENT, NEW_REPLICA, NEW_SOURCE
from lab.packages import NEW, TEMPLATES
from lab.progress import until
from lab.status import Status
from parallel_build.cloudstack.systemvms import same_release
from parallel_build.database.session import session

SCHEMA = "lab_check"


def switched(found: Status, opened: Sessions) -> None:
    """Check a lab that has been switched.

    Args:
        found: what its status says.
        opened: sessions to its machines.
    Raises:
        LabError: names everything that does not hold, at once.
    """
    problems = []
    if found.serving != "new":
        problems.append(f"the serving side is {found.serving}, not the new one")
    for server in found.new:
        if server.version != NEW:
            problems.append(f"the API of {server.name} says {server.version}, not {NEW}")
        if not server.users:
            problems.append(f"users do not reach {server.name}")
    names = {machine.name for machine in NEW_MANAGEMENT}
    for agent in found.agents:
        if agent.state != "Up" or not set((agent.connected_to or "nobody").split(",")) <= names:
            problems.append(f"agent {agent.name} is {agent.state}, connected to {agent.connected_to}")
    for vm in found.system_vms:
        release = vm["version_appliance"]  # None where it runs on a simulated hypervisor: there is nothing to ask then
        if vm["state"] != "Running" or vm["requires_upgrade"] or (release and not same_release(release, TEMPLATES[NEW])):
            problems.append(f"{vm['kind']} {vm['name']} is {vm['state']} with version {release}, not {TEMPLATES[NEW]}")
    if problems:
        raise LabError("the switched lab is not as it should be:\n  " + "\n  ".join(problems) + "\n", "", "scripts/lab status")
    row_travels(opened)


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
