"""System VMs: the secondary storage VM and the console proxy."""

from __future__ import annotations

from collections.abc import Callable

from ...shared.database import Row
from ..agents import CommandFailed
from ..jobs import JobFailed
from ..machines import StartRefused
from .common import addresses, living_nics, offering_names, template_names
from .core import PARAM_ERROR, ApiError, Call, Response, command, invalid_value, present, when
from .hosts import host_names
from .topology import pod_names, zone_names

TYPES = {"secondarystoragevm": "SecondaryStorageVm", "consoleproxy": "ConsoleProxy"}


@command("listSystemVms", admin=True)
def list_system_vms(call: Call) -> Response:
    """Return the system VMs."""
    zone, host = call.maybe("data_center", "zoneid"), call.maybe("host", "hostid")
    rows = call.cloud.rows("SELECT * FROM vm_instance WHERE type IN ('SecondaryStorageVm', 'ConsoleProxy') AND removed IS NULL ORDER BY id")
    return call.page(
        [
            system_vm(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and TYPES.get(call.text("systemvmtype"), row["type"]) == row["type"]
                and call.text("state").lower() in ("", row["state"].lower())
                and (zone is None or row["data_center_id"] == zone["id"])
                and (host is None or row["host_id"] == host["id"])
                and call.matches(row["name"])
            )
        ],
        "systemvm",
    )


def system_vm(call: Call, row: Row) -> Response:
    """Return one system VM as it is listed."""
    zone = call.look_up("data_center", row["data_center_id"])
    agent = call.cloud.row("SELECT status, version FROM host WHERE name = %s AND type <> 'Routing' AND removed IS NULL", row["name"]) or {}
    kind = next(name for name, value in TYPES.items() if value == row["type"])
    nics = addresses(living_nics(call, row["id"]))
    values: Response = {
        "id": row["uuid"],
        "systemvmtype": kind,
        **zone_names(call, row["data_center_id"]),
        "dns1": zone.get("dns1"),
        "dns2": zone.get("dns2"),
        "gateway": nics.pop("gateway", None),
        "name": row["name"],
        **(pod_names(call, row["pod_id"]) if row["state"] != "Error" else {}),
        **host_names(call, row["host_id"]),
        "hypervisor": row["hypervisor_type"],
    }
    for name in ("private", "linklocal", "public"):
        for part in ("ip", "macaddress", "netmask"):
            values[name + part] = nics.get(name + part)
    values |= {**template_names(call, row["vm_template_id"]), "created": when(row["created"]), "state": row["state"]}
    if row["type"] == "ConsoleProxy":
        values["activeviewersessions"] = 0
    values |= {
        "agentstate": agent.get("status"),
        "version": agent.get("version"),
        "isdynamicallyscalable": bool(row["dynamically_scalable"]),
        **offering_names(call, row["service_offering_id"]),
        "arch": call.look_up("vm_template", row["vm_template_id"]).get("arch"),
        "hasannotations": False,
    }
    return present(values)


def _find(call: Call) -> Row:
    row = call.find("vm_instance", "id")
    if row["type"] not in TYPES.values():
        raise ApiError(PARAM_ERROR, invalid_value(call.name, "id", call.text("id")))
    return row


def _submit(call: Call, row: Row, act: Callable[[], None], failed: str) -> Response:
    def work() -> Response:
        try:
            act()
        except (CommandFailed, StartRefused) as failure:
            raise JobFailed(f"{failed}: {failure}") from failure
        return {"systemvm": system_vm(call, call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", row["id"]) or row)}

    return {"jobid": call.job("SystemVm", row["id"], work)}


@command("destroySystemVm", admin=True)
def destroy_system_vm(call: Call) -> Response:
    """Destroy a system VM; a new one takes its place."""
    row = _find(call)
    return _submit(call, row, lambda: call.system_vms.destroy(row), "Fail to destroy system vm")
