"""What the lab is doing right now: which side serves, versions, where agents are connected, system VMs, replication.

Read only. Everything is asked of the machines themselves; nothing is remembered.
"""

from __future__ import annotations

import http.client
from dataclasses import asdict, dataclass, field
from typing import Any

from lab import databases, libvirtd, machines, stack
from lab.files import Lab
from lab.hosts import Sessions, in_parallel
from lab.machines import ALL_KVM_HOSTS, Machine
from lab.original import cloud
from lab.packages import NEW, OLD
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.api import Cloud
from parallel_build.database.server.dialects import identify
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import machine as container
from parallel_build.remote.sql import session

UNITS = ("cloudstack-management", "cloudstack-usage")
AGENTS_PORT = 8250
TIMEOUT = 30.0
USER_TIMEOUT = 8.0  # a busy computer answers late; a firewall that drops never does


@dataclass
class Management:
    """One management server: its API's version (None where it doesn't answer), units, and whether a user reaches it."""

    name: str
    version: str | None = None
    units: dict[str, str] = field(default_factory=dict)
    users: bool = False


@dataclass
class Agent:
    """One KVM host's agent.

    Attributes:
        version: of its package.
        connected_to: name of the management server that its own connection leads to, as the host itself sees it; several with commas.
        managed_by: name of the management server that the serving database names; None where none does.
    """

    name: str
    version: str | None
    state: str | None
    connected_to: str | None
    managed_by: str | None


@dataclass
class Status:
    """The lab's state; see `scripts/lab status --json`."""

    lab: str
    phase: str | None
    serving: str
    machines: dict[str, str]
    original: list[Management]
    new: list[Management]
    agents: list[Agent]
    system_vms: list[dict[str, Any]]
    replication: dict[str, dict[str, Any] | None]
    target: str = NEW
    one_server: str | None = None
    nodes: dict[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def read(lab: Lab, opened: Sessions) -> Status:
    """Ask everything. The caller must be inside the lab's network."""
    options = lab.options()
    there = power(lab, options.management)
    sides = _sides(options.management)
    serving, found = sides_now(lab, opened, there)
    api = _serving_api(lab, sides, found)
    return Status(
        lab=lab.name,
        phase=stack.phase(lab).value if lab.done("stack") else None,
        serving={0: "none", 1: serving[0] if serving else "none", 2: "both"}[len(serving)],
        machines=there,
        original=found["original"],
        new=found["new"],
        agents=_agents(lab, opened, there, api, options.management),
        system_vms=_system_vms(opened, there, api),
        replication={
            "original": _replication(opened, machines.OLD_REPLICA, there),
            "new": _replication(opened, machines.NEW_REPLICA, there),
        },
        target=OLD if options.move else options.target,
        one_server=options.one_server,
        nodes=databases.nodes(opened) if options.galera else None,
    )


def _sides(management: int) -> dict[str, tuple[Machine, ...]]:
    return {"original": machines.OLD_MANAGEMENT[:management], "new": machines.NEW_MANAGEMENT[:management]}


def sides_now(lab: Lab, opened: Sessions, there: dict[str, str]) -> tuple[list[str], dict[str, list[Management]]]:
    """The sides that serve, and each side's management servers; also where every database is gone.

    Args:
        there: power of each machine.
    """
    sides = _sides(lab.options().management)
    found = {side: in_parallel(lambda server: _management(lab, opened, server, there), servers) for side, servers in sides.items()}
    return [side for side, servers in found.items() if any(server.version for server in servers)], found


def power(lab: Lab, management: int) -> dict[str, str]:
    """Each machine: `on`, `off` or `absent`."""
    # The component names domains after stack and machine, since one hypervisor may hold the guests of several stacks.
    guests = {name.removeprefix(f"{stack.STACK}-"): runs for name, runs in libvirtd.domains(lab).items()}
    there = {}
    hosts = lab.options().kvm_hosts
    further = (machines.OLD_NODE,) if lab.options().galera else ()
    for machine in (*machines.everything(management, hosts), *further):
        folder = lab.original if machine in (*machines.original(management, hosts), *further) else lab.new
        if container.exists(folder, machine.name):
            there[machine.name] = "on" if container.running(folder, machine.name) else "off"
        elif machine.name in guests:
            there[machine.name] = "on" if guests[machine.name] else "off"
        else:
            there[machine.name] = "absent"
    return there


def _management(lab: Lab, opened: Sessions, server: Machine, there: dict[str, str]) -> Management:
    result = Management(server.name)
    if there[server.name] != "on":
        return result
    try:
        printed = opened[server].run(["systemctl", "is-active", *UNITS], timeout=TIMEOUT, ok=None).stdout.split()
        result.units = dict(zip(UNITS, printed, strict=False))
    except ParallelBuildError:
        pass  # It is on and can't be asked: shown as a machine without units.
    try:
        reply = cloud(server, lab.secrets()).call("listCapabilities")
        result.version = reply.get("capability", {}).get("cloudstackversion")
    except ParallelBuildError:
        pass
    result.users = result.version is not None and _user_reaches(server)
    return result


def _user_reaches(server: Machine) -> bool:
    """Whether the user's client address gets any answer from the API's port."""
    connection = http.client.HTTPConnection(server.address, 8080, timeout=USER_TIMEOUT, source_address=(machines.USER_ADDRESS, 0))
    try:
        connection.request("GET", "/client/api?command=listCapabilities&response=json")
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except OSError:
        return False
    finally:
        connection.close()


def _serving_api(lab: Lab, sides: dict[str, tuple[Machine, ...]], found: dict[str, list[Management]]) -> tuple[str, Cloud] | None:
    """The API to ask about the cloud: the new one where both answer."""
    for side in ("new", "original"):
        for server, state in zip(sides[side], found[side], strict=True):
            if state.version:
                return side, cloud(server, lab.secrets())
    return None


def _agents(lab: Lab, opened: Sessions, there: dict[str, str], api: tuple[str, Cloud] | None, management: int) -> list[Agent]:
    by_address = {machine.address: machine.name for machine in machines.everything(management, lab.options().kvm_hosts)}
    states: dict[str, str] = {}
    managed: dict[str, str] = {}
    if api:
        side, client = api
        states = {host["name"]: host.get("state", "") for host in client.list("listHosts", type="Routing")}
        source = machines.NEW_SOURCE if side == "new" else machines.OLD_SOURCE
        try:
            with session(opened[source], "cloud") as database:
                rows = database.rows(
                    "SELECT h.name, m.service_ip FROM host h JOIN mshost m ON m.msid = h.mgmt_server_id "
                    "WHERE h.removed IS NULL AND m.removed IS NULL AND h.type = 'Routing'"
                )
            managed = {row["name"]: by_address.get(str(row["service_ip"]), str(row["service_ip"])) for row in rows}
        except ParallelBuildError:
            pass  # The database is down while an API still answers: the status shows the one and not the other.

    def agent(host: Machine) -> Agent:
        peer, version = _peer(opened, host) if there[host.name] == "on" else (None, None)
        # Several where the host's kernel still keeps a connection to a server that lost its power.
        connected = ",".join(by_address.get(each, each) for each in peer.split(",")) if peer else None
        return Agent(host.name, version, states.get(host.name), connected, managed.get(host.name))

    return in_parallel(agent, [host for host in ALL_KVM_HOSTS if there.get(host.name, "absent") != "absent"])


def _peer(opened: Sessions, host: Machine) -> tuple[str | None, str | None]:
    """The address that the host's own agent is connected to, and the agent's version."""
    script = (
        f"ss -Htn state established '( dport = :{AGENTS_PORT} )' | awk '{{print $4}}' | sed 's/:[0-9]*$//' | sort -u\n"
        "echo --\n"
        "dpkg-query -W -f='${Version}' cloudstack-agent 2>/dev/null || rpm -q --qf '%{VERSION}' cloudstack-agent 2>/dev/null || true\n"
    )
    try:
        peers, _, version = opened[host].script(script, timeout=TIMEOUT).stdout.partition("--")
    except ParallelBuildError:
        return None, None
    return ",".join(peers.replace("[::ffff:", "").replace("]", "").split()) or None, version.strip() or None


def _system_vms(opened: Sessions, there: dict[str, str], api: tuple[str, Cloud] | None) -> list[dict[str, Any]]:
    """System VMs and routers with their version as the API says it and as the appliance itself says it."""
    if api is None:
        return []
    client = api[1]
    kvm = {host.name: host for host in ALL_KVM_HOSTS if there.get(host.name) == "on"}

    def describe(vm: dict[str, Any]) -> dict[str, Any]:
        host = kvm.get(vm.get("hostname", ""))
        return {
            "name": vm["name"],
            "kind": vm.get("systemvmtype") or vm.get("role"),
            "state": vm.get("state"),
            "host": vm.get("hostname"),
            "version_api": vm.get("version"),
            "version_appliance": _release(opened, host, vm.get("linklocalip")) if host else None,
            "requires_upgrade": vm.get("requiresupgrade"),
        }

    found = [*systemvms.system_vms(client), *systemvms.routers(client)]
    return in_parallel(describe, found)


def _release(opened: Sessions, host: Machine, address: str | None) -> str | None:
    """The release file on a system VM, read from its KVM host; None where it can't be reached."""
    if not address:
        return None
    argv = ["ssh", "-i", systemvms.SYSTEM_VM_KEY, "-p", str(systemvms.SYSTEM_VM_PORT), "-o", "BatchMode=yes"]
    argv += ["-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    argv += [f"root@{address}", "cat", systemvms.RELEASE_FILE]
    try:
        printed = opened[host].run(argv, timeout=TIMEOUT, ok=None)
    except ParallelBuildError:
        return None
    return ".".join(map(str, systemvms.numbers(printed.stdout))) or None


def _replication(opened: Sessions, replica: Machine, there: dict[str, str]) -> dict[str, Any] | None:
    """A replica's threads and how far it is behind, None where there is none."""
    if there[replica.name] != "on":
        return None
    try:
        with session(opened[replica]) as database:
            dialect = identify(database).dialect
            state = database.row(dialect.replica_status)
    except ParallelBuildError:
        return None
    if not state:
        return None
    found = {meaning: state.get(column) for meaning, column in dialect.status_fields.items()}
    return {
        "source": found["host"],
        "receiving": found["io"] == "Yes",
        "applying": found["sql"] == "Yes",
        "seconds_behind": found["lag"],
        "error": found["sql_error"] or found["io_error"] or None,
    }


def text(status: Status) -> str:
    """The status for a reader."""
    lines = [f"lab {status.lab}: phase {status.phase}, serving: {status.serving}"]
    lines.append("machines: " + ", ".join(f"{name} {state}" for name, state in status.machines.items()))
    for side in ("original", "new"):
        for server in getattr(status, side):
            units = ", ".join(f"{unit.removeprefix('cloudstack-')} {state}" for unit, state in server.units.items())
            users = "users in" if server.users else "users out"
            lines.append(f"{side} {server.name}: API {server.version or 'does not answer'}, {users}; {units or 'not asked'}")
    for agent in status.agents:
        lines.append(
            f"agent {agent.name} {agent.version or ''}: {agent.state or 'unknown'}, connected to {agent.connected_to or 'nobody'}"
            f" (database: {agent.managed_by or 'nobody'})"
        )
    for vm in status.system_vms:
        lines.append(
            f"{vm['kind']} {vm['name']} on {vm['host']}: {vm['state']}, version {vm['version_api']} by the API, "
            f"{vm['version_appliance']} by itself"
        )
    lines += [f"node {name}: {state or 'down'}" for name, state in (status.nodes or {}).items()]
    for pair, state in status.replication.items():
        if state is None:
            lines.append(f"replication {pair}: none")
        else:
            good = state["receiving"] and state["applying"]
            behind = f"{state['seconds_behind']} s behind {state['source']}"
            lines.append(f"replication {pair}: {'running' if good else 'STOPPED'}, {behind}{_reason(state)}")
    return "\n".join(lines)


def _reason(state: dict[str, Any]) -> str:
    return f", {state['error']}" if state["error"] else ""
