"""SystemVms: secondary storage VMs, console proxies and routers made anew, and their version proved three ways."""

from __future__ import annotations

import contextlib
from typing import Any

from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import original_numbers
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import OpenSession, new_database, store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.remote.host import Host
from parallel_build.remote.parallel import AT_ONCE, Workers
from parallel_build.steps.base import step
from parallel_build.steps.hypervisors import await_hosts
from parallel_build.steps.switched import SwitchedStep


@step
class SystemVms(SwitchedStep):
    """Renew what still runs the old template."""

    type = "SystemVms"
    summary = "system VMs and routers on the new template"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """One system VM after the other; networks some at a time."""
        at_once = configuration.window.parallel_restarts
        return [
            "destroySystemVm for each secondary storage VM, then each console proxy, in enabled zones that are no Edge zones; "
            "each one's successor Running before the next goes",
            f"restartNetwork cleanup=true and restartVPC cleanup=true for every network with routers, {at_once} at a time",
            "prove each version by the API, by the database's row of the new VM, and by /etc/cloudstack-release on the appliance",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Done by the original, at the end of Window's undo."""
        return ["nothing here: the original renews them at the end of Window's undo, it needs its management server"]

    def apply(self, context: Context) -> Outputs:
        """Renew what a witness contradicts; what is proved already stays as it is."""
        ensure_running(context)
        await_hosts(context)  # again: a step that goes on after hours may find them away
        cloud, window = Cloud.new(context.site), context.configuration.window
        timeout = window.system_vm_timeout.total_seconds()
        with contextlib.ExitStack() as stack:
            database = OpenSession(new_database(context), stack)
            release = systemvms.required_release(database())
            # From here on a way back must renew them on the original, whatever else is known by then.
            store(context).remember(self.type, renewed=True)
            found, alone = systemvms.renewable(cloud)
            if alone:
                context.progress(f"left alone, since CloudStack makes no system VMs in their zones: {', '.join(alone)}")
            proofs = self._proofs(context, found, release, database)
            for vm, proof in zip(found, proofs, strict=True):
                context.cancel.check()
                if proof.problems or not systemvms.running(vm):
                    context.intend("renew system VM", name=vm["name"])
                    systemvms.renew_system_vm(cloud, vm, timeout=timeout, cancel=context.cancel, progress=context.progress)
                    context.note(renewed=[*context.done.get("renewed", []), vm["name"]])
            routers = systemvms.routers(cloud)
            proofs = self._proofs(context, routers, release, database)
            old = [router for router, proof in zip(routers, proofs, strict=True) if proof.problems]
            restarts = systemvms.Restarts.of(old)
            if restarts:
                context.intend("restart networks", networks=sorted(restarts.networks.values()), vpcs=sorted(restarts.vpcs.values()))
            restarted = systemvms.restart(
                cloud,
                restarts,
                at_once=window.parallel_restarts,
                timeout=timeout,
                cancel=context.cancel,
                progress=context.progress,
            )
            original_numbers.note(context)
            return {"release": release, "restarted": sorted(restarted), "proofs": self._prove_all(context, cloud, release, database)}

    def verify(self, context: Context) -> Outputs:
        """Prove again, renew nothing."""
        cloud = Cloud.new(context.site)
        with contextlib.ExitStack() as stack:
            database = OpenSession(new_database(context), stack)
            release = systemvms.required_release(database())
            return {"release": release, "proofs": self._prove_all(context, cloud, release, database)}

    def revert(self, context: Context) -> None:
        """Nothing of its own."""

    def _prove_all(self, context: Context, cloud: Cloud, release: str, database: OpenSession) -> dict[str, Any]:
        proofs = {}
        bad = []
        for proof in self._proofs(context, [*systemvms.renewable(cloud)[0], *systemvms.routers(cloud)], release, database):
            proofs[proof.name] = {"api": proof.api, "database": proof.database, "appliance": proof.appliance}
            bad += [f"{proof.name}: {problem}" for problem in proof.problems]
        if bad:
            raise StepFailed(
                f"system VMs are not on release {release}: {'; '.join(bad[:6])}",
                "they were not made again from the target's template, or have not reported their release yet",
                "see the alerts and the template's state in that zone; then `pulumi up` renews only those",
            )
        return proofs

    @staticmethod
    def _proofs(context: Context, vms: list[dict[str, Any]], release: str, database: OpenSession) -> list[systemvms.Proof]:
        """One of each, in their order. Appliances are asked side by side; the database answers one question at a time."""
        hosts = [hypervisor_of(context, vm) for vm in vms]
        with Workers(AT_ONCE, context.cancel) as pool:
            releases: dict[str, str | None] = dict(
                zip((vm["id"] for vm in vms), pool.map(systemvms.appliance_release, vms, hosts), strict=True)
            )

        def read(vm: dict[str, Any], _: Host | None) -> str | None:
            return releases[vm["id"]]

        code = context.configuration.new.version
        return [systemvms.prove(vm, release, code, database(), host, read) for vm, host in zip(vms, hosts, strict=True)]


def hypervisor_of(context: Context, vm: dict[str, Any]) -> Host | None:
    """Session to the KVM host that runs an appliance, where the stack may log in there."""
    for hypervisor in context.configuration.original.hypervisors:
        if hypervisor.kind == "kvm" and vm.get("hostname") == hypervisor.name:
            return context.host(hypervisor)
    return None
