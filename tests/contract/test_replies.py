"""Replies of the API against recorded ones, field by field: names, types, order, and for what the database holds values too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.packages import NEW, OLD
from tests.contract.conftest import Host
from tests.contract.harness import DatabaseServer, ManagementHost, wait

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]

#: Recorded replies whose name is not that of the command, and what they were called with.
CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "listHosts-routing": ("listHosts", {"type": "Routing"}),
    "listConfigurations-host": ("listConfigurations", {"keyword": "host"}),
    "bad-command": ("noSuchCommand", {}),
    "listTemplates": ("listTemplates", {"templatefilter": "all"}),
    "listVirtualMachines": ("listVirtualMachines", {"listall": "true"}),
    "listNetworks": ("listNetworks", {"listall": "true"}),
}
#: Lists that had other members when they were recorded than the dump has, or that grow while a server runs.
OTHER_MEMBERS = {
    "listAlerts", "listEvents", "listManagementServers", "listManagementServersMetrics", "listVirtualMachines", "listConfigurations-host",
}  # fmt: skip
#: Fields that are there or not depending on what happened before.
HISTORY = {"lastserverstop", "managementserverid", "managementservername", "parentid", "peers"}
#: Fields that depend on the moment or the machine.
LIVE = re.compile(
    r"lastpinged|collectiontime|connections|uptime|queries|loadaverages|state|disconnected|lastserver|lastboot|agentstate|managementserver|"
    r"version|hostcontrolstate|\.events|collection|heapmemory|threads|system(memory|cycle|load|total)|cpuload|kernel|sessions|agentcount|processors|"
    r"alerts|managementservers|peers|lastagents|agents|pendingjobs|capability\[|dbislocal|usageislocal|hostname|replicas|downloaddetails|"
    r"lastupdated|memory(allocated|used)|cpu(allocated|used)|disksize(allocated)|supportedstickiness|allocatedpercentage|javaversion|osdistribution|"
    r"lastsuccessfuljob|receivedbytes|sentbytes|javadistribution|serviceip|ipaddress|\.name$|requiresupgrade|certificate|\.value$|\.created$|\.parentid$"
)


@dataclass
class Comparison:
    """What differs between a recorded reply and ours."""

    values_too: bool
    found: list[str] = field(default_factory=list)

    def compare(self, path: str, real: Any, ours: Any) -> None:
        """Compare two values at a path."""
        if kind(real) != kind(ours):
            self.found.append(f"{path}: {kind(real)} in the recorded reply, {kind(ours)} in ours")
        elif isinstance(real, dict):
            self._objects(path, real, ours)
        elif isinstance(real, list):
            self._lists(path, real, ours)
        elif self.values_too and real != ours and not LIVE.search(path):
            self.found.append(f"{path}: {real!r} recorded, ours {ours!r}")

    def _objects(self, path: str, real: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        if real.get("state") != ours.get("state"):
            # Another state has other fields; it was a different one when the reply was recorded.
            return
        for name in real.keys() - ours.keys() - HISTORY:
            self.found.append(f"{path}.{name}: missing")
        for name in ours.keys() - real.keys() - HISTORY:
            self.found.append(f"{path}.{name}: not in the recorded reply")
        common = [name for name in real if name in ours]
        if common != [name for name in ours if name in real]:
            self.found.append(f"{path}: order of fields {common}")
        for name in common:
            if name != "count":
                self.compare(f"{path}.{name}", real[name], ours[name])

    def _lists(self, path: str, real: list[Any], ours: list[Any]) -> None:
        if not real or not isinstance(real[0], dict):
            return
        name = "state" if path.endswith(".managementserver") else next((name for name in ("id", "name") if name in real[0]), "")
        if not name:
            for index, (one, other) in enumerate(zip(real, ours, strict=False)):
                self.compare(f"{path}[{index}]", one, other)
            return
        members = {entry.get(name): entry for entry in ours}
        pairs = [(entry, members[entry[name]]) for entry in real if entry[name] in members]
        if not pairs:
            self.found.append(f"{path}: none of its members is in ours")
        for one, other in pairs:
            self.compare(f"{path}[{one[name]}]", one, other)


def kind(value: Any) -> str:
    """Return a value's type as JSON has it; a number is a number."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def recorded_reply(path: Path) -> tuple[int, Any]:
    """Return status and body of a recorded reply."""
    head, _, body = path.read_text().partition("\n")
    return int(head.split()[1]), json.loads(body)


def check(server: ManagementHost, folder: Path, keys: Mapping[str, str], special: Mapping[str, tuple[str, dict[str, str]]]) -> list[str]:
    """Compare all recorded replies of a version; returns what differs."""
    differences = []
    for path in sorted(folder.glob("*.json")):
        if path.stem == "login":
            continue
        command, parameters = special.get(path.stem, (path.stem, {}))
        status, ours = server.api(command, keys, **parameters)
        real_status, real = recorded_reply(path)
        comparison = Comparison(values_too=path.stem not in OTHER_MEMBERS)
        if status != real_status:
            differences.append(f"{path.stem}: HTTP {real_status} recorded, ours {status}: {ours}")
            continue
        comparison.compare("", real, ours)
        differences += [f"{path.stem}{entry}" for entry in comparison.found]
    return differences


@pytest.fixture
def keys(data: Path) -> dict[str, str]:
    """API keys of the recorded cloud's admin."""
    admin: dict[str, str] = json.loads((data / "apikeys.json").read_text())["admin"]
    return admin


@pytest.fixture
def database_key(data: Path) -> str:
    """The recorded cloud's database key."""
    found = re.search(r" -k (\S+)", (data / "encryption.txt").read_text())
    assert found is not None
    return found.group(1)


def settle(server: ManagementHost, database: DatabaseServer) -> None:
    """Wait until the server answers and has connected to all hosts."""
    assert server.wait_for_answer() == 401
    wait(lambda: not database.rows("SELECT id FROM cloud.host WHERE status <> 'Up' AND removed IS NULL"), 20, "the hosts")


def test_old_version(
    database: DatabaseServer, recorded: Mapping[str, Path], host: Host, data: Path, database_key: str, keys: dict[str, str]
) -> None:
    database.load(recorded)
    server = host(OLD)
    server.configure(database_key=database_key)
    server.start()
    settle(server, database)
    differences = check(server, data / "api-4.20.3.0", keys, CALLS)
    assert not differences, "\n".join(differences)
    for name, path in {
        "unsigned-401.txt": "/client/api?command=listCapabilities&response=json",
        "unsigned-401-xml.txt": "/client/api?command=listCapabilities",
        "login-wrong.txt": "/client/api?command=login&username=admin&password=wrong&response=json",
    }.items():
        status, body = server.get(path)
        real = (data / "api-4.20.3.0" / name).read_text()
        assert real.startswith(f"HTTP/1.1 {status} "), name
        assert real.rstrip("\n").endswith(body), name


def test_new_version_after_its_upgrade(
    database: DatabaseServer, recorded: Mapping[str, Path], host: Host, data: Path, database_key: str, keys: dict[str, str]
) -> None:
    database.load(recorded)
    server = host(NEW)
    server.configure(database_key=database_key)
    server.start()
    settle(server, database)
    special = CALLS | {"readyForShutdown": ("readyForShutdown", {"managementserverid": "00000000-0000-0000-0000-000000000000"})}
    differences = check(server, data / "api-4.22.1.0", keys, special)
    assert not differences, "\n".join(differences)


def test_failed_application_page(database: DatabaseServer, generated: Mapping[str, Path], host: Host, data: Path) -> None:
    database.load(generated)
    server = host(NEW)
    server.configure(key="other")
    server.start()
    assert server.wait_for_answer() == 503
    assert (data / "api-4.20.3.0/503-webapp-failed.txt").read_text().rstrip("\n").endswith(server.get("/client/api")[1].rstrip("\n"))


def test_upgrade_log_has_the_real_lines_in_their_order(
    database: DatabaseServer, recorded: Mapping[str, Path], host: Host, data: Path, database_key: str
) -> None:
    database.load(recorded)
    server = host(NEW)
    server.configure(database_key=database_key)
    server.start()
    assert server.wait_for_answer() == 401
    ours = [message(line) for line in server.log()]
    transcript = (data / "transcripts/first-start-upgrade-4.20.3.0-to-4.22.1.0.log").read_text().splitlines()
    wanted = [
        message(line)
        for line in transcript
        if any(name in line for name in FOLLOWED) and "SCRIPT" not in line.upper().split("EXECUTING")[-1][:7]
    ]
    position = 0
    for line in wanted:
        if line in ours[position:]:
            position += ours[position:].index(line) + 1
        else:
            raise AssertionError(f"{line} is missing after {ours[max(0, position - 1)]}")


#: What a reader of upgrade progress goes by.
FOLLOWED = (
    "Running system integrity checker com.cloud.upgrade.DatabaseUpgradeChecker", "Grabbing lock to check for database upgrade", "init = true",
    "DB version =", "Executing Stored Procedure scripts", "Finished execution of", "Database upgrade must be performed", "Running upgrade",
    "Data type of the column", "Cleanup upgrade", "Cleanup script", "Upgrade completed", "Executing VIEW scripts", "Updating System Vm Template IDs Complete",
    "Cluster node IP", "Cluster manager is configured", "Starting Cluster manager", "is being started at", "Cluster manager was started successfully",
    "Startup CloudStack management server",
)  # fmt: skip


def message(line: str) -> str:
    """Return a line without time, addresses and ids."""
    text = re.sub(r"^\S+ \S+ ", "", line)
    text = re.sub(r"@[0-9a-f]+", "@", text)
    text = re.sub(r"\{.*?\}", "{}", text)
    text = re.sub(r"\d+\.\d+\.\d+\.\d+:9090|msid: \d+|IP : \S+|runId \d+", "", text)
    return text.strip()
