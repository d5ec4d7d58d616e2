"""What a host reports to be running, against what the database says.

A system VM that should run on a host and is not reported for longer than a grace period becomes Stopped; one that runs
although it should not becomes Running again. [CloudStack 4.22 VirtualMachinePowerStateSyncImpl.java]
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import Any

from ..shared.database import Row, utcnow
from ..shared.release import template_version
from . import alerts, configuration
from .server import ManagementServer

SETTLED = timedelta(seconds=10)

log = logging.getLogger("c.c.v.VirtualMachinePowerStateSyncImpl")

_missing_since: dict[int, float] = {}
_lock = threading.Lock()


def system_vms(server: ManagementServer, host_id: int) -> list[Row]:
    """Return the system VMs and routers that should run on a host."""
    return server.cloud.rows(
        "SELECT * FROM vm_instance WHERE host_id = %s AND type <> 'User' AND state = 'Running' AND removed IS NULL", host_id
    )


def machine(server: ManagementServer, vm: Row, *, new: bool) -> dict[str, Any]:
    """Return what a host has to know of a system VM to run it.

    Args:
        vm: its row in `vm_instance`.
        new: its volume does not exist yet and is made from the template.
    """
    control = server.cloud.value(
        "SELECT ip4_address FROM nics WHERE instance_id = %s AND removed IS NULL AND ip4_address LIKE '169.254.%%' LIMIT 1", vm["id"]
    )
    name = server.cloud.value("SELECT name FROM vm_template WHERE id = %s", vm["vm_template_id"]) or ""
    return {
        "name": vm["instance_name"],
        "uuid": vm["uuid"],
        "kind": vm["type"],
        "address": control,
        "new": new,
        "private_address": vm["private_ip_address"],
        "template": template_version(name),
        "hosts": configuration.agent_hosts(server, 0),
        "port": configuration.number(server, "port", 8250),
    }


def to_boot(server: ManagementServer, host_id: int) -> list[dict[str, Any]]:
    """Return the machines that a host which has never been connected has to come up with."""
    return [machine(server, vm, new=True) for vm in system_vms(server, host_id)]


def synchronise(server: ManagementServer, host_id: int, reported: list[dict[str, str]]) -> None:
    """Compare a host's report with the database."""
    running = {entry["uuid"] for entry in reported}
    now = time.monotonic()
    for vm in system_vms(server, host_id):
        with _lock:
            if vm["uuid"] in running:
                _missing_since.pop(vm["id"], None)
                continue
            since = _missing_since.setdefault(vm["id"], now)
            if now - since < server.settings.missing_vm_grace_seconds:
                continue
            del _missing_since[vm["id"]]
        _stopped(server, vm)
    for uuid in running:
        _found_running(server, host_id, uuid)


def _stopped(server: ManagementServer, vm: Row) -> None:
    log.info("VM %s is not reported by host %s any more, it is Stopped", vm["instance_name"], vm["host_id"])
    changed = server.cloud.execute(
        "UPDATE vm_instance SET state = 'Stopped', host_id = NULL, power_state = 'PowerReportMissing', "
        "power_state_update_time = %s, update_time = %s, update_count = update_count + 1 "
        "WHERE id = %s AND state = 'Running' AND host_id = %s",
        utcnow(),
        utcnow(),
        vm["id"],
        vm["host_id"],
    )
    if changed:
        alerts.raise_alert(
            server,
            (10, "ALERT.SERVICE.DOMAINROUTER"),
            f"VM {vm['instance_name']} state changed to Stopped out-of-band",
            zone_id=vm["data_center_id"],
            pod_id=vm["pod_id"],
        )


def _found_running(server: ManagementServer, host_id: int, uuid: str) -> None:
    server.cloud.execute(
        "UPDATE vm_instance SET state = 'Running', host_id = %s, last_host_id = %s, power_state = 'PowerOn', "
        "power_state_update_time = %s, update_time = %s, update_count = update_count + 1 "
        "WHERE uuid = %s AND removed IS NULL AND type <> 'User' AND update_time < %s AND (state = 'Stopped' OR "
        "(state = 'Running' AND host_id <> %s))",
        # A report may be older than a stop that has just been carried out.
        host_id,
        host_id,
        utcnow(),
        utcnow(),
        uuid,
        utcnow() - SETTLED,
        host_id,
    )
