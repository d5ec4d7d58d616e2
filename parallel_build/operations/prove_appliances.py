"""System VMs and routers proved: each appliance is asked through its own KVM host, where the stack may log in there, and side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.kvm_guests import kvm_hosts, named
from parallel_build.operations.context import Context
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import AT_ONCE, Workers


def proofs(context: Context, vms: Sequence[dict[str, Any]], release: str, database: Callable[[], systemvms.Rows]) -> list[systemvms.Proof]:
    """One of each, in their order. Appliances are asked side by side; the database answers one question for all."""
    hosts = [hypervisor_of(context, vm) for vm in vms]
    with Workers(AT_ONCE, context.cancel) as pool:
        releases: dict[str, str | None] = dict(
            zip((vm["id"] for vm in vms), pool.map(systemvms.appliance_release, vms, hosts), strict=True)
        )

    def read(vm: dict[str, Any], _: Access | None) -> str | None:
        return releases[vm["id"]]

    code = context.configuration.new.version
    recorded = systemvms.recorded_releases(database(), [str(vm["id"]) for vm in vms]) if vms else {}
    return [systemvms.prove(vm, release, code, recorded, host, read) for vm, host in zip(vms, hosts, strict=True)]


def hypervisor_of(context: Context, vm: dict[str, Any]) -> Access | None:
    """Session to the KVM host that runs an appliance, where the stack may log in there."""
    hypervisor = named(kvm_hosts(context.configuration.original.hypervisors), vm.get("hostname"))
    return context.host(hypervisor) if hypervisor else None


def without_witness(proved: Sequence[systemvms.Proof]) -> list[str]:
    """Those for which only the database speaks: an upgrade writes the new template's name there before anything is renewed."""
    return [proof.name for proof in proved if not proof.problems and not proof.witnessed]
