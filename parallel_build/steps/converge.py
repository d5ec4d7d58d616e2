"""Converging to "the original serves", from any mixture of states: what the Window's undo does, whichever steps had run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import agents, systemvms
from parallel_build.cloudstack.api import Cloud, http_status
from parallel_build.cloudstack.services import MANAGEMENT, PORTS, USAGE, Services
from parallel_build.configuration import Hypervisor, NewMachine
from parallel_build.database.session import session
from parallel_build.errors import CommandFailed, ConnectionFailed, RollbackIncomplete, StepFailed
from parallel_build.machines import power
from parallel_build.machines.commands import MachineFailed
from parallel_build.steps import original_database
from parallel_build.steps.agent_addresses import hosts_with_agent
from parallel_build.steps.base import Context
from parallel_build.steps.common import original_database as original_database_host
from parallel_build.steps.common import store
from parallel_build.steps.hypervisor_steps import HypervisorSteps, set_addresses
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.user_access import UserAccess

GUEST_PREFIXES = {"s": "SecondaryStorageVM", "v": "ConsoleProxy", "r": "DomainRouter"}  # instance names s-5-VM, v-6-VM, r-7-VM


def fence_new_side(context: Context, *, insist: bool = True) -> None:
    """Every new management server down and masked, all at the same time.

    A server that can't be reached over SSH has its power cut through its platform; where that can't be done from here it is taken for down only when
    none of CloudStack's ports answers on it: otherwise two sides could serve.
    Args:
        insist: False only tells of one that can't be reached: it is asked for again before the way back ends.
    Raises:
        RollbackIncomplete: one can't be reached, and answers.
    """
    machines = context.configuration.new.management
    with ThreadPoolExecutor(max_workers=len(machines)) as pool:
        for future in [pool.submit(_fence, context, machine, insist) for machine in machines]:
            future.result()


def _fence(context: Context, machine: NewMachine, insist: bool) -> None:
    try:
        services = Services(context.host(machine))
        with ThreadPoolExecutor(max_workers=2) as pool:  # each is masked before it is stopped: neither brings the other back
            fenced = [(unit, pool.submit(services.stop_and_fence, unit)) for unit in (USAGE, MANAGEMENT)]
        for unit, changed in fenced:
            if changed.result():
                context.progress(f"fenced {unit} on {machine.name}")
    except (ConnectionFailed, CommandFailed) as error:
        if insist:
            _proved_silent(context, machine, error)
        else:
            context.progress(f"{machine.name} can't be fenced yet: {error}")


def _proved_silent(context: Context, machine: NewMachine, error: Exception) -> None:
    try:
        how = power.cut(context.configuration, context.site.stack, machine)
    except MachineFailed as refused:
        context.progress(f"{machine.name}: {refused}")
        how = None
    if how:
        context.progress(f"{machine.name} can't be reached: powered off, {how}")
        context.run.record("powered off", server=machine.name, by=how, error=str(error))
        return
    if http_status(machine.address) is not None or _port_answers(context, machine):
        raise RollbackIncomplete(
            f"{machine.name} ({machine.address}) can't be fenced, and still answers",
            str(error),
            "power it off through its platform, then run the same command again",
        ) from None
    context.progress(f"{machine.name} can't be reached and does not answer: taken for down")
    context.run.record("taken for down", server=machine.name, error=str(error))


def _port_answers(context: Context, machine: NewMachine) -> bool:
    """Asked from an original management server: it is on the network that agents use."""
    asker = context.host(context.configuration.original.management[0])
    probe = 'timeout 5 bash -c "</dev/tcp/$1/$2" 2>/dev/null'
    return any(asker.run(["sh", "-c", probe, "sh", machine.address, str(port)], timeout=20, ok=None).ok for port in PORTS.values())


def serve_from_original(context: Context) -> list[str]:
    """Original databases, then management, then users: each only started where it is down.

    Returns:
        what is missing although the original serves: servers that can't be reached, hypervisors whose steps can't be undone yet.
    """
    original_database.start(context)
    missing = OriginalManagement().bring_back(context)
    redirect_agents(context)
    UserAccess().revert(context)
    missing += original_database.start_replica(context)
    HypervisorSteps().revert(context)
    return missing + HypervisorSteps().left(context)


def redirect_agents(context: Context) -> None:
    """Agents that know no address of the original any more are given them by file, and restarted.

    They know them as long as `host` on the new side lists them; an operator may have changed it there.
    """
    with session(original_database_host(context)) as database:
        value = str(database.value("SELECT value FROM cloud.configuration WHERE name = 'host'") or "")
    originals = agents.addresses(agents.reduced(value, agents.addresses(context.configuration.host_setting)))
    if not originals:
        return
    for hypervisor in hosts_with_agent(context.configuration):
        try:
            known = agents.learnt(context.host(hypervisor))
            if known and not set(known) & set(originals):
                context.progress(f"{hypervisor.name}: its agent knows only {', '.join(known)}, giving it {', '.join(originals)}")
                context.intend("set the agent's addresses", host=hypervisor.name, value=value)
                set_addresses(context, hypervisor, ",".join(agents.addresses(value)))
        except (ConnectionFailed, CommandFailed) as error:
            context.progress(f"{hypervisor.name}: its agent's addresses can't be looked at: {error}")


def tidy_hypervisors(context: Context) -> dict[str, list[str]]:
    """Remove the system VMs and routers that the new side made from KVM hosts that the stack may log in to.

    They must be gone before the original makes its own: it numbers on from its own database, and would give a new one a name that runs already.
    Users' VMs are never touched. Unknown to the original = an instance name of a system VM whose id its database does not have as running there.
    Returns:
        host -> instance names removed.
    """
    with session(original_database_host(context)) as database:
        known = {
            str(row["n"])
            for row in database.rows("SELECT instance_name AS n FROM cloud.vm_instance WHERE removed IS NULL AND type <> 'User'")
        }
    removed: dict[str, list[str]] = {}
    for hypervisor in context.configuration.original.hypervisors:
        if hypervisor.kind == "kvm":
            try:
                removed[hypervisor.name] = _tidy(context, hypervisor, known)
            except (ConnectionFailed, CommandFailed) as error:
                context.progress(f"{hypervisor.name}: system VMs of the new side can't be looked for: {error}")
    return {name: found for name, found in removed.items() if found}


def _tidy(context: Context, hypervisor: Hypervisor, known: set[str]) -> list[str]:
    host = context.host(hypervisor)
    listed = host.run(["virsh", "list", "--all", "--name"]).stdout.split()
    strangers = [name for name in listed if is_system_vm(name) and name not in known]
    for name in strangers:
        context.progress(f"{hypervisor.name}: removing {name}, which the new side made")
        context.intend("remove a system VM of the new side", host=hypervisor.name, name=name)
        host.run(["virsh", "destroy", name], timeout=120, ok=(0, 1))
        host.run(["virsh", "undefine", name], timeout=120, ok=(0, 1))
    return strangers


def is_system_vm(name: str) -> bool:
    """Whether an instance name is CloudStack's for a system VM or router (`s-5-VM`, with an optional instance suffix)."""
    parts = name.split("-")
    return len(parts) >= 3 and parts[0] in GUEST_PREFIXES and parts[1].isdigit()


def renew_on_original(context: Context) -> dict[str, Any]:
    """Bring the original's system VMs and routers back that the new side had replaced; the original's management is up.

    CloudStack may restart them by itself once it finds them gone: what runs within its own time is left to it.
    """
    cloud, window = Cloud.original(context.site), context.configuration.window
    timeout = window.system_vm_timeout.total_seconds()
    _await_hosts(context, cloud)
    result: dict[str, Any] = {"renewed": [], "restarted": []}
    for vm in systemvms.system_vms(cloud):
        if not _runs_really(context, vm):
            fresh = systemvms.renew_system_vm(cloud, vm, timeout=timeout, cancel=context.cancel, progress=context.progress)
            result["renewed"].append(f"{vm['name']} by {fresh['name']}")
    gone = [router for router in systemvms.routers(cloud) if not _runs_really(context, router)]
    result["restarted"] = systemvms.restart(
        cloud,
        systemvms.Restarts.of(gone),
        at_once=window.parallel_restarts,
        timeout=timeout,
        cancel=context.cancel,
        progress=context.progress,
    )
    return result


def _await_hosts(context: Context, cloud: Cloud) -> None:
    """System VMs can only be made where hosts are Up: those that were when the window opened."""
    expected: dict[str, str] = store(context).facts("Window").get("hosts_up", {})

    missing: list[str] = []

    def all_up() -> bool:
        up = {host["id"] for host in cloud.list("listHosts", type="Routing") if host.get("state") == "Up"}
        missing[:] = sorted(name for identity, name in expected.items() if identity not in up)
        context.progress(f"hosts Up on the original: {len(expected) - len(missing)} of {len(expected)}")
        return not missing

    limit = context.configuration.window.hosts_timeout.total_seconds()
    try:
        wait_for("every host to be Up on the original", all_up, timeout=limit, cancel=context.cancel, interval=1)
    except StepFailed:
        raise RollbackIncomplete(
            f"the original serves, but these hosts are not Up on it after {limit:.0f} s: {', '.join(missing)}",
            "their agents dial other addresses, or can't reach it",
            "see `host=` in /etc/cloudstack/agent/agent.properties there, restart the agent, then run the same command again",
        ) from None


def _runs_really(context: Context, vm: dict[str, Any]) -> bool:
    """Running by the API, and by the KVM host itself where it can be asked."""
    if not systemvms.running(vm):
        return False
    for hypervisor in context.configuration.original.hypervisors:
        if hypervisor.kind == "kvm" and hypervisor.name == vm.get("hostname"):
            listed = context.host(hypervisor).run(["virsh", "list", "--name"]).stdout.split()
            return vm["name"] in listed
    return True
