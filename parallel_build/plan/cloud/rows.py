"""What lists of the API say, as the rows that the health check's own queries give: one rule for both sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from parallel_build.cloudstack.states import VM_AT_REST, VOLUME_AT_REST, VOLUME_UPLOADING
from parallel_build.health.queries import QUERIES
from parallel_build.plan.faults import Lists
from parallel_build.rules import Unanswered

Row = dict[str, Any]
DAY = timedelta(days=1)
ALL, PROJECTS = {"listall": "true"}, {"listall": "true", "projectid": "-1"}
NO_API = "the API does not show it"


def everything(cloud: Lists, command: str) -> list[Row]:
    """Items of all accounts and of all projects."""
    return [*cloud.list(command, **ALL), *cloud.list(command, **PROJECTS)]


def when(text: object) -> datetime | None:
    """A time as the API writes it; None where there is none."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None


def age(*times: object) -> float:
    """Seconds since the first of these times that is there."""
    found = next((at for text in times if (at := when(text)) is not None), None)
    return 0.0 if found is None else (datetime.now(UTC) - found).total_seconds()


def _servers(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listManagementServers"):
        address = item.get("serviceip") or item.get("ipaddress")
        yield {"name": item.get("name"), "service_ip": address, "state": item.get("state"), "version": item.get("version"), "age": None}


def _hosts(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listHosts", type="Routing"):
        yield {
            "name": item["name"], "type": "Routing", "status": item.get("state"), "resource_state": item.get("resourcestate"),
            "version": item.get("version"), "hypervisor_type": item.get("hypervisor"),
        }  # fmt: skip


def _clusters(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listClusters"):
        yield {"name": item["name"], "hypervisor_type": item.get("hypervisortype"), "arch": item.get("arch"), "zone": item.get("zonename")}


def _system_vms(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listSystemVms"):
        yield {
            "name": item["name"], "state": item.get("state"), "type": item.get("systemvmtype"), "agent": item.get("agentstate"),
            "zone": item.get("zonename"),
        }  # fmt: skip


def _routers(cloud: Lists) -> Iterator[Row]:
    for item in everything(cloud, "listRouters"):
        yield {
            "name": item["name"], "state": item.get("state"), "template_version": item.get("version"), "zone": item.get("zonename"),
            "redundant_state": item.get("redundantstate"), "redundant": item.get("isredundantrouter"),
        }  # fmt: skip


def _router_checks(cloud: Lists) -> Iterator[Row]:
    for item in everything(cloud, "listRouters"):
        if str(item.get("healthchecksfailed")).lower() == "true":
            yield {"name": item["name"], "check_name": "a health check"}


def _networks(cloud: Lists) -> Iterator[Row]:
    for item in everything(cloud, "listNetworks"):
        if item.get("restartrequired") and item.get("state") == "Implemented":
            yield {"name": item["name"]}


def _pools(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listStoragePools"):
        yield {
            "name": item["name"], "status": item.get("state"), "pool_type": item.get("type"), "used_bytes": item.get("disksizeused"),
            "capacity_bytes": item.get("disksizetotal"),
        }  # fmt: skip


def _zones(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listZones"):
        yield {"id": item["id"], "name": item["name"], "allocation_state": item.get("allocationstate"), "type": item.get("type")}


def _image_stores(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listImageStores"):
        yield {
            "name": item["name"], "protocol": item.get("protocol"), "zone": item.get("zoneid"), "scope": item.get("scope"),
            "readonly": item.get("readonly"), "url": item.get("url"),
        }  # fmt: skip


def _capacity(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listCapacity"):
        yield {
            "kind": item["type"], "zone": item.get("zonename"), "pod": item.get("podname"),
            "used": item.get("capacityused") or 0, "total": item.get("capacitytotal") or 0,
        }  # fmt: skip


def _jobs(cloud: Lists, status: str) -> list[Row]:
    return [job for job in cloud.list("listAsyncJobs", **ALL) if str(job.get("jobstatus")) == status]


def _jobs_running(cloud: Lists) -> Iterator[Row]:
    for job in _jobs(cloud, "0"):
        yield {"command": job.get("cmd"), "age": age(job.get("created"))}


def _jobs_failed(cloud: Lists) -> Iterator[Row]:
    commands = [str(job.get("cmd")) for job in _jobs(cloud, "2") if age(job.get("created")) < DAY.total_seconds()]
    for command in sorted(set(commands)):
        yield {"command": command, "times": commands.count(command)}


def _alerts(cloud: Lists) -> Iterator[Row]:
    found: dict[tuple[str, str], list[datetime]] = {}
    for item in cloud.list("listAlerts"):
        at = when(item.get("sent"))
        if at is not None and datetime.now(UTC) - at < DAY:
            found.setdefault((str(item.get("name")), str(item.get("description"))), []).append(at)
    for (name, subject), times in found.items():
        yield {"name": name, "subject": subject, "times": len(times), "last": max(times)}


def _vms_moving(cloud: Lists) -> Iterator[Row]:
    for item in [*everything(cloud, "listVirtualMachines"), *cloud.list("listSystemVms"), *everything(cloud, "listRouters")]:
        if item.get("state") not in VM_AT_REST:
            name = item.get("instancename") or item["name"]
            yield {"name": name, "state": item["state"], "age": age(item.get("lastupdated"), item.get("created"))}


def _volumes_moving(cloud: Lists) -> Iterator[Row]:
    for item in everything(cloud, "listVolumes"):
        old = age(item.get("updated"), item.get("created"))
        if item.get("state") not in VOLUME_AT_REST and not (item.get("state") in VOLUME_UPLOADING and old > DAY.total_seconds()):
            yield {"name": item.get("name"), "state": item.get("state"), "age": old}


def _settings(cloud: Lists) -> Iterator[Row]:
    for item in cloud.list("listConfigurations"):
        yield {
            "name": item["name"], "value": item.get("value"), "default_value": item.get("defaultvalue"), "category": item.get("category"),
            "updated": None,
        }  # fmt: skip


def _administrator(cloud: Lists) -> Iterator[Row]:
    users = cloud.list("listUsers", **ALL)
    if not any("isdefault" in user for user in users):
        raise Unanswered("the API does not show which user is built in")
    for user in users:
        if user.get("isdefault") and user.get("accounttype") == 1:
            yield {"username": user.get("username"), "state": user.get("state")}


ASKED: dict[str, Callable[[Lists], Iterator[Row]]] = {
    "servers": _servers, "hosts": _hosts, "clusters": _clusters, "system_vms": _system_vms, "routers": _routers, "router_checks": _router_checks,
    "networks": _networks, "pools": _pools, "zones": _zones, "image_stores": _image_stores, "capacity": _capacity, "jobs_running": _jobs_running,
    "jobs_failed": _jobs_failed, "alerts": _alerts, "vms_moving": _vms_moving, "volumes_moving": _volumes_moving, "settings": _settings,
    "administrator": _administrator,
}  # fmt: skip


def read(cloud: Lists) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Rows by question, and why others have no answer."""
    rows: dict[str, list[Row]] = {}
    unanswered = {name: NO_API for name in QUERIES if name not in ASKED}
    for name, ask in ASKED.items():
        try:
            rows[name] = list(ask(cloud))
        except Unanswered as error:
            unanswered[name] = str(error)
    return rows, unanswered
