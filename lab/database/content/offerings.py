"""Service, disk, network and VPC offerings: CloudStack's own and a few of the operator's."""

from __future__ import annotations

from lab.database.content.world import Offering, World

_GIB = 1 << 30
# unique name, name, cores, MHz, MiB, system VM type, HA
_SYSTEM = (
    ("Cloud.Com-InternalLBVm", "System Offering For Internal LB VM", 1, 256, 256, "internalloadbalancervm", True),
    ("Cloud.Com-SoftwareRouter", "System Offering For Software Router", 1, 500, 512, "domainrouter", True),
    ("Cloud.com-ConsoleProxy", "System Offering For Console Proxy", 1, 500, 1024, "consoleproxy", False),
    (
        "Cloud.com-SecondaryStorage",
        "System Offering For Secondary Storage VM",
        1,
        500,
        512,
        "secondarystoragevm",
        False,
    ),
    ("Cloud.Com-ElasticLBVm", "System Offering For Elastic LB VM", 1, 128, 128, "elasticloadbalancervm", True),
)
_ORDINARY = (
    ("Small Instance", 1, 500, 512), ("Medium Instance", 1, 1000, 1024), ("c2.m4", 2, 2000, 4096),
    ("c4.m8", 4, 2000, 8192),
    ("c8.m32 – datenbank", 8, 2400, 32768),
)  # fmt: skip
_DISKS = (("Small", 5), ("Medium", 20), ("Large", 100), ("Archive 📦", 500))
# name, guest type, for VPC, services with provider
_VR = ("Dhcp", "Dns", "Firewall", "Gateway", "Lb", "PortForwarding", "SourceNat", "StaticNat", "UserData", "Vpn")
_VPC = ("Dhcp", "Dns", "Gateway", "Lb", "NetworkACL", "PortForwarding", "SourceNat", "StaticNat", "UserData", "Vpn")
_NETWORK = (
    (
        "DefaultSharedNetworkOfferingWithSGService",
        "Shared",
        False,
        ("Dhcp", "Dns", "UserData", "SecurityGroup"),
        "VirtualRouter",
    ),
    ("DefaultSharedNetworkOffering", "Shared", False, ("Dhcp", "Dns", "UserData"), "VirtualRouter"),
    ("DefaultIsolatedNetworkOfferingWithSourceNatService", "Isolated", False, _VR, "VirtualRouter"),
    ("DefaultIsolatedNetworkOffering", "Isolated", False, ("Dhcp", "Dns", "UserData"), "VirtualRouter"),
    ("DefaultIsolatedNetworkOfferingForVpcNetworks", "Isolated", True, _VPC, "VpcVirtualRouter"),
    ("DefaultIsolatedNetworkOfferingForVpcNetworksNoLB", "Isolated", True, _VPC, "VpcVirtualRouter"),
    ("DefaultL2NetworkOffering", "L2", False, (), ""),
)
_SYSTEM_NETWORKS = ("Public", "Management", "Control", "Storage")


def build(world: World) -> None:
    """Add all offerings; `world` keeps them by name."""
    for unique, name, cores, speed, memory, vm_type, ha in _SYSTEM:
        for local in (False, True):
            suffix = " - Local Storage" if local else ""
            _service(
                world, name + suffix, cores, speed, memory, unique=unique + ("-Local" if local else ""),
                vm_type=vm_type, ha=ha,
                local=local,
            )  # fmt: skip
    for name, cores, speed, memory in _ORDINARY:
        _service(world, name, cores, speed, memory)
    for name, size in _DISKS:
        identity = world.add(
            "disk_offering", name=name, display_text=f"{name} disk, {size} GB", disk_size=size * _GIB,
            created=world.ago(3000),
            compute_only=False,
        )  # fmt: skip
        world.disk_offerings[name] = Offering(identity, name, size=size * _GIB)
    identity = world.add(
        "disk_offering", name="Custom", display_text="Custom disk", disk_size=0, customized=True,
        unique_name="Cloud.com-Custom",
        created=world.ago(3000), compute_only=False,
    )  # fmt: skip
    world.disk_offerings["Custom"] = Offering(identity, "Custom")
    _networks(world)
    _vpc(world)


def _service(
    world: World, name: str, cores: int, speed: int, memory: int, *, unique: str | None = None,
    vm_type: str | None = None,
    ha: bool = False, local: bool = False,
) -> None:  # fmt: skip
    created = world.ago(3190 if vm_type else 2990)
    # since 4.17 each service offering has its root disk's part in disk_offering
    disk = world.add(
        "disk_offering", name=name, display_text=None if vm_type else name, disk_size=0, recreatable=bool(vm_type),
        use_local_storage=local, unique_name=unique, customized=True, created=created, display_offering=not vm_type,
        compute_only=True,
    )  # fmt: skip
    identity = world.add(
        "service_offering", cpu=cores, speed=speed, ram_size=memory, ha_enabled=ha, default_use=bool(vm_type),
        vm_type=vm_type,
        name=name, display_text=None if vm_type else f"{cores} × {speed} MHz, {memory} MB", unique_name=unique,
        created=created,
        disk_offering_id=disk, system_use=bool(vm_type),
    )  # fmt: skip
    world.service_offerings[unique or name] = Offering(identity, name, cores, speed, memory, disk)


def _networks(world: World) -> None:
    for traffic in _SYSTEM_NETWORKS:
        name = f"System-{traffic}-Network"
        world.network_offerings[name] = world.add(
            "network_offerings", name=name, unique_name=name,
            display_text=f"System offering for the {traffic} network", nw_rate=0,
            mc_rate=0, traffic_type=traffic, system_only=True, created=world.ago(3190), default=True,
            availability="Required",
            state="Enabled", specify_ip_ranges=traffic in ("Public", "Storage"), keep_alive_enabled=False,
        )  # fmt: skip
    for name, guest_type, for_vpc, services, provider in _NETWORK:
        identity = world.network_offerings[name] = world.add(
            "network_offerings", name=name, unique_name=name, display_text=name, nw_rate=None, mc_rate=None,
            traffic_type="Guest",
            specify_vlan=guest_type == "Shared", conserve_mode=not for_vpc, created=world.ago(3190), default=True,
            availability="Optional", state="Enabled", guest_type=guest_type, specify_ip_ranges=guest_type == "Shared",
            for_vpc=int(for_vpc), public_lb="Lb" in services, keep_alive_enabled=False,
        )  # fmt: skip
        for service in services:
            by = "SecurityGroupProvider" if service == "SecurityGroup" else provider
            world.add(
                "ntwk_offering_service_map",
                network_offering_id=identity,
                service=service,
                provider=by,
                created=world.ago(3190),
            )


def _vpc(world: World) -> None:
    for name, redundant in (("Default VPC offering", False), ("Redundant VPC offering", True)):
        identity = world.add(
            "vpc_offerings", name=name, unique_name=name, display_text=name, state="Enabled", default=True,
            created=world.ago(3190),
            redundant_router_service=redundant,
        )  # fmt: skip
        for service in _VPC:
            world.add(
                "vpc_offering_service_map", vpc_offering_id=identity, service=service, provider="VpcVirtualRouter",
                created=world.ago(3190),
            )  # fmt: skip
    for name, action in (("default_deny", "Deny"), ("default_allow", "Allow")):
        acl = world.add("network_acl", name=name, vpc_id=0, description=f"Default network ACL: {action.lower()} all")
        for number, traffic in enumerate(("Ingress", "Egress"), start=1):
            item = world.add(
                "network_acl_item", acl_id=acl, state="Active", protocol="all", created=world.ago(3100),
                traffic_type=traffic,
                number=number, action=action,
            )  # fmt: skip
            world.add("network_acl_item_cidrs", network_acl_item_id=item, cidr="0.0.0.0/0")


def service_offering(world: World, name: str) -> Offering:
    """A service offering by its (unique) name."""
    return world.service_offerings[name]


def ordinary(world: World) -> list[Offering]:
    """The service offerings that users may choose."""
    return [world.service_offerings[name] for name, *_ in _ORDINARY]


def vpc_services() -> tuple[str, ...]:
    """What a VPC's router serves."""
    return _VPC


def router_services() -> tuple[str, ...]:
    """What an isolated network's router serves."""
    return _VR
