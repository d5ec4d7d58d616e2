"""Offerings: of computing, disks and networks."""

from __future__ import annotations

from ...shared.database import Row
from .core import Call, Response, command, present, when

GIB = 1 << 30


def _wanted(call: Call, row: Row) -> bool:
    return call.text("id") in ("", row["uuid"]) and call.text("name") in ("", row["name"]) and call.matches(row["name"])


@command("listServiceOfferings")
def list_service_offerings(call: Call) -> Response:
    """Return compute offerings; with issystem those of system VMs."""
    system = int(call.flag("issystem"))
    rows = call.cloud.rows(
        "SELECT * FROM service_offering WHERE removed IS NULL AND state = 'Active' AND system_use = %s ORDER BY sort_key, id", system
    )
    return call.page([_service(call, row) for row in rows if _wanted(call, row)], "serviceoffering")


def _service(call: Call, row: Row) -> Response:
    disk = call.look_up("disk_offering", row["disk_offering_id"])
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            "displaytext": row["display_text"],
            "cpunumber": row["cpu"],
            "cpuspeed": row["speed"],
            "memory": row["ram_size"],
            "created": when(row["created"]),
            "storagetype": "local" if disk.get("use_local_storage") else "shared",
            "provisioningtype": disk.get("provisioning_type"),
            "offerha": bool(row["ha_enabled"]),
            "limitcpuuse": bool(row["limit_cpu_use"]),
            "isvolatile": bool(row["is_volatile"]),
            "issystem": bool(row["system_use"]),
            "systemvmtype": row["vm_type"],
            "defaultuse": bool(row["default_use"]),
            "iscustomized": row["cpu"] is None or row["ram_size"] is None,
            "dynamicscalingenabled": bool(row["dynamic_scaling_enabled"]),
            "diskofferingid": disk.get("uuid"),
            "state": row["state"],
            "hasannotations": False,
        }
    )


@command("listDiskOfferings")
def list_disk_offerings(call: Call) -> Response:
    """Return disk offerings."""
    rows = call.cloud.rows(
        "SELECT * FROM disk_offering WHERE removed IS NULL AND state = 'Active' AND compute_only = 0 ORDER BY sort_key, id"
    )
    return call.page(
        [
            present(
                {
                    "id": row["uuid"],
                    "name": row["name"],
                    "displaytext": row["display_text"],
                    "disksize": row["disk_size"] // GIB,
                    "created": when(row["created"]),
                    "iscustomized": bool(row["customized"]),
                    "storagetype": "local" if row["use_local_storage"] else "shared",
                    "provisioningtype": row["provisioning_type"],
                    "displayoffering": bool(row["display_offering"]),
                    "state": row["state"],
                    "hasannotations": False,
                }
            )
            for row in rows
            if _wanted(call, row)
        ],
        "diskoffering",
    )


@command("listNetworkOfferings")
def list_network_offerings(call: Call) -> Response:
    """Return network offerings."""
    rows = call.cloud.rows("SELECT * FROM network_offerings WHERE removed IS NULL AND system_only = 0 ORDER BY sort_key, id")
    return call.page(
        [
            present(
                {
                    "id": row["uuid"],
                    "name": row["name"],
                    "displaytext": row["display_text"],
                    "traffictype": row["traffic_type"],
                    "isdefault": bool(row["default"]),
                    "specifyvlan": bool(row["specify_vlan"]),
                    "conservemode": bool(row["conserve_mode"]),
                    "specifyipranges": bool(row["specify_ip_ranges"]),
                    "availability": row["availability"],
                    "state": row["state"],
                    "guestiptype": row["guest_type"],
                    "ispersistent": bool(row["is_persistent"]),
                    "forvpc": bool(row["for_vpc"]),
                    "created": when(row["created"]),
                    "hasannotations": False,
                }
            )
            for row in rows
            if _wanted(call, row)
            and call.text("guestiptype").lower() in ("", (row["guest_type"] or "").lower())
            and call.text("state").lower() in ("", (row["state"] or "").lower())
            and (not call.text("forvpc") or call.flag("forvpc") == bool(row["for_vpc"]))
        ],
        "networkoffering",
    )
