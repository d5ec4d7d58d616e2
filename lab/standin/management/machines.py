"""Starting, stopping and destroying one system VM or router, on a host with an agent or on one that is only rows.

[CloudStack 4.22 VirtualMachineManagerImpl: a start that fails on one host is tried on the next]
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from ..shared.database import Row, utcnow
from ..shared.release import release_line, template_version
from . import addresses, hosts, powerstate
from .agents import AgentManager, CommandFailed
from .server import ManagementServer

log = logging.getLogger("c.c.v.VirtualMachineManagerImpl")


class StartRefused(Exception):
    """No host could start a VM; says why the last one could not."""


class Machines:
    """System VMs and routers as machines."""

    def __init__(self, server: ManagementServer, agents: AgentManager) -> None:
        self._server = server
        self._agents = agents

    def row(self, vm_id: int) -> Row:
        """Return a VM's row."""
        row = self._server.cloud.row("SELECT * FROM vm_instance WHERE id = %s", vm_id)
        assert row is not None
        return row

    def candidates(self, zone_id: int, hypervisor: str, first: int | None = None) -> list[Row]:
        """Return the hosts that a VM can start on: Up, enabled, of its hypervisor; the last one it was on first."""
        rows = self._server.cloud.rows(
            "SELECT * FROM host WHERE type = 'Routing' AND status = 'Up' AND resource_state = 'Enabled' "
            "AND removed IS NULL AND data_center_id = %s AND hypervisor_type = %s ORDER BY id",
            zone_id,
            hypervisor,
        )
        return sorted(rows, key=lambda row: (row["id"] != first, self._load(row["id"]), row["id"]))

    def _load(self, host_id: int) -> int:
        return int(
            self._server.cloud.value("SELECT COUNT(*) FROM vm_instance WHERE host_id = %s AND type <> 'User' AND removed IS NULL", host_id)
        )

    def start(self, vm_id: int, *, new: bool, fault: str = "") -> None:
        """Start a VM and note on which host, from which template, with which versions.

        Args:
            vm_id: the VM.
            new: its volume is made from the template; an existing one can only start where its volume is.
            fault: the setting that plants a failure here.

        Raises:
            StartRefused: with the row back at Stopped.
        """
        vm = self.row(vm_id)
        if fault and getattr(self._server.settings, fault):
            raise StartRefused(f"Unable to start {vm['instance_name']}: planted fault {fault}")
        reason = "there is no host of its hypervisor that is Up"
        self._state(vm_id, "Starting")
        for host in self.candidates(vm["data_center_id"], vm["hypervisor_type"], vm["last_host_id"]):
            fresh = new or host["id"] != vm["last_host_id"]
            try:
                self._start_on(host, vm, fresh)
            except CommandFailed as failure:
                reason = str(failure)
                log.info("Unable to start VM %s on host %d due to %s", vm["instance_name"], host["id"], reason)
                if not new and not fresh and "volume" in reason:
                    break
                continue
            self._started(host, vm)
            return
        self._state(vm_id, "Stopped", host_id=None)
        raise StartRefused(f"Unable to start {vm['instance_name']}: {reason}")

    def _start_on(self, host: Row, vm: Row, new: bool) -> None:
        if host["hypervisor_type"] in hosts.WITH_AGENT:
            self._agents.execute(host["id"], "start", powerstate.machine(self._server, vm, new=new))

    def _started(self, host: Row, vm: Row) -> None:
        now = utcnow()
        self._server.cloud.update(
            "vm_instance",
            vm["id"],
            state="Running",
            host_id=host["id"],
            last_host_id=host["id"],
            power_state="PowerOn",
            power_state_update_time=now,
            power_host=host["id"],
            update_time=now,
            pod_id=vm["pod_id"] or host["pod_id"],
        )
        if vm["type"] == "DomainRouter":
            name = self._server.cloud.value("SELECT name FROM vm_template WHERE id = %s", vm["vm_template_id"])
            self._server.cloud.update(
                "domain_router",
                vm["id"],
                template_version=release_line(template_version(name or "")),
                scripts_version=scripts_version(self._server),
                software_version=self._server.version.text,
                stop_pending=0,
            )

    def stop(self, vm_id: int, *, forced: bool = False) -> None:
        """Stop a VM; raises CommandFailed where its host can't be asked and it is not forced."""
        vm = self.row(vm_id)
        if vm["state"] != "Running":
            return
        self._state(vm_id, "Stopping")
        try:
            self._tell(vm, "stop")
        except CommandFailed:
            if not forced:
                self._state(vm_id, "Running")
                raise
        self._state(vm_id, "Stopped", host_id=None, power_state="PowerOff")

    def destroy(self, vm_id: int) -> None:
        """Destroy a VM and everything that is its own; raises CommandFailed where its host can't be asked."""
        vm = self.row(vm_id)
        if vm["removed"] is not None:
            return
        if vm["state"] in ("Running", "Stopping", "Starting"):
            self._tell(vm, "destroy")
        elif vm["last_host_id"]:
            # The volume of a stopped VM is deleted by storage, whether or not its last host can be reached.
            try:
                self._tell({**vm, "host_id": vm["last_host_id"]}, "destroy")
            except CommandFailed as failure:
                log.info("Volume of %s is left behind: %s", vm["instance_name"], failure)
        now = utcnow()
        with self._server.cloud.transaction():
            self._server.cloud.update(
                "vm_instance", vm_id, state="Expunging", host_id=None, removed=now, update_time=now, power_state="PowerOff"
            )
            addresses.release(self._server, vm_id)
            self._server.cloud.execute("UPDATE volumes SET state = 'Expunged', removed = %s WHERE instance_id = %s", now, vm_id)
        for row in self._server.cloud.rows("SELECT id FROM host WHERE name = %s AND type <> 'Routing' AND removed IS NULL", vm["name"]):
            hosts.remove(self._server, row["id"])

    def patch(self, vm: Row) -> None:
        """Give a router that runs the scripts of its host's agent, or of this server where its hypervisor has none; raises CommandFailed.

        [CloudStack 4.22 ManagementServerImpl.patchSystemVM: its own version is written down as the router's software, whatever scripts the agent had]
        """
        version = self._server.version.text
        if vm["hypervisor_type"] in hosts.WITH_AGENT:
            if not vm["host_id"]:
                raise CommandFailed("it has no host")
            version = str(self._agents.execute(vm["host_id"], "patch", {"name": vm["instance_name"], "uuid": vm["uuid"]})["version"])
        self._server.cloud.update(
            "domain_router", vm["id"], software_version=self._server.version.text, scripts_version=scripts_checksum(version)
        )

    def _tell(self, vm: dict[str, Any], command: str) -> None:
        if vm["hypervisor_type"] in hosts.WITH_AGENT and vm["host_id"]:
            self._agents.execute(vm["host_id"], command, {"name": vm["instance_name"], "uuid": vm["uuid"]})

    def _state(self, vm_id: int, state: str, **values: Any) -> None:
        self._server.cloud.update("vm_instance", vm_id, state=state, update_time=utcnow(), **values)


def scripts_version(server: ManagementServer) -> str:
    """Return what routers started by this version report of their scripts."""
    return scripts_checksum(server.version.text)


def scripts_checksum(version: str) -> str:
    """Return the checksum of a version's scripts for system VMs."""
    return hashlib.md5(f"cloud-scripts-{version}".encode(), usedforsecurity=False).hexdigest()
