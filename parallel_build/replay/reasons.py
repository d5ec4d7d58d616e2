"""Why the other kinds are not created again, and the commands that remove from hypervisors what nobody knows any more."""

from __future__ import annotations

from collections.abc import Mapping

from parallel_build.cloudstack.created import Created
from parallel_build.cloudstack.created_kinds import DISKS, VMS
from parallel_build.cloudstack.left_running import ELSEWHERE, REMOVE

UNKNOWN = "a different version of this project has listed it, and this one does not know the kind"
BY_HAND = "create it again by hand"
REASONS: Mapping[str, str] = {
    VMS: "it is on its hypervisor alone, with disks of the new side: deploy it again, or import its disks, before you remove it there",
    DISKS: "its data is on the primary storage alone, and no database knows it any more",
    "snapshots": "its data is on the storage alone, and no database knows it any more",
    "VM snapshots": "it is part of a VM on its hypervisor",
    "templates and ISOs": "its file is on the secondary storage alone: register it again from its source",
    "VPCs": f"it has a router, an address and ACLs of its own: {BY_HAND}, with its tiers",
    "projects": f"it has members and invitations of its own: {BY_HAND}",
    "roles": f"what it allows is an administrator's decision: {BY_HAND}",
    "instance groups": "it consists of VMs",
    "user data": f"it may hold secrets, which are not read: {BY_HAND}",
    "static NATs": "turn it on again (enableStaticNat) where address and VM are there",
    "static routes": f"it needs its VPC's gateway: {BY_HAND}",
    "customer gateways": f"its pre-shared key is not read: {BY_HAND}",
    "site-to-site connections": f"it needs its gateways' pre-shared key: {BY_HAND}",
    "VPN users": f"their passwords are not read: {BY_HAND}",
    "VPNs for remote access": f"its pre-shared key is not read: {BY_HAND}",
    "Kubernetes clusters": "it consists of VMs",
    "autoscale groups": "it consists of VMs",
    "certificates": f"its private key is not read: {BY_HAND}",
    "backups": "its data is in the backup's own repository",
    "webhooks": f"its secret is not read: {BY_HAND}",
}
# By hypervisor: what removes a disk that no VM has any more.
REMOVE_DISK = {
    "KVM": "virsh vol-delete {name} --pool {pool}",
    "XenServer": "xe vdi-destroy uuid={name}",
    "VMware": "govc datastore.rm -ds {pool} {name}.vmdk",
    "Hyperv": "Remove-Item {name}",
}


def remove(each: Created, taken: Mapping[str, str]) -> str:
    """The command that removes a VM or its data disk from the hypervisor; "" for anything else.

    Args:
        taken: names of VMs on hypervisors that the original has by now -> whose they are.
    """
    name, hypervisor = each.text("native"), each.text("hypervisor")
    if each.kind == VMS:
        if name in taken:
            return f"do NOT remove {name} by its name: the original has a VM of that name by now ({taken[name]})"
        return REMOVE.get(hypervisor, ELSEWHERE).format(name=name)
    if each.kind == DISKS and each.text("type") == "DATADISK" and name:
        text = REMOVE_DISK.get(hypervisor, "remove {name} on {pool} with the storage's own tools")
        return text.format(name=name, pool=each.text("poolId") if hypervisor == "KVM" else each.text("pool"))
    return ""
