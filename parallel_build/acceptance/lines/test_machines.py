"""VMs: made and deleted, started and stopped, new ones and those from before; disks and networks added to them and removed."""

from __future__ import annotations

from parallel_build.acceptance.suite import Bench
from parallel_build.workload.things import VMS

RUNNING, STOPPED = "Running", "Stopped"


def state(bench: Bench, vm: dict[str, object]) -> object:
    """A VM's state as it is listed now."""
    found = bench.find("listVirtualMachines", vm["id"])
    return found and found["state"]


def stop_and_start(bench: Bench, vm: dict[str, object]) -> None:
    """Stop a VM and start it again; it is left as it was."""
    for command, wanted in (("stopVirtualMachine", STOPPED), ("startVirtualMachine", RUNNING)):
        bench.job(command, id=vm["id"])
        assert state(bench, vm) == wanted


def test_a_new_vm_is_made_stopped_started_and_deleted(bench: Bench) -> None:
    vm = bench.machine()
    assert state(bench, vm) == RUNNING
    stop_and_start(bench, vm)
    bench.job("destroyVirtualMachine", id=vm["id"], expunge="true")
    assert state(bench, vm) in (None, "Destroyed", "Expunging")


def test_a_vm_from_before_is_stopped_and_started(bench: Bench) -> None:
    stop_and_start(bench, bench.existing(VMS)[0])


def test_a_vm_from_before_is_deleted(bench: Bench) -> None:
    last = bench.existing(VMS)[-1]
    bench.job("destroyVirtualMachine", id=last["id"], expunge="true")
    assert state(bench, last) in (None, "Destroyed", "Expunging")


def test_a_disk_is_added_to_a_vm_and_removed(bench: Bench) -> None:
    for vm in (bench.existing(VMS)[0], bench.machine()):
        disk = bench.disk()
        bench.job("attachVolume", id=disk["id"], virtualmachineid=vm["id"])
        found = bench.find("listVolumes", disk["id"])
        assert found is not None and found["virtualmachineid"] == vm["id"]
        bench.job("detachVolume", id=disk["id"])
        found = bench.find("listVolumes", disk["id"])
        assert found is not None and not found.get("virtualmachineid")


def test_a_network_is_added_to_a_vm_and_removed(bench: Bench) -> None:
    vm, network = bench.machine(), bench.network()
    with_nic = bench.job("addNicToVirtualMachine", virtualmachineid=vm["id"], networkid=network["id"])
    card = next(nic for nic in with_nic["nic"] if nic["networkid"] == network["id"])
    bench.job("removeNicFromVirtualMachine", virtualmachineid=vm["id"], nicid=card["id"])
    found = bench.find("listVirtualMachines", vm["id"])
    assert found is not None and all(nic["networkid"] != network["id"] for nic in found["nic"])
