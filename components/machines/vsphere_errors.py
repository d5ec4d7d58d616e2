"""vCenter's errors while a machine is made, changed or deleted, in the operator's words: a table from its words to cause and remedy. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_build.configuration import VspherePlatform
from parallel_build.errors import ParallelBuildError, StepFailed


@dataclass(frozen=True)
class Trouble:
    """One kind of failure.

    Attributes:
        pattern: what vCenter or the plugin writes.
        fact, cause, remedy: templates with {name}, {operation}, {folder}, {network}, {datastore}, {server}, {user}, {minutes}.
    """

    pattern: re.Pattern[str]
    fact: str
    cause: str
    remedy: str


def _trouble(pattern: str, fact: str, cause: str, remedy: str) -> Trouble:
    return Trouble(re.compile(pattern, re.IGNORECASE), fact, cause, remedy)


TROUBLES = (
    _trouble(
        r"DuplicateName|already exists",
        "vCenter {server} has something called {name} in folder {folder} already",
        "a name is given once in a folder; what is there was not made by this stack and is not touched",
        "rename or remove what is there, or give the machine another name or another vsphere.folder",
    ),
    _trouble(
        r"timeout waiting for an available IP address|waiting for guest",
        "{name} was made and powered on, but reported no address within {minutes} minutes",
        "the template lacks open-vm-tools or cloud-init's VMware data source, or the guest does not boot",
        "look at its console in the vSphere Client; where the template is at fault, correct it and have the machine made again: "
        "`pulumi destroy --target URN --target-dependents`, then `pulumi up`",
    ),
    _trouble(
        r"NoPermission|permission to perform this operation was denied",
        "{user} may not {operation} {name}",
        "a privilege is missing on the folder, resource pool, datastore or network",
        "give the account the privileges listed in docs/start/vsphere.md",
    ),
    _trouble(
        r"no space left|insufficient disk space|NoDiskSpace",
        "the datastore of {name} ({datastore}) has not enough free space",
        "",
        "free space on it, or name another datastore",
    ),
    _trouble(
        r"insufficient (?:memory|cpu|resources)|InsufficientResources|NoCompatibleHost|no compatible host",
        "no host has what {name} asks for",
        "memory or CPUs that it asks for (with reserveMemory: all of it at once) are not free, or an anti-affinity rule has no host left",
        "free resources in the cluster, make the machine smaller, or put it into another resourcePool",
    ),
    _trouble(
        r"could not find (?:virtual machine|vm)|has already been deleted|ManagedObjectNotFound|no such virtual machine|"
        r"virtual machine with UUID .* not found",
        "{name} is not in vCenter any more",
        "it was deleted or unregistered behind the stack's back",
        "`pulumi refresh` records that; the next `pulumi up` makes it again (from phase switched on it refuses, see docs/start/vsphere.md)",
    ),
    _trouble(
        r"no snapshots|exactly one snapshot|linked clon",
        "{name} can't be a linked clone of its template",
        "a linked clone needs a template with exactly one snapshot",
        "make a snapshot of the template, or set linkedClone to false",
    ),
    _trouble(
        r"key provider|KmipServer|crypto",
        "{name} can't be given a virtual TPM",
        "vCenter has no key provider",
        "set one up in vCenter, or set platforms.vsphere.vtpm to false",
    ),
)


def translate(name: str, settings: VspherePlatform, operation: str, words: str) -> ParallelBuildError:
    """The first trouble that vCenter's words fit.

    Args:
        name: the machine.
        settings: the configuration's section, for names in the message.
        operation: create, update or delete.
        words: what the plugin reported; kept as the cause where nothing fits.
    """
    values = {
        "name": name,
        "operation": operation,
        "server": settings.server,
        "user": settings.user,
        "folder": settings.folder or f"{settings.datacenter}/vm",
        "network": settings.network,
        "datastore": settings.datastore,
        "minutes": int(settings.address_timeout.total_seconds() // 60),
    }
    plain = " ".join(words.split())[:400]
    for trouble in TROUBLES:
        if trouble.pattern.search(words):
            cause = trouble.cause.format(**values)
            return StepFailed(trouble.fact.format(**values), f"{cause} ({plain})" if cause else plain, trouble.remedy.format(**values))
    return StepFailed(
        f"vCenter {settings.server} could not {operation} {name}",
        plain,
        "look at the task's events in the vSphere Client, then run the command again",
    )
