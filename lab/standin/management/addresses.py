"""Addresses of system VMs and routers: taken from the pools in the database, and given back."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

from ..shared.database import Row, utcnow
from .server import ManagementServer

LINK_LOCAL_GATEWAY = "169.254.0.1"


class OutOfAddresses(Exception):
    """A pool has no free address."""


@dataclass(frozen=True)
class Nic:
    """One network card to be."""

    network_id: int
    address: str
    netmask: str
    gateway: str | None
    reserver: str
    broadcast_uri: str | None = None
    default: bool = False
    mode: str = "Static"
    mac: str | None = None


def random_mac(prefix: str = "1e:00") -> str:
    """Return a MAC address that is locally administered."""
    return prefix + "".join(f":{random.randrange(256):02x}" for _ in range(6 - len(prefix.split(":"))))


def system_network(server: ManagementServer, zone_id: int, traffic: str) -> int:
    """Return the system network of a kind of traffic: Public, Management, Control."""
    found = server.cloud.value(
        "SELECT id FROM networks WHERE data_center_id = %s AND traffic_type = %s AND removed IS NULL ORDER BY id LIMIT 1", zone_id, traffic
    )
    if found is None:
        raise OutOfAddresses(f"zone {zone_id} has no network for {traffic} traffic")
    return int(found)


def control(server: ManagementServer, zone_id: int, pod_id: int) -> Nic:
    """Take a link-local address."""
    row = server.cloud.row(
        "SELECT id, ip_address FROM op_dc_link_local_ip_address_alloc WHERE pod_id = %s AND taken IS NULL "
        "AND id >= %s ORDER BY id LIMIT 1 FOR UPDATE",
        pod_id,
        random.randrange(1, 60_000),
    ) or server.cloud.row(
        "SELECT id, ip_address FROM op_dc_link_local_ip_address_alloc WHERE pod_id = %s AND taken IS NULL ORDER BY id LIMIT 1 FOR UPDATE",
        pod_id,
    )
    if row is None:
        raise OutOfAddresses(f"pod {pod_id} has no free link-local address")
    server.cloud.execute(
        "UPDATE op_dc_link_local_ip_address_alloc SET taken = %s, reservation_id = %s WHERE id = %s", utcnow(), str(uuid.uuid4()), row["id"]
    )
    octets = [int(part) for part in row["ip_address"].split(".")]
    mac = "0e:00:" + ":".join(f"{octet:02x}" for octet in octets)
    return Nic(
        system_network(server, zone_id, "Control"), row["ip_address"], "255.255.0.0", LINK_LOCAL_GATEWAY, "ControlNetworkGuru", mac=mac
    )


def pod(server: ManagementServer, zone_id: int, pod_id: int) -> Nic:
    """Take an address of the management network of a pod."""
    row = server.cloud.row(
        "SELECT id, ip_address FROM op_dc_ip_address_alloc WHERE pod_id = %s AND taken IS NULL ORDER BY id LIMIT 1 FOR UPDATE", pod_id
    )
    if row is None:
        raise OutOfAddresses(f"pod {pod_id} has no free address for system VMs")
    server.cloud.execute(
        "UPDATE op_dc_ip_address_alloc SET taken = %s, reservation_id = %s WHERE id = %s", utcnow(), str(uuid.uuid4()), row["id"]
    )
    gateway = server.cloud.value("SELECT gateway FROM host_pod_ref WHERE id = %s", pod_id)
    return Nic(system_network(server, zone_id, "Management"), row["ip_address"], "255.255.255.0", gateway, "PodBasedNetworkGuru")


def public(server: ManagementServer, zone_id: int) -> Nic:
    """Take a public address for a system VM."""
    row = server.cloud.row(
        "SELECT ip.*, vlan.vlan_gateway, vlan.vlan_netmask, vlan.vlan_id FROM user_ip_address ip "
        "JOIN vlan ON vlan.id = ip.vlan_db_id WHERE ip.state = 'Free' AND ip.removed IS NULL "
        "AND vlan.vlan_type = 'VirtualNetwork' AND ip.data_center_id = %s ORDER BY ip.id LIMIT 1 FOR UPDATE",
        zone_id,
    )
    if row is None:
        raise OutOfAddresses(f"zone {zone_id} has no free public address")
    server.cloud.execute(
        "UPDATE user_ip_address SET state = 'Allocated', allocated = %s, account_id = 1, domain_id = 1, source_nat = 0, "
        "is_system = 1 WHERE id = %s",
        utcnow(),
        row["id"],
    )
    return Nic(
        system_network(server, zone_id, "Public"),
        row["public_ip_address"],
        row["vlan_netmask"],
        row["vlan_gateway"],
        "PublicNetworkGuru",
        row["vlan_id"],
        default=True,
    )


def guest(server: ManagementServer, network: Row) -> Nic:
    """Return a router's card in a guest network: its gateway, or a free address of a shared one."""
    netmask = "255.255.255.0"
    address = network["gateway"]
    default = network["guest_type"] == "Shared"
    if default:
        taken = server.cloud.row(
            "SELECT ip.id, ip.public_ip_address FROM user_ip_address ip JOIN vlan ON vlan.id = ip.vlan_db_id "
            "WHERE vlan.network_id = %s AND ip.state = 'Free' ORDER BY ip.id LIMIT 1 FOR UPDATE",
            network["id"],
        )
        if taken is None:
            raise OutOfAddresses(f"network {network['name']} has no free address")
        server.cloud.execute("UPDATE user_ip_address SET state = 'Allocated', allocated = %s WHERE id = %s", utcnow(), taken["id"])
        address = taken["public_ip_address"]
    return Nic(
        network["id"],
        address,
        netmask,
        network["gateway"],
        network["guru_name"],
        network["broadcast_uri"],
        default=default,
        mode="Dhcp",
        mac=random_mac("02:00"),
    )


def add(server: ManagementServer, vm_id: int, kind: str, nics: list[Nic], first_device: int = 0) -> None:
    """Enter the cards of a VM, and its own address into its row."""
    for device, nic in enumerate(nics, first_device):
        mac = nic.mac or random_mac()
        values: dict[str, Any] = {
            "uuid": str(uuid.uuid4()),
            "instance_id": vm_id,
            "mac_address": mac,
            "ip4_address": nic.address,
            "netmask": nic.netmask,
            "gateway": nic.gateway,
            "ip_type": "Ip4",
            "broadcast_uri": nic.broadcast_uri,
            "isolation_uri": nic.broadcast_uri,
            "network_id": nic.network_id,
            "mode": nic.mode,
            "state": "Reserved",
            "strategy": "Start",
            "reserver_name": nic.reserver,
            "device_id": device,
            "default_nic": int(nic.default),
            "vm_type": kind,
            "created": utcnow(),
            "secondary_ip": 0,
            "display_nic": 1,
        }
        nic_id = server.cloud.insert("nics", **values)
        for pool in ("op_dc_ip_address_alloc", "op_dc_link_local_ip_address_alloc"):
            for row in server.cloud.rows(
                f"SELECT id FROM `{pool}` WHERE ip_address = %s AND taken IS NOT NULL AND nic_id IS NULL", nic.address
            ):
                server.cloud.update(pool, row["id"], nic_id=nic_id)
        if nic.reserver == ("ControlNetworkGuru" if kind == "DomainRouter" else "PodBasedNetworkGuru"):
            server.cloud.update("vm_instance", vm_id, private_ip_address=nic.address, private_mac_address=mac)


def release(server: ManagementServer, vm_id: int) -> None:
    """Give back all addresses of a VM but those that belong to its networks.

    Rows are looked up first and changed by their ids, as CloudStack's DAOs do: a change by a column without an index would lock the whole pool, and
    two VMs that are destroyed at once would wait for each other's rows [GenericDaoBase.update].
    """
    cloud = server.cloud
    for nic in cloud.rows("SELECT * FROM nics WHERE instance_id = %s AND removed IS NULL", vm_id):
        for pool in ("op_dc_ip_address_alloc", "op_dc_link_local_ip_address_alloc"):
            for row in cloud.rows(f"SELECT id FROM `{pool}` WHERE nic_id = %s", nic["id"]):
                cloud.update(pool, row["id"], nic_id=None, taken=None, reservation_id=None)
        for row in cloud.rows(
            "SELECT id FROM user_ip_address WHERE public_ip_address = %s AND is_system = 1 AND source_nat = 0", nic["ip4_address"]
        ):
            cloud.update("user_ip_address", row["id"], state="Free", allocated=None, account_id=None, domain_id=None, is_system=0)
    server.cloud.execute("UPDATE nics SET state = 'Deallocating', removed = %s WHERE instance_id = %s AND removed IS NULL", utcnow(), vm_id)


def free_shared(server: ManagementServer, nics: list[Row]) -> None:
    """Give back the addresses that cards have in shared networks."""
    for nic in nics:
        for row in server.cloud.rows(
            "SELECT ip.id FROM user_ip_address ip JOIN vlan ON vlan.id = ip.vlan_db_id WHERE vlan.network_id = %s AND vlan.vlan_type = 'DirectAttached' "
            "AND ip.public_ip_address = %s",
            nic["network_id"],
            nic["ip4_address"],
        ):
            server.cloud.update("user_ip_address", row["id"], state="Free", allocated=None, account_id=None, domain_id=None)
