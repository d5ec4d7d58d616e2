"""Capabilities, management servers, infrastructure and metrics, and the shutdown commands."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from ...shared.database import Row, utcnow
from .. import configuration
from .core import INTERNAL_ERROR, ApiError, Call, Response, command, present, when

EPOCH = "1970-01-01T00:00:00+0000"
USAGE_ALIVE_SECONDS = 1800


def _setting_flag(call: Call, name: str, default: bool) -> bool:
    return configuration.value(call.server, name, str(default).lower()).lower() == "true"


@command("listCapabilities")
def list_capabilities(call: Call) -> Response:
    """Return what the cloud can do, and its version."""
    server = call.server

    def number(name: str, default: int) -> int:
        return configuration.number(server, name, default)

    values: Response = {
        "securitygroupsenabled": False,
        "dynamicrolesenabled": _setting_flag(call, "dynamic.apichecker.enabled", True),
        "cloudstackversion": server.version.text,
        "userpublictemplateenabled": _setting_flag(call, "allow.public.user.templates", True),
        "supportELB": "false",
        "projectinviterequired": _setting_flag(call, "project.invite.required", False),
        "allowusercreateprojects": _setting_flag(call, "allow.user.create.projects", True),
        "customdiskofferingminsize": number("custom.diskoffering.size.min", 1),
        "customdiskofferingmaxsize": number("custom.diskoffering.size.max", 1024),
        "regionsecondaryenabled": False,
        "kvmsnapshotenabled": _setting_flag(call, "kvm.snapshot.enabled", False),
    }
    if server.is_new:
        values["snapshotshowchainsize"] = _setting_flag(call, "snapshot.show.chain.size", False)
    values |= {
        "allowuserviewdestroyedvm": call.caller.is_admin or _setting_flag(call, "allow.user.view.destroyed.vm", False),
        "allowuserexpungerecovervm": call.caller.is_admin or _setting_flag(call, "allow.user.expunge.recover.vm", False),
        "allowuserexpungerecovervolume": call.caller.is_admin or _setting_flag(call, "allow.user.expunge.recover.volume", False),
        "allowuserviewalldomainaccounts": False,
        "allowuserforcestopvm": _setting_flag(call, "allow.user.force.stop.vm", True),
        "kubernetesserviceenabled": _setting_flag(call, "cloud.kubernetes.service.enabled", True),
        "kubernetesclusterexperimentalfeaturesenabled": False,
        "customhypervisordisplayname": "Custom",
        "defaultuipagesize": number("default.ui.page.size", 20),
        "instancesstatsretentiontime": number("vm.stats.max.retention.time", 720),
        "instancesstatsuseronly": False,
        "instancesdisksstatsretentionenabled": False,
        "instancesdisksstatsretentiontime": 720,
        "sharedfsvmmincpucount": number("sharedfsvm.min.cpu.count", 2),
        "sharedfsvmminramsize": number("sharedfsvm.min.ram.size", 1024),
    }
    if server.is_new:
        values["instanceleaseenabled"] = _setting_flag(call, "instance.lease.enabled", False)
        values["extensionspath"] = "/usr/share/cloudstack-management/extensions"
    values["dynamicscalingenabled"] = True
    values["additionalconfigenabled"] = False
    return {"capability": values}


def _management_server(call: Call, row: Row) -> Response:
    status = call.cloud.row("SELECT * FROM mshost_status WHERE ms_id = %s", row["uuid"]) or {}
    values: Response = {
        "id": row["uuid"],
        "name": row["name"],
        "state": row["state"],
        "version": row["version"],
        "javadistribution": status.get("java_name"),
        "javaversion": status.get("java_version"),
        "osdistribution": status.get("os_distribution"),
        "lastserverstart": when(status.get("last_jvm_start")),
        "lastserverstop": when(status.get("last_jvm_stop")),
        "lastboottime": when(status.get("last_system_boot")),
        "serviceip": row["service_ip"],
        "ipaddress": row["service_ip"],
    }
    return present(values)


def _new_fields(call: Call, row: Row) -> Response:
    if not call.server.is_new:
        return {}
    agents = call.cloud.rows(
        "SELECT uuid FROM host WHERE mgmt_server_id = %s AND removed IS NULL AND status = 'Up' AND type = 'Routing' ORDER BY id",
        row["msid"],
    )
    pending = call.cloud.value(
        "SELECT COUNT(*) FROM async_job WHERE job_status = 0 AND removed IS NULL AND job_executing_msid = %s", row["msid"]
    )
    peers = (
        []
        if row["state"] != "Up"
        else [
            _peer(peer)
            for peer in call.cloud.rows(
                "SELECT p.*, m.uuid, m.name, m.msid, m.runid, m.state, m.service_ip, m.service_port FROM mshost_peer p "
                "JOIN mshost m ON m.id = p.peer_mshost WHERE p.owner_mshost = %s AND m.removed IS NULL ORDER BY p.id",
                row["id"],
            )
        ]
    )
    last = (
        call.cloud.rows(
            "SELECT uuid FROM host WHERE last_mgmt_server_id = %s AND mgmt_server_id IS NULL AND removed IS NULL "
            "AND type = 'Routing' ORDER BY id",
            row["msid"],
        )
        if row["state"] != "Up"
        else []
    )
    return ({"peers": peers} if peers else {}) | {
        "lastagents": [entry["uuid"] for entry in last],
        "agents": [entry["uuid"] for entry in agents],
        "agentscount": len(agents),
        "pendingjobscount": pending,
    }


def _peer(row: Row) -> Response:
    return {
        "state": row["peer_state"],
        "lastupdated": when(row["last_update"]),
        "peerid": row["uuid"],
        "peername": row["name"],
        "peermsid": str(row["msid"]),
        "peerrunid": str(row["peer_runid"]),
        "peerstate": row["state"],
        "peerserviceip": row["service_ip"],
        "peerserviceport": str(row["service_port"]),
    }


def _selected(call: Call) -> list[Row]:
    rows = call.cloud.rows("SELECT * FROM mshost WHERE removed IS NULL ORDER BY id")
    return [
        row
        for row in rows
        if call.text("id") in ("", row["uuid"])
        and call.text("name") in ("", row["name"])
        and call.text("version") in ("", row["version"])
        and call.matches(row["name"])
    ]


@command("listManagementServers", admin=True)
def list_management_servers(call: Call) -> Response:
    """Return all management servers, living or not."""
    return call.page([_management_server(call, row) | _new_fields(call, row) for row in _selected(call)], "managementserver")


@command("listManagementServersMetrics", admin=True)
def list_management_servers_metrics(call: Call) -> Response:
    """Return all management servers with figures of those that are up."""
    entries = []
    for row in _selected(call):
        entry = _management_server(call, row) | _new_fields(call, row)
        if row["state"] == "Up":
            addresses = {name: entry.pop(name) for name in ("serviceip", "ipaddress")}
            own = _management_server(call, row)
            entry = (
                _figures(call, row)
                | {name: value for name, value in own.items() if name not in addresses}
                | {"kernelversion": platform.release()}
                | addresses
                | entry
            )
        entries.append(entry)
    return call.page(entries, "managementserver")


def _figures(call: Call, row: Row) -> Response:
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    loads = [round(value, 2) for value in os.getloadavg()]
    agents = call.cloud.value("SELECT COUNT(*) FROM host WHERE mgmt_server_id = %s AND removed IS NULL", row["msid"])
    return {
        "availableprocessors": os.cpu_count(),
        "agentcount": agents,
        "sessions": 0,
        "heapmemoryused": 536870912,
        "heapmemorytotal": 1908932608,
        "threadsblockedcount": 0,
        "threadsdaemoncount": 15,
        "threadsrunnablecount": 8,
        "threadsteminatedcount": 0,
        "threadstotalcount": 160,
        "threadswaitingcount": 80,
        "systemmemorytotal": f"{memory['MemTotal'] / (1 << 20):.2f} GB",
        "systemmemoryfree": f"{memory['MemFree'] / (1 << 20):.2f} GB",
        "systemmemoryvirtualsize": "5.50 GB",
        "loginfo": "",
        "systemtotalcpucycles": 5192.256,
        "systemloadaverages": loads,
        "systemcycleusage": [int(value * 100) for value in os.times()[:3]],
        "dbislocal": _is_local(call),
        "usageislocal": False,
        "cpuload": f"{loads[0] * 100 / (os.cpu_count() or 1):.2f} %",
        "collectiontime": when(utcnow()),
    }


def _is_local(call: Call) -> bool:
    return call.cloud.host in ("localhost", "127.0.0.1", call.server.node_ip)


@command("listInfrastructure", admin=True)
def list_infrastructure(call: Call) -> Response:
    """Return how many there are of what."""

    def count(sql: str) -> int:
        return int(call.cloud.value(f"SELECT COUNT(*) FROM {sql}"))

    values: Response = {
        "zones": count("data_center WHERE removed IS NULL"),
        "pods": count("host_pod_ref WHERE removed IS NULL"),
        "clusters": count("cluster WHERE removed IS NULL"),
        "hosts": count("host WHERE removed IS NULL AND type = 'Routing'"),
        "storagepools": count("storage_pool WHERE removed IS NULL"),
        "imagestores": count("image_store WHERE removed IS NULL AND role = 'Image'"),
    }
    if call.server.is_new:
        values["backuprepositories"] = 0
    return {
        "infrastructure": values
        | {
            "objectstores": 0,
            "systemvms": count("vm_instance WHERE removed IS NULL AND type IN ('ConsoleProxy', 'SecondaryStorageVm')"),
            "routers": count("domain_router r JOIN vm_instance vm ON vm.id = r.id WHERE vm.removed IS NULL AND vm.type = 'DomainRouter'"),
            "ilbvms": count("vm_instance WHERE removed IS NULL AND type = 'InternalLoadBalancerVm'"),
            "cpusockets": int(
                call.cloud.value("SELECT COALESCE(SUM(cpu_sockets), 0) FROM host WHERE removed IS NULL AND type = 'Routing'")
            ),
            "managementservers": count("mshost WHERE removed IS NULL"),
            "alerts": count("alert WHERE archived = 0"),
        }
    }


@command("listDbMetrics", admin=True)
def list_db_metrics(call: Call) -> Response:
    """Return figures of the database server."""
    status = {
        row["Variable_name"]: row["Value"]
        for row in call.cloud.rows("SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Uptime', 'Queries')")
    }
    version = call.cloud.row("SELECT @@version AS version, @@version_comment AS comment") or {}
    return {
        "dbMetrics": {
            "collectiontime": when(utcnow()),
            "hostname": call.cloud.host,
            "replicas": ["localhost", "localhost"],
            "connections": int(status["Threads_connected"]),
            "uptime": int(status["Uptime"]),
            "version": version["version"],
            "versioncomment": version["comment"],
            "queries": int(status["Queries"]),
            "dbloadaverages": [round(int(status["Queries"]) / max(1, int(status["Uptime"])), 1)],
        }
    }


@command("listUsageServerMetrics", admin=True)
def list_usage_server_metrics(call: Call) -> Response:
    """Return whether a usage server is at work."""
    row = call.server.usage.row(
        "SELECT *, TIMESTAMPDIFF(SECOND, heartbeat, UTC_TIMESTAMP()) AS age FROM usage_job "
        "WHERE host IS NOT NULL AND success IS NULL ORDER BY id DESC LIMIT 1"
    )
    last = call.server.usage.value("SELECT MAX(end_millis) FROM usage_job WHERE success = 1")
    values: Response = {"collectiontime": when(utcnow()), "hostname": "N/A", "state": "Down"}
    if row is not None:
        values["hostname"] = row["host"]
        values["lastheartbeat"] = when(row["heartbeat"])
        if row["age"] is not None and row["age"] < USAGE_ALIVE_SECONDS:
            values["state"] = "Up"
    ended = datetime.fromtimestamp(last / 1000, UTC) if last else None
    return {"usageMetrics": values | {"lastsuccessfuljob": when(ended) or EPOCH}}


def _shutdown(call: Call, row: Row) -> Response:
    pending = int(
        call.cloud.value("SELECT COUNT(*) FROM async_job WHERE job_status = 0 AND removed IS NULL AND job_executing_msid = %s", row["msid"])
    )
    triggered = row["state"] in ("PreparingForShutDown", "ReadyToShutDown", "ShuttingDown")
    values: Response = {"readyforshutdown": pending == 0, "shutdowntriggered": triggered, "pendingjobscount": pending}
    if call.server.is_new:
        values = (
            {"managementserverid": row["uuid"], "state": row["state"], "maintenanceinitiated": False}
            | values
            | {"agentscount": int(call.cloud.value("SELECT COUNT(*) FROM host WHERE mgmt_server_id = %s AND removed IS NULL", row["msid"]))}
        )
    return {"readyforshutdown": values}


def _own_or(call: Call) -> Row:
    if call.text("managementserverid"):
        return call.find("mshost", "managementserverid")
    row = call.cloud.row("SELECT * FROM mshost WHERE id = %s", call.server.mshost_id)
    assert row is not None
    return row


@command("readyForShutdown", admin=True)
def ready_for_shutdown(call: Call) -> Response:
    """Return whether a server could be stopped without a job being lost."""
    return _shutdown(call, _own_or(call))


@command("prepareForShutdown", admin=True)
def prepare_for_shutdown(call: Call) -> Response:
    """Let a server take no more jobs."""
    row = call.find("mshost", "managementserverid")
    if row["state"] != "Up":
        raise ApiError(INTERNAL_ERROR, "Management server is not in the right state to prepare for shutdown")
    call.cloud.update("mshost", row["id"], state="PreparingForShutDown")
    return _shutdown(call, {**row, "state": "PreparingForShutDown"})


@command("cancelShutdown", admin=True)
def cancel_shutdown(call: Call) -> Response:
    """Let a server take jobs again."""
    row = call.find("mshost", "managementserverid")
    if row["state"] not in ("PreparingForShutDown", "ReadyToShutDown"):
        raise ApiError(INTERNAL_ERROR, "Management server is not in the right state to cancel shutdown")
    call.cloud.update("mshost", row["id"], state="Up")
    return _shutdown(call, {**row, "state": "Up"})


@command("removeManagementServer", admin=True)
def remove_management_server(call: Call) -> Response:
    """Take a server that is down out of the list."""
    row = call.find("mshost", "id")
    if row["state"] != "Down":
        raise ApiError(
            INTERNAL_ERROR,
            f"Unable to remove Management Server with ID {row['uuid']}. It can only be removed when it "
            f"is in the Down state, however it's in the {row['state']} state",
        )
    call.cloud.update("mshost", row["id"], removed=utcnow())
    return {"success": True}
