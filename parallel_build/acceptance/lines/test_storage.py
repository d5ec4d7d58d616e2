"""Storage: disks made and deleted, those from before; snapshots of them."""

from __future__ import annotations

from parallel_build.acceptance.bench import GIB, Bench
from parallel_build.workload.things import DISKS, SNAPSHOTS, VMS

GIGABYTES = 2


def test_a_disk_is_made_and_deleted(bench: Bench) -> None:
    disk = bench.disk(GIGABYTES)
    offering = next(item for item in bench.cloud.list("listDiskOfferings") if item["id"] == bench.choices.disk)
    asked = GIGABYTES if bench.choices.custom_disk else int(offering["disksize"])
    bench.listed("listVolumes", disk, size=asked * GIB, **bench.owner)
    bench.job("deleteVolume", id=disk["id"])
    bench.gone("listVolumes", disk["id"])


def test_a_disk_from_before_is_detached_and_deleted(bench: Bench) -> None:
    disk = bench.existing(DISKS)[-1]
    if disk.get("virtualmachineid"):
        bench.job("detachVolume", id=disk["id"])
    bench.job("deleteVolume", id=disk["id"])
    bench.gone("listVolumes", disk["id"])


def test_a_snapshot_is_made_and_deleted_and_those_from_before_are_whole(bench: Bench) -> None:
    vm = bench.existing(VMS)[0]
    root = bench.cloud.list("listVolumes", listall="true", virtualmachineid=vm["id"], type="ROOT")[0]
    snapshot = bench.make("createSnapshot", "deleteSnapshot", volumeid=root["id"], name=bench.name())
    bench.listed("listSnapshots", snapshot, state="BackedUp")
    bench.job("deleteSnapshot", id=snapshot["id"])
    bench.gone("listSnapshots", snapshot["id"])
    wrong = [f"{each['name']} ({each['state']})" for each in bench.existing(SNAPSHOTS) if each["state"] != "BackedUp"]
    assert wrong == []
