"""What the upgrade does to system VM templates once the tables are done.

The template of the new version is looked up by its exact name. Where it is found it becomes a SYSTEM template and every
system VM's row is pointed at it - although the VM keeps running the old one. Where it is missing and the hypervisor is
in use, the real server mounts an NFS store and registers it from the package; there is none here, so that fails as it
would on a server that can't reach the store. [CloudStack 4.22 SystemVmTemplateRegistration.java]
"""

from __future__ import annotations

import configparser
import logging
from dataclasses import dataclass

from ..shared import paths
from .failures import in_lifecycle
from .server import ManagementServer

log = logging.getLogger("c.c.u.SystemVmTemplateRegistration")

METADATA = paths.MANAGEMENT_SHARE / "templates/systemvm/metadata.ini"
HYPERVISORS = {"kvm": "KVM", "vmware": "VMware", "xenserver": "XenServer", "hyperv": "Hyperv", "lxc": "LXC", "ovm3": "Ovm3"}
GUEST_OS = "Debian GNU/Linux 12 (64-bit)"


@dataclass(frozen=True)
class Template:
    """One section of metadata.ini."""

    hypervisor: str
    arch: str
    name: str
    version: str
    described: str


def look_for_metadata() -> None:
    """Write down where the description of the templates is looked for."""
    for place in ("./engine/schema/dist/systemvm-templates/metadata.ini", str(METADATA)):
        log.debug("Looking for file [ %s ] in the classpath.", place)


def templates() -> list[Template]:
    """Return the templates that this version wants."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read_string(METADATA.read_text())
    found = []
    for section in metadata.sections():
        if section == "default":
            continue
        kind, _, arch = section.partition("-")
        hypervisor = HYPERVISORS[kind]
        found.append(
            Template(
                hypervisor,
                metadata[section]["arch"],
                metadata[section]["templatename"],
                metadata["default"]["version"],
                f"{hypervisor}, arch: {arch}" if arch else hypervisor,
            )
        )
    return found


def update_templates(server: ManagementServer, upgrade: str) -> None:
    """Point system VMs at the new templates; raises StartFailed where one that is needed is missing."""
    logging.getLogger(f"c.c.u.d.{upgrade}").debug("Updating System Vm template IDs")
    log.debug("Updating System Vm template IDs")
    log.debug("Updating SystemVM Template Guest OS [%s] id", GUEST_OS)
    in_use = {
        (row["hypervisor_type"], row["arch"] or "x86_64")
        for row in server.cloud.rows("SELECT DISTINCT hypervisor_type, arch FROM cluster WHERE removed IS NULL")
    }
    for template in templates():
        log.debug("Updating System VM template for hypervisor: %s", template.described)
        row = server.cloud.row(
            "SELECT id FROM vm_template WHERE name = %s AND removed IS NULL AND hypervisor_type = %s ORDER BY id DESC LIMIT 1",
            template.name,
            template.hypervisor,
        )
        if row is not None:
            _use(server, template, row["id"])
        elif (template.hypervisor, template.arch) not in in_use:
            log.warning(
                "Cannot upgrade %s system VM template for hypervisor: %s as it is not used, not failing upgrade",
                template.version,
                template.described,
            )
        else:
            _fail(template)
    log.debug("Updating System Vm Template IDs Complete")


def _use(server: ManagementServer, template: Template, template_id: int) -> None:
    cloud = server.cloud
    cloud.execute("UPDATE vm_template SET type = 'SYSTEM' WHERE id = %s", template_id)
    cloud.execute(
        "UPDATE vm_instance SET vm_template_id = %s WHERE type <> 'User' AND hypervisor_type = %s AND removed IS NULL",
        template_id,
        template.hypervisor,
    )
    setting = f"router.template.{template.hypervisor.lower()}"
    for name, value in ((setting, template.name), ("minreq.sysvmtemplate.version", template.version)):
        cloud.execute("UPDATE configuration SET value = %s WHERE name = %s", value, name)


def _fail(template: Template) -> None:
    log.info("Grabbing lock to register templates.")
    message = f"Failed to register template for hypervisor: {template.hypervisor}"
    log.error("%s com.cloud.utils.exception.CloudRuntimeException: Failed to find local template file for %s", message, template.described)
    logging.getLogger("c.c.u.DatabaseUpgradeChecker").error("Unable to upgrade the database %s", message)
    raise in_lifecycle(message)
