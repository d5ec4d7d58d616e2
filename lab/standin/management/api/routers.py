"""Virtual routers."""

from __future__ import annotations

from collections.abc import Callable

from ...shared.database import Row
from ...shared.release import Version, trimmed
from .. import configuration
from ..agents import CommandFailed
from ..jobs import JobFailed
from ..machines import StartRefused
from ..routers import MINIMUM
from .common import addresses, living_nics, nic, offering_names, owner, template_names, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, invalid_value, present, when
from .hosts import host_names
from .topology import pod_names, zone_names

QUERY = (
    "SELECT vm.*, r.template_version, r.scripts_version, r.software_version, r.is_redundant_router, r.redundant_state, "
    "r.role, r.vpc_id FROM domain_router r JOIN vm_instance vm ON vm.id = r.id "
    "WHERE vm.removed IS NULL AND vm.type = 'DomainRouter'"
)


def requires_upgrade(call: Call, row: Row) -> bool:
    """Tell whether a router's template is older than the zone wants, and it was not patched to this version.

    [CloudStack 4.22 DomainRouterJoinDaoImpl]
    """
    if row["software_version"] == call.server.version.text:
        return False
    minimum = configuration.zone_value(call.server, MINIMUM, row["data_center_id"], "0")
    return Version(trimmed(row["template_version"])) < Version(trimmed(f"x x {minimum}"))


@command("listRouters", admin=True)
def list_routers(call: Call) -> Response:
    """Return the routers, newest first."""
    zone, network = call.maybe("data_center", "zoneid"), call.maybe("networks", "networkid")
    vpc, host = call.maybe("vpc", "vpcid"), call.maybe("host", "hostid")
    members = (
        None
        if network is None
        else {row["router_id"] for row in call.cloud.rows("SELECT router_id FROM router_network_ref WHERE network_id = %s", network["id"])}
    )
    rows = visible(call, call.cloud.rows(QUERY + " ORDER BY vm.id DESC"))
    return call.page(
        [
            router(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and call.text("state").lower() in ("", row["state"].lower())
                and call.text("version") in ("", trimmed(row["template_version"]))
                and (zone is None or row["data_center_id"] == zone["id"])
                and (members is None or row["id"] in members)
                and (vpc is None or row["vpc_id"] == vpc["id"])
                and (host is None or row["host_id"] == host["id"])
                and (not call.text("forvpc") or call.flag("forvpc") == (row["vpc_id"] is not None))
                and call.matches(row["name"])
            )
        ],
        "router",
    )


def router(call: Call, row: Row) -> Response:
    """Return one router as it is listed."""
    zone, vpc = call.look_up("data_center", row["data_center_id"]), call.look_up("vpc", row["vpc_id"])
    nics = living_nics(call, row["id"])
    found = addresses(nics)
    networks = {entry["traffic_type"]: entry for entry in reversed(nics)}
    guest = next((entry for entry in reversed(nics) if entry["traffic_type"] == "Guest"), {})
    if guest:
        found |= {"guestipaddress": guest["ip4_address"], "guestmacaddress": guest["mac_address"], "guestnetmask": guest["netmask"]}
    account = call.look_up("account", row["account_id"])
    values: Response = {
        "id": row["uuid"],
        **zone_names(call, row["data_center_id"]),
        "dns1": zone.get("dns1"),
        "dns2": zone.get("dns2"),
        "networkdomain": call.look_up("networks", guest.get("network_id")).get("network_domain") or account.get("network_domain"),
        "gateway": found.get("gateway"),
        "name": row["name"],
        **pod_names(call, row["pod_id"]),
        **host_names(call, row["host_id"]),
        "hypervisor": row["hypervisor_type"],
        "linklocalip": found.get("linklocalip"),
        "linklocalmacaddress": found.get("linklocalmacaddress"),
        "linklocalnetmask": found.get("linklocalnetmask"),
        "linklocalnetworkid": networks.get("Control", {}).get("network_uuid"),
        "publicip": found.get("publicip"),
        "publicmacaddress": found.get("publicmacaddress"),
        "publicnetmask": found.get("publicnetmask"),
        "publicnetworkid": networks.get("Public", {}).get("network_uuid"),
        "guestipaddress": found.get("guestipaddress"),
        "guestmacaddress": found.get("guestmacaddress"),
        "guestnetmask": found.get("guestnetmask"),
        "guestnetworkid": guest.get("network_uuid"),
        "guestnetworkname": guest.get("network_name"),
        **template_names(call, row["vm_template_id"]),
        "created": when(row["created"]),
        "state": row["state"],
        **owner(call, row),
        **offering_names(call, row["service_offering_id"]),
        "isredundantrouter": bool(row["is_redundant_router"]),
        "redundantstate": row["redundant_state"],
        "version": trimmed(row["template_version"]) if row["template_version"] else "UNKNOWN",
        "scriptsversion": row["scripts_version"],
        "vpcid": vpc.get("uuid"),
        "vpcname": vpc.get("name"),
        "role": row["role"],
        "nic": [nic(entry) for entry in nics],
        "requiresupgrade": requires_upgrade(call, row),
        "healthchecksfailed": False,
        "softwareversion": row["software_version"],
        "arch": call.look_up("vm_template", row["vm_template_id"]).get("arch"),
        "hasannotations": False,
    }
    return present(values)


def _find(call: Call) -> Row:
    uuid = call.required("id")
    row = call.cloud.row(QUERY + " AND vm.uuid = %s", uuid)
    if row is None:
        raise ApiError(PARAM_ERROR, invalid_value(call.name, "id", uuid))
    return row


def _submit(call: Call, row: Row, act: Callable[[], None], failed: str) -> Response:
    shown = router(call, row)

    def work() -> Response:
        try:
            act()
        except (CommandFailed, StartRefused) as failure:
            raise JobFailed(f"{failed}: {failure}") from failure
        now = call.cloud.row(QUERY + " AND vm.id = %s", row["id"])
        return {"router": router(call, now) if now else {**shown, "state": "Expunging"}}

    return {"jobid": call.job("DomainRouter", row["id"], work)}


@command("destroyRouter", admin=True)
def destroy_router(call: Call) -> Response:
    """Destroy a router; its network has none until it is restarted."""
    row = _find(call)
    return _submit(call, row, lambda: call.system_vms.routers.destroy(row), "Failed to destroy the router")
