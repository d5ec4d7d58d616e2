"""In a rollback: system VMs and routers brought back by the original, users in meanwhile.

A router of the new side runs on until its own network is restarted by the original: it is removed right before that, where its hypervisor can be
asked, so that no network is without a router for longer than one restart. Idle networks are left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import router_networks, systemvms
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.patience import Patience, hosts_away
from parallel_build.cloudstack.router_networks import RESTARTABLE, Key, RouterNetwork
from parallel_build.errors import RollbackIncomplete, StepFailed, TimedOut
from parallel_build.operations import hosts_back, original_management
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store
from parallel_build.operations.new_routers import NewRouters
from parallel_build.operations.renew_router import restart
from parallel_build.operations.renew_system_vms import renew
from parallel_build.operations.restart_waves import WaveRun
from parallel_build.operations.router_plan import PlannedWave, waves
from parallel_build.records.waves import NETWORK, ROUTERS, VPC, WaveState, packed, wave_change
from parallel_build.remote.sql import session

COME_BACK = 60.0  # seconds for agents of system VMs that run; one pause of theirs is 5 s
WRITTEN_TOGETHER = 10  # networks that one write of the record says are restarted


def renew_on_original(context: Context, routers: NewRouters) -> dict[str, Any]:
    """Bring the original's system VMs and routers back that the new side had replaced; the original's management is up.

    CloudStack may restart them by itself once it finds them gone: what runs within its own time is left to it.

    Args:
        routers: those that the new side made.
    Returns:
        what was renewed and restarted, and what could not be restarted and why.
    Raises:
        RollbackIncomplete: hosts are not Up on the original, or a wave was stopped.
    """
    cloud = original_management.answering(context)
    await_hosts(context, cloud)
    await_agents(context, cloud, routers)
    gone = [vm for vm in systemvms.renewable(cloud)[0] if not systemvms.running(vm) or routers.runs(vm) is False]
    timeout = context.configuration.window.system_vm_timeout.total_seconds()
    result: dict[str, Any] = {"renewed": renew(context, cloud, gone, timeout=timeout)}
    with session(original_database(context)) as database:
        rows = {kind: database.rows(query) for kind, query in router_networks.QUERIES.items()}
    found = router_networks.together(rows, systemvms.routers(cloud), "", {})
    state = WaveState.of(store(context).facts(ROUTERS))
    chosen = to_restart(found, state, routers)
    orders = _Orders(context, cloud, routers, state)
    plan = back_waves(chosen, context, orders.tried)
    outcome = WaveRun(
        plan, [each.key for each in chosen], orders, at_once=context.configuration.window.parallel_restarts,
        tries=context.configuration.routers.tries, cancel=context.cancel, progress=context.progress,
    ).run()  # fmt: skip
    orders.write()
    result["restarted"] = sorted(each.name for each in chosen if each.key in outcome.done)
    result["not restarted"] = {outcome.names[key]: cause for key, cause in outcome.failed.items()}
    routers.keep = {key for key in (each.key for each in chosen) if key not in outcome.done}
    for name, cause in result["not restarted"].items():
        context.progress(
            f"{name} could not be restarted by the original: {cause}. Restart it there with cleanup (restartNetwork, restartVPC)"
        )
    if outcome.stopped:
        raise RollbackIncomplete(
            f"the original serves and users are in, but its networks are not all restarted: {outcome.why}",
            "the others keep the new side's routers, which still run",
            "see the original's alerts and its management server's log; then run the same command again, which resumes there",
        )
    return result


def to_restart(found: Sequence[RouterNetwork], state: WaveState, routers: NewRouters) -> list[RouterNetwork]:
    """Networks that the original has to restart: those whose own router does not run, of those that have one or that the new side has restarted.

    Where a hypervisor can't be asked the original's database is no witness: it may still have the router Running that the new side has replaced.
    CloudStack sets a router Stopped that its host does not report; whether the new side has replaced it is on record, or in its database. Where neither
    can say, of a window that an earlier version of this project opened, every network counts whose router does not run.
    A router that the new side was to patch runs on, with scripts that the original does not know: it is replaced.
    """
    chosen = []
    for network in found:
        if network.state not in RESTARTABLE or network.number in state.restored(network.kind):
            continue
        patched = bool(network.routers) and network.number in state.to_patch(network.kind)
        touched = network.number in state.begun(network.kind) or network.key in routers.of or (routers.unknown and not state.any_begun)
        seen = [routers.runs(router) for router in network.routers if systemvms.running(dict(router))]
        if (
            patched
            or False in seen
            or (touched and network.routers and True not in seen and (not routers.unknown or not seen or state.any_begun))
        ):
            chosen.append(network)
    return chosen


def back_waves(chosen: Collection[RouterNetwork], context: Context, tried: Mapping[str, Any]) -> list[PlannedWave]:
    """The waves as forward; networks that an earlier try of this rollback could not restart come last, so that they stop nothing."""
    plan = waves([each for each in chosen if each.label not in tried], context.configuration.routers)
    again = tuple(each for each in chosen if each.label in tried)
    return [*plan, *([PlannedWave(len(plan) + 1, "tried before", again, len(again))] if again else [])]


class _Orders:
    """What a rollback does with a network."""

    def __init__(self, context: Context, cloud: Cloud, routers: NewRouters, state: WaveState) -> None:
        self.context, self.cloud, self.routers = context, cloud, routers
        self.records, self.state = store(context), state
        self.done: set[Key] = {(kind, number) for kind in (NETWORK, VPC) for number in state.restored(kind)}
        self.tried: dict[str, str] = dict(state.back.get("failed", {}))
        self._written = len(self.done)
        self.patience = Patience(context.cancel, context.progress, hosts_away(cloud))

    def may_begin(self, usual: float) -> str:
        """A rollback is led to its end, unless a later run has taken over."""
        self.records.check_run(self.records.mine())
        return ""

    def wanted(self) -> Collection[Key]:
        """The original gives commands to its own routers, whatever their release."""
        return ()

    def beginning(self, network: RouterNetwork, following: Sequence[RouterNetwork]) -> None:
        self.context.intend("restart by the original", network=network.name)

    def restart(self, network: RouterNetwork) -> None:
        self.routers.remove(network.key)
        patched = network.number in self.state.to_patch(network.kind)
        if not patched and any(self.routers.runs(router, now=True) for router in network.routers):
            return  # CloudStack has started it by itself meanwhile
        timeout = self.context.configuration.window.system_vm_timeout.total_seconds()
        self.patience.run(lambda: restart(self.cloud, network, cleanup=True, timeout=timeout, context=self.context))

    def ended(self, network: RouterNetwork, cause: str) -> None:
        if cause:
            self.tried[network.label] = network.name
            self.write()
            return
        self.tried.pop(network.label, None)
        self.done.add(network.key)
        if len(self.done) - self._written >= WRITTEN_TOGETHER:
            self.write()

    def write(self) -> None:
        """Keep on record what is restarted: a rollback that is continued begins behind it."""
        self._written = len(self.done)
        back = {kind: packed(number for of, number in self.done if of == kind) for kind in (NETWORK, VPC)}
        self.records.note(wave_change(back={**back, "failed": self.tried}))


def await_agents(context: Context, cloud: Cloud, routers: NewRouters) -> None:
    """Give system VMs that the new side has left running the time to connect to the original again: renewing one costs more than its agent's pause."""

    def none_on_its_way() -> bool:
        return not [vm for vm in systemvms.renewable(cloud)[0] if not systemvms.running(vm) and routers.runs(vm)]

    with contextlib.suppress(TimedOut):
        wait_for(
            "system VMs to connect to the original", none_on_its_way, timeout=COME_BACK, cancel=context.cancel, interval=1, progress=context.progress
        )  # fmt: skip


def await_hosts(context: Context, cloud: Cloud) -> None:
    """System VMs can only be made where hosts are Up: those that were when the window opened, but for one that was put aside or removed since."""
    expected: dict[str, str] = store(context).facts("Window").get("hosts_up", {})

    missing: list[str] = []

    def all_up() -> bool:
        listed = hosts_back.up_or_aside(cloud.list("listHosts", type="Routing"))
        missing[:] = sorted(name for identity, name in expected.items() if not hosts_back.is_back(listed, identity))
        context.progress(f"hosts Up on the original: {len(expected) - len(missing)} of {len(expected)}")
        return not missing

    limit = context.configuration.window.hosts_timeout.total_seconds()
    try:
        wait_for("every host to be Up on the original", all_up, timeout=limit, cancel=context.cancel, interval=1)
    except StepFailed:
        raise RollbackIncomplete(
            f"the original serves, but these hosts are not Up on it after {limit:.0f} s: {', '.join(missing)}",
            "their agents dial other addresses, or can't reach it",
            "see `host=` in /etc/cloudstack/agent/agent.properties there and restart the agent, or put a host that is dead into maintenance; then run the same "
            "command again",
        ) from None
