"""Zones, pods, clusters, primary and secondary storage."""

from __future__ import annotations

from ...shared.database import Row
from .. import configuration
from .core import Call, Response, command, present, when

FACTOR = "1.0"


def zone_names(call: Call, zone_id: int | None) -> Response:
    """Return the two fields with which everything in a zone names it."""
    zone = call.look_up("data_center", zone_id)
    return {"zoneid": zone.get("uuid"), "zonename": zone.get("name")}


def pod_names(call: Call, pod_id: int | None) -> Response:
    """Return the two fields with which everything in a pod names it."""
    pod = call.look_up("host_pod_ref", pod_id)
    return {"podid": pod.get("uuid"), "podname": pod.get("name")}


def _wanted(call: Call, row: Row) -> bool:
    return call.text("id") in ("", row["uuid"]) and call.text("name") in ("", row["name"]) and call.matches(row["name"])


@command("listZones")
def list_zones(call: Call) -> Response:
    """Return the zones."""
    rows = call.cloud.rows("SELECT * FROM data_center WHERE removed IS NULL ORDER BY sort_key, id")
    return call.page([_zone(call, row) for row in rows if _wanted(call, row)], "zone")


def _zone(call: Call, row: Row) -> Response:
    clusters = call.cloud.rows("SELECT DISTINCT arch FROM cluster WHERE data_center_id = %s AND removed IS NULL", row["id"])
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            "description": row["description"],
            "dns1": row["dns1"],
            "dns2": row["dns2"],
            "internaldns1": row["internal_dns1"],
            "internaldns2": row["internal_dns2"],
            "guestcidraddress": row["guest_network_cidr"],
            "networktype": row["networktype"],
            "securitygroupsenabled": bool(row["is_security_group_enabled"]),
            "allocationstate": row["allocation_state"],
            "zonetoken": row["zone_token"],
            "dhcpprovider": row["dhcp_provider"],
            "localstorageenabled": bool(row["is_local_storage_enabled"]),
            "tags": [],
            "allowuserspecifyvrmtu": configuration.value(call.server, "allow.end.users.to.specify.vr.mtu") == "true",
            "routerprivateinterfacemaxmtu": configuration.number(call.server, "vr.private.interface.max.mtu", 1500),
            "routerpublicinterfacemaxmtu": configuration.number(call.server, "vr.public.interface.max.mtu", 1500),
            "type": row["type"] or "Core",
            "isnsxenabled": False,
            "ismultiarch": len({entry["arch"] for entry in clusters}) > 1,
            "asnrange": "",
            "routedmodeenabled": configuration.value(call.server, "routed.ipv4.vpc.enabled", "true") == "true",
            "hasannotations": False,
        }
    )


@command("listPods", admin=True)
def list_pods(call: Call) -> Response:
    """Return the pods."""
    zone = call.maybe("data_center", "zoneid")
    rows = call.cloud.rows("SELECT * FROM host_pod_ref WHERE removed IS NULL ORDER BY id")
    return call.page(
        [_pod(call, row) for row in rows if _wanted(call, row) and (zone is None or row["data_center_id"] == zone["id"])], "pod"
    )


def _pod(call: Call, row: Row) -> Response:
    # What is called a description is the range: first, last, whether only for system VMs, VLAN.
    first, last, for_system, vlan_id = [*(row["description"] or "").split("-"), "", "", ""][:4]
    vlan = f"vlan://{vlan_id or 'untagged'}"
    bits = int(row["cidr_size"])
    mask = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            **zone_names(call, row["data_center_id"]),
            "gateway": row["gateway"],
            "netmask": ".".join(str(mask >> shift & 255) for shift in (24, 16, 8, 0)),
            "ipranges": [{"startip": first, "endip": last, "forsystemvms": for_system or "0", "vlanid": vlan}],
            "startip": [first],
            "endip": [last],
            "forsystemvms": [for_system or "0"],
            "vlanid": [vlan],
            "allocationstate": row["allocation_state"],
            "hasannotations": False,
        }
    )


@command("listClusters", admin=True)
def list_clusters(call: Call) -> Response:
    """Return the clusters."""
    zone, pod = call.maybe("data_center", "zoneid"), call.maybe("host_pod_ref", "podid")
    rows = call.cloud.rows("SELECT * FROM cluster WHERE removed IS NULL ORDER BY id")
    return call.page(
        [
            _cluster(call, row)
            for row in rows
            if _wanted(call, row)
            and (zone is None or row["data_center_id"] == zone["id"])
            and (pod is None or row["pod_id"] == pod["id"])
            and call.text("hypervisor").lower() in ("", row["hypervisor_type"].lower())
        ],
        "cluster",
    )


def _cluster(call: Call, row: Row) -> Response:
    details = (
        {
            entry["name"]: entry["value"]
            for entry in call.cloud.rows(
                "SELECT name, value FROM cluster_details WHERE cluster_id = %s AND name <> 'password' ORDER BY id", row["id"]
            )
        }
        if call.cloud.has("cluster_details")
        else {}
    )
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            **pod_names(call, row["pod_id"]),
            **zone_names(call, row["data_center_id"]),
            "hypervisortype": row["hypervisor_type"],
            "clustertype": row["cluster_type"],
            "allocationstate": row["allocation_state"],
            "managedstate": row["managed_state"],
            "cpuovercommitratio": details.get("cpuOvercommitRatio", FACTOR),
            "memoryovercommitratio": details.get("memoryOvercommitRatio", FACTOR),
            "resourcedetails": details,
            "arch": row["arch"],
            "hasannotations": False,
        }
    )


@command("listStoragePools", admin=True)
def list_storage_pools(call: Call) -> Response:
    """Return primary storage."""
    rows = call.cloud.rows("SELECT * FROM storage_pool WHERE removed IS NULL ORDER BY id")
    return call.page([_pool(call, row) for row in rows if _wanted(call, row)], "storagepool")


def _pool(call: Call, row: Row) -> Response:
    cluster = call.look_up("cluster", row["cluster_id"])
    allocated = call.cloud.value("SELECT COALESCE(SUM(size), 0) FROM volumes WHERE pool_id = %s AND removed IS NULL", row["id"])
    return present(
        {
            "id": row["uuid"],
            **zone_names(call, row["data_center_id"]),
            **pod_names(call, row["pod_id"]),
            "name": row["name"],
            "ipaddress": row["host_address"],
            "path": row["path"],
            "created": when(row["created"]),
            "type": row["pool_type"],
            "clusterid": cluster.get("uuid"),
            "clustername": cluster.get("name"),
            "disksizetotal": row["capacity_bytes"],
            "disksizeallocated": int(allocated),
            "disksizeused": row["used_bytes"],
            "capacityiops": row["capacity_iops"],
            "usediops": row.get("used_iops"),
            "istagarule": False,
            "state": row["status"],
            "scope": row["scope"],
            "overprovisionfactor": "2.0",
            "hypervisor": row["hypervisor"] or cluster.get("hypervisor_type"),
            "provider": row["storage_provider_name"],
            "storagecapabilities": {"VOLUME_SNAPSHOT_QUIESCEVM": "false"},
            "managed": bool(row["managed"]),
            "hasannotations": False,
        }
    )


@command("listImageStores", admin=True)
def list_image_stores(call: Call) -> Response:
    """Return secondary storage."""
    rows = call.cloud.rows("SELECT * FROM image_store WHERE removed IS NULL AND role = 'Image' ORDER BY id")
    return call.page([_store(call, row) for row in rows if _wanted(call, row)], "imagestore")


def _store(call: Call, row: Row) -> Response:
    return present(
        {
            "id": row["uuid"],
            **zone_names(call, row["data_center_id"]),
            "name": row["name"],
            "url": row["url"],
            "protocol": row["protocol"],
            "providername": row["image_provider_name"],
            "scope": row["scope"],
            "readonly": bool(row["readonly"]),
            "hasannotations": False,
        }
    )
