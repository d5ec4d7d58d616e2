"""Volumes and snapshots. They are rows only."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ...shared.database import Row, utcnow
from .. import alerts
from ..jobs import JobFailed
from .common import new_owner, owner, visible
from .core import PARAM_ERROR, ApiError, Call, Response, command, present, success, when
from .topology import zone_names

GIB = 1 << 30
BETWEEN = ("Creating", "Attaching", "Snapshotting", "Resizing", "Migrating")
TYPES = {0: "MANUAL", 1: "RECURRING"}


@command("listVolumes")
def list_volumes(call: Call) -> Response:
    """Return volumes, newest first."""
    vm = call.maybe("vm_instance", "virtualmachineid")
    zone = call.maybe("data_center", "zoneid")
    rows = visible(
        call,
        call.cloud.rows(
            "SELECT v.* FROM volumes v LEFT JOIN vm_instance vm ON vm.id = v.instance_id WHERE v.removed IS NULL "
            "AND v.state NOT IN ('Destroy', 'Expunging', 'Expunged') AND (vm.id IS NULL OR vm.type = 'User') "
            "ORDER BY v.id DESC"
        ),
    )
    return call.page(
        [
            volume(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and call.text("type").upper() in ("", row["volume_type"])
                and call.text("state").lower() in ("", row["state"].lower())
                and (vm is None or row["instance_id"] == vm["id"])
                and (zone is None or row["data_center_id"] == zone["id"])
                and call.matches(row["name"])
            )
        ],
        "volume",
    )


def volume(call: Call, row: Row) -> Response:
    """Return one volume as it is listed."""
    vm = call.look_up("vm_instance", row["instance_id"])
    offering, pool = call.look_up("disk_offering", row["disk_offering_id"]), call.look_up("storage_pool", row["pool_id"])
    template = call.look_up("vm_template", row["template_id"])
    is_data = row["volume_type"] == "DATADISK"
    return present(
        {
            "id": row["uuid"],
            "name": row["name"],
            **zone_names(call, row["data_center_id"]),
            "type": row["volume_type"],
            "deviceid": row["device_id"] if vm else None,
            "virtualmachineid": vm.get("uuid"),
            "vmname": vm.get("name"),
            "vmdisplayname": vm.get("display_name"),
            "vmstate": vm.get("state"),
            "vmtype": vm.get("type"),
            "provisioningtype": row["provisioning_type"],
            "size": row["size"],
            "created": when(row["created"]),
            "state": row["state"],
            **owner(call, row),
            "storagetype": "shared",
            "hypervisor": vm.get("hypervisor_type"),
            "diskofferingid": offering.get("uuid") if is_data else None,
            "diskofferingname": offering.get("name") if is_data else None,
            "storage": pool.get("name"),
            "storageid": pool.get("uuid"),
            "attached": when(row["attached"]),
            "destroyed": False,
            "templateid": template.get("uuid"),
            "templatename": template.get("name"),
            "isextractable": True,
            "path": row["path"],
            "displayvolume": bool(row["display_volume"]),
            "quiescevm": False,
            "tags": [],
            "hasannotations": False,
        }
    )


def _own(call: Call, table: str, parameter: str = "id") -> Row:
    row = call.find(table, parameter)
    if not call.caller.is_admin and row["account_id"] != call.caller.account_id:
        raise ApiError(531, f"Caller does not have permission to operate with provided resource {row['uuid']}")
    return row


def _submit(
    call: Call, row: Row, kind: str, instance: str, work: Callable[[], Response], begin: Callable[[], None] | None = None
) -> Response:
    def run() -> Response:
        result = work()
        alerts.add_event(
            call.server,
            kind,
            f"Successfully completed {kind} for {row['name']}",
            user_id=call.caller.user_id,
            account_id=row["account_id"],
            domain_id=row["domain_id"],
            resource_id=row["id"],
            resource_type=instance,
        )
        return result

    return {
        "id": row["uuid"],
        "jobid": call.job(instance, row["id"], run, begin),
    }


def _now(call: Call, row: Row) -> Response:
    return {"volume": volume(call, call.cloud.row("SELECT * FROM volumes WHERE id = %s", row["id"]) or row)}


@command("createVolume")
def create_volume(call: Call) -> Response:
    """Make a data disk."""
    zone, offering = call.find("data_center", "zoneid"), call.find("disk_offering", "diskofferingid")
    name = call.text("name") or f"DATA-{uuid.uuid4().hex[:8]}"
    size = call.number("size", 0) * GIB or offering["disk_size"]
    account_id, domain_id = new_owner(call)
    volume_id = call.cloud.insert(
        "volumes",
        account_id=account_id,
        domain_id=domain_id,
        name=name,
        uuid=str(uuid.uuid4()),
        size=size,
        data_center_id=zone["id"],
        volume_type="DATADISK",
        disk_offering_id=offering["id"],
        recreatable=0,
        created=utcnow(),
        state="Allocated",
        update_count=0,
        display_volume=1,
        provisioning_type=offering["provisioning_type"],
    )
    row = call.cloud.row("SELECT * FROM volumes WHERE id = %s", volume_id)
    assert row is not None
    alerts.add_usage(
        call.server,
        "VOLUME.CREATE",
        account_id=row["account_id"],
        zone_id=zone["id"],
        resource_id=volume_id,
        resource_name=name,
        offering_id=offering["id"],
        size=size,
    )
    return _submit(call, row, "VOLUME.CREATE", "Volume", lambda: _now(call, row))


def _at_rest(row: Row) -> None:
    """Raises ApiError where another job is at work on a volume."""
    if row["state"] in BETWEEN:
        raise ApiError(PARAM_ERROR, f"Volume: {row['uuid']} is in {row['state']} state")


@command("attachVolume")
def attach_volume(call: Call) -> Response:
    """Attach a data disk to a VM."""
    row, vm = _own(call, "volumes"), _own(call, "vm_instance", "virtualmachineid")
    if row["account_id"] != vm["account_id"]:
        # An administrator too: [CloudStack 4.22 VolumeApiServiceImpl.attachVolumeToVM, AccountManagerImpl.checkAccess with sameOwner]
        raise ApiError(531, f"Entity {row['uuid']} and entity {vm['uuid']} belong to different accounts")
    if row["instance_id"] is not None:
        raise ApiError(PARAM_ERROR, "Please specify a volume that is not attached to any VM.")
    _at_rest(row)

    def begin() -> None:
        """It is on storage before it is attached."""
        pool = call.cloud.value("SELECT pool_id FROM volumes WHERE instance_id = %s AND volume_type = 'ROOT' LIMIT 1", vm["id"])
        call.cloud.update(
            "volumes", row["id"], state="Attaching", pool_id=row["pool_id"] or pool, path=row["path"] or str(uuid.uuid4())
        )  # fmt: skip

    def work() -> Response:
        last = call.cloud.value("SELECT MAX(device_id) FROM volumes WHERE instance_id = %s AND removed IS NULL", vm["id"])
        call.cloud.update(
            "volumes",
            row["id"],
            instance_id=vm["id"],
            device_id=call.number("deviceid", (last or 0) + 1),
            attached=utcnow(),
            state="Ready",
        )
        return _now(call, row)

    return _submit(call, row, "VOLUME.ATTACH", "Volume", work, begin)


@command("detachVolume")
def detach_volume(call: Call) -> Response:
    """Detach a data disk from its VM."""
    row = _own(call, "volumes")
    if row["volume_type"] == "ROOT" or row["instance_id"] is None:
        raise ApiError(PARAM_ERROR, "The specified volume is not attached to a VM.")

    def work() -> Response:
        call.cloud.update("volumes", row["id"], instance_id=None, device_id=None, attached=None)
        return _now(call, row)

    return _submit(call, row, "VOLUME.DETACH", "Volume", work)


@command("deleteVolume")
def delete_volume(call: Call) -> Response:
    """Delete a data disk that is not attached."""
    row = _own(call, "volumes")
    if row["instance_id"] is not None:
        raise ApiError(PARAM_ERROR, "Please specify a volume that is not attached to any VM.")
    call.cloud.update("volumes", row["id"], state="Expunged", removed=utcnow())
    alerts.add_event(
        call.server,
        "VOLUME.DELETE",
        f"Successfully completed deleting volume {row['name']}",
        account_id=row["account_id"],
        domain_id=row["domain_id"],
        resource_id=row["id"],
        resource_type="Volume",
    )
    return success()


@command("createSnapshot")
def create_snapshot(call: Call) -> Response:
    """Make a snapshot of a volume."""
    row = _own(call, "volumes", "volumeid")
    _at_rest(row)
    vm = call.look_up("vm_instance", row["instance_id"])
    name = call.text("name") or f"{vm.get('name', 'detached')}_{row['name']}_{utcnow():%Y%m%d%H%M%S}"
    snapshot_id = call.cloud.insert(
        "snapshots",
        data_center_id=row["data_center_id"],
        account_id=row["account_id"],
        domain_id=row["domain_id"],
        volume_id=row["id"],
        disk_offering_id=row["disk_offering_id"],
        status="Allocated",
        name=name,
        uuid=str(uuid.uuid4()),
        snapshot_type=0,
        type_description="MANUAL",
        size=row["size"],
        created=utcnow(),
        hypervisor_type=vm.get("hypervisor_type", "None"),
        version="2.2",
        location_type="SECONDARY",
    )
    entry = call.cloud.row("SELECT * FROM snapshots WHERE id = %s", snapshot_id)
    assert entry is not None

    def work() -> Response:
        if row["state"] != "Ready":
            call.cloud.update("snapshots", snapshot_id, status="Error")
            raise JobFailed(f"VolumeId: {row['id']} is not in Ready state but {row['state']}. Cannot take snapshot.")
        call.cloud.update("snapshots", snapshot_id, status="BackedUp")
        call.cloud.update("volumes", row["id"], state="Ready")
        return {"snapshot": snapshot(call, call.cloud.row("SELECT * FROM snapshots WHERE id = %s", snapshot_id) or entry)}

    def begin() -> None:
        if row["state"] == "Ready":
            call.cloud.update("volumes", row["id"], state="Snapshotting")

    return _submit(call, entry, "SNAPSHOT.CREATE", "Snapshot", work, begin)


def snapshot(call: Call, row: Row) -> Response:
    """Return one snapshot as it is listed."""
    source = call.look_up("volumes", row["volume_id"])
    return present(
        {
            "id": row["uuid"],
            **owner(call, row),
            "snapshottype": row["type_description"] or TYPES.get(row["snapshot_type"]),
            "volumeid": source.get("uuid"),
            "volumename": source.get("name"),
            "volumetype": source.get("volume_type"),
            "created": when(row["created"]),
            "name": row["name"],
            "intervaltype": row["type_description"],
            "locationtype": row["location_type"],
            "state": row["status"],
            "physicalsize": row["size"],
            **zone_names(call, row["data_center_id"]),
            "revertable": False,
            "virtualsize": row["size"],
            "tags": [],
            "hasannotations": False,
        }
    )


@command("listSnapshots")
def list_snapshots(call: Call) -> Response:
    """Return snapshots, newest first."""
    source = call.maybe("volumes", "volumeid")
    rows = visible(call, call.cloud.rows("SELECT * FROM snapshots WHERE removed IS NULL ORDER BY id DESC"))
    return call.page(
        [
            snapshot(call, row)
            for row in rows
            if (
                call.text("id") in ("", row["uuid"])
                and call.text("name") in ("", row["name"])
                and (source is None or row["volume_id"] == source["id"])
                and call.matches(row["name"])
            )
        ],
        "snapshot",
    )


@command("deleteSnapshot")
def delete_snapshot(call: Call) -> Response:
    """Delete a snapshot."""
    row = _own(call, "snapshots")

    def work() -> Response:
        call.cloud.update("snapshots", row["id"], status="Destroyed", removed=utcnow())
        return {"null": success()}

    return _submit(call, row, "SNAPSHOT.DELETE", "Snapshot", work)
