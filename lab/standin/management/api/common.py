"""Fields that many answers share: owners, templates, offerings, network cards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...shared.database import Row
from .core import PARAM_ERROR, ApiError, Call, Response, present


def domain_path(call: Call, domain: Row) -> str | None:
    """Return a domain's path as this version writes it: /a/b/ up to 4.20, ROOT/a/b since."""
    path = domain.get("path")
    return f"ROOT{path}".rstrip("/") if path and call.server.is_new else path


def owner(call: Call, row: Row) -> Response:
    """Return the account and domain that something belongs to."""
    account, domain = call.look_up("account", row["account_id"]), call.look_up("domain", row["domain_id"])
    return {
        "account": account.get("account_name"),
        "domainid": domain.get("uuid"),
        "domain": domain.get("name"),
        "domainpath": domain_path(call, domain),
    }


def new_owner(call: Call) -> tuple[int, int]:
    """Return the ids of account and domain that a new thing belongs to: those that an admin names, else the caller's; raises ApiError."""
    name, domain_id = call.text("account"), call.text("domainid")
    if not name or not call.caller.is_admin:
        return call.caller.account_id, call.caller.domain_id
    for row in call.cloud.rows("SELECT * FROM account WHERE account_name = %s AND removed IS NULL", name):
        if call.look_up("domain", row["domain_id"]).get("uuid") == domain_id:
            return row["id"], row["domain_id"]
    raise ApiError(PARAM_ERROR, f"Unable to find account {name} in domain {domain_id}")


def visible(call: Call, rows: list[Row]) -> list[Row]:
    """Return the rows that the caller may see: an admin all of them, others those of their account.

    The filters by account and domain apply as well.
    """
    account, domain_id = call.text("account"), call.text("domainid")
    found = []
    for row in rows:
        if not call.caller.is_admin and row["account_id"] != call.caller.account_id:
            continue
        if account and call.look_up("account", row["account_id"]).get("account_name") != account:
            continue
        if domain_id and call.look_up("domain", row["domain_id"]).get("uuid") != domain_id:
            continue
        found.append(row)
    return found


def named_job(call: Call, name: str, work: Callable[[], object]) -> Response:
    """Begin a job that works on no object yet; what it returns stands under this name in its result."""
    return {"jobid": call.job(None, None, lambda: {name: work()})}


def template_names(call: Call, template_id: int | None) -> Response:
    """Return the two fields of a VM's template."""
    template = call.look_up("vm_template", template_id)
    return {"templateid": template.get("uuid"), "templatename": template.get("name")}


def offering_names(call: Call, offering_id: int | None) -> Response:
    """Return the two fields of a VM's service offering."""
    offering = call.look_up("service_offering", offering_id)
    return {"serviceofferingid": offering.get("uuid"), "serviceofferingname": offering.get("name")}


def living_nics(call: Call, vm_id: int) -> list[Row]:
    """Return the cards of a VM with their networks' names and kinds."""
    return call.cloud.rows(
        "SELECT n.*, w.uuid AS network_uuid, w.name AS network_name, w.traffic_type, w.guest_type, w.vpc_id "
        "FROM nics n JOIN networks w ON w.id = n.network_id "
        "WHERE n.instance_id = %s AND n.removed IS NULL ORDER BY n.id",
        vm_id,
    )


def nic(row: Row) -> Response:
    """Return a card as it is listed with its VM."""
    is_guest = row["traffic_type"] == "Guest"
    return present(
        {
            "id": row["uuid"],
            "networkid": row["network_uuid"],
            "networkname": row["network_name"] if is_guest else None,
            "netmask": row["netmask"],
            "gateway": row["gateway"],
            "ipaddress": row["ip4_address"],
            "isolationuri": row["isolation_uri"],
            "broadcasturi": row["broadcast_uri"],
            "traffictype": row["traffic_type"],
            "type": row["guest_type"] if is_guest else None,
            "isdefault": bool(row["default_nic"]),
            "macaddress": row["mac_address"],
            "mtu": row["mtu"],
        }
    )


def addresses(rows: list[Row]) -> dict[str, Any]:
    """Return the private, link-local, public and guest addresses of a system VM under the API's names."""
    names = {"Management": "private", "Control": "linklocal", "Public": "public", "Guest": "guest"}
    found: dict[str, Any] = {}
    for row in rows:
        prefix = names.get(row["traffic_type"])
        if prefix is None:
            continue
        address = "guestipaddress" if prefix == "guest" else f"{prefix}ip"
        found |= {address: row["ip4_address"], f"{prefix}macaddress": row["mac_address"], f"{prefix}netmask": row["netmask"]}
        if prefix == "public":
            found["gateway"] = row["gateway"]
    return found
