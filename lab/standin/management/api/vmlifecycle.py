"""Virtual machines of users: made, started, stopped, destroyed. They are rows only: no host runs anything for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ...shared.database import Row, utcnow
from .. import addresses, alerts
from ..instances import add_root_volume
from ..jobs import JobFailed
from .cards import card
from .common import new_owner
from .core import INTERNAL_ERROR, PARAM_ERROR, ApiError, Call, Response, command
from .virtualmachines import virtual_machine


def _find(call: Call) -> Row:
    row = call.find("vm_instance", "id")
    if row["type"] != "User" or (not call.caller.is_admin and row["account_id"] != call.caller.account_id):
        raise ApiError(PARAM_ERROR, f"Unable to find a virtual machine with id {call.text('id')}")
    return row


BETWEEN = ("Starting", "Stopping", "Migrating")


def _submit(call: Call, row: Row, act: Callable[[Row], None], kind: str, between: str = "") -> Response:
    """Enter the job of a VM.

    Args:
        between: the state in which the VM is while the job runs; empty where it stays in its own.
    """
    if row["state"] in BETWEEN:
        raise ApiError(INTERNAL_ERROR, f"Unable to operate on VM {row['name']} in state {row['state']}")

    def begin() -> None:
        call.cloud.update("vm_instance", row["id"], state=between, update_time=utcnow())

    def work() -> Response:
        act(call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", row["id"]) or row)
        alerts.add_event(
            call.server,
            kind,
            f"Successfully completed {kind} for {row['name']}",
            user_id=call.caller.user_id,
            account_id=row["account_id"],
            domain_id=row["domain_id"],
            resource_id=row["id"],
            resource_type="VirtualMachine",
        )
        alerts.add_usage(
            call.server,
            kind,
            account_id=row["account_id"],
            zone_id=row["data_center_id"],
            resource_id=row["id"],
            resource_name=row["name"],
            offering_id=row["service_offering_id"],
            template_id=row["vm_template_id"],
            resource_type=row["hypervisor_type"],
        )
        now = call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", row["id"])
        return {"virtualmachine": virtual_machine(call, now or row)}

    return {
        "id": row["uuid"],
        "jobid": call.job(
            "VirtualMachine",
            row["id"],
            work,
            begin if between else None,
        ),
    }


def _start(call: Call, row: Row) -> None:
    if row["state"] == "Running":
        return
    hosts = call.system_vms.machines.candidates(row["data_center_id"], row["hypervisor_type"], row["last_host_id"])
    failed = JobFailed("Unable to create a deployment for VM instance", 533) if not hosts else None
    if refused := call.system_vms.routers.refuses(row["id"]):
        failed = failed or JobFailed(refused, 534)
    if failed is not None:
        call.cloud.update("vm_instance", row["id"], state="Stopped", update_time=utcnow())
        raise failed
    call.cloud.update(
        "vm_instance",
        row["id"],
        state="Running",
        host_id=hosts[0]["id"],
        last_host_id=hosts[0]["id"],
        pod_id=hosts[0]["pod_id"],
        power_state="PowerOn",
        power_state_update_time=utcnow(),
        update_time=utcnow(),
    )


def _stop(call: Call, row: Row) -> None:
    if row["state"] in ("Running", "Stopping"):
        call.cloud.update("vm_instance", row["id"], state="Stopped", host_id=None, power_state="PowerOff", update_time=utcnow())


@command("startVirtualMachine")
def start_virtual_machine(call: Call) -> Response:
    """Start a VM."""
    row = _find(call)
    return _submit(call, row, lambda vm: _start(call, vm), "VM.START", "" if row["state"] == "Running" else "Starting")


@command("stopVirtualMachine")
def stop_virtual_machine(call: Call) -> Response:
    """Stop a VM."""
    row = _find(call)
    return _submit(call, row, lambda vm: _stop(call, vm), "VM.STOP", "Stopping" if row["state"] == "Running" else "")


@command("destroyVirtualMachine")
def destroy_virtual_machine(call: Call) -> Response:
    """Destroy a VM; with expunge for good."""
    expunge = call.flag("expunge")

    def act(row: Row) -> None:
        _stop(call, row)
        now = utcnow()
        call.cloud.update("vm_instance", row["id"], state="Destroyed", update_time=now)
        if expunge:
            with call.cloud.transaction():
                addresses.free_shared(
                    call.server, call.cloud.rows("SELECT * FROM nics WHERE instance_id = %s AND removed IS NULL", row["id"])
                )
                call.cloud.update("vm_instance", row["id"], state="Expunging", removed=now)
                call.cloud.execute(
                    "UPDATE nics SET removed = %s, state = 'Deallocating' WHERE instance_id = %s AND removed IS NULL", now, row["id"]
                )
                call.cloud.execute(
                    "UPDATE volumes SET state = 'Expunged', removed = %s WHERE instance_id = %s AND volume_type = 'ROOT'", now, row["id"]
                )

    return _submit(call, _find(call), act, "VM.DESTROY")


@command("deployVirtualMachine")
def deploy_virtual_machine(call: Call) -> Response:
    """Make a VM and start it."""
    zone, offering = call.find("data_center", "zoneid"), call.find("service_offering", "serviceofferingid")
    template = call.find("vm_template", "templateid")
    ready = call.cloud.value(
        "SELECT COUNT(*) FROM template_store_ref WHERE template_id = %s AND download_state = 'DOWNLOADED'", template["id"]
    )
    if not ready:
        raise ApiError(INTERNAL_ERROR, f"Template {template['uuid']} is not ready")
    networks = [call.cloud.row("SELECT * FROM networks WHERE uuid = %s AND removed IS NULL", value) for value in call.listed("networkids")]
    if None in networks:
        raise ApiError(PARAM_ERROR, "Unable to find network by id " + call.text("networkids"))
    name = call.text("name") or f"VM-{uuid.uuid4()}"
    now, (account_id, domain_id) = utcnow(), new_owner(call)
    with call.cloud.transaction():
        vm_id = call.cloud.insert(
            "vm_instance",
            name=name,
            uuid=str(uuid.uuid4()),
            instance_name="",
            state="Stopped",
            vm_template_id=template["id"],
            guest_os_id=template["guest_os_id"],
            data_center_id=zone["id"],
            vnc_password=call.server.encrypt(uuid.uuid4().hex[:22]),
            ha_enabled=offering["ha_enabled"],
            limit_cpu_use=0,
            update_count=0,
            update_time=now,
            created=now,
            type="User",
            vm_type="User",
            account_id=account_id,
            domain_id=domain_id,
            service_offering_id=offering["id"],
            hypervisor_type=call.text("hypervisor") or template["hypervisor_type"],
            host_name=name,
            display_name=call.text("displayname", name),
            dynamically_scalable=0,
            display_vm=1,
            power_state="PowerUnknown",
            user_id=call.caller.user_id,
            delete_protection=0,
            owner=str(account_id),
        )
        call.cloud.update("vm_instance", vm_id, instance_name=f"i-{account_id}-{vm_id}-VM")
        call.cloud.insert("user_vm", id=vm_id, display_name=call.text("displayname", name), update_parameters=1, user_vm_type="UserVM")
        add_root_volume(call.server, vm_id, name, zone["id"], None, template, account_id, domain_id)
        addresses.add(
            call.server, vm_id, "User", [card(call, entry, first=index == 0) for index, entry in enumerate(networks) if entry is not None]
        )
    row = call.cloud.row("SELECT * FROM vm_instance WHERE id = %s", vm_id)
    assert row is not None
    start = call.flag("startvm", True)
    return _submit(call, row, lambda vm: _start(call, vm) if start else None, "VM.CREATE", "Starting" if start else "")
