"""What the API is asked for each thing of a workload."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parallel_build.workload.choices import Choices, Item
from parallel_build.workload.profile import Profile
from parallel_build.workload.things import ACCOUNTS, BALANCERS, DISKS, GROUPS, SNAPSHOTS, SUBDOMAINS, USERS, VMS, VPCS, Thing, named

Others = Mapping[str, Mapping[str, Item]]
LETTERS = string.ascii_letters + string.digits
Passwords = dict[str, str]
"""Passwords of users by their names: those of a workload must be known to test logins after the upgrade."""


@dataclass(frozen=True)
class Request:
    """One call."""

    command: str
    parameters: dict[str, Any]


def password() -> str:
    """A password that every set of rules takes."""
    return "Aa1-" + "".join(secrets.choice(LETTERS) for _ in range(20))


def request(thing: Thing, profile: Profile, domain: Item, chosen: Choices, passwords: Passwords, others: Others) -> Request:
    """The call that makes a thing.

    Args:
        passwords: of users by name.
        others: things that are there, by kind and name.
    """
    owner = {"account": named("account", thing.account), "domainid": domain["id"]}
    shown = {"name": thing.name, "displaytext": thing.name, **owner}
    if thing.kind is SUBDOMAINS:
        return Request(thing.kind.create, {"name": thing.name, "parentdomainid": domain["id"]})
    if thing.kind in (ACCOUNTS, USERS):
        person = {"username": thing.name, "email": f"{thing.name}@example.test", "firstname": "Workload", "lastname": thing.name}
        kind = {"accounttype": "0"} if thing.kind is ACCOUNTS else {}
        return Request(thing.kind.create, {**owner, **person, **kind, "password": passwords[thing.name]})
    if thing.kind is GROUPS:
        return Request(thing.kind.create, {"name": thing.name, "type": "host anti-affinity", **owner})
    if thing.kind is VPCS:
        return Request(
            thing.kind.create, {**shown, "zoneid": chosen.zone, "vpcofferingid": chosen.vpc, "cidr": f"10.{_second(thing.number)}.0.0/16"}
        )
    if thing.kind is VMS:
        network = others["network"][named("network", thing.needs[0][1])]
        template = chosen.templates[thing.number % len(chosen.templates)]
        parameters = {"name": thing.name, "displayname": thing.name, **owner, "zoneid": chosen.zone, "templateid": template}
        return Request(thing.kind.create, {**parameters, "serviceofferingid": chosen.service, "networkids": network["id"]})
    if thing.kind is DISKS:
        size = {"size": profile.disk_gigabytes} if chosen.custom_disk else {}
        return Request(thing.kind.create, {"name": thing.name, **owner, "zoneid": chosen.zone, "diskofferingid": chosen.disk, **size})
    if thing.kind is SNAPSHOTS:
        return Request(thing.kind.create, {"name": thing.name, "volumeid": others["root disk"][str(thing.needs[0][1])]["id"]})
    if thing.kind is BALANCERS:
        return Request(
            thing.kind.create,
            {
                "name": thing.name,
                "algorithm": "roundrobin",
                "privateport": "80",
                "publicport": "80",
                "publicipid": others["address"][thing.name]["id"],
            },
        )
    if thing.vlan is not None:
        return Request(thing.kind.create, {"name": thing.name, "displaytext": thing.name, **_shared(thing, profile, domain, chosen)})
    return Request(thing.kind.create, {**shown, **_network(thing, profile, chosen, others)})


def _network(thing: Thing, profile: Profile, chosen: Choices, others: Others) -> dict[str, Any]:
    if thing.tier_of is None:
        return {"zoneid": chosen.zone, "networkofferingid": chosen.network}
    tier = (thing.number - profile.networks) % profile.tiers
    return {
        "zoneid": chosen.zone, "networkofferingid": chosen.tier, "vpcid": others["VPC"][named("VPC", thing.tier_of)]["id"],
        "gateway": f"10.{_second(thing.tier_of)}.{tier + 1}.1", "netmask": "255.255.255.0",
    }  # fmt: skip


def _shared(thing: Thing, profile: Profile, domain: Item, chosen: Choices) -> dict[str, Any]:
    """A network of the whole domain, with addresses of its own."""
    third = profile.shared_vlans.index(thing.vlan or 0) % 250
    return {
        "zoneid": chosen.zone, "networkofferingid": chosen.shared, "vlan": thing.vlan, "acltype": "domain", "domainid": domain["id"],
        "subdomainaccess": "true", "gateway": f"172.31.{third}.1", "netmask": "255.255.255.0", "startip": f"172.31.{third}.10",
        "endip": f"172.31.{third}.200",
    }  # fmt: skip


def _second(number: int) -> int:
    return 100 + number % 100
