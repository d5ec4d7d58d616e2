"""What users create in a cloud, kind by kind: which table has it, who owns it, and what the hypervisor calls it.

[CloudStack 4.20 to 4.22, schema of `cloud`] Nothing secret is read: no password, pre-shared key, certificate or user data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DOMAINS, ACCOUNTS, USERS, API_KEYS = "domains", "accounts", "users", "API keys"
KEY_PAIRS, GROUPS, GROUP_RULES, AFFINITY = "SSH key pairs", "security groups", "security group rules", "affinity groups"
ACL_LISTS, NETWORKS, ADDRESSES = "network ACL lists", "networks", "public addresses"
ACL_RULES, FIREWALL, FORWARDING, BALANCING = "network ACL rules", "firewall rules", "port forwarding rules", "load balancer rules"
TAGS, VMS, DISKS = "tags", "virtual machines", "volumes"
PROJECT = 5  # type of a project's account [Account.java]


@dataclass(frozen=True)
class Kind:
    """How a database has one kind of object.

    Attributes:
        name: for people.
        table: in `cloud`; its row is `t`.
        named: SQL of the name.
        extra: what else is read, by name.
        joins: what `named` and `extra` need.
        condition: which rows count.
        account, domain: SQL of the owner's ids; NULL for none.
        lists: by name, statements that give `id` and `value` of what there are several of, above an id.
        identity: SQL of what tells one from another, the same on both sides.
        updated: an object is a change of a row that was there before, so no id says that it is new.
    """

    name: str
    table: str
    named: str = "t.name"
    extra: Mapping[str, str] = field(default_factory=dict)
    joins: str = ""
    condition: str = "t.removed IS NULL"
    account: str = "t.account_id"
    domain: str = "t.domain_id"
    lists: Mapping[str, str] = field(default_factory=dict)
    identity: str = "t.uuid"
    updated: bool = False


def _uuid(table: str, on: str) -> str:
    return f"(SELECT x.uuid FROM cloud.`{table}` x WHERE x.id = {on})"


def _name(table: str, on: str, column: str = "name") -> str:
    return f"(SELECT x.{column} FROM cloud.`{table}` x WHERE x.id = {on})"


RULE = {
    "state": "t.state", "protocol": "t.protocol", "start": "t.start_port", "end": "t.end_port", "icmpType": "t.icmp_type", "icmpCode": "t.icmp_code",
    "network": _uuid("networks", "t.network_id"), "networkName": _name("networks", "t.network_id"),
    "address": _uuid("user_ip_address", "t.ip_address_id"), "addressText": _name("user_ip_address", "t.ip_address_id", "public_ip_address"),
}  # fmt: skip
PORTS = "CONCAT_WS(' ', t.protocol, CONCAT_WS('-', t.start_port, t.end_port))"
LIVING = "t.type = 'User' AND t.state <> 'Revoke'"
# The disk of a router is its network owner's, who has not made it.
USERS_OWN = "NOT EXISTS (SELECT 1 FROM cloud.vm_instance s WHERE s.id = t.instance_id AND s.type <> 'User')"
DISK_PLACE = {
    "native": "t.path", "pool": _name("storage_pool", "t.pool_id"), "poolId": _uuid("storage_pool", "t.pool_id"),
    "hypervisor": "COALESCE((SELECT v.hypervisor_type FROM cloud.vm_instance v WHERE v.id = t.instance_id), "
    "(SELECT c.hypervisor_type FROM cloud.storage_pool p JOIN cloud.cluster c ON c.id = p.cluster_id WHERE p.id = t.pool_id))",
    "vm": "(SELECT v.instance_name FROM cloud.vm_instance v WHERE v.id = t.instance_id)", "type": "t.volume_type", "state": "t.state",
}  # fmt: skip
# In the order in which they can be created again; what is not created again comes last.
KINDS = (
    Kind(
        DOMAINS, "domain", account="NULL", domain="t.id",
        extra={"path": "t.path", "parent": _uuid("domain", "t.parent"), "networkDomain": "t.network_domain", "state": "t.state"},
    ),
    Kind(
        ACCOUNTS, "account", "t.account_name", account="t.id", condition=f"t.removed IS NULL AND t.type <> {PROJECT}",
        extra={"state": "t.state", "type": "t.type", "role": _uuid("roles", "t.role_id"), "roleName": _name("roles", "t.role_id"),
               "networkDomain": "t.network_domain"},
    ),
    Kind(
        USERS, "user", "t.username", domain="NULL",
        extra={"state": "t.state", "firstname": "t.firstname", "lastname": "t.lastname", "email": "t.email", "timezone": "t.timezone",
               "source": "t.source", "accountId": _uuid("account", "t.account_id")},
    ),
    Kind(
        API_KEYS, "user", "t.username", domain="NULL", condition="t.removed IS NULL AND t.api_key IS NOT NULL AND t.id > 1",
        identity="t.api_key", updated=True, extra={"apiKey": "t.api_key", "user": "t.uuid"},
    ),
    Kind(
        KEY_PAIRS, "ssh_keypairs", "t.keypair_name", condition="1", extra={"publicKey": "t.public_key", "fingerprint": "t.fingerprint"},
        identity="CONCAT(t.account_id, ' ', t.keypair_name, ' ', t.fingerprint)",
    ),
    Kind(GROUPS, "security_group", condition="1", extra={"description": "t.description"}),
    Kind(
        GROUP_RULES, "security_group_rule", "CONCAT_WS(' ', t.type, t.protocol, CONCAT_WS('-', t.start_port, t.end_port))", condition="1",
        joins="JOIN cloud.security_group g ON g.id = t.security_group_id LEFT JOIN cloud.security_group o ON o.id = t.allowed_network_id "
        "LEFT JOIN cloud.account oa ON oa.id = o.account_id",
        account="g.account_id", domain="g.domain_id",
        extra={"type": "t.type", "protocol": "t.protocol", "start": "t.start_port", "end": "t.end_port", "cidr": "t.allowed_ip_cidr",
               "group": "g.uuid", "groupName": "g.name", "allowedGroup": "o.name", "allowedAccount": "oa.account_name"},
    ),
    Kind(AFFINITY, "affinity_group", condition="1", extra={"type": "t.type", "description": "t.description"}),
    Kind(
        ACL_LISTS, "network_acl", condition="t.vpc_id IS NOT NULL AND t.vpc_id > 0", joins="JOIN cloud.vpc v ON v.id = t.vpc_id",
        account="v.account_id", domain="v.domain_id", extra={"vpc": "v.uuid", "vpcName": "v.name", "description": "t.description"},
    ),
    Kind(
        NETWORKS, "networks", condition="t.removed IS NULL AND t.traffic_type = 'Guest'",
        joins="JOIN cloud.network_offerings f ON f.id = t.network_offering_id",
        extra={"displayText": "t.display_text", "offering": "f.uuid", "offeringName": "f.name", "specifyVlan": "f.specify_vlan",
               "zone": _uuid("data_center", "t.data_center_id"), "zoneName": _name("data_center", "t.data_center_id"), "gateway": "t.gateway",
               "cidr": "t.cidr", "type": "t.guest_type", "state": "t.state", "networkDomain": "t.network_domain", "vpc": _uuid("vpc", "t.vpc_id"),
               "acl": _uuid("network_acl", "t.network_acl_id"), "native": "t.broadcast_uri"},
        lists={"vms": "SELECT n.network_id AS id, v.instance_name AS value FROM cloud.nics n JOIN cloud.vm_instance v ON v.id = n.instance_id "
                      "WHERE n.network_id > %s AND n.removed IS NULL AND v.removed IS NULL AND v.type = 'User' ORDER BY v.id"},
    ),
    Kind(
        ADDRESSES, "user_ip_address", "t.public_ip_address", condition="t.state = 'Allocated' AND t.is_system = 0 AND t.account_id > 1", updated=True,
        identity="CONCAT_WS(' ', t.uuid, t.account_id, t.network_id, t.vpc_id)",
        extra={"network": _uuid("networks", "t.network_id"), "networkName": _name("networks", "t.network_id"), "vpc": _uuid("vpc", "t.vpc_id"),
               "sourceNat": "t.source_nat", "zone": _uuid("data_center", "t.data_center_id")},
    ),
    Kind(
        ACL_RULES, "network_acl_item", "CONCAT_WS(' ', t.traffic_type, t.number, t.protocol, CONCAT_WS('-', t.start_port, t.end_port))",
        condition="t.state <> 'Revoke'", joins="JOIN cloud.network_acl l ON l.id = t.acl_id LEFT JOIN cloud.vpc v ON v.id = l.vpc_id",
        account="v.account_id", domain="v.domain_id",
        extra={"acl": "l.uuid", "aclName": "l.name", "number": "t.number", "action": "t.action", "traffic": "t.traffic_type", "state": "t.state",
               "protocol": "t.protocol", "start": "t.start_port", "end": "t.end_port", "icmpType": "t.icmp_type", "icmpCode": "t.icmp_code"},
        lists={"cidrs": "SELECT network_acl_item_id AS id, cidr AS value FROM cloud.network_acl_item_cidrs WHERE network_acl_item_id > %s ORDER BY id"},
    ),
    Kind(
        FIREWALL, "firewall_rules", PORTS, condition=f"t.purpose = 'Firewall' AND {LIVING}", extra={**RULE, "traffic": "t.traffic_type"},
        lists={"cidrs": "SELECT firewall_rule_id AS id, source_cidr AS value FROM cloud.firewall_rules_cidrs WHERE firewall_rule_id > %s ORDER BY id",
               "toCidrs": "SELECT firewall_rule_id AS id, destination_cidr AS value FROM cloud.firewall_rules_dcidrs WHERE firewall_rule_id > %s ORDER BY id"},
    ),
    Kind(
        FORWARDING, "firewall_rules", PORTS, condition=f"t.purpose = 'PortForwarding' AND {LIVING}",
        joins="JOIN cloud.port_forwarding_rules p ON p.id = t.id",
        extra={**RULE, "vm": _uuid("vm_instance", "p.instance_id"), "vmName": _name("vm_instance", "p.instance_id", "instance_name"),
               "toAddress": "p.dest_ip_address", "toStart": "p.dest_port_start", "toEnd": "p.dest_port_end"},
    ),
    Kind(
        BALANCING, "firewall_rules", "b.name", condition=f"t.purpose = 'LoadBalancing' AND {LIVING}",
        joins="JOIN cloud.load_balancing_rules b ON b.id = t.id",
        extra={**RULE, "description": "b.description", "algorithm": "b.algorithm", "toStart": "b.default_port_start", "lbProtocol": "b.lb_protocol",
               "cidrList": "b.cidr_list", "scheme": "b.scheme"},
        lists={"vms": "SELECT m.load_balancer_id AS id, v.uuid AS value FROM cloud.load_balancer_vm_map m JOIN cloud.vm_instance v ON v.id = m.instance_id "
                      "WHERE m.load_balancer_id > %s AND m.`revoke` = 0 ORDER BY v.id"},
    ),
    Kind(
        TAGS, "resource_tags", "t.`key`", condition="1",
        extra={"value": "t.value", "resource": "t.resource_uuid", "type": "t.resource_type", "customer": "t.customer"},
    ),
    Kind(
        VMS, "vm_instance", condition="t.removed IS NULL AND t.type = 'User'",
        extra={"native": "t.instance_name", "state": "t.state", "hypervisor": "t.hypervisor_type",
               "host": "(SELECT h.name FROM cloud.host h WHERE h.id = COALESCE(t.host_id, t.last_host_id))"},
    ),
    Kind(
        DISKS, "volumes", condition=f"t.removed IS NULL AND t.state NOT IN ('Expunged', 'Destroy') AND {USERS_OWN}", extra=DISK_PLACE,
    ),
    Kind(
        "snapshots", "snapshots",
        extra={"state": "t.status", "hypervisor": "t.hypervisor_type",
               "native": "(SELECT r.install_path FROM cloud.snapshot_store_ref r WHERE r.snapshot_id = t.id ORDER BY r.store_role = 'Image' DESC LIMIT 1)"},
    ),
    Kind(
        "VM snapshots", "vm_snapshots",
        extra={"state": "t.state", "native": "t.name", "vm": _name("vm_instance", "t.vm_id", "instance_name"),
               "hypervisor": _name("vm_instance", "t.vm_id", "hypervisor_type")},
    ),
    Kind(
        "templates and ISOs", "vm_template", condition="t.removed IS NULL AND t.type = 'USER'", domain="NULL",
        extra={"state": "t.state", "format": "t.format", "hypervisor": "t.hypervisor_type",
               "native": "(SELECT r.install_path FROM cloud.template_store_ref r WHERE r.template_id = t.id AND r.destroyed = 0 LIMIT 1)"},
    ),
    Kind("VPCs", "vpc", extra={"state": "t.state", "cidr": "t.cidr"}),
    Kind("projects", "projects", account="t.project_account_id", extra={"state": "t.state"}),
    Kind("roles", "roles", account="NULL", domain="NULL", condition="t.removed IS NULL AND t.is_default = 0", extra={"type": "t.role_type"}),
    Kind("instance groups", "instance_group", domain="NULL"),
    Kind("user data", "user_data"),
    Kind(
        "static NATs", "user_ip_address", "t.public_ip_address", condition="t.state = 'Allocated' AND t.one_to_one_nat = 1 AND t.is_system = 0", updated=True,
        identity="CONCAT(t.uuid, ' ', t.vm_id)", extra={"vm": _name("vm_instance", "t.vm_id", "instance_name")},
    ),
    Kind("static routes", "static_routes", "t.cidr", condition="t.state <> 'Revoke'"),
    Kind("customer gateways", "s2s_customer_gateway", extra={"address": "t.gateway_ip"}),
    Kind("site-to-site connections", "s2s_vpn_connection", "t.uuid", extra={"state": "t.state"}),
    Kind("VPN users", "vpn_users", "t.username", condition="1", account="t.owner_id"),
    Kind("VPNs for remote access", "remote_access_vpn", "t.local_ip", condition="1"),
    Kind("Kubernetes clusters", "kubernetes_cluster", extra={"state": "t.state"}),
    Kind("autoscale groups", "autoscale_vmgroups", extra={"state": "t.state"}),
    Kind("certificates", "sslcerts", "COALESCE(t.name, t.uuid)", condition="1"),
    Kind("backups", "backups", "t.uuid", extra={"state": "t.status", "native": "t.external_id"}),
    Kind("webhooks", "webhook", extra={"state": "t.state"}),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
TABLES = tuple(sorted({kind.table for kind in KINDS if not kind.updated}))
