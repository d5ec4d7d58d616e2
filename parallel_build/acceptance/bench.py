"""What a test works with: the cloud, its workload, and things that are made for the test and removed after it."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack.api import ApiRefused, Cloud
from parallel_build.errors import ParallelBuildError
from parallel_build.workload.choices import UNKNOWN_COMMAND, Choices, Item
from parallel_build.workload.run import Workload
from parallel_build.workload.things import ACCOUNTS, NETWORKS, VMS, Kind, named

PREFIX = "acceptance"
LIMIT = 900.0  # seconds one job may take
PATIENCE = 120.0  # seconds until what was deleted is listed no more
GIB = 1 << 30
ISOLATED, SHARED, VPC = "Isolated", "Shared", "VPC"
RANGE = {"gateway": "10.251.7.1", "netmask": "255.255.255.0"}
SHARED_RANGE = {"gateway": "10.254.7.1", "netmask": "255.255.255.0", "startip": "10.254.7.10", "endip": "10.254.7.50"}
VPC_CIDR, TIER = "10.253.0.0/16", {"gateway": "10.253.1.1", "netmask": "255.255.255.0"}


@dataclass
class Bench:
    """A cloud under test.

    Attributes:
        cloud: its API.
        workload: the workload on it, and its domain.
        choices: zone, offerings and templates that new things are made of.
        patience: seconds until what was deleted is listed no more.
    """

    cloud: Cloud
    workload: Workload
    domain: Item
    choices: Choices
    patience: float = PATIENCE
    undo: list[Callable[[], None]] = field(default_factory=list)

    @property
    def owner(self) -> dict[str, str]:
        """Whose everything new is: the account of the workload's first VM, so that disks and networks can be added to it."""
        account = next((str(vm["account"]) for vm in self.planned(VMS) if vm.get("account")), named(ACCOUNTS.name, 0))
        return {"account": account, "domainid": str(self.domain["id"])}

    def name(self) -> str:
        """A name that nothing else has."""
        return f"{PREFIX}-{secrets.token_hex(4)}"

    def job(self, command: str, **parameters: Any) -> Item:
        """Make a call and wait for its job; a command that this cloud does not have skips the test."""
        try:
            reply = self.cloud.job(command, timeout=LIMIT, cancel=CancelToken(), **parameters)
        except ApiRefused as error:
            if error.code == UNKNOWN_COMMAND:
                pytest.skip(f"this cloud has no {command}")
            raise
        return next((value for value in reply.values() if isinstance(value, dict) and "id" in value), reply)

    def make(self, create: str, delete: str, removal: Mapping[str, str] | None = None, /, **parameters: Any) -> Item:
        """Make a thing that is deleted at the test's end unless the test has done so."""
        made = self.job(create, **parameters)

        def remove() -> None:
            with contextlib.suppress(ParallelBuildError):
                self.cloud.job(delete, timeout=LIMIT, cancel=CancelToken(), id=made["id"], **dict(removal or {}))  # type: ignore[arg-type]

        self.undo.append(remove)
        return made

    def clear(self) -> None:
        """Remove what a test has made, the last first."""
        while self.undo:
            self.undo.pop()()

    def find(self, command: str, identity: object, **parameters: Any) -> Item | None:
        """One thing by its id, None where the cloud does not list it."""
        found = self.cloud.list(command, listall="true", **parameters)
        return next((item for item in found if str(item["id"]) == str(identity)), None)

    def listed(self, command: str, made: Mapping[str, Any], **wanted: Any) -> Item:
        """A thing that was made, as the cloud lists it: it must be there, and have what was asked for."""
        found = self.find(command, made["id"])
        assert found is not None, f"{command} does not list what was made"
        different = {name: found.get(name) for name, value in wanted.items() if str(found.get(name)) != str(value)}
        assert not different, f"asked for { ({name: wanted[name] for name in different}) }, there is {different}"
        return found

    def gone(self, command: str, identity: object, **parameters: Any) -> None:
        """What was deleted is listed no more, at once or soon."""
        wait_for(
            f"{command} without {identity}",
            lambda: self.find(command, identity, **parameters) is None,
            timeout=self.patience,
            cancel=CancelToken(),
            remedy="it was deleted, and is there",
        )

    def existing(self, kind: Kind) -> list[Item]:
        """Things of the workload, made before the upgrade.

        A test that has none to work on fails: an empty cloud proves nothing.
        """
        found = self.planned(kind)
        assert found, f"the workload has no {kind.name}: make one with `parallel-build workload STACK create`"
        return found

    def planned(self, kind: Kind) -> list[Item]:
        """Things of the workload, of a kind that a profile may do without."""
        return [item for name, item in sorted(self.workload.items(kind, self.domain).items()) if name.startswith("wl-")]

    def networks(self, kind: str) -> list[Item]:
        """Networks of the workload of one kind: isolated ones, shared ones, or tiers of VPCs."""
        return [network for network in self.planned(NETWORKS) if kind_of(network) == kind]

    def machine(self, networks: str = "") -> Item:
        """A new VM, running."""
        return self.make(
            "deployVirtualMachine", "destroyVirtualMachine", {"expunge": "true"}, name=self.name(), zoneid=self.choices.zone,
            templateid=self.choices.templates[0], serviceofferingid=self.choices.service, networkids=networks or self.network()["id"],
            **self.owner,
        )  # fmt: skip

    def network(self, **given: Any) -> Item:
        """A new isolated network."""
        return self._network(self.choices.network, **{**RANGE, **given})

    def shared_network(self, vlan: str) -> Item:
        """A new shared network, on a VLAN where its offering wants one."""
        if not self.choices.shared:
            pytest.skip("this cloud has no offering for shared networks")
        if self.choices.shared_vlan and not vlan:
            pytest.skip("shared networks need a VLAN that is free in the zone: give it with --cloud-vlan")
        return self._network(self.choices.shared, **SHARED_RANGE, acltype="account", **({"vlan": vlan} if self.choices.shared_vlan else {}))

    def vpc(self) -> Item:
        """A new VPC without tiers."""
        name = self.name()
        return self.make(
            "createVPC", "deleteVPC", name=name, displaytext=name, zoneid=self.choices.zone, vpcofferingid=self.choices.vpc, cidr=VPC_CIDR,
            **self.owner,
        )  # fmt: skip

    def tier(self, vpc: Item) -> Item:
        """A new tier of a VPC."""
        return self._network(self.choices.tier, vpcid=vpc["id"], **TIER)

    def _network(self, offering: str, **given: Any) -> Item:
        name = self.name()
        return self.make(
            "createNetwork", "deleteNetwork", name=name, displaytext=name, zoneid=self.choices.zone, networkofferingid=offering,
            **self.owner, **given,
        )  # fmt: skip

    def disk(self, gigabytes: int = 1) -> Item:
        """A new data disk; its size is the offering's, unless that leaves it open."""
        size: dict[str, Any] = {"size": gigabytes} if self.choices.custom_disk else {}
        return self.make(
            "createVolume",
            "deleteVolume",
            name=self.name(),
            zoneid=self.choices.zone,
            diskofferingid=self.choices.disk,
            **size,
            **self.owner,
        )

    def expunge(self, vm: Mapping[str, Any]) -> None:
        """Delete a VM for good: neither it nor its root disk is listed any more."""
        disks = self.cloud.list("listVolumes", listall="true", virtualmachineid=vm["id"], type="ROOT")
        self.job("destroyVirtualMachine", id=vm["id"], expunge="true")
        self.gone("listVirtualMachines", vm["id"])
        for disk in disks:
            self.gone("listVolumes", disk["id"])


def kind_of(network: Mapping[str, Any]) -> str:
    """Which kind a network is of."""
    return VPC if network.get("vpcid") else str(network.get("type", ISOLATED))


def card_in(vm: Mapping[str, Any], network: Mapping[str, Any]) -> Item:
    """A VM's card in a network, with an address of it."""
    card = next((nic for nic in vm.get("nic", []) if nic["networkid"] == network["id"]), None)
    assert card is not None, f"{vm['name']} has no card in {network['name']}"
    assert card.get("ipaddress"), f"{vm['name']} has no address in {network['name']}"
    if network.get("cidr"):
        assert ipaddress.ip_address(card["ipaddress"]) in ipaddress.ip_network(network["cidr"]), f"{card['ipaddress']} in {network['cidr']}"
    return dict(card)
