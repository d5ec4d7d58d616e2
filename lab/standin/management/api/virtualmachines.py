"""Virtual machines of users. They are rows only: no host runs anything for them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from ...shared.database import Row, utcnow
from .. import addresses, alerts
from ..instances import add_root_volume
from ..jobs import JobFailed
from .common import living_nics, nic, offering_names, owner, visible
from .core import INTERNAL_ERROR, PARAM_ERROR, ApiError, Call, Response, command, present, when
from .hosts import host_names
from .topology import zone_names

GONE = ("Destroyed", "Expunging", "Error")
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


def _find(call: Call) -> Row:
    row = call.find("vm_instance", "id")
    if row["type"] != "User" or (not call.caller.is_admin and row["account_id"] != call.caller.account_id):
        raise ApiError(PARAM_ERROR, f"Unable to find a virtual machine with id {call.text('id')}")
    return row


def _submit(call: Call, row: Row, act: Callable[[Row], None], kind: str) -> Response:
    def work() -> Response:
        act(call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", row["id"]) or row)
        alerts.add_event(
            call.server,
            kind,
            f"Successfully completed {kind} for {row['name']}",
            user_id=call.caller.user_id,
            account_id=row["account_id"],
            domain_id=row["domain_id"],
            resource_id=row["id"],
            resource_type="VirtualMachine",
        )
        alerts.add_usage(
            call.server,
            kind,
            account_id=row["account_id"],
            zone_id=row["data_center_id"],
            resource_id=row["id"],
            resource_name=row["name"],
            offering_id=row["service_offering_id"],
            template_id=row["vm_template_id"],
            resource_type=row["hypervisor_type"],
        )
        now = call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", row["id"])
        return {"virtualmachine": virtual_machine(call, now or row)}

    return {
        "id": row["uuid"],
        "jobid": call.jobs.submit(
            call.name, call.parameters, call.caller.user_id, call.caller.account_id, "VirtualMachine", row["id"], work
        ),
    }


def _start(call: Call, row: Row) -> None:
    if row["state"] == "Running":
        return
    hosts = call.system_vms.machines.candidates(row["data_center_id"], row["hypervisor_type"], row["last_host_id"])
    if not hosts:
        raise JobFailed("Unable to create a deployment for VM instance", 533)
    call.cloud.update(
        "vm_instance",
        row["id"],
        state="Running",
        host_id=hosts[0]["id"],
        last_host_id=hosts[0]["id"],
        pod_id=hosts[0]["pod_id"],
        power_state="PowerOn",
        power_state_update_time=utcnow(),
        update_time=utcnow(),
    )


def _stop(call: Call, row: Row) -> None:
    if row["state"] == "Running":
        call.cloud.update("vm_instance", row["id"], state="Stopped", host_id=None, power_state="PowerOff", update_time=utcnow())


@command("startVirtualMachine")
def start_virtual_machine(call: Call) -> Response:
    """Start a VM."""
    return _submit(call, _find(call), lambda row: _start(call, row), "VM.START")


@command("stopVirtualMachine")
def stop_virtual_machine(call: Call) -> Response:
    """Stop a VM."""
    return _submit(call, _find(call), lambda row: _stop(call, row), "VM.STOP")


@command("destroyVirtualMachine")
def destroy_virtual_machine(call: Call) -> Response:
    """Destroy a VM; with expunge for good."""
    expunge = call.flag("expunge")

    def act(row: Row) -> None:
        _stop(call, row)
        now = utcnow()
        call.cloud.update("vm_instance", row["id"], state="Destroyed", update_time=now)
        if expunge:
            with call.cloud.transaction():
                call.cloud.update("vm_instance", row["id"], state="Expunging", removed=now)
                call.cloud.execute(
                    "UPDATE nics SET removed = %s, state = 'Deallocating' WHERE instance_id = %s AND removed IS NULL", now, row["id"]
                )
                call.cloud.execute(
                    "UPDATE volumes SET state = 'Expunged', removed = %s WHERE instance_id = %s AND volume_type = 'ROOT'", now, row["id"]
                )

    return _submit(call, _find(call), act, "VM.DESTROY")


@command("deployVirtualMachine")
def deploy_virtual_machine(call: Call) -> Response:
    """Make a VM and start it."""
    zone, offering = call.find("data_center", "zoneid"), call.find("service_offering", "serviceofferingid")
    template = call.find("vm_template", "templateid")
    ready = call.cloud.value(
        "SELECT COUNT(*) FROM template_store_ref WHERE template_id = %s AND download_state = 'DOWNLOADED'", template["id"]
    )
    if not ready:
        raise ApiError(INTERNAL_ERROR, f"Template {template['uuid']} is not ready")
    networks = [call.cloud.row("SELECT * FROM networks WHERE uuid = %s AND removed IS NULL", value) for value in call.listed("networkids")]
    if None in networks:
        raise ApiError(PARAM_ERROR, "Unable to find network by id " + call.text("networkids"))
    name = call.text("name") or f"VM-{uuid.uuid4()}"
    now = utcnow()
    with call.cloud.transaction():
        vm_id = call.cloud.insert(
            "vm_instance",
            name=name,
            uuid=str(uuid.uuid4()),
            instance_name="",
            state="Stopped",
            vm_template_id=template["id"],
            guest_os_id=template["guest_os_id"],
            data_center_id=zone["id"],
            vnc_password=call.server.encrypt(uuid.uuid4().hex[:22]),
            ha_enabled=offering["ha_enabled"],
            limit_cpu_use=0,
            update_count=0,
            update_time=now,
            created=now,
            type="User",
            vm_type="User",
            account_id=call.caller.account_id,
            domain_id=call.caller.domain_id,
            service_offering_id=offering["id"],
            hypervisor_type=call.text("hypervisor") or template["hypervisor_type"],
            host_name=name,
            display_name=call.text("displayname", name),
            dynamically_scalable=0,
            display_vm=1,
            power_state="PowerUnknown",
            user_id=call.caller.user_id,
            delete_protection=0,
            owner=str(call.caller.account_id),
        )
        call.cloud.update("vm_instance", vm_id, instance_name=f"i-{call.caller.account_id}-{vm_id}-VM")
        call.cloud.insert("user_vm", id=vm_id, display_name=call.text("displayname", name), update_parameters=1, user_vm_type="UserVM")
        add_root_volume(call.server, vm_id, name, zone["id"], None, template, call.caller.account_id, call.caller.domain_id)
        addresses.add(
            call.server, vm_id, "User", [_card(call, entry, first=index == 0) for index, entry in enumerate(networks) if entry is not None]
        )
    row = call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", vm_id)
    assert row is not None
    start = call.flag("startvm", True)
    return _submit(call, row, lambda vm: _start(call, vm) if start else None, "VM.CREATE")


def _card(call: Call, network: Row, *, first: bool) -> addresses.Nic:
    used = {
        row["ip4_address"]
        for row in call.cloud.rows("SELECT ip4_address FROM nics WHERE network_id = %s AND removed IS NULL", network["id"])
    }
    prefix = network["gateway"].rsplit(".", 1)[0]
    address = next(
        (f"{prefix}.{last}" for last in range(10, 250) if f"{prefix}.{last}" not in used and f"{prefix}.{last}" != network["gateway"]), None
    )
    if address is None:
        raise ApiError(INTERNAL_ERROR, f"Unable to acquire Guest IP address for network {network['name']}")
    return addresses.Nic(
        network["id"],
        address,
        "255.255.255.0",
        network["gateway"],
        network["guru_name"],
        network["broadcast_uri"],
        default=first,
        mode="Dhcp",
        mac=addresses.random_mac("02:01"),
    )
