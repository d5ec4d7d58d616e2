"""System VMs and routers: the running ones, and those of earlier versions that were replaced."""

from __future__ import annotations

from collections.abc import Sequence

from lab.database.content import infrastructure, networks, offerings, templates
from lab.database.content.infrastructure import NETWORK_CONTROL, NETWORK_MANAGEMENT, NETWORK_PUBLIC, ZONE
from lab.database.content.world import Account, Network, World
from lab.database.plan import KvmHost, SystemVm

TEMPLATE_VERSION = f"Cloudstack Release {templates.SYSTEM_VERSION} Tue Nov 11 09:05:21 AM UTC 2025"
_CONTROL_NETMASK = "255.255.0.0"


class _Nics:
    """Adds the interfaces of one system VM in order."""

    def __init__(self, world: World, machine: int, kind: str, reservation: str) -> None:
        self._world, self._machine, self._kind, self._reservation = world, machine, kind, reservation
        self._device = 0

    def add(self, network: int, address: str, netmask: str, gateway: str | None, mac: str, guru: str, **more: object) -> int:
        """Add one interface; `more` are further columns of `nics`."""
        device, self._device = self._device, self._device + 1
        columns: dict[str, object] = {
            "instance_id": self._machine, "mac_address": mac, "ip4_address": address, "netmask": netmask,
            "gateway": gateway,
            "ip_type": "Ip4", "network_id": network, "mode": "Static", "state": "Reserved", "strategy": "Start",
            "reserver_name": guru, "reservation_id": self._reservation, "device_id": device, "default_nic": False,
            "vm_type": self._kind, "created": self._world.ago(180), "update_time": self._world.ago(180),
        }  # fmt: skip
        return self._world.add("nics", **{**columns, **more})


def build(world: World) -> None:
    """Add one secondary storage VM, one console proxy, and a router each for the isolated, shared and VPC networks."""
    _replaced(world)
    hosts = world.hosts
    system = world.accounts[0]
    _appliance(world, "SecondaryStorageVm", hosts[0], system)
    _appliance(world, "ConsoleProxy", hosts[-1], system)
    isolated, *many = [n for n in world.networks if n.implemented and n.guest_type == "Isolated" and not n.vpc_id]
    shared = next(n for n in world.networks if n.guest_type == "Shared")
    tiers = [n for n in world.networks if n.vpc_id]
    _router(world, [isolated], hosts[0], "VirtualRouter")
    _router(world, [shared], hosts[-1], "VirtualRouter")
    _router(world, tiers, hosts[-1], "VPCVirtualRouter")
    for number, network in enumerate(many):
        _router(world, [network], hosts[number % len(hosts)], "VirtualRouter", source_nat=False)


def _control_address(world: World) -> str:
    # the first addresses stay free, so that a later allocation from the table finds its own
    step = 257 if not world.plan.networks else 90
    number = 0x1000 + step * len(world.system_vms) + world.random("control").randrange(min(200, step))
    return f"169.254.{number // 256}.{number % 256 or 7}"


def _instance(
    world: World,
    kind: str,
    letter: str,
    host: KvmHost,
    account: Account,
    offering: str,
    private: str,
    mac: str,
    reservation: str,
) -> tuple[int, str]:
    identity = world.next_id("vm_instance")
    name = f"{letter}-{identity}-VM"
    template = templates.system_template(world)
    service = offerings.service_offering(world, offering)
    world.add(
        "vm_instance", id=identity, name=name, instance_name=name, state="Running", vm_template_id=template.id,
        guest_os_id=template.guest_os_id, private_mac_address=mac, private_ip_address=private, pod_id=host.pod_id,
        data_center_id=ZONE, host_id=host.id, last_host_id=host.id,
        vnc_password=world.encrypted(world.random("vnc").randbytes(8).hex()),
        ha_enabled=kind == "DomainRouter", update_count=3, update_time=world.ago(180), created=world.ago(180),
        type=kind, vm_type=kind,
        account_id=account.id, domain_id=account.domain_id, service_offering_id=service.id, reservation_id=reservation,
        hypervisor_type="KVM", power_state="PowerOn", power_state_update_time=world.ago(1), power_state_update_count=3,
        power_host=host.id,
    )  # fmt: skip
    world.add(
        "volumes", account_id=account.id, domain_id=account.domain_id, pool_id=host.pod_id, instance_id=identity,
        device_id=0,
        name=f"ROOT-{identity}", size=template.size, path=world.uuid("volumes"), pod_id=host.pod_id,
        data_center_id=ZONE,
        volume_type="ROOT", disk_offering_id=service.disk_offering_id, template_id=template.id, recreatable=True,
        created=world.ago(180), updated=world.ago(180), state="Ready", format="QCOW2", update_count=2,
    )  # fmt: skip
    return identity, name


def _appliance(world: World, kind: str, host: KvmHost, system: Account) -> None:
    storage = kind == "SecondaryStorageVm"
    control = _control_address(world)
    number = sum(1 for vm in world.system_vms if vm.type != "DomainRouter") + 1
    private = infrastructure.pod_address(world, host.pod_id, number)
    private_mac = world.mac("1e:00", 0x100 + number)
    _, public, public_mac = networks.take_public_address(world, system, system=True)
    reservation = world.uuid("system VMs")
    identity, name = _instance(
        world, kind, "s" if storage else "v", host, system,
        "Cloud.com-SecondaryStorage" if storage else "Cloud.com-ConsoleProxy", private, private_mac, reservation,
    )  # fmt: skip
    nics = _Nics(world, identity, kind, reservation)
    control_nic = nics.add(NETWORK_CONTROL, control, _CONTROL_NETMASK, "169.254.0.1", _control_mac(control), "ControlNetworkGuru")
    gateway = f"{infrastructure.management_prefix(world)}.1"
    private_nic = nics.add(NETWORK_MANAGEMENT, private, "255.255.255.0", gateway, private_mac, "PodBasedNetworkGuru")
    nics.add(
        NETWORK_PUBLIC, public, "255.255.255.0", f"{infrastructure.PUBLIC_PREFIX}.1", public_mac, "PublicNetworkGuru",
        strategy="Create",
        default_nic=True, broadcast_uri=f"vlan://{infrastructure.PUBLIC_VLAN}",
        isolation_uri=f"vlan://{infrastructure.PUBLIC_VLAN}",
    )  # fmt: skip
    _take_pod_address(world, private, private_nic, reservation)
    world.link_local[control] = (host.pod_id, control_nic, reservation)
    _agent(world, identity, name, kind, host, private, private_mac, public, public_mac)
    detail: dict[str, object] = {
        "public_mac_address": public_mac,
        "public_ip_address": public,
        "public_netmask": "255.255.255.0",
    }
    if storage:
        world.add("secondary_storage_vm", id=identity, **detail, guid=f"s-{identity}-VM-NfsSecondaryStorageResource")
    else:
        world.add("console_proxy", id=identity, **detail, session_details=b'{"connections":[]}\n', last_update=world.now)
    world.system_vms.append(SystemVm(identity, name, kind, host.name, control, private, public))


def _agent(
    world: World,
    identity: int,
    name: str,
    kind: str,
    host: KvmHost,
    private: str,
    mac: str,
    public: str,
    public_mac: str,
) -> None:
    storage = kind == "SecondaryStorageVm"
    row = world.add(
        "host", name=name, status="Up", type="SecondaryStorageVM" if storage else "ConsoleProxy",
        private_ip_address=private,
        private_netmask="255.255.255.0", private_mac_address=mac, storage_ip_address=private,
        storage_netmask="255.255.255.0",
        storage_mac_address=mac, public_ip_address=public, public_netmask="255.255.255.0",
        public_mac_address=public_mac,
        data_center_id=ZONE, pod_id=host.pod_id, version=world.plan.version, url="NoIqn",
        guid=f"s-{identity}-VM-NfsSecondaryStorageResource" if storage else f"Proxy.{identity}-ConsoleProxyResource",
        dom0_memory=0, last_ping=world.seconds(world.now), created=world.ago(180), hypervisor_type=None,
        proxy_port=None if storage else 443, resource=None,
    )  # fmt: skip
    world.add("op_host", id=row, sequence=1)


def _router(world: World, guests: Sequence[Network], host: KvmHost, element: str, *, source_nat: bool = True) -> None:
    first = guests[0]
    owner = first.account
    shared = first.guest_type == "Shared"
    control = _control_address(world)
    reservation = world.uuid("system VMs")
    identity, name = _instance(
        world, "DomainRouter", "r", host, owner, "Cloud.Com-SoftwareRouter", control, _control_mac(control), reservation
    )
    nics = _Nics(world, identity, "DomainRouter", reservation)
    control_nic = nics.add(NETWORK_CONTROL, control, _CONTROL_NETMASK, "169.254.0.1", _control_mac(control), "ControlNetworkGuru")
    world.link_local[control] = (host.pod_id, control_nic, reservation)
    public: str | None = None
    public_mac: str | None = None
    if not shared and source_nat:
        public, public_mac = _router_public_address(world, first)
        nics.add(
            NETWORK_PUBLIC, public, "255.255.255.0", f"{infrastructure.PUBLIC_PREFIX}.1", public_mac,
            "PublicNetworkGuru", ip_type=None,
            strategy="Managed", default_nic=True, broadcast_uri=f"vlan://{infrastructure.PUBLIC_VLAN}",
            isolation_uri=f"vlan://{infrastructure.PUBLIC_VLAN}", mtu=1500,
        )  # fmt: skip
    for network in guests:
        address = networks.take_shared_address(world, owner, network) if shared else f"{network.prefix}.1"
        nics.add(
            network.id, address, "255.255.255.0", None if not (shared or network.vpc_id) else f"{network.prefix}.1",
            world.mac("02:02", (network.id << 16) + identity), network.guru, mode="Dhcp", default_nic=shared,
            broadcast_uri=f"vlan://{network.vlan}", isolation_uri=f"vlan://{network.vlan}", mtu=1500,
        )  # fmt: skip
        world.add("router_network_ref", router_id=identity, network_id=network.id, guest_type=network.guest_type)
        world.add(
            "user_statistics", data_center_id=ZONE, account_id=owner.id, public_ip_address=public, device_id=identity,
            device_type="DomainRouter", network_id=network.id,
            net_bytes_received=18_000_000_000_000_000_000 if shared else 7_654_321,
            net_bytes_sent=1_234_567,
        )  # fmt: skip
    world.add(
        "domain_router", id=identity, element_id=infrastructure.router_element(world, element),
        public_mac_address=public_mac,
        public_ip_address=public, public_netmask="255.255.255.0" if public else None, is_redundant_router=False,
        redundant_state="UNKNOWN", stop_pending=False, role="VIRTUAL_ROUTER", template_version=TEMPLATE_VERSION,
        scripts_version=world.uuid("scripts"), vpc_id=first.vpc_id, software_version=world.plan.version,
    )  # fmt: skip
    for check, kind in (("dhcp_check", "advanced"), ("disk_space_usage", "basic"), ("gateways_check", "basic")):
        world.add(
            "router_health_check", router_id=identity, check_name=f"{check}.py", check_type=kind,
            last_update=world.now, check_result=True,
            check_details=f"{check}: success\n".encode() + bytes(range(0, 256, 17)),
        )  # fmt: skip
    world.system_vms.append(SystemVm(identity, name, "DomainRouter", host.name, control, "", public or ""))


def _router_public_address(world: World, network: Network) -> tuple[str, str]:
    if network.vpc_id:
        _, address, mac = networks.take_public_address(world, network.account, vpc_id=network.vpc_id, source_nat=True)
        return address, mac
    for row in world.rows["cloud", "user_ip_address"]:
        if row.get("network_id") == network.id and row.get("source_nat"):
            return str(row["public_ip_address"]), world.mac("1e:00", int(str(row["mac_address"])))
    raise LookupError(f"network {network.name} has no source NAT address")


def _control_mac(address: str) -> str:
    return "0e:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _take_pod_address(world: World, address: str, nic: int, reservation: str) -> None:
    for row in world.rows["cloud", "op_dc_ip_address_alloc"]:
        if row["ip_address"] == address:
            row.update(nic_id=nic, reservation_id=reservation, taken=world.ago(180))


def _replaced(world: World) -> None:
    """System VMs of earlier versions: expunged, and still there as rows."""
    template = templates.system_template(world)
    for number, days in enumerate((2600, 1900, 1300, 800)):
        for kind, letter, offering in (
            ("SecondaryStorageVm", "s", "Cloud.com-SecondaryStorage"),
            ("ConsoleProxy", "v", "Cloud.com-ConsoleProxy"),
        ):
            identity = world.next_id("vm_instance")
            name = f"{letter}-{identity}-VM"
            world.add(
                "vm_instance", id=identity, name=name, instance_name=name, state="Expunging",
                vm_template_id=template.id,
                guest_os_id=template.guest_os_id, data_center_id=ZONE, vnc_password=world.encrypted(f"{number}"),
                update_count=9,
                update_time=world.ago(days - 600 if number < 3 else 181), created=world.ago(days),
                removed=world.ago(days - 600 if number < 3 else 181), type=kind, vm_type=kind, account_id=1,
                domain_id=1,
                service_offering_id=offerings.service_offering(world, offering).id, hypervisor_type="KVM",
                power_state="PowerOff",
            )  # fmt: skip
            world.add("secondary_storage_vm" if letter == "s" else "console_proxy", id=identity)
