"""Virtual routers: restarted, destroyed, and recreated with the template of the day.

[CloudStack 4.22 VirtualNetworkApplianceManagerImpl, NetworkOrchestrator.restartNetwork, VpcManagerImpl.restartVpc]
"""

from __future__ import annotations

import logging
import time

from ..shared.database import Row, utcnow
from ..shared.release import Version, trimmed
from . import addresses, alerts, configuration
from .agents import CommandFailed
from .instances import insert_vm
from .machines import Machines, StartRefused, scripts_version
from .server import ManagementServer

log = logging.getLogger("c.c.n.r.VirtualNetworkApplianceManagerImpl")

RESTARTABLE = ("Implemented", "Setup")
MINIMUM = "minreq.sysvmtemplate.version"


class RestartRefused(Exception):
    """A network or VPC could not be restarted; says why."""


class WrongState(Exception):
    """A network is in no state to be restarted."""


class Routers:
    """All routers of the cloud."""

    def __init__(self, server: ManagementServer, machines: Machines) -> None:
        self._server = server
        self._machines = machines

    def of_network(self, network_id: int) -> list[Row]:
        """Return the living routers of a network."""
        return self._server.cloud.rows(
            "SELECT vm.*, r.role, r.vpc_id, r.is_redundant_router, r.element_id FROM domain_router r "
            "JOIN vm_instance vm ON vm.id = r.id "
            "JOIN router_network_ref ref ON ref.router_id = r.id WHERE ref.network_id = %s AND vm.removed IS NULL "
            "AND r.vpc_id IS NULL ORDER BY vm.id",
            network_id,
        )

    def of_vpc(self, vpc_id: int) -> list[Row]:
        """Return the living routers of a VPC."""
        return self._server.cloud.rows(
            "SELECT vm.*, r.role, r.vpc_id, r.is_redundant_router, r.element_id FROM domain_router r "
            "JOIN vm_instance vm ON vm.id = r.id WHERE r.vpc_id = %s AND vm.removed IS NULL ORDER BY vm.id",
            vpc_id,
        )

    def restart_network(self, network: Row, *, cleanup: bool, livepatch: bool) -> None:
        """Restart a network.

        Args:
            network: its row.
            cleanup: destroy its routers and make new ones.
            livepatch: only update the scripts of its routers; with cleanup it has no effect.

        Raises:
            WrongState: it is not in use.
            RestartRefused: a router did not come up.
        """
        if network["state"] not in RESTARTABLE:
            raise WrongState("Network is not in the right state to be restarted. Correct states are: Implemented, Setup")
        routers = self.of_vpc(network["vpc_id"]) if network["vpc_id"] else self.of_network(network["id"])
        self._restart(routers, f"network {network['name']}", cleanup=cleanup and not network["vpc_id"], livepatch=livepatch)
        self._server.cloud.update("networks", network["id"], restart_required=0)

    def restart_vpc(self, vpc: Row, *, cleanup: bool, livepatch: bool) -> None:
        """Restart a VPC; arguments and errors as for a network."""
        tiers = self._server.cloud.value("SELECT COUNT(*) FROM networks WHERE vpc_id = %s AND removed IS NULL", vpc["id"])
        # It patches tier by tier: of a VPC without any nothing.
        self._restart(self.of_vpc(vpc["id"]), f"VPC {vpc['name']}", cleanup=cleanup, livepatch=livepatch and bool(tiers))
        self._server.cloud.update("vpc", vpc["id"], restart_required=0)

    def destroy(self, router: Row) -> None:
        """Destroy a router; raises CommandFailed."""
        self._machines.destroy(router["id"])
        self._server.cloud.execute("DELETE FROM router_network_ref WHERE router_id = %s", router["id"])
        alerts.add_event(
            self._server,
            "ROUTER.DESTROY",
            f"Successfully completed destroying router {router['name']}",
            resource_id=router["id"],
            resource_type="DomainRouter",
        )

    def refuses(self, vm_id: int) -> str:
        """Why a router of a VM's networks takes no command; empty where all do."""
        networks = self._server.cloud.rows(
            "SELECT DISTINCT n.id, n.vpc_id FROM nics c JOIN networks n ON n.id = c.network_id WHERE c.instance_id = %s AND c.removed IS NULL",
            vm_id,
        )
        return next((words for network in networks if (words := self.network_refuses(network))), "")

    def network_refuses(self, network: Row) -> str:
        """Why a router of a network takes no command; empty where all do.

        [CloudStack NetworkHelperImpl.sendCommandsToRouter and checkRouterVersion: the template's release, else the scripts' checksum]
        """
        if configuration.value(self._server, "router.version.check", "true") == "false":
            return ""
        for router in self.of_vpc(network["vpc_id"]) if network["vpc_id"] else self.of_network(network["id"]):
            if router["state"] == "Running" and self._is_old(router):
                return f"Resource [DomainRouter:{router['id']}] is unreachable: Unable to send command. Router requires upgrade"
        return ""

    def _is_old(self, router: Row) -> bool:
        reported = self._server.cloud.row("SELECT template_version, scripts_version FROM domain_router WHERE id = %s", router["id"]) or {}
        minimum = configuration.zone_value(self._server, MINIMUM, router["data_center_id"], "0")
        new_enough = Version(trimmed(reported.get("template_version"))) >= Version(trimmed(f"x x {minimum}"))
        return not new_enough and reported.get("scripts_version") != scripts_version(self._server)

    def _restart(self, routers: list[Row], of_what: str, *, cleanup: bool, livepatch: bool) -> None:
        if of_what.split(" ", 1)[1] in self._server.settings.restart_fails:
            raise RestartRefused(f"Failed to restart {of_what}: planted fault restart_fails")
        if cleanup:
            for router in routers:
                self._replace(router, of_what)
            return
        for router in routers:
            if livepatch and router["state"] == "Running":
                self._patch(router, of_what)
            if router["state"] == "Stopped":
                self._start(router["id"], of_what, new=False)

    def _patch(self, router: Row, of_what: str) -> None:
        """A patch that fails is only logged."""
        time.sleep(self._server.settings.restart_seconds)
        cause = "planted fault live_patch_fails" if of_what.split(" ", 1)[1] in self._server.settings.live_patch_fails else ""
        if not cause:
            try:
                self._machines.patch(router)
            except CommandFailed as failure:
                cause = str(failure)
        if cause:
            log.error("Failed to live patch router %s of %s: %s", router["name"], of_what, cause)

    def _replace(self, router: Row, of_what: str) -> None:
        networks = [
            row["network_id"]
            for row in self._server.cloud.rows("SELECT network_id FROM router_network_ref WHERE router_id = %s", router["id"])
        ]
        cards = self._server.cloud.rows(
            "SELECT * FROM nics WHERE instance_id = %s AND removed IS NULL AND reserver_name <> 'ControlNetworkGuru'", router["id"]
        )
        old = self._server.cloud.row("SELECT * FROM domain_router WHERE id = %s", router["id"]) or {}
        time.sleep(self._server.settings.restart_seconds)
        try:
            self.destroy(router)
        except CommandFailed as failure:
            raise RestartRefused(f"Failed to restart {of_what}: {failure}") from failure
        self._start(self._create(router, old, cards, networks), of_what, new=True)

    def _start(self, router_id: int, of_what: str, *, new: bool) -> None:
        try:
            self._machines.start(router_id, new=new, fault="routers_fail")
        except StartRefused as failure:
            name = self._machines.row(router_id)["name"]
            alerts.raise_alert(self._server, alerts.DOMAIN_ROUTER, f"Router {name} could not be started: {failure}")
            raise RestartRefused(f"Failed to restart {of_what}: {failure}") from failure

    def _create(self, old_vm: Row, old: Row, cards: list[Row], networks: list[int]) -> int:
        cloud = self._server.cloud
        template = self._template(old_vm)
        with cloud.transaction():
            vm_id = insert_vm(
                self._server,
                kind="DomainRouter",
                prefix="r",
                zone_id=old_vm["data_center_id"],
                pod_id=old_vm["pod_id"],
                template=template,
                offering=old_vm["service_offering_id"],
                account_id=old_vm["account_id"],
                domain_id=old_vm["domain_id"],
            )
            pod_id = old_vm["pod_id"] or cloud.value(
                "SELECT id FROM host_pod_ref WHERE data_center_id = %s AND removed IS NULL ORDER BY id LIMIT 1", old_vm["data_center_id"]
            )
            nics = [
                addresses.Nic(
                    card["network_id"],
                    card["ip4_address"],
                    card["netmask"],
                    card["gateway"],
                    card["reserver_name"],
                    card["broadcast_uri"],
                    bool(card["default_nic"]),
                    card["mode"] or "Static",
                    card["mac_address"],
                )
                for card in cards
            ]
            nics.append(addresses.control(self._server, old_vm["data_center_id"], pod_id))
            addresses.add(self._server, vm_id, "DomainRouter", nics)
            kept = {
                name: value
                for name, value in old.items()
                if name
                in (
                    "element_id",
                    "public_mac_address",
                    "public_ip_address",
                    "public_netmask",
                    "guest_netmask",
                    "guest_ip_address",
                    "is_redundant_router",
                    "priority",
                    "redundant_state",
                    "role",
                    "vpc_id",
                )
            }
            cloud.insert("domain_router", id=vm_id, stop_pending=0, **kept)
            for network_id in networks:
                guest_type = cloud.value("SELECT guest_type FROM networks WHERE id = %s", network_id)
                cloud.insert("router_network_ref", router_id=vm_id, network_id=network_id, guest_type=guest_type)
        log.debug("Allocated the VR %s at %s", vm_id, utcnow())
        return vm_id

    def _template(self, router: Row) -> Row:
        """Return the template of the day: the one that router.template.HYPERVISOR names, else the newest SYSTEM one."""
        hypervisor = router["hypervisor_type"]
        name = configuration.zone_value(self._server, f"router.template.{hypervisor.lower()}", router["data_center_id"])
        row = self._server.cloud.row(
            "SELECT * FROM vm_template WHERE removed IS NULL AND hypervisor_type = %s AND type IN ('SYSTEM', 'ROUTING') "
            "ORDER BY (name = %s) DESC, id DESC LIMIT 1",
            hypervisor,
            name,
        )
        if row is None:
            raise RestartRefused(f"there is no system VM template for {hypervisor}")
        return row
