"""VMs: made and deleted, started and stopped, new ones and those from before; disks and networks added to them and removed."""

from __future__ import annotations

from typing import Any

from parallel_build.acceptance.bench import Bench, card_in
from parallel_build.workload.things import VMS

RUNNING, STOPPED = "Running", "Stopped"
TURNS = {RUNNING: ("stopVirtualMachine", STOPPED), STOPPED: ("startVirtualMachine", RUNNING)}


def turn(bench: Bench, vm: dict[str, Any]) -> None:
    """Stop a VM and start it again, or the other way round: it is left as it was, with the addresses that it had."""
    before = bench.listed("listVirtualMachines", vm)
    now = str(before["state"])
    for _ in TURNS:
        assert now in TURNS, f"{vm['name']} is {now}"
        command, now = TURNS[now]
        bench.job(command, id=vm["id"])
        bench.listed("listVirtualMachines", vm, state=now)
    after = bench.listed("listVirtualMachines", vm)
    addresses = [{nic["networkid"]: nic.get("ipaddress") for nic in each.get("nic", [])} for each in (before, after)]
    assert addresses[0] == addresses[1], "its addresses are others"


def test_a_new_vm_is_made_stopped_started_and_deleted(bench: Bench) -> None:
    network = bench.network()
    vm = bench.machine(str(network["id"]))
    card_in(bench.listed("listVirtualMachines", vm, state=RUNNING, **bench.owner), bench.listed("listNetworks", network))
    turn(bench, vm)
    bench.expunge(vm)


def test_a_vm_from_before_is_stopped_and_started(bench: Bench) -> None:
    turn(bench, bench.existing(VMS)[0])


def test_a_vm_from_before_is_deleted(bench: Bench) -> None:
    bench.expunge(bench.existing(VMS)[-1])


def test_a_disk_is_added_to_a_vm_and_removed(bench: Bench) -> None:
    for vm in (bench.existing(VMS)[0], bench.machine()):
        disk = bench.disk()
        bench.job("attachVolume", id=disk["id"], virtualmachineid=vm["id"])
        bench.listed("listVolumes", disk, virtualmachineid=vm["id"])
        bench.job("detachVolume", id=disk["id"])
        assert not bench.listed("listVolumes", disk).get("virtualmachineid"), "it was detached, and is attached"


def test_a_network_is_added_to_a_vm_and_removed(bench: Bench) -> None:
    network, own = bench.network(), bench.network(gateway="10.252.7.1")
    for vm in (bench.existing(VMS)[0], bench.machine(str(own["id"]))):
        bench.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network["id"])
        card = card_in(bench.listed("listVirtualMachines", vm), bench.listed("listNetworks", network))
        bench.job("removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=card["id"])
        left = bench.listed("listVirtualMachines", vm)
        assert all(nic["networkid"] != network["id"] for nic in left.get("nic", [])), "the card was removed, and is there"
