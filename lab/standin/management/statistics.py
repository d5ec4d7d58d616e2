"""The rows that a running management server writes although nobody asked for anything: capacities and its own state."""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging

import pymysql

from ..shared import logs
from ..shared.database import utcnow
from .server import ManagementServer

log = logging.getLogger("c.c.a.AlertManagerImpl")

MEMORY = 0
CPU = 1
BYTES = 1 << 20


class Statistics:
    """The capacity checker and the collector of this server's own state."""

    def __init__(self, server: ManagementServer) -> None:
        self._server = server

    def start(self) -> None:
        """Begin to collect."""
        logs.named_thread("CapacityChecker", self._collect)

    def _collect(self) -> None:
        while not self._server.stopping.wait(self._server.settings.statistics_seconds):
            logs.new_context()
            try:
                self._capacities()
                self._server.cloud.execute("UPDATE mshost_status SET updated = %s WHERE ms_id = %s", utcnow(), self._server.mshost_uuid)
            except pymysql.MySQLError as failure:
                log.error("DB Exception in the capacity checker: %s", failure.args[-1])

    def _capacities(self) -> None:
        """Enter what the VMs of each host use of its processors and memory."""
        cloud = self._server.cloud
        if not cloud.has("op_host_capacity"):
            return
        log.debug("recalculating system capacity")
        log.debug("Executing cpu/ram capacity update")
        for row in cloud.rows(
            "SELECT vm.host_id, SUM(so.cpu * so.speed) AS cpu, SUM(so.ram_size) AS ram FROM vm_instance vm "
            "JOIN service_offering so ON so.id = vm.service_offering_id "
            "WHERE vm.removed IS NULL AND vm.host_id IS NOT NULL GROUP BY vm.host_id"
        ):
            for kind, used in ((CPU, row["cpu"] or 0), (MEMORY, (row["ram"] or 0) * BYTES)):
                cloud.execute(
                    "UPDATE op_host_capacity SET used_capacity = %s, update_time = %s WHERE host_id = %s AND capacity_type = %s",
                    used,
                    utcnow(),
                    row["host_id"],
                    kind,
                )
        log.debug("Done recalculating system capacity")
