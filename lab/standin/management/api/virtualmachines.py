"""Virtual machines of users, listed."""

from __future__ import annotations

import json

from ...shared.database import Row
from .common import living_nics, nic, offering_names, owner, visible
from .core import Call, Response, command, present, when
from .hosts import host_names
from .topology import zone_names

#: Names of the API and of the JSON in `vm_stats`.
STATISTICS = (
    ("networkkbsread", "networkReadKBs"),
    ("networkkbswrite", "networkWriteKBs"),
    ("diskkbsread", "diskReadKBs"),
    ("diskkbswrite", "diskWriteKBs"),
    ("memorykbs", "memoryKBs"),
    ("memoryintfreekbs", "intFreeMemoryKBs"),
    ("memorytargetkbs", "targetMemoryKBs"),
    ("diskioread", "diskReadIOs"),
    ("diskiowrite", "diskWriteIOs"),
)


@command("listVirtualMachines")
def list_virtual_machines(call: Call) -> Response:
    """Return VMs of users."""
    zone, host = call.maybe("data_center", "zoneid"), call.maybe("host", "hostid")
    network = call.maybe("networks", "networkid")
    members = (
        None
        if network is None
        else {
            row["instance_id"]
            for row in call.cloud.rows("SELECT instance_id FROM nics WHERE network_id = %s AND removed IS NULL", network["id"])
        }
    )
    rows = visible(
        call,
        call.cloud.rows(
            "SELECT vm.*, u.display_name AS shown_name FROM vm_instance vm JOIN user_vm u ON u.id = vm.id "
            "WHERE vm.removed IS NULL AND vm.type = 'User' ORDER BY vm.id"
        ),
    )
    return call.page(
        [
            virtual_machine(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and (not call.listed("ids") or row["uuid"] in call.listed("ids"))
                and call.text("state").lower() in ("", row["state"].lower())
                and call.text("hypervisor").lower() in ("", row["hypervisor_type"].lower())
                and (zone is None or row["data_center_id"] == zone["id"])
                and (host is None or row["host_id"] == host["id"])
                and (members is None or row["id"] in members)
                and call.matches(row["name"], row["instance_name"])
            )
        ],
        "virtualmachine",
    )


def virtual_machine(call: Call, row: Row) -> Response:
    """Return one VM as it is listed."""
    template = call.look_up("vm_template", row["vm_template_id"])
    offering = call.look_up("service_offering", row["service_offering_id"])
    guest_os = call.look_up("guest_os", row["guest_os_id"])
    user = call.look_up("user", row["user_id"])
    nics = living_nics(call, row["id"])
    data = (
        call.cloud.row(
            "SELECT d.uuid, d.name FROM volumes v JOIN disk_offering d ON d.id = v.disk_offering_id "
            "WHERE v.instance_id = %s AND v.volume_type = 'DATADISK' AND v.removed IS NULL LIMIT 1",
            row["id"],
        )
        or {}
    )
    pool = call.cloud.value(
        "SELECT p.pool_type FROM volumes v JOIN storage_pool p ON p.id = v.pool_id WHERE v.instance_id = %s "
        "AND v.volume_type = 'ROOT' LIMIT 1",
        row["id"],
    )
    running = row["state"] == "Running"
    who = owner(call, row)
    public = _public(call, row)
    values: Response = {
        "id": row["uuid"],
        "name": row["name"],
        "displayname": row.get("shown_name") or row["display_name"] or row["name"],
        "account": who["account"],
        "userid": user.get("uuid"),
        "username": user.get("username"),
        "domainid": who["domainid"],
        "domain": who["domain"],
        "domainpath": who["domainpath"],
        "created": when(row["created"]),
        "lastupdated": when(row["update_time"]),
        "state": row["state"],
        "haenable": bool(row["ha_enabled"]),
        **zone_names(call, row["data_center_id"]),
    }
    if call.caller.is_admin:
        values |= host_names(call, row["host_id"])
    values |= {
        "templateid": template.get("uuid"),
        "templatename": template.get("name"),
        "templatetype": template.get("type"),
        "templateformat": template.get("format"),
        "templatedisplaytext": template.get("display_text"),
        "passwordenabled": bool(template.get("enable_password")),
        **offering_names(call, row["service_offering_id"]),
        "diskofferingid": data.get("uuid"),
        "diskofferingname": data.get("name"),
        "cpunumber": offering.get("cpu"),
        "cpuspeed": offering.get("speed"),
        "memory": offering.get("ram_size"),
        **_statistics(call, row),
        "guestosid": guest_os.get("uuid"),
        "rootdeviceid": 0,
        "rootdevicetype": "ROOT",
        "securitygroup": [],
        "nic": [_nic(call, entry, public) for entry in nics],
        "hypervisor": row["hypervisor_type"],
        "ipaddress": next((entry["ip4_address"] for entry in nics if entry["default_nic"]), None),
        **public,
        "instancename": row["instance_name"] if call.caller.is_admin else None,
        "details": _details(call, row),
        "affinitygroup": [],
        "displayvm": bool(row["display_vm"]),
        "isdynamicallyscalable": bool(row["dynamically_scalable"]),
        "deleteprotection": bool(row.get("delete_protection")),
        "ostypeid": guest_os.get("uuid"),
        "osdisplayname": guest_os.get("display_name"),
        "bootmode": "legacy" if running else None,
        "boottype": "Bios" if running else None,
        "pooltype": pool,
        "receivedbytes": 0,
        "sentbytes": 0,
        "arch": template.get("arch"),
        "tags": _tags(call, row),
        "hasannotations": False,
    }
    return present(values)


def _public(call: Call, row: Row) -> Response:
    """Return the public address with which a VM is reached by static NAT, where it has one."""
    address = call.cloud.row(
        "SELECT uuid, public_ip_address FROM user_ip_address WHERE vm_id = %s AND one_to_one_nat = 1 AND removed IS NULL LIMIT 1", row["id"]
    )
    return {"publicipid": address["uuid"], "publicip": address["public_ip_address"]} if address else {}


def _nic(call: Call, row: Row, public: Response) -> Response:
    vpc = call.look_up("vpc", row["vpc_id"])
    values = nic(row) | {"secondaryip": [], "extradhcpoption": [], "deviceid": str(row["device_id"])}
    return present(values | (public if row["default_nic"] else {}) | {"vpcid": vpc.get("uuid"), "vpcname": vpc.get("name")})


def _statistics(call: Call, row: Row) -> Response:
    """Return the figures that were last collected of a VM."""
    if not call.cloud.has("vm_stats"):
        return {}
    text = call.cloud.value("SELECT vm_stats_data FROM vm_stats WHERE vm_id = %s ORDER BY timestamp DESC LIMIT 1", row["id"])
    if text is None:
        return {}
    figures = json.loads(text)
    return {"cpuused": f"{figures.get('cpuUtilization', 0):g}%"} | {name: int(figures.get(key, 0)) for name, key in STATISTICS}


def _details(call: Call, row: Row) -> Response:
    table = "vm_instance_details" if call.cloud.has("vm_instance_details") else "user_vm_details"
    return {
        entry["name"]: entry["value"]
        for entry in call.cloud.rows(
            f"SELECT name, value FROM `{table}` WHERE vm_id = %s AND display = 1 AND name <> 'password'", row["id"]
        )
    }


def _tags(call: Call, row: Row) -> list[Response]:
    if not call.cloud.has("resource_tags"):
        return []
    who = owner(call, row)
    return [
        {
            "key": entry["key"],
            "value": entry["value"],
            "resourcetype": "UserVm",
            "resourceid": row["uuid"],
            "account": who["account"],
            "domainid": who["domainid"],
            "domain": who["domain"],
        }
        for entry in call.cloud.rows("SELECT * FROM resource_tags WHERE resource_type = 'UserVm' AND resource_id = %s", row["id"])
    ]
