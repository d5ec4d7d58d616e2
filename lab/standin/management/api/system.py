"""Capabilities, management servers, and the shutdown commands."""

from __future__ import annotations

from ...shared.database import Row, utcnow
from .. import configuration
from ..jobs import SHUTTING_DOWN
from .core import INTERNAL_ERROR, ApiError, Call, Response, command, present, when


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


def management_server(call: Call, row: Row) -> Response:
    """Return one server as every version lists it."""
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


def new_fields(call: Call, row: Row) -> Response:
    """Return the fields that came with 4.21: peers and agents."""
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


def selected(call: Call) -> list[Row]:
    """Return the servers that the parameters select."""
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
    return call.page([management_server(call, row) | new_fields(call, row) for row in selected(call)], "managementserver")


def _shutdown(call: Call, row: Row) -> Response:
    pending = int(
        call.cloud.value("SELECT COUNT(*) FROM async_job WHERE job_status = 0 AND removed IS NULL AND job_executing_msid = %s", row["msid"])
    )
    triggered = row["state"] in SHUTTING_DOWN
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
    if call.server.is_new and call.cloud.value(
        "SELECT COUNT(*) FROM mshost WHERE removed IS NULL AND state IN ('PreparingForShutDown', 'PreparingForMaintenance')"
    ):
        raise ApiError(INTERNAL_ERROR, "Another management server is preparing for shutdown or maintenance")
    state = "PreparingForShutDown" if call.server.is_new else "PreparingToShutDown"
    call.cloud.update("mshost", row["id"], state=state)
    return _shutdown(call, {**row, "state": state})


@command("cancelShutdown", admin=True)
def cancel_shutdown(call: Call) -> Response:
    """Let a server take jobs again."""
    row = call.find("mshost", "managementserverid")
    if row["state"] not in SHUTTING_DOWN[:-1]:
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
