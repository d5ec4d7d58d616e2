"""System VM templates on a cloud: registered under their exact name with the documented values, and waited for.

Source of the values: the upgrade guide's page on system VM templates; routing and public are off, the operating system is Debian's
highest that is offered [CloudStack documentation, upgrading/upgrade/_sysvm_templates.rst].
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused, Cloud
from parallel_build.cloudstack.zones import kept
from parallel_build.configuration import Template
from parallel_build.errors import StepFailed
from parallel_build.versions import CloudStackVersion

COMPLETE = "Download Complete"  # the text of `status` in 4.22 and before [TemplateJoinDaoImpl.java]
UNDER_WAY = re.compile(
    r"^(\d+% Downloaded|Installing Template|(Storage )?Processing|Downloading|Creating|Download Complete)?$", re.IGNORECASE
)
FAILED_STATES = ("DOWNLOAD_ERROR", "ABANDONED")
ARCH_SINCE = CloudStackVersion("4.20.0.0")
ALL_ZONES = "-1"
TRIES = 3
STUCK = 1800.0  # seconds without any progress of a download
PATIENCE = 10.0  # seconds an error must stand: the secondary storage VM tries again by itself

Item = dict[str, Any]


class DownloadFailed(StepFailed):
    """The cloud could not download the template; the cause is its own text."""


@dataclass(frozen=True)
class ZoneState:
    """The template in one zone.

    Attributes:
        zone: the zone's name.
        registered: it is known there.
        ready: it can be used there.
        status: the cloud's words.
        failed: the download has ended in an error.
    """

    zone: str
    registered: bool = False
    ready: bool = False
    status: str = ""
    failed: bool = False

    @classmethod
    def of(cls, zone: str, item: Item | None) -> ZoneState:
        """From a row of listTemplates, None where there is none for the zone."""
        if item is None:
            return cls(zone, status="not registered")
        status = str(item.get("status") or "")
        stores = [str(entry.get("downloadState")) for entry in item.get("downloaddetails") or [] if entry.get("datastoreRole") != "Primary"]
        failed = any(state in FAILED_STATES for state in stores) or not UNDER_WAY.match(status)
        ready = bool(item.get("isready")) and status == COMPLETE
        return cls(zone, True, ready, status or "no status yet", failed and not ready)


def found(cloud: Cloud, template: Template) -> list[Item]:
    """The template's rows by exact name and hypervisor (and processor architecture, where the cloud reports it), one a zone."""
    return [
        item
        for item in cloud.list("listTemplates", templatefilter="all", name=template.name)
        if item.get("name") == template.name
        and str(item.get("hypervisor", template.hypervisor)).lower() == template.hypervisor.lower()
        and item.get("arch") in (None, template.arch)
    ]


def latest(items: list[Item]) -> str | None:
    """The id of the template made last: of several with one name the schema upgrade takes that [SystemVmTemplateRegistration.java]."""
    return str(max(items, key=lambda item: str(item.get("created", "")))["id"]) if items else None


def zones(cloud: Cloud, hypervisor: str) -> tuple[dict[str, str], bool]:
    """Zones that need a template of this hypervisor, id -> name, and whether those are all zones.

    A zone without system VMs of its own (disabled, or an Edge zone) can download none and needs none, while others have them.

    Raises:
        StepFailed: no zone has a cluster of it.
    """
    known = cloud.list("listZones")
    names = {str(zone["id"]): str(zone["name"]) for zone in known}
    clusters = cloud.list("listClusters")
    wanted = {str(cluster["zoneid"]) for cluster in clusters if str(cluster.get("hypervisortype")).lower() == hypervisor.lower()}
    needed = {identity: name for identity, name in names.items() if identity in wanted}
    # Where all of them are such zones the schema upgrade asks for the template all the same.
    needed = {str(zone["id"]): str(zone["name"]) for zone in known if kept(zone) and str(zone["id"]) in needed} or needed
    if not needed:
        there = ", ".join(sorted({str(cluster.get("hypervisortype")) for cluster in clusters})) or "none"
        raise StepFailed(
            f"no zone of {cloud.url} has a cluster of {hypervisor}",
            f"hypervisors of its clusters: {there}",
            "take this template out of the stack's `templates`, or correct its hypervisor",
        )
    return needed, len(needed) == len(known)


def states(cloud: Cloud, template: Template, identity: str | None, needed: dict[str, str]) -> list[ZoneState]:
    """How the template stands in each zone that needs it."""
    by_zone = {item.get("zoneid"): item for item in found(cloud, template) if item["id"] == identity}
    return [ZoneState.of(name, by_zone.get(zone)) for zone, name in sorted(needed.items(), key=lambda pair: pair[1])]


def in_words(found_states: list[ZoneState]) -> str:
    """`zone1: 40% Downloaded, zone2: Download Complete`."""
    return ", ".join(f"{state.zone}: {state.status}" for state in found_states)


def register(cloud: Cloud, template: Template, needed: dict[str, str], *, everywhere: bool, version: CloudStackVersion) -> str:
    """Register the template and return its id.

    Args:
        needed: zones, id -> name; where not all zones need it, the first gets it and the others by `copy_missing`.
        everywhere: these are all zones.
        version: the cloud's; `arch` is known since 4.20.
    Raises:
        ApiRefused: the API does not take it; the message has its words.
        StepFailed: no operating system type of that name.
    """
    parameters = registration(template, ALL_ZONES if everywhere else sorted(needed)[0], os_type(cloud, template.os_type), version)
    reply = cloud.call("registerTemplate", **parameters)
    items = reply.get("template") or []
    if not items:
        raise StepFailed(
            f"{cloud.url} registered {template.name} without naming it",
            str(reply)[:200],
            "look for it with listTemplates there; where it is listed, run `pulumi up` again",
        )
    return str(items[0]["id"])


def registration(template: Template, zone: str, os_type_id: str, version: CloudStackVersion) -> dict[str, str]:
    """The parameters of registerTemplate as documented."""
    parameters = {
        "name": template.name,
        "displaytext": template.name,
        "url": template.url,
        "zoneid": zone,
        "hypervisor": template.hypervisor,
        "format": template.format,
        "ostypeid": os_type_id,
        "requireshvm": "true",
        "ispublic": "false",
        "isfeatured": "false",
        "isextractable": "false",
        "passwordenabled": "false",
        "isrouting": "false",
        "bits": "64",
    }
    if template.checksum:
        parameters["checksum"] = template.checksum
    if template.arch and version >= ARCH_SINCE:
        parameters["arch"] = template.arch
    return parameters


def copy(cloud: Cloud, identity: str, source: str, target: str, *, timeout: float, cancel: CancelToken) -> None:
    """Have the cloud copy a template from one zone to another; the copy is then waited for like a download."""
    cloud.job("copyTemplate", id=identity, sourcezoneid=source, destzoneids=target, timeout=timeout, cancel=cancel)


def delete(cloud: Cloud, template: Template, identity: str, cancel: CancelToken) -> None:
    """Delete a template in all zones and prove that it is gone; nothing happens where there is none."""
    if all(item["id"] != identity for item in found(cloud, template)):
        return
    try:
        cloud.job("deleteTemplate", id=identity, timeout=600, cancel=cancel)
    except ApiRefused as error:
        raise StepFailed(
            f"{template.name} could not be deleted from {cloud.url}", error.cause, "delete it there by hand, or leave it: it harms nothing"
        ) from None
    if any(item["id"] == identity for item in found(cloud, template)):
        raise StepFailed(
            f"{template.name} is still on {cloud.url} after it was deleted",
            "the cloud calls the job done and lists the template all the same",
            "delete it there by hand, or leave it: it harms nothing",
        )


def await_ready(
    cloud: Cloud, template: Template, identity: str, needed: dict[str, str], *, cancel: CancelToken, progress: Callable[[str], None]
) -> list[ZoneState]:
    """Wait until the template is Ready in every zone that has it or is getting it; zones without it are left out.

    Raises:
        DownloadFailed: the cloud gives an error text instead of progress, and stays with it.
        StepFailed: the template disappeared, or nothing moved for half an hour.
    """
    moved, shown, failing = time.monotonic(), "", None
    while True:
        now = states(cloud, template, identity, needed)
        there = [state for state in now if state.registered]
        if not there:
            raise StepFailed(f"{template.name} is no longer on {cloud.url}", "somebody deleted it", "run `pulumi up` again")
        if all(state.ready for state in there):
            return now
        words = in_words(there)
        if words != shown:
            moved, shown = time.monotonic(), words
            progress(f"{template.name}: {words}")
        failed = [state for state in there if state.failed]
        failing = (failing or time.monotonic()) if failed else None
        if failing and time.monotonic() - failing >= PATIENCE:
            raise DownloadFailed(
                f"the download of {template.name} failed in {', '.join(state.zone for state in failed)}",
                "; ".join(sorted({state.status for state in failed})),
                f"see whether the secondary storage VM reaches {template.url} and whether the checksum is right",
            )
        if time.monotonic() - moved > STUCK:
            raise StepFailed(
                f"the download of {template.name} has not moved for {STUCK / 60:.0f} minutes: {shown}",
                "the secondary storage VM gets nothing any more: the source, the way to it or its storage",
                "see the secondary storage VM of that zone and the original's alerts, then run `pulumi up` again",
            )
        cancel.wait(1)


def in_use(cloud: Cloud, template: Template, identity: str) -> list[str]:
    """What uses the template: names of system VMs, routers and VMs, and settings that name it."""
    users = [f"system VM {vm['name']}" for vm in cloud.list("listSystemVms") if vm.get("templateid") == identity]
    for projects in ({}, {"projectid": ALL_ZONES}):
        users += [
            f"router {item['name']}" for item in cloud.list("listRouters", listall="true", **projects) if item.get("templateid") == identity
        ]
        users += [
            f"VM {item['name']}"
            for item in cloud.list("listVirtualMachines", listall="true", **projects)
            if item.get("templateid") == identity
        ]
    setting = f"router.template.{template.hypervisor.lower()}"
    for item in cloud.list("listConfigurations", name=setting):
        if item.get("name") == setting and item.get("value") == template.name:
            users.append(f"setting {setting}")
    if any(item["id"] == identity and item.get("templatetype") == "SYSTEM" for item in found(cloud, template)):
        users.append("the cloud itself, as its system VM template")
    return users


def os_type(cloud: Cloud, wanted: str) -> str:
    """The id of an operating system type; where the cloud is too old for `wanted`, the highest of that system (64-bit) that it offers.

    Raises:
        StepFailed: it offers none of that system.
    """
    types = {str(item["description"]): str(item["id"]) for item in cloud.list("listOsTypes")}
    return types[closest_os_type(list(types), wanted, cloud.url)]


def closest_os_type(offered: list[str], wanted: str, url: str) -> str:
    """`wanted` if it is offered, else the highest 64-bit one of the same system [upgrade guide: "or the highest Debian that is offered"]."""
    if wanted in offered:
        return wanted
    family = re.escape(re.split(r"\d", wanted)[0].strip())
    fitting = [name for name in offered if re.match(rf"^{family}\b.*\(64-bit\)$", name)]
    if not fitting:
        raise StepFailed(
            f"{url} offers no operating system type like {wanted!r}",
            "a template is registered with a type that the cloud knows",
            "set the template's osType to one of listOsTypes",
        )
    return max(fitting, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
