"""VPCs: listed, made and deleted, and what they are offered as. Their tiers are networks."""

from __future__ import annotations

import ipaddress
import uuid

from ...shared.database import Row, utcnow
from . import services
from .common import named_job, new_owner, owner, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, present, success, when
from .networks import QUERY, network
from .topology import zone_names


@command("listVPCs")
def list_vpcs(call: Call) -> Response:
    """Return the VPCs with their networks."""
    rows = visible(call, call.cloud.rows("SELECT * FROM vpc WHERE removed IS NULL ORDER BY id DESC"))
    return call.page(
        [
            vpc_entry(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("state").lower() in ("", row["state"].lower())
                and (not call.text("restartrequired") or call.flag("restartrequired") == bool(row["restart_required"]))
                and call.matches(row["name"])
            )
        ],
        "vpc",
    )


def vpc_entry(call: Call, row: Row) -> Response:
    """Return one VPC as it is listed."""
    offering = call.look_up("vpc_offerings", row["vpc_offering_id"])
    networks = call.cloud.rows(QUERY + " AND vpc_id = %s ORDER BY id", row["id"])
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            "displaytext": row["display_text"],
            "state": row["state"],
            **zone_names(call, row["zone_id"]),
            "service": services.of_vpc(call, row["id"]),
            "cidr": row["cidr"],
            "vpcofferingid": offering.get("uuid"),
            "vpcofferingname": offering.get("name"),
            "created": when(row["created"]),
            **owner(call, row),
            "network": [network(call, entry) for entry in networks],
            "restartrequired": bool(row["restart_required"]),
            "networkdomain": row["network_domain"],
            "tags": [],
            "fordisplay": bool(row["display"]),
            "distributedvpcrouter": bool(row["uses_distributed_router"]),
            "regionlevelvpc": bool(row["region_level_vpc"]),
            "redundantvpcrouter": bool(row["redundant"]),
            "publicmtu": row["public_mtu"],
            "hasannotations": False,
        }
    )


@command("listVPCOfferings")
def list_vpc_offerings(call: Call) -> Response:
    """Return VPC offerings."""
    rows = call.cloud.rows("SELECT * FROM vpc_offerings WHERE removed IS NULL ORDER BY sort_key, id")
    return call.page(
        [
            present(
                {
                    "id": row["uuid"],
                    "name": row["name"],
                    "displaytext": row["display_text"],
                    "created": when(row["created"]),
                    "isdefault": bool(row["default"]),
                    "state": row["state"],
                }
            )
            for row in rows
            if call.text("id") in ("", row["uuid"]) and call.text("state").lower() in ("", (row["state"] or "").lower())
        ],
        "vpcoffering",
    )


@command("createVPC")
def create_vpc(call: Call) -> Response:
    """Add a VPC; it has no router before its first machine."""
    zone, offering = call.find("data_center", "zoneid"), call.find("vpc_offerings", "vpcofferingid")
    name, cidr = call.required("name"), call.required("cidr")
    try:
        ipaddress.ip_network(cidr)
    except ValueError:
        raise ApiError(PARAM_ERROR, f"Invalid CIDR {cidr}") from None
    account_id, domain_id = new_owner(call)
    account = call.look_up("account", account_id)
    vpc_id = call.cloud.insert(
        "vpc", uuid=str(uuid.uuid4()), name=name, display_text=call.text("displaytext", name), cidr=cidr, vpc_offering_id=offering["id"],
        zone_id=zone["id"], state="Enabled", domain_id=domain_id, account_id=account_id,
        network_domain=call.text("networkdomain") or account.get("network_domain"), created=utcnow(), restart_required=0, display=1,
        uses_distributed_router=0, region_level_vpc=0, redundant=0, public_mtu=1500,
    )  # fmt: skip
    if call.cloud.has("vpc_offering_service_map") and call.cloud.has("vpc_service_map"):
        call.cloud.execute(
            "INSERT INTO vpc_service_map (vpc_id, service, provider, created) SELECT %s, service, provider, %s "
            "FROM vpc_offering_service_map WHERE vpc_offering_id = %s",
            vpc_id,
            utcnow(),
            offering["id"],
        )
    made = call.there("vpc", vpc_id)
    return {"id": made["uuid"], **named_job(call, "vpc", lambda: vpc_entry(call, call.there("vpc", vpc_id)))}


@command("deleteVPC")
def delete_vpc(call: Call) -> Response:
    """Delete a VPC; refused while it has tiers. [CloudStack 4.22 VpcManagerImpl.destroyVpc]"""
    row = call.find("vpc", "id")
    tiers = call.cloud.value("SELECT COUNT(*) FROM networks WHERE vpc_id = %s AND removed IS NULL", row["id"])
    if tiers:
        raise ApiError(PARAM_ERROR, f"Can't delete VPC {row['name']} as its used by {tiers} networks")

    def work() -> Response:
        for router in call.system_vms.routers.of_vpc(row["id"]):
            call.system_vms.routers.destroy(router)
        call.cloud.update("vpc", row["id"], state="Inactive", removed=utcnow())
        return {"null": success()}

    return {"jobid": call.job("Vpc", row["id"], work)}
