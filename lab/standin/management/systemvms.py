"""The secondary storage VM and the console proxy of every zone: there is always one, made by itself.

[CloudStack 4.22 SecondaryStorageManagerImpl, ConsoleProxyManagerImpl]
"""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import pymysql

from ..shared import logs
from ..shared.database import Row
from . import addresses, alerts, hosts
from .agents import AgentManager, CommandFailed
from .instances import insert_vm
from .jobs import Jobs
from .machines import Machines, StartRefused
from .routers import Routers
from .server import ManagementServer


@dataclass(frozen=True)
class Kind:
    """What differs between the two."""

    type: str
    prefix: str
    table: str
    offering: str
    alert: tuple[int, str]
    event: str
    logger: str
    up: str
    word: str


KINDS = (
    Kind(
        "SecondaryStorageVm",
        "s",
        "secondary_storage_vm",
        "secondarystoragevm",
        alerts.SECONDARY_STORAGE_VM,
        "SSVM",
        "o.a.c.s.SecondaryStorageManagerImpl",
        "Secondary Storage Vm is up",
        "secStorageVm",
    ),
    Kind(
        "ConsoleProxy",
        "v",
        "console_proxy",
        "consoleproxy",
        alerts.CONSOLE_PROXY,
        "PROXY",
        "c.c.c.ConsoleProxyManagerImpl",
        "Console proxy up",
        "proxy",
    ),
)
ALIVE = ("Starting", "Running", "Stopping", "Migrating")
RETRY_SCANS = 15


class SystemVms:
    """Keeps every zone's system VMs alive and does what the API asks of them."""

    def __init__(self, server: ManagementServer, agents: AgentManager, jobs: Jobs) -> None:
        self._server = server
        self.machines = Machines(server, agents)
        self.routers = Routers(server, self.machines)
        self.jobs = jobs
        self._failed: dict[tuple[int, str], int] = {}

    def start(self) -> None:
        """Begin to look after the zones: one scanner a kind, each taking zone after zone.

        [CloudStack 4.22 SystemVmLoadScanner, listEnabledNonEdgeZoneIds]
        """
        for kind in KINDS:
            logs.named_thread(f"SystemVM-Scan-{kind.prefix}", partial(self._scan, kind))

    def kind(self, vm: Row) -> Kind:
        """Return the kind of a system VM."""
        return next(kind for kind in KINDS if kind.type == vm["type"])

    def destroy(self, vm: Row) -> None:
        """Destroy a system VM; a new one comes by itself. Raises CommandFailed."""
        self.machines.destroy(vm["id"])
        kind = self.kind(vm)
        alerts.add_event(
            self._server,
            f"{kind.event}.DESTROY",
            f"Successfully completed destroying system VM {vm['name']}",
            resource_id=vm["id"],
            resource_type="SystemVm",
        )
        self._failed.clear()

    def _scan(self, kind: Kind) -> None:
        while not self._server.stopping.wait(self._server.settings.scan_seconds):
            logs.new_context()
            try:
                for zone in self._server.cloud.rows("SELECT * FROM data_center WHERE removed IS NULL AND allocation_state = 'Enabled'"):
                    if zone.get("type") != "Edge":
                        self._look_after(zone, kind)
            except pymysql.MySQLError as failure:
                logging.getLogger(kind.logger).error("DB Exception in the scan: %s", failure.args[-1])

    def _look_after(self, zone: Row, kind: Kind) -> None:
        waiting = self._failed.get((zone["id"], kind.type), 0)
        if waiting:
            self._failed[zone["id"], kind.type] = waiting - 1
            return
        if self._present(zone, kind, ALIVE):
            return
        # Only one of the servers on this database looks after a zone at a time.
        with self._server.cloud.lock(f"systemvm.{kind.type}.{zone['id']}", 0) as got:
            if not got or self._server.stopping.is_set() or self._present(zone, kind, ALIVE):
                return
            try:
                self._bring_up(zone, kind)
            except (StartRefused, CommandFailed, addresses.OutOfAddresses) as failure:
                self._failed[zone["id"], kind.type] = RETRY_SCANS
                alerts.raise_alert(
                    self._server,
                    kind.alert,
                    f"{kind.event} could not be started in zone [{zone['name']}]: {failure}",
                    zone_id=zone["id"],
                    once=True,
                )

    def _present(self, zone: Row, kind: Kind, states: tuple[str, ...]) -> Row | None:
        marks = ", ".join(["%s"] * len(states))
        return self._server.cloud.row(
            f"SELECT * FROM vm_instance WHERE type = %s AND data_center_id = %s AND removed IS NULL "
            f"AND state IN ({marks}) ORDER BY id LIMIT 1",
            kind.type,
            zone["id"],
            *states,
        )

    def _bring_up(self, zone: Row, kind: Kind) -> None:
        stopped = self._present(zone, kind, ("Stopped",))
        if stopped is not None:
            if self.machines.candidates(zone["id"], stopped["hypervisor_type"]):
                self.machines.start(stopped["id"], new=False)
            return
        template = self._template(zone)
        if template is None:
            return
        vm_id = self._create(zone, kind, template)
        name = self.machines.row(vm_id)["name"]
        try:
            self.machines.start(vm_id, new=True, fault="system_vms_fail")
        except StartRefused:
            self._server.cloud.update("vm_instance", vm_id, state="Error")
            raise
        if template["hypervisor_type"] == "Simulator" and kind.type == "SecondaryStorageVm":
            # Of simulated system VMs only this one has an agent; a console proxy reports no version.
            vm = self.machines.row(vm_id)
            hosts.add_system_vm(self._server, vm, f"{vm['name']}-NfsSecondaryStorageResource", self._server.version.text)
        logging.getLogger(kind.logger).info("System VM %s is up in zone %s", name, zone["name"])
        alerts.raise_alert(self._server, kind.alert, self._up(zone, kind, vm_id, name), zone_id=zone["id"])
        alerts.add_event(
            self._server,
            f"{kind.event}.CREATE",
            f"Successfully completed creating system VM {name}",
            resource_id=vm_id,
            resource_type="SystemVm",
        )

    def _up(self, zone: Row, kind: Kind, vm_id: int, name: str) -> str:
        """The words of the alert that nothing is wrong."""
        public = self._server.cloud.value(f"SELECT public_ip_address FROM {kind.table} WHERE id = %s", vm_id)
        private = self._server.cloud.value("SELECT private_ip_address FROM vm_instance WHERE id = %s", vm_id)
        return f"{kind.up} in zone [{zone['name']}], {kind.word} [{name}], public IP [{public}], private IP [{private}]."

    def _template(self, zone: Row) -> Row | None:
        """Return the newest SYSTEM template that is ready in the zone for a hypervisor with a host that is Up."""
        return self._server.cloud.row(
            "SELECT t.* FROM vm_template t "
            "JOIN template_zone_ref z ON z.template_id = t.id AND z.zone_id = %s AND z.removed IS NULL "
            "JOIN template_store_ref r ON r.template_id = t.id AND r.store_role = 'Image' AND r.state = 'Ready' "
            "AND r.download_state = 'DOWNLOADED' AND r.destroyed = 0 "
            "WHERE t.type = 'SYSTEM' AND t.removed IS NULL AND t.hypervisor_type IN ("
            "SELECT hypervisor_type FROM host WHERE type = 'Routing' AND status = 'Up' AND removed IS NULL "
            "AND data_center_id = %s) ORDER BY t.id DESC LIMIT 1",
            zone["id"],
            zone["id"],
        )

    def _create(self, zone: Row, kind: Kind, template: Row) -> int:
        cloud = self._server.cloud
        pod_id = cloud.value(
            "SELECT pod_id FROM host WHERE type = 'Routing' AND status = 'Up' AND removed IS NULL "
            "AND data_center_id = %s AND hypervisor_type = %s ORDER BY id LIMIT 1",
            zone["id"],
            template["hypervisor_type"],
        )
        with cloud.transaction():
            nics = [
                addresses.control(self._server, zone["id"], pod_id),
                addresses.pod(self._server, zone["id"], pod_id),
                addresses.public(self._server, zone["id"]),
            ]
            vm_id = insert_vm(
                self._server,
                kind=kind.type,
                prefix=kind.prefix,
                zone_id=zone["id"],
                pod_id=pod_id,
                template=template,
                offering=self._offering(kind),
            )
            addresses.add(self._server, vm_id, kind.type, nics)
            own = cloud.row("SELECT mac_address FROM nics WHERE instance_id = %s AND reserver_name = 'PublicNetworkGuru'", vm_id)
            values = {
                "id": vm_id,
                "public_mac_address": own["mac_address"] if own else None,
                "public_ip_address": nics[2].address,
                "public_netmask": nics[2].netmask,
            }
            if kind.type == "ConsoleProxy":
                cloud.insert(kind.table, active_session=0, **values)
            else:
                cloud.insert(kind.table, role="templateProcessor", **values)
        return vm_id

    def _offering(self, kind: Kind) -> int:
        found = self._server.cloud.value(
            "SELECT id FROM service_offering WHERE removed IS NULL AND LOWER(vm_type) = %s ORDER BY id LIMIT 1", kind.offering
        )
        return int(found or 1)
