"""What a workload consists of: how many of each thing, built in, from a file, or in proportion to another cloud's facts."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from parallel_build.configuration.loading import describe
from parallel_build.configuration.values import Model
from parallel_build.errors import ConfigurationError

LATER = {"shared_vlans", "spare_accounts", "subdomains", "shared_offering"}
UNCHANGED = "nothing has been contacted or changed"


class Profile(Model):
    """How many of each thing a workload has. Keys are written in camelCase.

    Attributes:
        accounts: accounts in the workload's domain; what follows is spread over them, one after the other.
        users: users besides each account's first.
        networks: isolated networks.
        vpcs: VPCs, and how many tiers each has.
        vms: VMs, on the networks and tiers in turn. Tests may break some: plan more than you need.
        disks: data disks, attached to VMs in turn.
        snapshots: of root disks.
        affinity_groups: groups of hosts that VMs avoid each other on.
        addresses: public addresses of networks; each carries a firewall rule and a load-balancer rule.
        remote_access: how many of these addresses also have a VPN for remote access.
        shared_vlans: a shared network for each of these VLANs, which must be free in the zone.
        spare_accounts: accounts that own nothing, for tests to delete.
        subdomains: domains below the workload's own, empty, for tests to delete.
        templates: names of templates, used in turn, such as one of Windows and one of Linux; none for whatever is ready.
        service_offering, disk_offering, network_offering, vpc_offering, tier_offering, shared_offering: names; "" for the first that fits.
        disk_gigabytes: size of a data disk, where its offering leaves it open.
    """

    accounts: int = Field(default=2, ge=1, le=500)
    users: int = Field(default=1, ge=0, le=50)
    networks: int = Field(default=2, ge=0, le=2000)
    vpcs: int = Field(default=0, ge=0, le=500)
    tiers: int = Field(default=1, ge=1, le=8)
    vms: int = Field(default=4, ge=0, le=10000)
    disks: int = Field(default=2, ge=0, le=10000)
    snapshots: int = Field(default=1, ge=0, le=10000)
    affinity_groups: int = Field(default=0, ge=0, le=500)
    addresses: int = Field(default=0, ge=0, le=500)
    remote_access: int = Field(default=0, ge=0, le=500)
    shared_vlans: list[int] = Field(default_factory=list, max_length=200)
    spare_accounts: int = Field(default=0, ge=0, le=500)
    subdomains: int = Field(default=0, ge=0, le=500)
    templates: list[str] = Field(default_factory=list)
    service_offering: str = ""
    disk_offering: str = ""
    network_offering: str = ""
    vpc_offering: str = ""
    tier_offering: str = ""
    shared_offering: str = ""
    disk_gigabytes: int = Field(default=1, ge=1, le=10000)

    @property
    def digest(self) -> str:
        """What tells one profile from another."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()[:12]

    def document(self) -> dict[str, Any]:
        """All numbers and names; without what came later and is not asked for, so that a workload from before is still the same profile's."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value or name not in LATER}


BUILT_IN = {
    "small": Profile(),
    "medium": Profile(
        accounts=6, users=2, networks=12, vpcs=4, tiers=2, vms=80, disks=30, snapshots=20, affinity_groups=4, addresses=8, remote_access=2
    ),
    # 200 things, with some of each that tests may delete.
    "acceptance": Profile(
        accounts=6,
        spare_accounts=3,
        users=3,
        subdomains=3,
        networks=16,
        vpcs=6,
        tiers=2,
        vms=68,
        disks=36,
        snapshots=20,
        affinity_groups=4,
        addresses=8,
    ),
    "large": Profile(
        accounts=20,
        users=3,
        networks=60,
        vpcs=20,
        tiers=3,
        vms=500,
        disks=150,
        snapshots=100,
        affinity_groups=20,
        addresses=40,
        remote_access=8,
    ),
}


def load(name: str) -> Profile:
    """A built-in profile by its name, or one from a file (YAML).

    Raises:
        ConfigurationError: there is neither, or the file can't be used.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    try:
        found = yaml.safe_load(Path(name).expanduser().read_text())
    except OSError as error:
        raise ConfigurationError(
            f"--profile: {name} can't be read", os.strerror(error.errno or 0), f"name a file, or one of {', '.join(BUILT_IN)}; {UNCHANGED}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--profile: {name} is not YAML", " ".join(str(error).split()), f"correct it; {UNCHANGED}") from None
    try:
        return Profile.model_validate(found or {})
    except ValidationError as error:
        raise ConfigurationError(
            f"--profile: {name} can't be used:\n  {describe(error)}\n",
            "a profile has a number for each kind of thing",
            f"correct these; {UNCHANGED}",
        ) from None


def like(facts: dict[str, Any], share: float) -> Profile:
    """A workload in proportion to a cloud's facts, as `facts` and `check-cloud --json` write them.

    Args:
        share: part of that cloud's numbers; at least one of everything that the cloud has.
    """
    counts = {name: int(number) for name, number in facts.get("counts", {}).items()}

    def part(name: str, most: int) -> int:
        return min(most, math.ceil(counts.get(name, 0) * share))

    vms = part("virtual machines", 10000)
    return Profile(
        accounts=max(1, part("networks", 100) // 2),
        networks=part("networks", 2000),
        vpcs=part("VPCs", 500),
        vms=vms,
        disks=vms // 3,
        snapshots=vms // 5,
    )
