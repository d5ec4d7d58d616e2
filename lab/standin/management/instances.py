"""New rows of `vm_instance` for system VMs and routers, with the volume that goes with each."""

from __future__ import annotations

import uuid

from ..shared.database import Row, utcnow
from .server import ManagementServer


def insert_vm(
    server: ManagementServer,
    *,
    kind: str,
    prefix: str,
    zone_id: int,
    pod_id: int | None,
    template: Row,
    offering: int,
    account_id: int = 1,
    domain_id: int = 1,
) -> int:
    """Add the row of a system VM or router, named after its id, and return the id."""
    now = utcnow()
    vm_id = server.cloud.insert(
        "vm_instance",
        name="",
        uuid=str(uuid.uuid4()),
        instance_name="",
        state="Stopped",
        vm_template_id=template["id"],
        guest_os_id=template["guest_os_id"],
        pod_id=pod_id,
        data_center_id=zone_id,
        vnc_password=server.encrypt(uuid.uuid4().hex[:22]),
        ha_enabled=1 if kind == "DomainRouter" else 0,
        limit_cpu_use=0,
        update_count=0,
        update_time=now,
        created=now,
        type=kind,
        vm_type=kind,
        account_id=account_id,
        domain_id=domain_id,
        service_offering_id=offering,
        hypervisor_type=template["hypervisor_type"],
        dynamically_scalable=0,
        display_vm=1,
        power_state="PowerUnknown",
        user_id=1,
        delete_protection=0,
    )
    name = f"{prefix}-{vm_id}-VM"
    server.cloud.update("vm_instance", vm_id, name=name, instance_name=name)
    add_root_volume(server, vm_id, name, zone_id, pod_id, template, account_id, domain_id)
    return vm_id


def add_root_volume(
    server: ManagementServer,
    vm_id: int,
    name: str,
    zone_id: int,
    pod_id: int | None,
    template: Row,
    account_id: int,
    domain_id: int,
) -> None:
    """Add the ROOT volume of a VM."""
    pool = server.cloud.row(
        "SELECT id, path FROM storage_pool WHERE data_center_id = %s AND removed IS NULL AND status = 'Up' "
        "ORDER BY (pod_id = %s) DESC, id LIMIT 1",
        zone_id,
        pod_id,
    ) or {"id": None, "path": None}
    offering = (
        server.cloud.value(
            "SELECT disk_offering_id FROM service_offering WHERE id = (SELECT service_offering_id FROM vm_instance WHERE id = %s)", vm_id
        )
        if "disk_offering_id" in server.cloud.columns("service_offering")
        else None
    )
    path = str(uuid.uuid4())
    server.cloud.insert(
        "volumes",
        account_id=account_id,
        domain_id=domain_id,
        pool_id=pool["id"],
        instance_id=vm_id,
        device_id=0,
        name=f"ROOT-{vm_id}",
        uuid=str(uuid.uuid4()),
        size=template["size"] or 0,
        folder=pool["path"],
        path=path,
        pod_id=pod_id,
        data_center_id=zone_id,
        volume_type="ROOT",
        disk_offering_id=offering or 1,
        template_id=template["id"],
        recreatable=1,
        created=utcnow(),
        state="Ready",
        update_count=2,
        display_volume=1,
        format=template["format"],
        provisioning_type="thin",
    )
