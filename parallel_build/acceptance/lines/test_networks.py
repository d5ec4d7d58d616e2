"""Networks: each kind made and deleted, new ones and those from before; VMs reached over them."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from parallel_build.acceptance.suite import Bench
from parallel_build.workload.things import NETWORKS, VMS, VPCS

PROBE_TIME = 60.0  # seconds


def test_an_isolated_network_is_made_and_deleted(bench: Bench) -> None:
    network = bench.network()
    assert bench.find("listNetworks", network["id"])
    bench.job("deleteNetwork", id=network["id"])
    assert bench.find("listNetworks", network["id"]) is None


def test_a_shared_network_is_made_and_deleted(bench: Bench) -> None:
    offered = [
        item for item in bench.cloud.list("listNetworkOfferings", state="Enabled", guestiptype="Shared") if not item.get("specifyvlan")
    ]
    if not offered:
        pytest.skip("this cloud has no offering for shared networks that needs no VLAN of an operator's")
    name = bench.name()
    network = bench.make(
        "createNetwork", "deleteNetwork", name=name, displaytext=name, zoneid=bench.choices.zone, networkofferingid=offered[0]["id"],
        gateway="10.254.7.1", netmask="255.255.255.0", startip="10.254.7.10", endip="10.254.7.50",
    )  # fmt: skip
    assert bench.find("listNetworks", network["id"])
    bench.job("deleteNetwork", id=network["id"])
    assert bench.find("listNetworks", network["id"]) is None


def test_a_vpc_with_a_tier_is_made_and_deleted(bench: Bench) -> None:
    name = bench.name()
    vpc = bench.make(
        "createVPC",
        "deleteVPC",
        name=name,
        displaytext=name,
        zoneid=bench.choices.zone,
        vpcofferingid=bench.choices.vpc,
        cidr="10.253.0.0/16",
    )
    tier = bench.make(
        "createNetwork", "deleteNetwork", name=bench.name(), displaytext=name, zoneid=bench.choices.zone, networkofferingid=bench.choices.tier,
        vpcid=vpc["id"], gateway="10.253.1.1", netmask="255.255.255.0",
    )  # fmt: skip
    assert bench.find("listNetworks", tier["id"])
    bench.job("deleteNetwork", id=tier["id"])
    bench.job("deleteVPC", id=vpc["id"])
    assert bench.find("listVPCs", vpc["id"]) is None


def test_an_empty_network_from_before_is_deleted(bench: Bench) -> None:
    used = {nic["networkid"] for vm in bench.existing(VMS) for nic in vm.get("nic", [])}
    free = [network for network in bench.existing(NETWORKS) if network["id"] not in used]
    if not free:
        pytest.skip("every network of the workload has VMs: plan more networks than VMs need")
    bench.job("deleteNetwork", id=free[-1]["id"])
    assert bench.find("listNetworks", free[-1]["id"]) is None


def test_networks_and_vpcs_from_before_are_whole(bench: Bench) -> None:
    wrong = [
        f"{each['name']} ({each.get('state')})"
        for each in bench.existing(NETWORKS)
        if each.get("state") not in ("Implemented", "Allocated")
    ]
    wrong += [
        f"{each['name']} ({each.get('state')})"
        for each in bench.workload.items(VPCS, bench.domain).values()
        if each.get("state") != "Enabled"
    ]
    assert wrong == []


def test_vms_answer_on_every_kind_of_network(bench: Bench, pytestconfig: pytest.Config) -> None:
    probe = pytestconfig.getoption("--cloud-probe")
    if not probe:
        pytest.skip("nothing is known that reaches a VM: give a command with --cloud-probe 'ping -c 3 {address}'")
    running = [vm for vm in bench.existing(VMS) if vm["state"] == "Running"]
    assert running, "no VM of the workload is running"
    by_network = {nic["networkid"]: nic["ipaddress"] for vm in running for nic in vm.get("nic", []) if nic.get("ipaddress")}
    silent = [
        address
        for address in by_network.values()
        if subprocess.run(shlex.split(probe.replace("{address}", address)), capture_output=True, timeout=PROBE_TIME, check=False).returncode
    ]
    assert silent == []
