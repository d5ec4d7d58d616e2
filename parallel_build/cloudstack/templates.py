"""System VM templates on a cloud: registered under their exact name with the documented values, and waited for.

Source of the values: the upgrade guide's page on system VM templates; routing and public are off, the operating system is Debian's
highest that is offered [CloudStack documentation, upgrading/upgrade/_sysvm_templates.rst].
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Template
from parallel_build.errors import StepFailed

COMPLETE = "Download Complete"  # the text of `status` in 4.22 and before [TemplateJoinDaoImpl.java]
UNDER_WAY = re.compile(r"^(\d+% Downloaded|Installing Template|Processing|Storage Processing|Downloading|Creating)?$", re.IGNORECASE)
TRIES = 3
SETTLE = 60.0  # seconds a fresh row may be without any status

Item = dict[str, Any]


class DownloadFailed(StepFailed):
    """The cloud could not download the template; the cause is its own text."""


def found(cloud: Cloud, name: str) -> list[Item]:
    """The template's rows by exact name, one a zone."""
    return [item for item in cloud.list("listTemplates", templatefilter="all", name=name) if item.get("name") == name]


def zones(cloud: Cloud, hypervisor: str) -> dict[str, str]:
    """Zones that need a template of this hypervisor, id -> name: those that have a cluster of it."""
    names = {zone["id"]: str(zone["name"]) for zone in cloud.list("listZones")}
    wanted = {cluster["zoneid"] for cluster in cloud.list("listClusters") if cluster.get("hypervisortype") == hypervisor}
    return {identity: name for identity, name in names.items() if identity in wanted}


def waiting(cloud: Cloud, template: Template) -> dict[str, str]:
    """Zones in which the template is not ready yet, name -> what the cloud says; empty when it is Ready everywhere it is needed."""
    by_zone = {item.get("zoneid"): item for item in found(cloud, template.name)}
    state = {}
    for identity, name in zones(cloud, template.hypervisor).items():
        item = by_zone.get(identity)
        if item is None:
            state[name] = "not registered"
        elif not (item.get("isready") and item.get("status") == COMPLETE):
            state[name] = str(item.get("status") or "")
    return state


def register(cloud: Cloud, template: Template) -> str:
    """Register the template in all zones and return its id.

    Raises:
        ApiRefused: the API does not take it; the message has its words.
        StepFailed: no operating system type of that name.
    """
    parameters: dict[str, Any] = {
        "name": template.name,
        "displaytext": template.name,
        "url": template.url,
        "zoneid": "-1",
        "hypervisor": template.hypervisor,
        "format": template.format,
        "ostypeid": _os_type(cloud, template.os_type),
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
    if template.arch:
        parameters["arch"] = template.arch
    reply = cloud.call("registerTemplate", **parameters)
    items = reply.get("template") or []
    if not items:
        raise StepFailed(f"{cloud.url} registered {template.name} without naming it", str(reply)[:200], "see listTemplates there")
    return str(items[0]["id"])


def delete(cloud: Cloud, identity: str, cancel: CancelToken) -> None:
    """Delete a template in all zones and wait for the job."""
    cloud.job("deleteTemplate", id=identity, timeout=300, cancel=cancel)


def await_ready(cloud: Cloud, template: Template, *, timeout: float, cancel: CancelToken, progress: Callable[[str], None]) -> None:
    """Wait until the template is Ready in every zone that needs it.

    Raises:
        DownloadFailed: the cloud gives an error text instead of progress.
        StepFailed: not ready after `timeout` seconds.
    """
    began = time.monotonic()
    while state := waiting(cloud, template):
        said = ", ".join(f"{zone}: {text or 'no status yet'}" for zone, text in sorted(state.items()))
        failed = {zone: text for zone, text in state.items() if text != "not registered" and not UNDER_WAY.match(text) and text != COMPLETE}
        if failed:
            raise DownloadFailed(
                f"the download of {template.name} failed in {', '.join(sorted(failed))}",
                "; ".join(sorted(set(failed.values()))),
                f"see whether the secondary storage VM reaches {template.url} and whether the checksum is right",
            )
        waited = time.monotonic() - began
        if "not registered" in state.values() and waited > SETTLE:
            raise StepFailed(
                f"{template.name} is missing in {said}", "it was not registered in all zones", "delete it and run `pulumi up` again"
            )
        if waited > timeout:
            raise StepFailed(
                f"{template.name} is not ready after {timeout:.0f} s: {said}", "", "see the original's alerts and the download's speed"
            )
        progress(f"{template.name}: {said}")
        cancel.wait(1)


def in_use(cloud: Cloud, template: Template, identity: str) -> list[str]:
    """What uses the template: names of system VMs and routers, and settings that name it."""
    users = [str(vm["name"]) for vm in cloud.list("listSystemVms") if vm.get("templateid") == identity]
    users += [str(router["name"]) for router in cloud.list("listRouters", listall="true") if router.get("templateid") == identity]
    setting = f"router.template.{template.hypervisor.lower()}"
    for item in cloud.list("listConfigurations", name=setting):
        if item.get("name") == setting and item.get("value") == template.name:
            users.append(f"setting {setting}")
    return users


def _os_type(cloud: Cloud, wanted: str) -> str:
    """The id of an operating system type; where the cloud is too old for `wanted`, the highest Debian (64-bit) that it offers."""
    types = {str(item["description"]): str(item["id"]) for item in cloud.list("listOsTypes")}
    if wanted in types:
        return types[wanted]
    family = re.escape(re.split(r"\d", wanted)[0].strip())
    offered = [name for name in types if re.match(rf"^{family}\b.*\(64-bit\)$", name)]
    if not offered:
        raise StepFailed(
            f"{cloud.url} offers no operating system type like {wanted!r}", "", "set the template's osType to one of listOsTypes"
        )
    return types[max(offered, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])]
