"""The things of a workload and what each depends on: names that are always the same, so that an interrupted run is resumed by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from parallel_build.workload.profile import Profile

DOMAIN = "parallel-build-workload"
TAG = "parallel-build-workload"
PREFIX = "wl"


@dataclass(frozen=True)
class Kind:
    """How the API calls one kind of thing.

    Attributes:
        name: for people.
        create, delete, list: commands.
        item: the member of a list's reply.
        tagged: the API's name of its type for tags; "" where it takes none: then it is known by its name within the workload's own domain.
        named: the field that has its name.
        within: the field that names the workload's domain.
        removal, listing: what is given besides when it is deleted, and when it is listed; root disks come and go with their VMs.
    """

    name: str
    create: str
    delete: str
    list: str
    tagged: str = ""
    named: str = "name"
    within: str = "domainid"
    removal: dict[str, str] = field(default_factory=dict)
    listing: dict[str, str] = field(default_factory=dict)


DOMAINS = Kind("domain", "createDomain", "deleteDomain", "listDomains")
SUBDOMAINS = Kind("subdomain", "createDomain", "deleteDomain", "listDomains", within="parentdomainid", removal={"cleanup": "true"})
ACCOUNTS = Kind("account", "createAccount", "deleteAccount", "listAccounts")
USERS = Kind("user", "createUser", "deleteUser", "listUsers", named="username")
GROUPS = Kind("affinity group", "createAffinityGroup", "deleteAffinityGroup", "listAffinityGroups")
NETWORKS = Kind("network", "createNetwork", "deleteNetwork", "listNetworks", "Network")
VPCS = Kind("VPC", "createVPC", "deleteVPC", "listVPCs", "Vpc")
VMS = Kind("VM", "deployVirtualMachine", "destroyVirtualMachine", "listVirtualMachines", "UserVm", removal={"expunge": "true"})
DISKS = Kind("disk", "createVolume", "deleteVolume", "listVolumes", "Volume", listing={"type": "DATADISK"})
SNAPSHOTS = Kind("snapshot", "createSnapshot", "deleteSnapshot", "listSnapshots", "Snapshot")
BALANCERS = Kind("load balancer", "createLoadBalancerRule", "deleteLoadBalancerRule", "listLoadBalancerRules", "LoadBalancer")
# In the order in which they are made; removed in the reverse.
KINDS = (SUBDOMAINS, ACCOUNTS, USERS, GROUPS, VPCS, NETWORKS, VMS, DISKS, SNAPSHOTS, BALANCERS)


def named(kind: str, number: int | str) -> str:
    """The name of a thing: always the same, whenever and by whomever it is made."""
    return f"{PREFIX}-{kind.lower().replace(' ', '-')}-{number}"


@dataclass(frozen=True)
class Thing:
    """One thing that is wanted.

    Attributes:
        number: which of its kind; what it needs of others follows from it.
        account: which account owns it.
        needs: kind and number of what must be there first, such as a disk's VM.
        tier_of: the VPC that a network is a tier of.
        vlan: of a shared network.
    """

    kind: Kind
    number: int
    account: int
    needs: tuple[tuple[str, int], ...] = ()
    tier_of: int | None = None
    vlan: int | None = None

    @property
    def name(self) -> str:
        """Its name in the cloud."""
        return named(self.kind.name, self.number)


def things(profile: Profile) -> Iterator[Thing]:
    """Everything of a profile, in the order in which it can be made: what depends on another thing comes after it."""
    yield from (Thing(SUBDOMAINS, number, 0) for number in range(profile.subdomains))
    yield from (Thing(ACCOUNTS, number, number) for number in range(profile.accounts + profile.spare_accounts))
    for number in range(profile.accounts * profile.users):
        yield Thing(USERS, number, number % profile.accounts)
    yield from (Thing(GROUPS, number, number % profile.accounts) for number in range(profile.affinity_groups))
    yield from (Thing(VPCS, number, number % profile.accounts) for number in range(profile.vpcs))
    yield from (Thing(NETWORKS, number, number % profile.accounts) for number in range(profile.networks))
    for number in range(profile.vpcs * profile.tiers):
        vpc = number // profile.tiers
        yield Thing(NETWORKS, profile.networks + number, vpc % profile.accounts, (("VPC", vpc),), tier_of=vpc)
    for number, vlan in enumerate(profile.shared_vlans):
        yield Thing(NETWORKS, _first_shared(profile) + number, 0, vlan=vlan)
    places = list(_places(profile))
    for number in range(profile.vms if places else 0):
        network, account = places[number % len(places)]
        yield Thing(VMS, number, account, (("network", network),))
    vms = [places[number % len(places)][1] for number in range(profile.vms)] if places else []
    yield from (_of_vm(DISKS, number, vms) for number in range(profile.disks if vms else 0))
    yield from (_of_vm(SNAPSHOTS, number, vms) for number in range(profile.snapshots if vms else 0))
    for number in range(min(profile.addresses, profile.networks)):
        yield Thing(BALANCERS, number, number % profile.accounts, (("network", number),))


def _places(profile: Profile) -> Iterator[tuple[int, int]]:
    """Networks that VMs may stand in, each with an account whose VMs may."""
    for number in range(profile.networks):
        yield number, number % profile.accounts
    for number in range(profile.vpcs * profile.tiers):
        yield profile.networks + number, (number // profile.tiers) % profile.accounts
    for number in range(len(profile.shared_vlans)):
        yield _first_shared(profile) + number, number % profile.accounts


def _first_shared(profile: Profile) -> int:
    return profile.networks + profile.vpcs * profile.tiers


def _of_vm(kind: Kind, number: int, owners: list[int]) -> Thing:
    vm = number % len(owners)
    return Thing(kind, number, owners[vm], (("VM", vm),))


def counted(profile: Profile) -> dict[str, int]:
    """How many of each kind a profile wants."""
    found: dict[str, int] = {}
    for thing in things(profile):
        found[thing.kind.name] = found.get(thing.kind.name, 0) + 1
    return found
