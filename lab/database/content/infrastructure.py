"""Zone, pods, clusters, KVM hosts, storage and the physical network."""

from __future__ import annotations

import ipaddress

from lab.database.content.world import World
from lab.database.plan import KvmHost

ZONE, PHYSICAL_NETWORK = 1, 200
PUBLIC_VLAN, PUBLIC_PREFIX = 50, "203.0.113"
SHARED_VLAN, SHARED_PREFIX = 300, "10.50.0"
PODS = (1, 2)
_POD_FIRST = {1: 100, 2: 150}
POD_ADDRESSES = 50
PUBLIC_ADDRESSES = range(10, 210)
NETWORK_PUBLIC, NETWORK_MANAGEMENT, NETWORK_CONTROL, NETWORK_STORAGE = 200, 201, 202, 203
KVM_RESOURCE = "com.cloud.hypervisor.kvm.resource.LibvirtComputingResource"
_GIB = 1 << 30
_PROVIDERS = {
    "VirtualRouter": ("VirtualRouter", ("vpn", "dhcp", "dns", "gateway", "firewall", "source_nat", "load_balance",
                                        "static_nat", "port_forwarding", "user_data")),
    "SecurityGroupProvider": (None, ("security_group",)),
    "VpcVirtualRouter": ("VPCVirtualRouter",
        ("vpn", "dhcp", "dns", "gateway", "source_nat", "load_balance", "static_nat",
                                              "port_forwarding", "user_data", "networkacl")),
    "InternalLbVm": ("InternalLbVm", ("load_balance",)),
    "ConfigDrive": (None, ("dhcp", "dns", "user_data")),
}  # fmt: skip


def management_prefix(world: World) -> str:
    """The first three octets of the management network."""
    return str(ipaddress.ip_network(world.plan.management_network).network_address).rpartition(".")[0]


def pod_address(world: World, pod: int, number: int) -> str:
    """The nth address that a pod has for system VMs."""
    return f"{management_prefix(world)}.{_POD_FIRST[pod] + number}"


def router_element(world: World, kind: str) -> int:
    """The id of the virtual router provider of that kind."""
    for row in world.rows["cloud", "virtual_router_providers"]:
        if row["type"] == kind:
            return int(str(row["id"]))
    raise KeyError(kind)


def build(world: World) -> None:
    """Add the infrastructure; networks of the system come from `networks`, machines on the hosts from `systemvms`."""
    world.add(
        "data_center", id=ZONE, name="zone1", description="Lab zone", dns1=f"{management_prefix(world)}.1",
        internal_dns1=f"{management_prefix(world)}.1", guest_network_cidr="10.1.1.0/24", networktype="Advanced",
        mac_address=4000, zone_token=world.uuid("zone"), allocation_state="Enabled", created=world.ago(3190),
    )  # fmt: skip
    for pod in PODS:
        _pod_and_cluster(world, pod)
    for number, host in enumerate(world.plan.hypervisor_hosts):
        _host(world, number, host.name, host.address)
    _storage(world)
    _physical_network(world)
    _capacity(world)


def _pod_and_cluster(world: World, pod: int) -> None:
    network = ipaddress.ip_network(world.plan.management_network)
    first, last = pod_address(world, pod, 0), pod_address(world, pod, POD_ADDRESSES - 1)
    world.add(
        "host_pod_ref", id=pod, name=f"pod{pod}", data_center_id=ZONE, gateway=f"{management_prefix(world)}.1",
        cidr_address=str(network.network_address), cidr_size=network.prefixlen,
        description=f"{first}-{last}-0-untagged",
    )  # fmt: skip
    world.add(
        "cluster",
        id=pod,
        name=f"cluster{pod}",
        guid=world.uuid(),
        pod_id=pod,
        data_center_id=ZONE,
        hypervisor_type="KVM",
    )
    for name in ("cpuOvercommitRatio", "memoryOvercommitRatio"):
        world.add("cluster_details", cluster_id=pod, name=name, value="2.0" if name.startswith("cpu") else "1.0")
    for number in range(POD_ADDRESSES):
        world.add(
            "op_dc_ip_address_alloc", ip_address=pod_address(world, pod, number), data_center_id=ZONE, pod_id=pod,
            mac_address=(pod - 1) * POD_ADDRESSES + number + 1,
        )  # fmt: skip


def _host(world: World, number: int, name: str, address: str) -> None:
    pod = PODS[number % len(PODS)]
    agent_guid = world.uuid("hosts")
    mac = world.mac("52:54:00", 0x1000 + number)
    host = KvmHost(world.next_id("host"), name, address, agent_guid, f"{agent_guid}-LibvirtComputingResource", pod, pod)
    world.add(
        "host", id=host.id, name=name, status="Up", type="Routing", private_ip_address=address,
        private_netmask="255.255.255.0",
        private_mac_address=mac, storage_ip_address=address, storage_netmask="255.255.255.0", storage_mac_address=mac,
        public_ip_address=address, public_netmask="255.255.255.0", public_mac_address=mac, cluster_id=pod,
        data_center_id=ZONE,
        pod_id=pod, cpu_sockets=2, cpus=32, speed=2600, hypervisor_type="KVM", ram=128 * _GIB, resource=KVM_RESOURCE,
        version=world.plan.version, capabilities="hvm,snapshot", guid=host.guid, dom0_memory=_GIB, setup=False,
        last_ping=world.seconds(world.now), created=world.ago(1500 - number), update_count=40 + number,
        url="iqn.1994-05.com.example:" + agent_guid[:12],
    )  # fmt: skip
    world.hosts.append(host)
    world.add("op_host", id=host.id, sequence=1)
    world.add(
        "op_host_planner_reservation",
        data_center_id=ZONE,
        pod_id=pod,
        cluster_id=pod,
        host_id=host.id,
        resource_usage="Shared",
    )
    details = {
        "Host.OS": "Debian GNU/Linux", "Host.OS.Version": "12", "Host.OS.Kernel.Version": "6.1.0",
        "com.cloud.network.Networks.RouterPrivateIpStrategy": "HostLocal",
        "secured": "true", "username": "root", "password": world.encrypted("host password of " + name),
    }  # fmt: skip
    for key, value in details.items():
        world.add("host_details", host_id=host.id, name=key, value=value)
    world.add("host_tags", host_id=host.id, tag="ssd" if number % 2 == 0 else "bulk ")


def _storage(world: World) -> None:
    server = f"{management_prefix(world)}.1"
    world.add(
        "image_store", name="secondary1", image_provider_name="NFS", protocol="nfs",
        url=f"nfs://{server}/export/secondary",
        data_center_id=ZONE, scope="ZONE", role="Image", parent=world.uuid("stores"), created=world.ago(3180),
        total_size=20 << 40, used_bytes=7 << 40,
    )  # fmt: skip
    for pod in PODS:
        pool = world.add(
            "storage_pool", name=f"primary{pod}", pool_type="NetworkFilesystem", port=2049, data_center_id=ZONE,
            pod_id=pod,
            cluster_id=pod, used_bytes=300 * _GIB, capacity_bytes=4 << 40, host_address=server,
            path=f"/export/primary{pod}",
            created=world.ago(3170), update_time=world.now, status="Up", storage_provider_name="DefaultPrimary",
            scope="CLUSTER",
            hypervisor="KVM",
        )  # fmt: skip
        uuid = world.rows["cloud", "storage_pool"][-1]["uuid"]
        for host in world.hosts:
            if host.cluster_id == pod:
                world.add(
                    "storage_pool_host_ref",
                    host_id=host.id,
                    pool_id=pool,
                    created=world.ago(1400),
                    local_path=f"/mnt/{uuid}",
                )


def _physical_network(world: World) -> None:
    world.add(
        "physical_network", id=PHYSICAL_NETWORK, name="Physical Network 1", data_center_id=ZONE, vnet="100-999",
        broadcast_domain_range="ZONE", state="Enabled", created=world.ago(3185),
    )  # fmt: skip
    world.add("physical_network_isolation_methods", physical_network_id=PHYSICAL_NETWORK, isolation_method="VLAN")
    for traffic in ("Guest", "Management", "Public", "Storage"):
        world.add(
            "physical_network_traffic_types",
            physical_network_id=PHYSICAL_NETWORK,
            traffic_type=traffic,
            kvm_network_label="cloudbr0",
        )
    for name, (router, services) in _PROVIDERS.items():
        provided = {f"{service}_service_provided": True for service in services}
        provider = world.add(
            "physical_network_service_providers", physical_network_id=PHYSICAL_NETWORK, provider_name=name,
            state="Disabled" if name == "SecurityGroupProvider" else "Enabled", destination_physical_network_id=0,
            **provided,
        )  # fmt: skip
        if router:
            world.add("virtual_router_providers", nsp_id=provider, type=router, enabled=True)
    for vnet in range(100, 1000):
        world.add("op_dc_vnet_alloc", vnet=str(vnet), physical_network_id=PHYSICAL_NETWORK, data_center_id=ZONE)


def _capacity(world: World) -> None:
    # capacity types: 0 memory, 1 CPU, 2 storage, 3 storage allocated, 6 secondary storage, 90 CPU cores
    for host in world.hosts:
        for kind, total in ((0, 128 * _GIB), (1, 32 * 2600), (90, 32)):
            world.add(
                "op_host_capacity", host_id=host.id, data_center_id=ZONE, pod_id=host.pod_id,
                cluster_id=host.cluster_id,
                used_capacity=total // 3, reserved_capacity=0, total_capacity=total, capacity_type=kind,
                update_time=world.now, created=world.ago(1400),
            )  # fmt: skip
    for pod in PODS:
        world.add(
            "op_host_capacity", data_center_id=ZONE, pod_id=pod, cluster_id=pod, used_capacity=1 << 40,
            reserved_capacity=0,
            total_capacity=8 << 40, capacity_type=3, update_time=world.now, created=world.ago(3170),
        )  # fmt: skip
