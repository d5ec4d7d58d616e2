"""Users' machines with volumes, interfaces, snapshots and rules; gone ones leave their rows, as in a real cloud."""

from __future__ import annotations

import base64
import datetime

from lab.database.content import networks, offerings
from lab.database.content.infrastructure import PODS, ZONE
from lab.database.content.world import Account, Machine, Network, World

_GIB = 1 << 30
_ROLES = ("web", "db", "app", "cache", "build", "mail", "ci", "proxy")
# displayed names are utf8mb4: what is easily lost on the way is in them
_DISPLAY = (
    "{name}", "{name} ", "Größe {name}", "{name} 🚀", "O'Brien's {name}", "{name}\\prod", "NULL", "", "{name} «тест»",
    "{name}\ttab",
    "データベース {name}", "{name} %s 100%",
)  # fmt: skip
_MAX_ADDRESS = 250


def build(world: World) -> None:
    """Add machines: running ones in the networks that are up, stopped and removed ones elsewhere."""
    owners = [account for account in world.accounts[2:] if not account.name.startswith("PrjAcct")]
    for account in owners:
        own = [network for network in world.networks if network.account.id == account.id]
        shared = next(network for network in world.networks if network.guest_type == "Shared")
        for number in range(8):
            network = shared if number == 7 else own[number % len(own)]
            _machine(world, account, network, number)
    _snapshots(world)
    _rules(world)
    _count(world)


def _state(world: World, network: Network, number: int) -> tuple[str, bool]:
    """A machine's state, and whether it is gone for good."""
    if number == 3:
        return "Expunging", True
    if number == 4:
        return "Destroyed", False
    return ("Running", False) if network.implemented and number % 5 != 2 else ("Stopped", False)


def _machine(world: World, account: Account, network: Network, number: int) -> None:
    source = world.random("machines")
    state, gone = _state(world, network, number)
    running = state == "Running"
    offering = source.choice(offerings.ordinary(world))
    template = source.choice(world.templates)
    created = world.ago(source.uniform(20, 500))
    removed = created + datetime.timedelta(days=source.uniform(1, 19)) if gone else None
    identity = world.next_id("vm_instance")
    name = f"{_ROLES[number % len(_ROLES)]}-{account.name}-{number}"
    host = world.hosts[identity % len(world.hosts)]
    pod = host.pod_id
    has_host = running or state == "Stopped"
    address = _address(world, account, network)
    mac = world.mac("02:01", (network.id << 16) + identity)
    volume_id = world.next_id("volumes")
    nic_id = world.next_id("nics")
    uuid = world.uuid("machines")
    display = _DISPLAY[identity % len(_DISPLAY)].format(name=name)
    world.add(
        "vm_instance", id=identity, name=name, uuid=uuid, instance_name=f"i-{account.id}-{identity}-VM", state=state,
        vm_template_id=template.id, guest_os_id=template.guest_os_id, private_mac_address=mac,
        private_ip_address=address,
        pod_id=pod if has_host else None, data_center_id=ZONE, host_id=host.id if running else None,
        last_host_id=host.id if has_host else None, vnc_password=world.encrypted(source.randbytes(8).hex()),
        ha_enabled=number % 2 == 0,
        update_count=source.randrange(2, 40), update_time=removed or world.ago(source.uniform(0, 15)), created=created,
        removed=removed,
        type="User", vm_type="User", account_id=account.id, domain_id=account.domain_id,
        service_offering_id=offering.id,
        hypervisor_type="KVM", display_name=display, user_id=account.user_id,
        power_state="PowerOn" if running else "PowerOff", power_state_update_time=world.ago(1),
        power_state_update_count=3,
        power_host=host.id if running else None, reservation_id=world.uuid("machines"),
    )  # fmt: skip
    script = f"#!/bin/sh\nhostname {name}\necho 'Grüße'\n"
    world.add("user_vm", id=identity, display_name=display, user_data=base64.b64encode(script.encode()).decode())
    for key, value in {
        "cpuOvercommitRatio": "2.0",
        "memoryOvercommitRatio": "1.0",
        "Encrypted.Password": world.encrypted(name),
    }.items():
        world.add("user_vm_details", vm_id=identity, name=key, value=value)
    world.add(
        "nics", id=nic_id, instance_id=identity, mac_address=mac, ip4_address=address, netmask="255.255.255.0",
        gateway=f"{network.prefix}.1",
        ip_type="Ip4", broadcast_uri=f"vlan://{network.vlan}" if network.implemented else None, network_id=network.id,
        mode="Dhcp",
        state="Reserved" if running else "Allocated", strategy="Start", reserver_name=network.guru, device_id=0,
        default_nic=True,
        isolation_uri=f"vlan://{network.vlan}" if network.implemented else None, vm_type="User", created=created,
        removed=removed,
        update_time=world.ago(1),
    )  # fmt: skip
    if not gone:
        world.add("vm_network_map", vm_id=identity, network_id=network.id)
    _volume(
        world,
        account,
        f"ROOT-{identity}",
        identity,
        offering.disk_offering_id,
        template.size,
        pod,
        created,
        removed,
        template.id,
    )
    if number % 3 == 0:
        disk = world.disk_offerings["Medium"]
        _volume(
            world,
            account,
            f"data of {name}",
            None if gone else identity,
            disk.id,
            disk.size,
            pod,
            created,
            removed,
            None,
        )
    world.machines.append(Machine(identity, name, uuid, account, offering, template, network, state, created, removed, volume_id, nic_id))


def _address(world: World, account: Account, network: Network) -> str:
    if network.guest_type == "Shared":
        try:
            return networks.take_shared_address(world, account, network)
        except IndexError:  # a big cloud's shared network is full: later machines keep what they once had
            return f"{network.prefix}.{10 + len(world.machines) % 50}"
    address = f"{network.prefix}.{network.next_ip}"
    network.next_ip = network.next_ip + 1 if network.next_ip < _MAX_ADDRESS else 10
    return address


def _volume(
    world: World, account: Account, name: str, machine: int | None, offering: int, size: int, pod: int,
    created: datetime.datetime,
    removed: datetime.datetime | None, template: int | None,
) -> int:  # fmt: skip
    identity = world.add(
        "volumes", account_id=account.id, domain_id=account.domain_id, pool_id=PODS[PODS.index(pod)],
        instance_id=machine,
        device_id=(0 if template else 1) if machine else None, name=name, size=size, path=world.uuid("volumes"),
        pod_id=pod, data_center_id=ZONE,
        volume_type="ROOT" if template else "DATADISK", disk_offering_id=offering, template_id=template,
        created=created,
        attached=created if machine else None, updated=created, removed=removed,
        state="Expunged" if removed else "Ready",
        format="QCOW2", update_count=2, pool_type="NetworkFilesystem",
    )  # fmt: skip
    world.usage(
        "usage_volume", volume_id=identity, zone_id=ZONE, account_id=account.id, domain_id=account.domain_id,
        disk_offering_id=offering,
        template_id=template, size=size, created=created, deleted=removed,
    )  # fmt: skip
    if machine:
        world.add("vm_disk_statistics", data_center_id=ZONE, account_id=account.id, vm_id=machine, volume_id=identity)
        world.usage("vm_disk_statistics", data_center_id=ZONE, account_id=account.id, vm_id=machine, volume_id=identity)
    return identity


def _snapshots(world: World) -> None:
    for machine in world.machines[::4]:
        if machine.removed:
            continue
        created = world.ago(10, minutes=machine.id)
        name = f"{machine.name}_ROOT-{machine.id}_{created:%Y%m%d%H%M%S}"
        snapshot = world.add(
            "snapshots", data_center_id=ZONE, account_id=machine.account.id, domain_id=machine.account.domain_id,
            volume_id=machine.volume_id, disk_offering_id=machine.offering.disk_offering_id, status="BackedUp",
            name=name,
            snapshot_type=0, type_description="MANUAL", size=machine.template.size, created=created,
            hypervisor_type="KVM", version="2.2",
        )  # fmt: skip
        world.add(
            "snapshot_store_ref", store_id=1, snapshot_id=snapshot, created=created, last_updated=created,
            store_role="Image",
            size=machine.template.size, physical_size=machine.template.size // 4,
            install_path=f"snapshots/{machine.account.id}/{snapshot}",
            state="Ready", update_count=2, updated=created, volume_id=machine.volume_id,
        )  # fmt: skip
        world.add("snapshot_zone_ref", zone_id=ZONE, snapshot_id=snapshot, created=created, last_updated=created)
        world.usage(
            "usage_storage", entity_id=snapshot, zone_id=ZONE, account_id=machine.account.id,
            domain_id=machine.account.domain_id,
            storage_type=3, size=machine.template.size // 4, created=created, virtual_size=machine.template.size,
        )  # fmt: skip
    for machine in world.machines[1::6]:
        world.add(
            "snapshot_policy",
            volume_id=machine.volume_id,
            schedule="30:2",
            timezone="UTC",
            interval=1,
            max_snaps=4,
            active=not machine.removed,
        )
    for machine in world.machines[::5]:
        world.add(
            "resource_tags", key="env", value="prod" if machine.id % 2 else "Prüfung ", resource_id=machine.id,
            resource_uuid=machine.uuid,
            resource_type="UserVm", domain_id=machine.account.domain_id, account_id=machine.account.id,
        )  # fmt: skip
    group = world.add(
        "affinity_group", name="apart ⚖", type="host anti-affinity", description="Not on the same host",
        domain_id=world.machines[0].account.domain_id,
        account_id=world.machines[0].account.id, acl_type="Account",
    )  # fmt: skip
    for machine in world.machines[:2]:
        world.add("affinity_group_vm_map", affinity_group_id=group, instance_id=machine.id)


def _rules(world: World) -> None:
    """Public addresses of the networks that are up, with port forwarding, a firewall rule and a load balancer."""
    for network in world.networks:
        if not network.implemented or network.guest_type == "Shared" or network.vpc_id or network.vlan >= networks.MANY_VLAN:
            continue
        address_id, address, _ = networks.take_public_address(world, network.account, network=network, source_nat=True)
        world.usage(
            "usage_ip_address", ip_id=address_id, account_id=network.account.id, domain_id=network.account.domain_id,
            zone_id=ZONE,
            public_ip_address=address, is_source_nat=1, assigned=world.ago(400),
        )  # fmt: skip
        machines = [m for m in world.machines if m.network.id == network.id and m.state == "Running"]
        for number, machine in enumerate(machines):
            rule = _firewall_rule(world, network, address_id, 2200 + number, 2200 + number, "PortForwarding")
            world.add(
                "port_forwarding_rules", id=rule, instance_id=machine.id,
                dest_ip_address=f"{network.prefix}.{10 + number}", dest_port_start=22,
                dest_port_end=22,
            )  # fmt: skip
            world.usage(
                "usage_port_forwarding", pf_id=rule, zone_id=ZONE, account_id=network.account.id,
                domain_id=network.account.domain_id,
                created=world.ago(390),
            )  # fmt: skip
            opened = _firewall_rule(world, network, address_id, 2200 + number, 2200 + number, "Firewall", related=rule)
            world.add("firewall_rules_cidrs", firewall_rule_id=opened, source_cidr="0.0.0.0/0")
        balancer = _firewall_rule(world, network, address_id, 80, 80, "LoadBalancing")
        world.add(
            "load_balancing_rules",
            id=balancer,
            name="web",
            default_port_start=8080,
            default_port_end=8080,
            algorithm="roundrobin",
            scheme="Public",
        )
        for machine in machines[:3]:
            world.add("load_balancer_vm_map", load_balancer_id=balancer, instance_id=machine.id)


def _firewall_rule(world: World, network: Network, address_id: int, start: int, end: int, purpose: str, related: int | None = None) -> int:
    return world.add(
        "firewall_rules", ip_address_id=address_id, start_port=start, end_port=end, state="Active", protocol="tcp",
        purpose=purpose,
        account_id=network.account.id, domain_id=network.account.domain_id, network_id=network.id,
        xid=world.uuid("rules"),
        created=world.ago(390), related=related, traffic_type="Ingress" if purpose == "Firewall" else None, type="User",
    )  # fmt: skip


def _count(world: World) -> None:
    """Set the counts of resources: for each account, and for each domain those of all domains below it too."""
    paths = {row["id"]: str(row["path"]) for row in world.rows["cloud", "domain"]}
    for row in world.rows["cloud", "resource_count"]:
        prefix = paths.get(row.get("domain_id"))
        mine = [
            m for m in world.machines
            if m.removed is None
            and (m.account.domain_path.startswith(prefix) if prefix else m.account.id == row.get("account_id"))
        ]  # fmt: skip
        row["count"] = {
            "user_vm": len(mine), "cpu": sum(m.offering.cores for m in mine),
            "memory": sum(m.offering.memory for m in mine),
        }.get(str(row["type"]), 0)  # fmt: skip
