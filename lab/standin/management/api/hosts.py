"""Hosts: hypervisors and the agents of system VMs."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...shared.database import Row
from ..agents import CommandFailed
from ..jobs import JobFailed
from .core import Call, Response, command, present, when
from .topology import pod_names, zone_names

EVENTS = (
    "ManagementServerDown; HostDown; AgentConnected; ShutdownRequested; PingTimeout; StartAgentRebalance; Ping; AgentDisconnected; Remove"
)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times of the database have no zone
PERCENT = 100
BYTES = 1 << 20


def host_names(call: Call, host_id: int | None) -> Response:
    """Return the fields with which everything on a host names it."""
    host = call.look_up("host", host_id)
    if not host:
        return {}
    return {"hostid": host["uuid"], "hostname": host["name"], "hostcontrolstate": control_state(host)}


def control_state(host: Row) -> str:
    """Return whether a host can be used for new VMs."""
    if host["resource_state"] != "Enabled":
        return "Disabled"
    return "Enabled" if host["status"] == "Up" else "Offline"


@command("listHosts", admin=True)
def list_hosts(call: Call) -> Response:
    """Return hosts of all types, or of one."""
    zone, cluster = call.maybe("data_center", "zoneid"), call.maybe("cluster", "clusterid")
    management = call.maybe("mshost", "managementserverid")
    rows = call.cloud.rows("SELECT * FROM host WHERE removed IS NULL ORDER BY id")
    return call.page(
        [
            _host(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and call.text("type").lower() in ("", row["type"].lower())
                and call.text("state").lower() in ("", row["status"].lower())
                and call.text("resourcestate").lower() in ("", row["resource_state"].lower())
                and call.text("version") in ("", row["version"])
                and call.text("hypervisor").lower() in ("", (row["hypervisor_type"] or "").lower())
                and (zone is None or row["data_center_id"] == zone["id"])
                and (cluster is None or row["cluster_id"] == cluster["id"])
                and (management is None or row["mgmt_server_id"] == management["msid"])
                and call.matches(row["name"])
            )
        ],
        "host",
    )


def _host(call: Call, row: Row) -> Response:
    management = call.cloud.row("SELECT uuid, name FROM mshost WHERE msid = %s", row["mgmt_server_id"]) or {}
    cluster = call.look_up("cluster", row["cluster_id"])
    is_hypervisor = row["type"] == "Routing"
    vm = None if is_hypervisor else call.cloud.row("SELECT uuid FROM vm_instance WHERE name = %s AND removed IS NULL", row["name"])
    values: Response = {
        "id": row["uuid"],
        "name": row["name"],
        "state": row["status"],
        "disconnected": when(row["disconnected"]),
        "type": row["type"],
        "ipaddress": row["private_ip_address"],
        **zone_names(call, row["data_center_id"]),
        **pod_names(call, row["pod_id"]),
        "version": row["version"],
        "hypervisor": row["hypervisor_type"],
    }
    values |= _figures(call, row) if is_hypervisor else {"memoryallocated": 0}
    values |= {
        "virtualmachineid": vm["uuid"] if vm and call.server.is_new else None,
        "lastpinged": when(EPOCH + timedelta(milliseconds=row["last_ping"])),
        "managementserverid": management.get("uuid"),
        "managementservername": management.get("name") if call.server.is_new else None,
        "clusterid": cluster.get("uuid"),
        "clustername": cluster.get("name"),
        "clustertype": cluster.get("cluster_type"),
        "islocalstorageactive": False,
        "created": when(row["created"]),
        "events": EVENTS,
        "hostha": {"haenable": False, "hastate": "Disabled"},
        "outofbandmanagement": {"powerstate": "Disabled", "enabled": False},
        "resourcestate": row["resource_state"],
    }
    if is_hypervisor:
        values |= {"hypervisorversion": row["hypervisor_version"], "hahost": False, "ueficapability": False, "arch": row["arch"]}
    return present(values | {"hasannotations": False})


def _figures(call: Call, row: Row) -> Response:
    used = call.cloud.row(
        "SELECT COALESCE(SUM(so.cpu * so.speed), 0) AS cpu, COALESCE(SUM(so.ram_size), 0) AS ram FROM vm_instance vm "
        "JOIN service_offering so ON so.id = vm.service_offering_id WHERE vm.host_id = %s AND vm.removed IS NULL",
        row["id"],
    ) or {"cpu": 0, "ram": 0}
    cpus, speed, ram = row["cpus"] or 0, row["speed"] or 0, row["ram"] or 0
    cpu, memory = int(used["cpu"]), int(used["ram"]) * BYTES
    share = f"{cpu * PERCENT / (cpus * speed):.2f}%" if cpus * speed else "0%"
    memory_share = f"{memory * PERCENT / ram:.2f}%" if ram else "0%"
    return {
        "cpusockets": row["cpu_sockets"],
        "cpunumber": row["cpus"],
        "cpuspeed": row["speed"],
        "cpuallocated": share,
        "cpuallocatedvalue": cpu,
        "cpuallocatedpercentage": share,
        "cpuallocatedwithoverprovisioning": share,
        "cpuused": "0%",
        "cpuwithoverprovisioning": str(cpus * speed),
        "cpuloadaverage": 0.0,
        "networkkbsread": 32768,
        "networkkbswrite": 16384,
        "memorytotal": ram,
        "memorywithoverprovisioning": str(ram),
        "memoryallocated": memory,
        "memoryallocatedpercentage": memory_share,
        "memoryallocatedbytes": memory,
        "memoryused": 0,
        "capabilities": row["capabilities"],
    }


@command("updateHost", admin=True)
def update_host(call: Call) -> Response:
    """Have a host take new VMs, or none."""
    row = call.find("host", "id")
    wanted = {"enable": "Enabled", "disable": "Disabled"}.get(call.text("allocationstate").lower())
    if wanted is not None:
        call.cloud.update("host", row["id"], resource_state=wanted)
    return {"host": _host(call, {**row, "resource_state": wanted or row["resource_state"]})}


@command("reconnectHost", admin=True)
def reconnect_host(call: Call) -> Response:
    """Have a host's agent reconnect."""
    row = call.find("host", "id")

    def work() -> Response:
        try:
            call.agents.execute(row["id"], "reconnect", {})
        except CommandFailed as failure:
            raise JobFailed(f"Unable to reconnect host: {failure}") from failure
        return {"host": {"id": row["uuid"], "name": row["name"]}}

    return {"jobid": call.job("Host", row["id"], work)}
