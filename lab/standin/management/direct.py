"""Hosts without an agent (XenServer, VMware, the simulator): the management server connects to them itself."""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging

import pymysql

from ..shared import logs
from . import hosts
from .cluster import ClusterManager
from .server import ManagementServer

log = logging.getLogger("c.c.a.m.ClusteredAgentManagerImpl")
host_log = logging.getLogger("c.c.h.d.HostDaoImpl")


class DirectHosts:
    """Takes over direct hosts that no living server has, and keeps them."""

    def __init__(self, server: ManagementServer, cluster: ClusterManager) -> None:
        self._server = server
        self._cluster = cluster

    def start(self) -> None:
        """Begin to scan."""
        logs.named_thread("ClusteredAgentManager Timer", self._scan)

    def _scan(self) -> None:
        pause = self._server.settings.direct_connect_seconds
        while not self._server.stopping.wait(pause):
            pause = self._server.settings.scan_seconds
            logs.new_context()
            try:
                self._release()
                self._take()
            except pymysql.MySQLError as failure:
                log.error("DB Exception in the direct agent scan: %s", failure.args[-1])

    def _release(self) -> None:
        """Take hosts as disconnected whose server is gone, whatever kind of host they are."""
        host_log.debug("Resetting hosts suitable for reconnect")
        living = self._cluster.living()
        for row in self._server.cloud.rows("SELECT DISTINCT mgmt_server_id FROM host WHERE mgmt_server_id IS NOT NULL AND removed IS NULL"):
            if row["mgmt_server_id"] not in living:
                self._server.cloud.execute(
                    "UPDATE host SET mgmt_server_id = NULL, status = 'Disconnected' WHERE mgmt_server_id = %s", row["mgmt_server_id"]
                )
        host_log.debug("Completed resetting hosts suitable for reconnect")

    def _take(self) -> None:
        marks = ", ".join(["%s"] * len(hosts.WITH_AGENT))
        rows = self._server.cloud.rows(
            f"SELECT h.id FROM host h LEFT JOIN vm_instance vm ON vm.name = h.name AND vm.removed IS NULL "
            f"WHERE h.removed IS NULL AND h.mgmt_server_id IS NULL AND h.resource_state <> 'Maintenance' AND "
            # A simulated console proxy has no agent: it never connects, and reports no version.
            f"NOT (h.type = 'ConsoleProxy' AND COALESCE(vm.hypervisor_type, '') = 'Simulator') AND "
            f"COALESCE(h.hypervisor_type, vm.hypervisor_type, 'KVM') NOT IN ({marks})",
            *hosts.WITH_AGENT,
        )
        if rows:
            log.debug("Found %d unmanaged direct hosts, processing connect for them...", len(rows))
        for row in rows:
            hosts.connected(self._server, row["id"], self._server.version.text)
        for row in self._server.cloud.rows(
            f"SELECT h.id FROM host h LEFT JOIN vm_instance vm ON vm.name = h.name AND vm.removed IS NULL "
            f"WHERE h.removed IS NULL AND h.mgmt_server_id = %s AND "
            f"COALESCE(h.hypervisor_type, vm.hypervisor_type, 'KVM') NOT IN ({marks})",
            self._server.msid,
            *hosts.WITH_AGENT,
        ):
            hosts.pinged(self._server, row["id"])
