"""Faults that hit by networks, routers, system VMs, templates and storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from parallel_build.cloudstack import zones
from parallel_build.plan.faults.fault import Fault, Lists, Row, Span
from parallel_build.plan.faults.hosts import numbers
from parallel_build.rules import Severity

BLOCKS, WARNS, NOTES = Severity.BLOCKS, Severity.WARNS, Severity.NOTES
REQUIRED = "minreq.sysvmtemplate.version"
LEAST_MEMORY = 512  # MB
ZONES = "cloud.data_center z WHERE z.removed IS NULL AND z.allocation_state = 'Enabled'"


def _pools(cloud: Lists, kind: str = "", provider: str = "", scheme: str = "") -> Iterable[str]:
    return [
        f"primary storage {pool['name']}"
        for pool in cloud.list("listStoragePools")
        if (not kind or pool.get("type") == kind)
        and (not provider or pool.get("provider") == provider)
        and str(pool.get("ipaddress") or "").startswith(scheme)
    ]


def _config_drive(cloud: Lists) -> Iterator[str]:
    for network in everywhere(cloud, "listNetworks"):
        providers = {str(each.get("name")) for service in network.get("service") or [] for each in service.get("provider") or []}
        if "ConfigDrive" in providers:
            yield f"network {network['name']}"


def everywhere(cloud: Lists, command: str) -> list[dict[str, Any]]:
    """Items of all accounts and of all projects."""
    return [*cloud.list(command, listall="true"), *cloud.list(command, listall="true", projectid="-1")]


def _small_offerings(cloud: Lists) -> Iterator[str]:
    used = {str(vm.get("serviceofferingid")) for vm in [*cloud.list("listSystemVms"), *everywhere(cloud, "listRouters")]}
    for offering in cloud.list("listServiceOfferings", issystem="true"):
        if str(offering["id"]) in used and int(offering.get("memory") or LEAST_MEMORY) < LEAST_MEMORY:
            yield f"offering {offering['name']} ({offering['memory']} MB)"


def _zones_without_template(cloud: Lists) -> Iterator[str]:
    ready = {
        str(item.get("zoneid"))
        for item in cloud.list("listTemplates", templatefilter="all", listall="true")
        if item.get("templatetype") == "SYSTEM" and item.get("isready")
    }
    hosted = {str(host.get("zoneid")) for host in cloud.list("listHosts", type="Routing")}
    for zone in cloud.list("listZones"):
        if zones.kept(zone) and str(zone["id"]) in hosted - ready:
            yield f"zone {zone['name']}"


def _zones_without_nfs(cloud: Lists) -> Iterator[str]:
    stores = cloud.list("listImageStores")
    for zone in filter(zones.kept, cloud.list("listZones")):
        if not any(str(each.get("protocol")).lower() == "nfs" for each in stores if each.get("zoneid") in (None, zone["id"])):
            yield f"zone {zone['name']}"


def _old_routers(cloud: Lists) -> Iterator[str]:
    required = next(
        (str(item.get("value") or "") for item in cloud.list("listConfigurations", name=REQUIRED) if item["name"] == REQUIRED), ""
    )
    for router in everywhere(cloud, "listRouters"):
        if _behind({"version": router.get("version"), "required": required}):
            yield f"router {router['name']} ({router.get('version')}, not {required})"


def _behind(row: Row) -> bool:
    found, required = numbers(row["version"]), numbers(row["required"])
    return bool(found) and found < required


def _tier_offerings(cloud: Lists) -> Iterator[str]:
    for offering in cloud.list("listNetworkOfferings"):
        if offering.get("name") == "DefaultIsolatedNetworkOfferingForVpcNetworks" and str(offering.get("conservemode")).lower() == "false":
            yield str(offering["name"])


def _resting_tiers(cloud: Lists) -> Iterator[str]:
    for network in everywhere(cloud, "listNetworks"):
        if network.get("vpcid") and network.get("state") != "Implemented":
            yield f"tier {network['name']} ({network.get('state')})"


def _placement(cloud: Lists) -> Iterator[str]:
    for name in ("vm.allocation.algorithm", "volume.allocation.algorithm"):
        for item in cloud.list("listConfigurations", name=name):
            if item["name"] == name and str(item.get("value")).startswith("userconcentratedpod_"):
                yield f"{name} = {item['value']}"


FAULTS = (
    Fault(
        "storpool_takes_pools", "release notes of 4.17.2", Span(only=("4.17.0",)), "the StorPool plug-in takes Shared Mount Point pools for its own",
        "take a later 4.17", BLOCKS,
        sql="SELECT CONCAT('primary storage ', name) AS what FROM cloud.storage_pool WHERE removed IS NULL AND pool_type = 'SharedMountPoint'",
        api=lambda cloud: _pools(cloud, kind="SharedMountPoint"),
    ),
    Fault(
        "linstor_over_tls", "CloudStack issue 9250", Span(crosses="4.18.2.0"), "hosts stay Connecting: the new Java does not trust Linstor's certificate",
        "import its authority into the new Java's trust store on management servers and hosts", WARNS,
        sql="SELECT CONCAT('primary storage ', name) AS what FROM cloud.storage_pool WHERE removed IS NULL "
        "AND storage_provider_name = 'Linstor' AND host_address LIKE 'https%'",
        api=lambda cloud: _pools(cloud, provider="Linstor", scheme="https"),
    ),
    Fault(
        "config_drive_networks", "CloudStack issue 6490", Span(only=("4.17.0",)), "VMs on networks with ConfigDrive don't start",
        "no fix is known to this project: rehearse it, or take a later release", WARNS,
        sql="SELECT DISTINCT CONCAT('network ', COALESCE(n.name, n.uuid)) AS what FROM cloud.ntwk_service_map m JOIN cloud.networks n "
        "ON n.id = m.network_id WHERE n.removed IS NULL AND m.provider = 'ConfigDrive'",
        api=_config_drive,
    ),
    Fault(
        "tiers_without_conserve_mode", "release notes of 4.19.3", Span(source_since="4.19.0.0"),
        "tiers of a VPC on a cloud that was installed as 4.19 have no conserve mode", "set conserve_mode of that row of network_offerings to 1", NOTES,
        sql="SELECT name AS what FROM cloud.network_offerings WHERE removed IS NULL AND conserve_mode = 0 "
        "AND name = 'DefaultIsolatedNetworkOfferingForVpcNetworks'",
        api=_tier_offerings,
    ),
    Fault(
        "offerings_too_small", "CloudStack documentation pull request 382", Span(crosses="4.20.0.0"),
        "system VMs and routers of 4.20 panic at boot with less than 512 MB", "give these offerings 512 MB before they are renewed", BLOCKS,
        sql="SELECT CONCAT('offering ', o.name, ' (', o.ram_size, ' MB)') AS what FROM cloud.service_offering o WHERE o.ram_size < 512 "
        "AND o.id IN (SELECT v.service_offering_id FROM cloud.vm_instance v WHERE v.removed IS NULL AND v.type <> 'User')",
        api=_small_offerings,
    ),
    Fault(
        "zones_without_template", "CloudStack issues 6166 and 9654", Span(since="4.16.0.0"),
        "a zone in which the system VM template is not ready stays without system VMs", "copy the template to that zone (copyTemplate) first", BLOCKS,
        sql=f"SELECT CONCAT('zone ', z.name) AS what FROM {ZONES} AND EXISTS (SELECT 1 FROM cloud.host h WHERE h.data_center_id = z.id "
        "AND h.removed IS NULL AND h.type = 'Routing') AND NOT EXISTS (SELECT 1 FROM cloud.vm_template t "
        "JOIN cloud.template_store_ref r ON r.template_id = t.id AND r.state = 'Ready' AND (r.destroyed IS NULL OR r.destroyed = 0) "
        "JOIN cloud.image_store s ON s.id = r.store_id AND s.removed IS NULL "
        "WHERE t.removed IS NULL AND t.type = 'SYSTEM' AND (s.data_center_id = z.id OR s.data_center_id IS NULL))",
        api=_zones_without_template,
    ),
    Fault(
        "zones_without_nfs", "CloudStack SystemVmTemplateRegistration.java: only NFS stores count", Span(since="4.16.0.0"),
        "the upgrade can't register a template by itself in a zone without NFS", "register every template before the window: list them in `templates`", NOTES,
        sql=f"SELECT CONCAT('zone ', z.name) AS what FROM {ZONES} AND NOT EXISTS (SELECT 1 FROM cloud.image_store s WHERE s.removed IS NULL "
        "AND s.role = 'Image' AND LOWER(s.protocol) = 'nfs' AND (s.data_center_id = z.id OR s.data_center_id IS NULL))",
        api=_zones_without_nfs,
    ),
    Fault(
        "live_patch_not_enough", "CloudStack issue 12211", Span(source_since="4.20.0.0"),
        "`Router requires upgrade`, VMs don't start: the required template is newer than that of routers",
        "restart these networks with cleanup, or lower minreq.sysvmtemplate.version for the while", WARNS,
        sql="SELECT CONCAT('router ', v.instance_name, ' (', r.template_version, ', not ', c.value, ')') AS what, r.template_version AS version, "
        "c.value AS required FROM cloud.domain_router r JOIN cloud.vm_instance v ON v.id = r.id JOIN cloud.configuration c "
        f"ON c.name = '{REQUIRED}' WHERE v.removed IS NULL AND v.state = 'Running' AND r.template_version IS NOT NULL",
        keep=_behind, api=_old_routers,
    ),
    Fault(
        "tiers_at_rest", "CloudStack pull request 7958", Span(before="4.18.2.0", since="4.17.0.0"),
        "live patch of a VPC fails while one of its tiers is not Implemented", "restart such VPCs with cleanup instead", NOTES,
        sql="SELECT CONCAT('tier ', name, ' (', state, ')') AS what FROM cloud.networks WHERE removed IS NULL AND vpc_id IS NOT NULL "
        "AND state <> 'Implemented'",
        api=_resting_tiers,
    ),
    Fault(
        "placement_changes", "schema-42210to42300.sql", Span(crosses="4.23.0.0"), "VMs and volumes are placed in another way: userconcentratedpod_* is gone",
        "decide on random or firstfit before the upgrade, and set it", NOTES,
        sql="SELECT CONCAT(name, ' = ', value) AS what FROM cloud.configuration WHERE value LIKE 'userconcentratedpod\\_%'",
        api=_placement,
    ),
)  # fmt: skip
