"""The small tables of `cloud_usage`: what the usage server works with."""

from __future__ import annotations

import decimal

from lab.database.content.infrastructure import ZONE
from lab.database.content.world import World

_TYPES = (
    (1, "RUNNING_VM", "Compute*Month"), (2, "ALLOCATED_VM", "Compute*Month"), (3, "IP_ADDRESS", "IP*Month"),
    (4, "NETWORK_BYTES_SENT", "GB"), (5, "NETWORK_BYTES_RECEIVED", "GB"), (6, "VOLUME", "GB*Month"),
    (7, "TEMPLATE", "GB*Month"),
    (8, "ISO", "GB*Month"), (9, "SNAPSHOT", "GB*Month"), (11, "LOAD_BALANCER_POLICY", "Policy*Month"),
    (12, "PORT_FORWARDING_RULE", "Policy*Month"), (13, "NETWORK_OFFERING", "Policy*Month"),
    (14, "VPN_USERS", "Policy*Month"),
)  # fmt: skip


def build(world: World) -> None:
    """Add usage records' sources, quota tables, and the copies that the usage server keeps of `cloud`'s tables."""
    for number, (kind, name, unit) in enumerate(_TYPES):
        world.usage(
            "quota_tariff", usage_type=kind, usage_name=name, usage_unit=unit, usage_discriminator="",
            currency_value=decimal.Decimal(number * 12345 + 1) / 100000, effective_on=world.ago(2000),
            updated_on=world.ago(2000), updated_by=1,
            name=name, position=1,
        )  # fmt: skip
    for name, subject in (
        ("QUOTA_LOW", "Quota of ${accountName} is low"),
        ("QUOTA_EMPTY", "Quota of ${accountName} is used up"),
    ):
        world.usage(
            "quota_email_templates", template_name=name, template_subject=subject, updated=world.ago(1300),
            template_body="<p>Account ${accountName} in ${domainName}:<br>\r\nplease add credit.</p>\n" * 3,
        )  # fmt: skip
    for account in world.accounts[2:]:
        amount = decimal.Decimal(account.id * 1000003 % 99999999) / 100
        world.usage(
            "quota_account",
            account_id=account.id,
            quota_balance=amount,
            quota_balance_date=world.ago(1),
            quota_enforce=0,
        )
        world.usage(
            "quota_balance",
            account_id=account.id,
            domain_id=account.domain_id,
            credit_balance=amount / 7 * 7,
            credits_id=0,
            updated_on=world.ago(1),
        )
    _machines(world)
    for row in world.rows["cloud", "user_statistics"]:
        world.usage("user_statistics", **row)
        for hour in range(24):
            world.usage(
                "usage_network", account_id=row["account_id"], zone_id=ZONE, host_id=row["device_id"],
                host_type="DomainRouter",
                network_id=row["network_id"], bytes_sent=hour * 4096, bytes_received=hour * 8192,
                event_time_millis=world.milliseconds(world.ago(minutes=60 * hour)),
            )  # fmt: skip
    for network in world.networks:
        world.usage(
            "usage_networks", network_offering_id=network.offering_id, zone_id=ZONE, network_id=network.id,
            account_id=network.account.id,
            domain_id=network.account.domain_id, state="Implemented" if network.implemented else "Allocated",
            created=world.ago(600),
        )  # fmt: skip
    for row in world.rows["cloud", "vpc"]:
        world.usage(
            "usage_vpc", vpc_id=row["id"], zone_id=ZONE, account_id=row["account_id"], domain_id=row["domain_id"],
            state="Enabled",
            created=world.ago(800),
        )  # fmt: skip


def _machines(world: World) -> None:
    for machine in world.machines:
        for kind in (1, 2):
            world.usage(
                "usage_vm_instance", usage_type=kind, zone_id=ZONE, account_id=machine.account.id,
                vm_instance_id=machine.id,
                vm_name=machine.name, service_offering_id=machine.offering.id, template_id=machine.template.id,
                hypervisor_type="KVM",
                start_date=machine.created,
                end_date=machine.removed if kind == 2 or machine.state == "Running" else world.ago(16),
                cpu_speed=machine.offering.speed, cpu_cores=machine.offering.cores, memory=machine.offering.memory,
            )  # fmt: skip
        world.usage(
            "usage_network_offering", zone_id=ZONE, account_id=machine.account.id, domain_id=machine.account.domain_id,
            vm_instance_id=machine.id, network_offering_id=machine.network.offering_id, is_default=1,
            created=machine.created,
            deleted=machine.removed, nic_id=machine.nic_id,
        )  # fmt: skip
