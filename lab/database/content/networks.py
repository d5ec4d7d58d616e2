"""Networks of the system and of users, their public addresses and rules."""

from __future__ import annotations

from lab.database.content.infrastructure import (
    NETWORK_CONTROL,
    NETWORK_MANAGEMENT,
    NETWORK_PUBLIC,
    NETWORK_STORAGE,
    PHYSICAL_NETWORK,
    PUBLIC_ADDRESSES,
    PUBLIC_PREFIX,
    PUBLIC_VLAN,
    SHARED_PREFIX,
    SHARED_VLAN,
    ZONE,
)
from lab.database.content.offerings import router_services, vpc_services
from lab.database.content.world import Account, Network, World

_PUBLIC_MAC = 0x1000  # where the mac_address numbers of public addresses begin
VPC_CIDR = "10.20.0.0/16"
MANY_VLAN = 1000  # of the first of the plan's further networks


def build(world: World) -> None:
    """Add the system's networks, one isolated network for each account, a shared one, and a VPC with two tiers."""
    _system_networks(world)
    _public_addresses(world)
    shared = _guest(
        world, "shared1", world.accounts[0], "DefaultSharedNetworkOffering", SHARED_PREFIX, SHARED_VLAN,
        "DirectNetworkGuru", "Shared",
        True,
    )  # fmt: skip
    world.add("domain_network_ref", domain_id=1, network_id=shared.id, subdomain_access=True)
    vlan = world.add(
        "vlan", vlan_id=f"vlan://{SHARED_VLAN}", vlan_gateway=f"{SHARED_PREFIX}.1", vlan_netmask="255.255.255.0",
        ip4_range=f"{SHARED_PREFIX}.10-{SHARED_PREFIX}.60", vlan_type="DirectAttached", data_center_id=ZONE,
        network_id=shared.id,
        physical_network_id=PHYSICAL_NETWORK, created=world.ago(2000),
    )  # fmt: skip
    for last in range(10, 61):
        world.add(
            "user_ip_address", public_ip_address=f"{SHARED_PREFIX}.{last}", data_center_id=ZONE, vlan_db_id=vlan,
            mac_address=2 * _PUBLIC_MAC + last, source_network_id=shared.id, physical_network_id=PHYSICAL_NETWORK,
        )  # fmt: skip
    owners = [account for account in world.accounts[2:] if not account.name.startswith("PrjAcct")]
    _vpc(world, owners[min(1, len(owners) - 1)])
    for number, account in enumerate(owners):
        _guest(
            world, f"{account.name}-net", account, "DefaultIsolatedNetworkOfferingWithSourceNatService", "10.1.1",
            400 + number % 500,
            "ExternalGuestNetworkGuru", "Isolated", number == 0,
        )  # fmt: skip

    for number in range(world.plan.networks):
        account = owners[number % len(owners)]
        _guest(
            world, f"many{number + 1:04}", account, "DefaultIsolatedNetworkOfferingWithSourceNatService", "10.1.1",
            MANY_VLAN + number, "ExternalGuestNetworkGuru", "Isolated", True,
        )  # fmt: skip


def _system_networks(world: World) -> None:
    world.start_ids("networks", 200)
    for identity, traffic, domain_type, guru, cidr, gateway, ranges in (
        (NETWORK_PUBLIC, "Public", "Vlan", "PublicNetworkGuru", None, None, True),
        (NETWORK_MANAGEMENT, "Management", "Native", "PodBasedNetworkGuru", None, None, False),
        (NETWORK_CONTROL, "Control", "LinkLocal", "ControlNetworkGuru", "169.254.0.0/16", "169.254.0.1", False),
        (NETWORK_STORAGE, "Storage", "Native", "StorageNetworkGuru", None, None, True),
    ):
        world.add(
            "networks", id=identity, traffic_type=traffic, broadcast_domain_type=domain_type, gateway=gateway,
            cidr=cidr, mode="Static",
            network_offering_id=world.network_offerings[f"System-{traffic}-Network"], data_center_id=ZONE,
            guru_name=guru, state="Setup",
            related=identity, domain_id=1, account_id=1, created=world.ago(3185), specify_ip_ranges=ranges,
        )  # fmt: skip
        world.add("op_networks", id=identity, mac_address_seq=1, gc=False, check_for_gc=False)
        world.add("account_network_ref", account_id=1, network_id=identity, is_owner=1)


def _public_addresses(world: World) -> None:
    vlan = world.add(
        "vlan", vlan_id=f"vlan://{PUBLIC_VLAN}", vlan_gateway=f"{PUBLIC_PREFIX}.1", vlan_netmask="255.255.255.0",
        ip4_range=f"{PUBLIC_PREFIX}.{PUBLIC_ADDRESSES[0]}-{PUBLIC_PREFIX}.{PUBLIC_ADDRESSES[-1]}",
        vlan_type="VirtualNetwork",
        data_center_id=ZONE, network_id=NETWORK_PUBLIC, physical_network_id=PHYSICAL_NETWORK, created=world.ago(3180),
    )  # fmt: skip
    for last in PUBLIC_ADDRESSES:
        world.add(
            "user_ip_address", public_ip_address=f"{PUBLIC_PREFIX}.{last}", data_center_id=ZONE, vlan_db_id=vlan,
            mac_address=_PUBLIC_MAC + last, source_network_id=NETWORK_PUBLIC, physical_network_id=PHYSICAL_NETWORK,
            created=world.ago(3180),
        )  # fmt: skip


def take_public_address(
    world: World, account: Account, *, network: Network | None = None, vpc_id: int | None = None,
    source_nat: bool = False,
    system: bool = False,
) -> tuple[int, str, str]:  # fmt: skip
    """Allocate the next free public address; returns its id, the address and its MAC address."""
    for row in world.rows["cloud", "user_ip_address"]:
        if row["source_network_id"] == NETWORK_PUBLIC and "state" not in row:
            row.update(
                state="Allocated", allocated=world.ago(400), account_id=account.id, domain_id=account.domain_id,
                network_id=network.id if network else None, vpc_id=vpc_id, source_nat=source_nat, is_system=system,
            )  # fmt: skip
            return int(str(row["id"])), str(row["public_ip_address"]), world.mac("1e:00", int(str(row["mac_address"])))
    raise IndexError(f"all {len(PUBLIC_ADDRESSES)} public addresses are taken")


def take_shared_address(world: World, account: Account, network: Network) -> str:
    """Allocate the next free address of the shared network."""
    for row in world.rows["cloud", "user_ip_address"]:
        if row["source_network_id"] == network.id and "state" not in row:
            row.update(
                state="Allocated",
                allocated=world.ago(300),
                account_id=account.id,
                domain_id=account.domain_id,
                network_id=network.id,
            )
            return str(row["public_ip_address"])
    raise IndexError("all addresses of the shared network are taken")


def _guest(
    world: World, name: str, account: Account, offering: str, prefix: str, vlan: int, guru: str, guest_type: str,
    implemented: bool,
    vpc_id: int | None = None,
) -> Network:  # fmt: skip
    identity = world.next_id("networks")
    state = "Setup" if guest_type == "Shared" else "Implemented" if implemented else "Allocated"
    network = Network(identity, name, account, world.network_offerings[offering], prefix, vlan, guru, guest_type, implemented, vpc_id)
    world.add(
        "networks", id=identity, name=name, display_text=f"{name} of {account.name}", traffic_type="Guest",
        broadcast_domain_type="Vlan",
        broadcast_uri=f"vlan://{vlan}" if implemented else None, gateway=f"{prefix}.1", cidr=f"{prefix}.0/24",
        mode="Dhcp",
        network_offering_id=network.offering_id, physical_network_id=PHYSICAL_NETWORK, data_center_id=ZONE,
        guru_name=guru, state=state,
        related=identity, domain_id=account.domain_id, account_id=account.id,
        acl_type="Domain" if guest_type == "Shared" else "Account",
        network_domain=f"cs{account.id}cloud.internal", reservation_id=world.uuid("networks") if implemented else None,
        guest_type=guest_type, created=world.ago(600), specify_ip_ranges=guest_type == "Shared", vpc_id=vpc_id,
        network_acl_id=2 if vpc_id else None,
    )  # fmt: skip
    world.add("op_networks", id=identity, mac_address_seq=40, nics_count=2 if implemented else 0, gc=guest_type != "Shared")
    world.add("account_network_ref", account_id=account.id, network_id=identity, is_owner=1)
    services, provider = router_services(), "VirtualRouter"
    if vpc_id:
        services, provider = vpc_services(), "VpcVirtualRouter"
    elif guest_type == "Shared":
        services = ("Dhcp", "Dns", "UserData")
    for service in services:
        world.add("ntwk_service_map", network_id=identity, service=service, provider=provider, created=world.ago(600))
    if implemented and guest_type != "Shared":
        for row in world.rows["cloud", "op_dc_vnet_alloc"]:
            if row["vnet"] == str(vlan):
                row.update(account_id=account.id, taken=world.ago(400), reservation_id=world.uuid("networks"))
    world.networks.append(network)
    return network


def _vpc(world: World, owner: Account) -> None:
    vpc = world.add(
        "vpc", name="vpc1", display_text="VPC of " + owner.name, cidr=VPC_CIDR, vpc_offering_id=1, zone_id=ZONE,
        state="Enabled",
        domain_id=owner.domain_id, account_id=owner.id, network_domain=f"cs{owner.id}cloud.internal",
        created=world.ago(800),
        public_mtu=1500,
    )  # fmt: skip
    for service in vpc_services():
        world.add("vpc_service_map", vpc_id=vpc, service=service, provider="VpcVirtualRouter", created=world.ago(800))
    for tier in (1, 2):
        _guest(
            world, f"tier{tier}", owner, "DefaultIsolatedNetworkOfferingForVpcNetworks", f"10.20.{tier}", 390 + tier,
            "ExternalGuestNetworkGuru", "Isolated", True, vpc,
        )  # fmt: skip
    world.add(
        "s2s_customer_gateway", name="office", gateway_ip="198.51.100.9", guest_cidr_list="192.168.40.0/24",
        ipsec_psk=world.encrypted("a pre-shared key"), ike_policy="aes256-sha256;modp2048",
        esp_policy="aes256-sha256;modp2048",
        dpd=True, domain_id=owner.domain_id, account_id=owner.id,
    )  # fmt: skip
