"""Networks: listed, made and deleted."""

from __future__ import annotations

import ipaddress
import uuid

from ...shared.database import Row, utcnow
from .. import alerts
from ..agents import CommandFailed
from ..jobs import JobFailed
from . import services
from .common import new_owner, owner, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, present, success, when
from .topology import zone_names

QUERY = "SELECT * FROM networks WHERE removed IS NULL"
#: The list of rules that every cloud has and that lets everything through. [network_acl: default_allow]
DEFAULT_ALLOW = 2


@command("listNetworks")
def list_networks(call: Call) -> Response:
    """Return the guest networks, newest first; with issystem the system's."""
    zone, vpc = call.maybe("data_center", "zoneid"), call.maybe("vpc", "vpcid")
    kind = "<>" if call.flag("issystem") else "="
    rows = visible(call, call.cloud.rows(QUERY + f" AND traffic_type {kind} 'Guest' ORDER BY id DESC"))
    return call.page(
        [
            network(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("type").lower() in ("", "all", (row["guest_type"] or "").lower())
                and (zone is None or row["data_center_id"] == zone["id"])
                and (vpc is None or row["vpc_id"] == vpc["id"])
                and (not call.text("restartrequired") or call.flag("restartrequired") == bool(row["restart_required"]))
                and (not call.text("forvpc") or call.flag("forvpc") == (row["vpc_id"] is not None))
                and call.matches(row["name"])
            )
        ],
        "network",
    )


def network(call: Call, row: Row) -> Response:
    """Return one network as it is listed."""
    offering, zone = call.look_up("network_offerings", row["network_offering_id"]), call.look_up("data_center", row["data_center_id"])
    vpc = call.look_up("vpc", row["vpc_id"])
    physical = call.look_up("physical_network", row["physical_network_id"]) if call.cloud.has("physical_network") else {}
    acl = call.look_up("network_acl", row["network_acl_id"]) if call.cloud.has("network_acl") else {}
    is_account = row["acl_type"] == "Account"
    netmask = str(ipaddress.ip_network(row["cidr"], strict=False).netmask) if row["cidr"] else None
    vlan = (row["broadcast_uri"] or "").partition("://")[2] or None
    service = services.of_network(call, row["id"])
    who = owner(call, row)
    values: Response = {
        "id": row["uuid"],
        "name": row["name"],
        "displaytext": row["display_text"],
        "broadcastdomaintype": row["broadcast_domain_type"],
        "traffictype": row["traffic_type"],
        "gateway": row["gateway"],
        "netmask": netmask,
        "cidr": row["cidr"],
        **zone_names(call, row["data_center_id"]),
        "networkofferingid": offering.get("uuid"),
        "networkofferingname": offering.get("name"),
        "networkofferingdisplaytext": offering.get("display_text"),
        "networkofferingconservemode": bool(offering.get("conserve_mode")),
        "networkofferingavailability": offering.get("availability"),
        "issystem": bool(offering.get("system_only")),
        "state": row["state"],
        "related": row["uuid"],
        "broadcasturi": row["broadcast_uri"],
        "dns1": row["dns1"] or zone.get("dns1"),
        "dns2": row["dns2"] or zone.get("dns2"),
        "type": row["guest_type"],
        "vlan": vlan,
        "acltype": row["acl_type"],
        "account": who["account"] if is_account else None,
        "subdomainaccess": None if is_account or not row["acl_type"] else True,
        "domainid": who["domainid"],
        "domain": who["domain"],
        "domainpath": who["domainpath"],
        "service": service,
        "networkdomain": row["network_domain"],
        "physicalnetworkid": physical.get("uuid"),
        "restartrequired": bool(row["restart_required"]),
        "specifyvlan": bool(offering.get("specify_vlan")),
        "specifyipranges": bool(row["specify_ip_ranges"]),
        "vpcid": vpc.get("uuid"),
        "vpcname": vpc.get("name"),
        "canusefordeploy": True,
        "ispersistent": bool(offering.get("is_persistent")),
        "tags": [],
        "details": {},
        "displaynetwork": bool(row["display_network"]),
        "aclid": acl.get("uuid"),
        "aclname": acl.get("name"),
        "strechedl2subnet": bool(row["streched_l2"]),
        "redundantrouter": bool(row["redundant"]),
        "supportsvmautoscaling": bool(offering.get("supports_vm_autoscaling")),
        "created": when(row["created"]),
        **_traffic(call, row),
    }
    if any(entry["name"] == "Firewall" for entry in service):
        values["egressdefaultpolicy"] = bool(offering.get("egress_default_policy"))
    return present(values | {"publicmtu": row["public_mtu"], "privatemtu": row["private_mtu"], "hasannotations": False})


def _traffic(call: Call, row: Row) -> Response:
    """Return how many bytes went through a network's routers."""
    if not call.cloud.has("user_statistics"):
        return {"receivedbytes": 0, "sentbytes": 0}
    totals = call.cloud.row(
        "SELECT COALESCE(SUM(net_bytes_received + current_bytes_received), 0) AS received, "
        "COALESCE(SUM(net_bytes_sent + current_bytes_sent), 0) AS sent FROM user_statistics WHERE network_id = %s",
        row["id"],
    ) or {"received": 0, "sent": 0}
    return {"receivedbytes": int(totals["received"]), "sentbytes": int(totals["sent"])}


@command("createNetwork")
def create_network(call: Call) -> Response:
    """Add an isolated network or a tier, which is implemented when its first VM starts, or a shared network with its addresses."""
    zone, offering = call.find("data_center", "zoneid"), call.find("network_offerings", "networkofferingid")
    name, vpc, shared = call.required("name"), call.maybe("vpc", "vpcid"), offering["guest_type"] == "Shared"
    gateway = call.required("gateway") if vpc or shared else call.text("gateway", "10.1.1.1")
    netmask = call.text("netmask", "255.255.255.0")
    cidr = ipaddress.ip_network(f"{gateway}/{netmask}", strict=False)
    vlan = f"vlan://{call.required('vlan')}" if offering["specify_vlan"] else None
    _fits(call, offering, vpc, cidr, vlan)
    sibling = call.cloud.row(QUERY + " AND traffic_type = 'Guest' AND guest_type = 'Isolated' ORDER BY id LIMIT 1")
    account_id, domain_id = new_owner(call)
    if shared and call.text("domainid") and not call.text("account"):
        domain_id = call.find("domain", "domainid")["id"]
    account = call.cloud.row("SELECT * FROM account WHERE id = %s", account_id) or {}
    network_id = call.cloud.insert(
        "networks",
        name=name,
        uuid=str(uuid.uuid4()),
        display_text=call.text("displaytext", name),
        traffic_type="Guest",
        broadcast_domain_type="Vlan",
        broadcast_uri=vlan,
        gateway=gateway,
        cidr=str(cidr),
        mode="Dhcp",
        network_offering_id=offering["id"],
        physical_network_id=sibling["physical_network_id"] if sibling else None,
        data_center_id=zone["id"],
        guru_name="DirectNetworkGuru" if shared else "ExternalGuestNetworkGuru",
        state="Setup" if shared else "Allocated",
        # Points at another row until its own is there, which the foreign key wants.
        related=call.cloud.value("SELECT MIN(id) FROM networks"),
        domain_id=domain_id,
        account_id=account_id,
        set_fields=0,
        acl_type="Domain" if shared and not call.text("account") else "Account",
        network_domain=account.get("network_domain"),
        guest_type=offering["guest_type"],
        restart_required=0,
        created=utcnow(),
        specify_ip_ranges=int(shared),
        vpc_id=vpc["id"] if vpc else None,
        network_acl_id=DEFAULT_ALLOW if vpc else None,
        display_network=1,
        streched_l2=0,
        redundant=0,
        public_mtu=1500,
        private_mtu=1500,
    )
    call.cloud.update("networks", network_id, related=network_id)
    if shared:
        _add_range(call, call.there("networks", network_id), vlan or "vlan://untagged", netmask)
    if call.cloud.has("ntwk_offering_service_map") and call.cloud.has("ntwk_service_map"):
        call.cloud.execute(
            "INSERT INTO ntwk_service_map (network_id, service, provider, created) SELECT %s, service, provider, %s "
            "FROM ntwk_offering_service_map WHERE network_offering_id = %s",
            network_id,
            utcnow(),
            offering["id"],
        )
    row = call.cloud.row("SELECT * FROM networks WHERE id = %s", network_id)
    assert row is not None
    _event(call, row, "NETWORK.CREATE", "creating")
    return {"network": network(call, row)}


def _fits(call: Call, offering: Row, vpc: Row | None, cidr: ipaddress.IPv4Network | ipaddress.IPv6Network, vlan: str | None) -> None:
    """Refuse what the real one refuses; raises ApiError. [CloudStack 4.22 NetworkServiceImpl, VpcManagerImpl.validateNtwkOffForNtwkInVpc]"""
    if bool(offering["for_vpc"]) != (vpc is not None):
        raise ApiError(
            PARAM_ERROR, "Network offering can be used for VPC networks only" if vpc is None else "Network offering is not for VPCs"
        )
    if vpc is not None and not cidr.subnet_of(ipaddress.ip_network(vpc["cidr"])):  # type: ignore[arg-type]
        raise ApiError(PARAM_ERROR, f"Network cidr {cidr} is not within vpc cidr {vpc['cidr']}")
    tiers = call.cloud.rows(QUERY + " AND vpc_id = %s", vpc["id"]) if vpc else []
    if any(cidr.overlaps(ipaddress.ip_network(tier["cidr"])) for tier in tiers):
        raise ApiError(PARAM_ERROR, f"Network cidr {cidr} crosses other network cidr's of the VPC")
    if vlan and call.cloud.value("SELECT id FROM networks WHERE removed IS NULL AND broadcast_uri = %s LIMIT 1", vlan):
        raise ApiError(PARAM_ERROR, f"Network with vlan {vlan} already exists or overlaps with other network vlans in zone")


def _add_range(call: Call, row: Row, vlan: str, netmask: str) -> None:
    """Enter the addresses of a shared network."""
    first, last = (ipaddress.IPv4Address(call.required(name)) for name in ("startip", "endip"))
    vlan_id = call.cloud.insert(
        "vlan", uuid=str(uuid.uuid4()), vlan_id=vlan, vlan_gateway=row["gateway"], vlan_netmask=netmask, ip4_range=f"{first}-{last}",
        vlan_type="DirectAttached", data_center_id=row["data_center_id"], network_id=row["id"], physical_network_id=row["physical_network_id"],
        created=utcnow(),
    )  # fmt: skip
    for number in range(int(first), int(last) + 1):
        call.cloud.insert(
            "user_ip_address", uuid=str(uuid.uuid4()), public_ip_address=str(ipaddress.IPv4Address(number)), data_center_id=row["data_center_id"],
            vlan_db_id=vlan_id, source_nat=0, one_to_one_nat=0, state="Free", mac_address=number, source_network_id=row["id"],
            physical_network_id=row["physical_network_id"], is_system=0, is_portable=0, display=1, created=utcnow(),
        )  # fmt: skip


@command("deleteNetwork")
def delete_network(call: Call) -> Response:
    """Delete a network with its routers; refused while VMs are in it."""
    row = call.find("networks", "id")
    used = call.cloud.value(
        "SELECT COUNT(*) FROM nics n JOIN vm_instance vm ON vm.id = n.instance_id WHERE n.network_id = %s "
        "AND n.removed IS NULL AND vm.removed IS NULL AND vm.type = 'User'",
        row["id"],
    )
    if used:
        raise ApiError(PARAM_ERROR, f"Can't delete the network, not all user vms are expunged. Vm count: {used}")

    def work() -> Response:
        for router in call.system_vms.routers.of_network(row["id"]):
            try:
                call.system_vms.routers.destroy(router)
            except CommandFailed as failure:
                raise JobFailed(f"Failed to delete network: {failure}") from failure
        for entry in call.cloud.rows("SELECT id FROM vlan WHERE network_id = %s AND vlan_type = 'DirectAttached'", row["id"]):
            call.cloud.execute("DELETE FROM user_ip_address WHERE vlan_db_id = %s", entry["id"])
            call.cloud.execute("DELETE FROM vlan WHERE id = %s", entry["id"])
        call.cloud.update("networks", row["id"], state="Destroy", removed=utcnow())
        _event(call, row, "NETWORK.DELETE", "deleting")
        return {"null": success()}

    return {"jobid": call.job("Network", row["id"], work)}


def _event(call: Call, row: Row, kind: str, doing: str) -> None:
    alerts.add_event(
        call.server,
        kind,
        f"Successfully completed {doing} network {row['name']}",
        user_id=call.caller.user_id,
        account_id=row["account_id"],
        domain_id=row["domain_id"],
        resource_id=row["id"],
        resource_type="Network",
    )
