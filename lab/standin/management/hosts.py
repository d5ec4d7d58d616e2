"""Rows of `host`: who is connected, to which server, since when."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import Any

from ..shared.database import Row, utcnow
from .server import ManagementServer

#: Hypervisors whose hosts have an agent that dials in; all others are dialled by the management server.
WITH_AGENT = ("KVM", "LXC")
LIBVIRT = "com.cloud.hypervisor.kvm.resource.LibvirtComputingResource"
GUID_SUFFIX = "-LibvirtComputingResource"
SYSTEM_VM_HOSTS = {"SecondaryStorageVm": "SecondaryStorageVM", "ConsoleProxy": "ConsoleProxy"}


def ping_time() -> int:
    """Return what `last_ping` holds: milliseconds since 1970, divided by 1024."""
    return int(time.time() * 1000) >> 10


def find(server: ManagementServer, kind: str, guid: str, name: str) -> Row | None:
    """Return the row of a host that connects.

    Args:
        kind: Routing, SecondaryStorageVM or ConsoleProxy.
        guid: as the agent has it; KVM hosts are stored with the resource's name behind.
        name: decides for system VMs.
    """
    if kind == "Routing":
        return server.cloud.row(
            "SELECT * FROM host WHERE removed IS NULL AND type = 'Routing' AND guid IN (%s, %s)", guid, guid + GUID_SUFFIX
        )
    return server.cloud.row("SELECT * FROM host WHERE removed IS NULL AND type = %s AND name = %s", kind, name)


def connected(server: ManagementServer, host_id: int, version: str) -> None:
    """Make a host Up and this server's."""
    server.cloud.execute(
        "UPDATE host SET status = 'Up', mgmt_server_id = %s, version = %s, last_ping = %s, disconnected = NULL, "
        "update_count = update_count + 1 WHERE id = %s",
        server.msid,
        version,
        ping_time(),
        host_id,
    )
    if "last_mgmt_server_id" in server.cloud.columns("host"):
        server.cloud.update("host", host_id, last_mgmt_server_id=server.msid)


def lost(server: ManagementServer, host_id: int, status: str) -> bool:
    """Take a host that was this server's as lost; returns False where another server has it by now."""
    return (
        server.cloud.execute(
            "UPDATE host SET status = %s, mgmt_server_id = NULL, disconnected = %s, update_count = update_count + 1 "
            "WHERE id = %s AND mgmt_server_id = %s AND removed IS NULL",
            status,
            utcnow(),
            host_id,
            server.msid,
        )
        > 0
    )


def pinged(server: ManagementServer, host_id: int) -> None:
    """Note a sign of life."""
    server.cloud.execute("UPDATE host SET last_ping = %s WHERE id = %s AND mgmt_server_id = %s", ping_time(), host_id, server.msid)


def add_system_vm(server: ManagementServer, vm: Row, guid: str, version: str) -> int:
    """Add the row of a system VM's own agent and return its id."""
    public = (
        server.cloud.row(
            "SELECT ip4_address, mac_address, netmask FROM nics WHERE instance_id = %s AND removed IS NULL "
            "AND reserver_name LIKE '%%Public%%' LIMIT 1",
            vm["id"],
        )
        or {}
    )
    return server.cloud.insert(
        "host",
        name=vm["name"],
        uuid=str(uuid.uuid4()),
        status="Up",
        type=SYSTEM_VM_HOSTS[vm["type"]],
        private_ip_address=vm["private_ip_address"] or "",
        private_netmask="255.255.255.0",
        private_mac_address=vm["private_mac_address"],
        storage_ip_address=vm["private_ip_address"] or "",
        storage_mac_address=vm["private_mac_address"],
        storage_netmask="255.255.255.0",
        cluster_id=None,
        public_ip_address=public.get("ip4_address"),
        public_netmask=public.get("netmask"),
        public_mac_address=public.get("mac_address"),
        data_center_id=vm["data_center_id"],
        pod_id=vm["pod_id"],
        url="NoIqn",
        hypervisor_type=None,
        version=version,
        guid=guid,
        available=1,
        setup=0,
        dom0_memory=0,
        last_ping=ping_time(),
        mgmt_server_id=server.msid,
        created=utcnow(),
        update_count=0,
        resource_state="Enabled",
    )


def add_routing(server: ManagementServer, facts: dict[str, Any]) -> int | None:
    """Add the row of a KVM host that connects for the first time.

    Returns None where its zone, pod or cluster does not exist.
    """
    zone = _by_id_or_name(server, "data_center", facts.get("zone"))
    pod = _by_id_or_name(server, "host_pod_ref", facts.get("pod"))
    cluster = _by_id_or_name(server, "cluster", facts.get("cluster"))
    if zone is None or pod is None or cluster is None:
        return None
    return server.cloud.insert(
        "host",
        name=facts["name"],
        uuid=str(uuid.uuid4()),
        status="Connecting",
        type="Routing",
        private_ip_address=facts["address"],
        private_netmask="255.255.255.0",
        storage_ip_address=facts["address"],
        storage_netmask="255.255.255.0",
        cluster_id=cluster,
        data_center_id=zone,
        pod_id=pod,
        cpu_sockets=1,
        cpus=facts.get("cpus", 2),
        speed=2000,
        ram=facts.get("ram", 4 << 30),
        url="iqn.1994-05.com.example:standin",
        hypervisor_type="KVM",
        hypervisor_version="7.2.0",
        resource=LIBVIRT,
        capabilities="hvm,snapshot",
        version=facts["version"],
        guid=facts["guid"] + GUID_SUFFIX,
        available=1,
        setup=0,
        dom0_memory=0,
        last_ping=ping_time(),
        created=utcnow(),
        update_count=0,
        resource_state="Enabled",
        arch="x86_64",
    )


def _by_id_or_name(server: ManagementServer, table: str, value: str | None) -> int | None:
    found = server.cloud.value(
        f"SELECT id FROM `{table}` WHERE removed IS NULL AND (CAST(id AS CHAR) = %s OR name = %s OR uuid = %s)", value, value, value
    )
    return None if found is None else int(found)


def remove(server: ManagementServer, host_id: int) -> None:
    """Take a row out: its system VM is gone."""
    now: datetime = utcnow()
    server.cloud.execute("UPDATE host SET status = 'Removed', removed = %s, mgmt_server_id = NULL, guid = NULL WHERE id = %s", now, host_id)
