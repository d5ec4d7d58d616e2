"""Public addresses of networks, and the rules on them: firewall, egress, port forwarding, load balancing. A router of an older release takes none."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from ...shared.database import Row, utcnow
from ..jobs import JobFailed
from .common import named_job, new_owner, owner, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, present

FREE = "SELECT * FROM user_ip_address WHERE state = 'Free' AND removed IS NULL AND source_network_id IN (SELECT id FROM networks WHERE traffic_type = 'Public')"
CONFLICT = "The range specified, {0}-{1}, conflicts with rule {2} which has {0}-{1}"


@command("associateIpAddress")
def associate_address(call: Call) -> Response:
    """Give a network a public address: the one that is asked for, else the next that is free."""
    network = call.find("networks", "networkid")
    account_id, domain_id = new_owner(call)
    wanted = call.text("ipaddress")
    row = call.cloud.row(FREE + (" AND public_ip_address = %s" if wanted else "") + " ORDER BY id LIMIT 1", *([wanted] if wanted else []))
    if row is None:
        raise ApiError(PARAM_ERROR, f"Unable to allocate {wanted or 'an address'}: it is not free")
    call.cloud.update(
        "user_ip_address", row["id"], state="Allocated", allocated=utcnow(), account_id=account_id, domain_id=domain_id,
        network_id=network["id"], source_nat=0, one_to_one_nat=0, is_system=0,
    )  # fmt: skip
    return named_job(call, "ipaddress", lambda: _address(call, call.there("user_ip_address", row["id"])))


@command("listPublicIpAddresses")
def list_addresses(call: Call) -> Response:
    """Return the addresses that belong to somebody."""
    network = call.maybe("networks", "associatednetworkid")
    rows = [row for row in call.cloud.rows("SELECT * FROM user_ip_address WHERE state = 'Allocated' ORDER BY id") if row["account_id"]]
    return call.page(
        [
            _address(call, row)
            for row in visible(call, rows)
            if (network is None or row["network_id"] == network["id"]) and call.text("id") in ("", row["uuid"]) and not row["is_system"]
        ],
        "publicipaddress",
    )


def _address(call: Call, row: Row) -> Response:
    network, zone = call.look_up("networks", row["network_id"]), call.look_up("data_center", row["data_center_id"])
    return present(
        {
            "id": row["uuid"],
            "ipaddress": row["public_ip_address"],
            "zoneid": zone.get("uuid"),
            "issourcenat": bool(row["source_nat"]),
            **owner(call, row),
            "associatednetworkid": network.get("uuid"),
            "associatednetworkname": network.get("name"),
            "isstaticnat": bool(row["one_to_one_nat"]),
            "issystem": bool(row["is_system"]),
            "state": row["state"],
            "tags": [],
        }
    )


def _add(call: Call, purpose: str, network: Row, address: Row | None, ports: tuple[int | None, int | None], **more: Any) -> int:
    protocol = call.text("protocol", "tcp").lower()
    if address is not None and call.cloud.value(
        "SELECT id FROM firewall_rules WHERE ip_address_id = %s AND purpose = %s AND protocol = %s AND start_port = %s AND end_port = %s",
        address["id"], purpose, protocol, *ports,
    ):  # fmt: skip
        raise ApiError(537, CONFLICT.format(*ports, purpose))
    return call.cloud.insert(
        "firewall_rules", uuid=str(uuid.uuid4()), ip_address_id=address["id"] if address else None, start_port=ports[0], end_port=ports[1],
        state="Active", protocol=protocol, purpose=purpose, account_id=network["account_id"], domain_id=network["domain_id"],
        network_id=network["id"], xid=str(uuid.uuid4()), created=utcnow(), type="User", display=1,
        icmp_type=call.number("icmptype", 0) if protocol == "icmp" else None, icmp_code=call.number("icmpcode", 0) if protocol == "icmp" else None,
        **more,
    )  # fmt: skip


def _apply(call: Call, name: str, identity: int, network: Row, kind: str, show: Callable[[Call, Row], Response]) -> Response:
    """Have the network's router take a rule. Where it takes none, the rule is gone again, and the words of the failure are not the router's.

    [CloudStack CreateFirewallRuleCmd, CreatePortForwardingRuleCmd and CreateLoadBalancerRuleCmd.execute]
    """

    def work() -> Response:
        if call.system_vms.routers.network_refuses(network):
            for table in ("port_forwarding_rules", "load_balancing_rules", "firewall_rules"):
                call.cloud.execute(f"DELETE FROM {table} WHERE id = %s", identity)
            raise JobFailed(f"Failed to create {kind} rule")
        return {name: show(call, call.there("firewall_rules", identity))}

    return {"jobid": call.job("FirewallRule", identity, work)}


def _open(call: Call, network: Row, address: Row | None, traffic: str) -> int:
    last = call.number("endport", call.number("startport", 0))
    ports = (call.number("startport", 0), last) if call.text("startport") else (None, None)
    identity = _add(call, "Firewall", network, address, ports, traffic_type=traffic)
    for cidr in call.listed("cidrlist") or ["0.0.0.0/0"]:
        call.cloud.insert("firewall_rules_cidrs", firewall_rule_id=identity, source_cidr=cidr)
    for cidr in call.listed("destcidrlist"):
        call.cloud.insert("firewall_rules_dcidrs", firewall_rule_id=identity, destination_cidr=cidr)
    return identity


@command("createFirewallRule")
def create_firewall_rule(call: Call) -> Response:
    """Let something in to an address."""
    address = call.find("user_ip_address", "ipaddressid")
    network = call.look_up("networks", address["network_id"])
    return _apply(call, "firewallrule", _open(call, network, address, "Ingress"), network, "firewall", _firewall_rule)


@command("createEgressFirewallRule")
def create_egress_rule(call: Call) -> Response:
    """Let something out of a network."""
    network = call.find("networks", "networkid")
    return _apply(call, "firewallrule", _open(call, network, None, "Egress"), network, "egress firewall", _firewall_rule)


def _listed(call: Call, purpose: str, more: str = "") -> list[Row]:
    address = call.maybe("user_ip_address", "publicipid" if purpose == "LoadBalancing" else "ipaddressid")
    network = call.maybe("networks", "networkid")
    rows = call.cloud.rows(f"SELECT * FROM firewall_rules WHERE purpose = %s {more} ORDER BY id", purpose)
    return [
        row
        for row in visible(call, rows)
        if (address is None or row["ip_address_id"] == address["id"]) and (network is None or row["network_id"] == network["id"])
    ]


@command("listFirewallRules")
def list_firewall_rules(call: Call) -> Response:
    """Return what is let in."""
    rows = _listed(call, "Firewall", "AND COALESCE(traffic_type, 'Ingress') = 'Ingress'")
    return call.page([_firewall_rule(call, row) for row in rows], "firewallrule")


@command("listEgressFirewallRules")
def list_egress_rules(call: Call) -> Response:
    """Return what is let out."""
    return call.page([_firewall_rule(call, row) for row in _listed(call, "Firewall", "AND traffic_type = 'Egress'")], "firewallrule")


def _firewall_rule(call: Call, row: Row) -> Response:
    sources = call.cloud.rows("SELECT source_cidr AS cidr FROM firewall_rules_cidrs WHERE firewall_rule_id = %s ORDER BY id", row["id"])
    return present(
        {
            "id": row["uuid"],
            "protocol": row["protocol"],
            "startport": row["start_port"],
            "endport": row["end_port"],
            "icmptype": row["icmp_type"],
            "icmpcode": row["icmp_code"],
            **_where(call, row),
            "state": row["state"],
            "cidrlist": ",".join(each["cidr"] for each in sources),
            "tags": [],
        }
    )


def _where(call: Call, row: Row) -> Response:
    address, network = call.look_up("user_ip_address", row["ip_address_id"]), call.look_up("networks", row["network_id"])
    return {"ipaddressid": address.get("uuid"), "ipaddress": address.get("public_ip_address"), "networkid": network.get("uuid")}


@command("createPortForwardingRule")
def create_forwarding_rule(call: Call) -> Response:
    """Forward a port of an address to a VM."""
    address, vm = call.find("user_ip_address", "ipaddressid"), call.find("vm_instance", "virtualmachineid")
    network = call.maybe("networks", "networkid") or call.look_up("networks", address["network_id"])
    public = call.number("publicport", 0), call.number("publicendport", call.number("publicport", 0))
    card = call.cloud.row("SELECT * FROM nics WHERE instance_id = %s AND network_id = %s AND removed IS NULL", vm["id"], network["id"])
    if card is None:
        raise ApiError(PARAM_ERROR, f"VM {vm['uuid']} has no card in network {network['uuid']}")
    identity = _add(call, "PortForwarding", network, address, public)
    private = call.number("privateport", 0), call.number("privateendport", call.number("privateport", 0))
    call.cloud.insert(
        "port_forwarding_rules", id=identity, instance_id=vm["id"], dest_ip_address=card["ip4_address"] or "", dest_port_start=private[0],
        dest_port_end=private[1],
    )  # fmt: skip
    return _apply(call, "portforwardingrule", identity, network, "port forwarding", _forwarding_rule)


@command("listPortForwardingRules")
def list_forwarding_rules(call: Call) -> Response:
    """Return what is forwarded."""
    return call.page([_forwarding_rule(call, row) for row in _listed(call, "PortForwarding")], "portforwardingrule")


def _forwarding_rule(call: Call, row: Row) -> Response:
    to = call.there("port_forwarding_rules", row["id"])
    vm = call.look_up("vm_instance", to["instance_id"])
    return present(
        {
            "id": row["uuid"],
            "privateport": str(to["dest_port_start"]),
            "privateendport": str(to["dest_port_end"]),
            "protocol": row["protocol"],
            "publicport": str(row["start_port"]),
            "publicendport": str(row["end_port"]),
            "virtualmachineid": vm.get("uuid"),
            "virtualmachinename": vm.get("name"),
            **_where(call, row),
            "state": row["state"],
            "vmguestip": to["dest_ip_address"],
            "tags": [],
        }
    )


@command("createLoadBalancerRule")
def create_balancer(call: Call) -> Response:
    """Balance a port of an address, among no VM yet."""
    address = call.find("user_ip_address", "publicipid")
    network = call.maybe("networks", "networkid") or call.look_up("networks", address["network_id"])
    port = call.number("publicport", 0)
    name, algorithm = call.required("name"), call.required("algorithm")
    identity = _add(call, "LoadBalancing", network, address, (port, port))
    private = call.number("privateport", port)
    call.cloud.insert(
        "load_balancing_rules", id=identity, name=name, description=call.text("description") or None, default_port_start=private,
        default_port_end=private, algorithm=algorithm, scheme="Public", lb_protocol=call.text("protocol") or None,
        cidr_list=call.text("cidrlist") or None,
    )  # fmt: skip
    return _apply(call, "loadbalancer", identity, network, "load balancer", _balancer)


@command("assignToLoadBalancerRule")
def assign_to_balancer(call: Call) -> Response:
    """Add VMs; one that is there already is an error, as it is there."""
    row = call.find("firewall_rules", "id")
    vms = [call.cloud.row("SELECT * FROM vm_instance WHERE uuid = %s", each) or {} for each in call.listed("virtualmachineids")]
    there = {each["instance_id"] for each in call.cloud.rows("SELECT * FROM load_balancer_vm_map WHERE load_balancer_id = %s", row["id"])}
    if any(vm.get("id") in there or not vm for vm in vms):
        raise ApiError(PARAM_ERROR, "VM is already mapped to load balancer")
    for vm in vms:
        call.cloud.insert("load_balancer_vm_map", load_balancer_id=row["id"], instance_id=vm["id"], revoke=0)
    return named_job(call, "null", lambda: {"success": True})


@command("listLoadBalancerRules")
def list_balancers(call: Call) -> Response:
    """Return what is balanced."""
    domain = call.text("domainid")
    items = [_balancer(call, row) for row in _listed(call, "LoadBalancing")]
    return call.page([item for item in items if domain in ("", item["domainid"])], "loadbalancerrule")


def _balancer(call: Call, row: Row) -> Response:
    of, where = call.there("load_balancing_rules", row["id"]), _where(call, row)
    return present(
        {
            "id": row["uuid"],
            "name": of["name"],
            "description": of["description"],
            "publicipid": where["ipaddressid"],
            "publicip": where["ipaddress"],
            "publicport": str(row["start_port"]),
            "privateport": str(of["default_port_start"]),
            "algorithm": of["algorithm"],
            **owner(call, row),
            "state": row["state"],
            "networkid": where["networkid"],
            "tags": [],
        }
    )
