"""Networks: each kind made, used and deleted, new ones and those from before; VMs reached over them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from parallel_build.acceptance.bench import ISOLATED, RANGE, SHARED, SHARED_RANGE, TIER, VPC, VPC_CIDR, Bench, card_in, kind_of
from parallel_build.acceptance.suite import Probe
from parallel_build.workload.things import BALANCERS, NETWORKS, VMS, VPCS


def cidr(given: dict[str, str]) -> str:
    """The range of a gateway and a netmask."""
    return str(ipaddress.ip_network(f"{given['gateway']}/{given['netmask']}", strict=False))


def used(bench: Bench, network: dict[str, Any], kind: str, probe: Probe) -> str:
    """Have a VM in a network, reach it, delete it; its address there."""
    vm = bench.machine(str(network["id"]))
    card = card_in(bench.listed("listVirtualMachines", vm, state="Running"), network)
    assert probe.reaches(str(card["ipaddress"]), kind), f"a new VM in a new network ({kind}) is not reached"
    bench.expunge(vm)
    return str(card["ipaddress"])


def deleted(bench: Bench, network: dict[str, Any]) -> None:
    """Delete a network."""
    bench.job("deleteNetwork", id=network["id"])
    bench.gone("listNetworks", network["id"])


def test_an_isolated_network_is_made_and_deleted(bench: Bench, probe: Probe) -> None:
    network = bench.listed("listNetworks", bench.network(), type=ISOLATED, cidr=cidr(RANGE), **bench.owner)
    used(bench, network, ISOLATED, probe)
    deleted(bench, network)


def test_a_shared_network_is_made_and_deleted(bench: Bench, probe: Probe, pytestconfig: pytest.Config) -> None:
    vlan = pytestconfig.getoption("--cloud-vlan")
    made = bench.shared_network(vlan)
    network = bench.listed(
        "listNetworks", made, type=SHARED, cidr=cidr(SHARED_RANGE), **({"vlan": vlan} if bench.choices.shared_vlan else {})
    )
    address = ipaddress.ip_address(used(bench, network, SHARED, probe))
    first, last = (ipaddress.ip_address(SHARED_RANGE[name]) for name in ("startip", "endip"))
    assert int(first) <= int(address) <= int(last), f"{address} is not of the network's own range"
    deleted(bench, network)


def test_a_vpc_with_a_tier_is_made_and_deleted(bench: Bench, probe: Probe) -> None:
    vpc = bench.vpc()
    bench.listed("listVPCs", vpc, state="Enabled", cidr=VPC_CIDR, **bench.owner)
    tier = bench.listed("listNetworks", bench.tier(vpc), vpcid=vpc["id"], cidr=cidr(TIER))
    used(bench, tier, VPC, probe)
    deleted(bench, tier)
    bench.job("deleteVPC", id=vpc["id"])
    bench.gone("listVPCs", vpc["id"])


def emptied(bench: Bench, network: dict[str, Any]) -> None:
    """Delete the VMs of a network, which all are the workload's."""
    known = {str(vm["id"]) for vm in bench.planned(VMS)}
    inside = bench.cloud.list("listVirtualMachines", listall="true", networkid=network["id"])
    strangers = [str(vm["name"]) for vm in inside if str(vm["id"]) not in known]
    if strangers:
        pytest.skip(f"{network['name']} has VMs that are not the workload's: {', '.join(strangers)}")
    for vm in inside:
        bench.expunge(vm)


def last_of(bench: Bench, kind: str) -> dict[str, Any]:
    """The workload's last network of a kind without a rule that others test; skips the test where it has none to lose."""
    ruled = {rule.get("networkid") for rule in bench.planned(BALANCERS)}
    found = [network for network in bench.networks(kind) if network["id"] not in ruled]
    if not found or (kind == ISOLATED and len(bench.networks(kind)) < 2):
        pytest.skip(f"the workload has no network of the kind {kind} to delete: plan more of them")
    return found[-1]


@pytest.mark.parametrize("kind", [ISOLATED, SHARED])
def test_a_network_from_before_is_deleted(kind: str, bench: Bench) -> None:
    network = last_of(bench, kind)
    emptied(bench, network)
    deleted(bench, network)


def test_a_vpc_from_before_is_deleted(bench: Bench) -> None:
    vpcs = bench.planned(VPCS)
    if not vpcs:
        pytest.skip("the workload has no VPC to delete: plan vpcs")
    for tier in [network for network in bench.networks(VPC) if network["vpcid"] == vpcs[-1]["id"]]:
        emptied(bench, tier)
        deleted(bench, tier)
    bench.job("deleteVPC", id=vpcs[-1]["id"])
    bench.gone("listVPCs", vpcs[-1]["id"])


def test_networks_and_vpcs_from_before_are_whole(bench: Bench) -> None:
    good = {SHARED: ("Setup", "Implemented"), ISOLATED: ("Implemented", "Allocated"), VPC: ("Implemented", "Allocated")}
    wrong = [
        f"{each['name']} ({each.get('state')})" for each in bench.existing(NETWORKS) if each.get("state") not in good.get(kind_of(each), ())
    ]
    wrong += [f"{each['name']} ({each.get('state')})" for each in bench.planned(VPCS) if each.get("state") != "Enabled"]
    assert wrong == []


def test_vms_answer_on_every_kind_of_network(bench: Bench, probe: Probe) -> None:
    if not probe.command:
        pytest.skip("nothing is known that reaches a VM: give a command with --cloud-probe 'ping -c 3 {address}'")
    kinds = {network["id"]: kind_of(network) for network in bench.existing(NETWORKS)}
    cards = {
        nic["networkid"]: nic["ipaddress"]
        for vm in bench.existing(VMS)
        if vm["state"] == "Running"
        for nic in vm.get("nic", [])
        if nic.get("ipaddress") and nic["networkid"] in kinds
    }
    silent = [address for network, address in cards.items() if not probe.reaches(address, kinds[network])]
    assert silent == []
    missing = set(kinds.values()) - {kinds[network] for network in cards}
    assert not missing, f"no VM of the workload is running in a network of the kind {', '.join(sorted(missing))}"
