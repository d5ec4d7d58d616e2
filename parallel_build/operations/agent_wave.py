"""The agents' wave: on each host the agent is stopped, its packages installed from the host's own disk, and it is started again; guests run on.

It begins once the original's management is proved down and runs next to the transfer and the first start. A host that can't be done keeps its old agent: it is
listed, takes no new VMs on the new side until it is done, and is tried again by the next `pulumi up`. The reverse comes after users are in again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import agents, unit_end
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.services import AGENT, Services
from parallel_build.configuration import AgentUpgrade, Hypervisor, StackConfiguration
from parallel_build.durations import duration
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import ha_hold
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.router_plan import allowed
from parallel_build.remote.kept_packages import KeptPackages, kept_packages
from parallel_build.remote.parallel import AT_ONCE, Workers

STEP = "Agents"  # under this name the window's record has it
FOLDER = "/var/lib/cloudstack-parallel-build/agent"
ACTIVE, ENABLED = "a", "e"  # how the record says what an agent's unit was
LONGEST = 200  # characters of a cause on record
SHOWN = 5
STARTED = 30.0  # seconds until a started agent has to run


@dataclass
class Wave:
    """What is on record.

    Attributes:
        begun: name of a host -> what its agent's unit was, before anything was done there.
        done: names of those that have the new agent.
        failed: name -> cause; these keep their old agent.
        aside: name of a host -> its id in the cloud: it takes no new VMs on the new side.
        seconds: how long the wave has taken.
    """

    begun: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Wave:
        """From the record, leniently."""
        return cls(
            dict(facts.get("begun") or {}), list(facts.get("done") or []), dict(facts.get("failed") or {}), dict(facts.get("aside") or {}),
            float(facts.get("seconds") or 0.0),
        )  # fmt: skip


def known(context: Context) -> Wave:
    """What is on record of this window's wave; empty where there is none."""
    return Wave.of(store(context).facts(STEP))


def packages_of(context: Context, hypervisor: Hypervisor) -> KeptPackages:
    """The folder with a host's package files."""
    return kept_packages(context.host(hypervisor), FOLDER)


def section(context: Context) -> AgentUpgrade:
    """How it is configured."""
    return context.configuration.agents.upgrade or AgentUpgrade()


def run(context: Context) -> Outputs:
    """Bring every host of the wave that is not done yet to the new agent.

    Raises:
        StepFailed: too many hosts failed; nothing more was begun. GuardFailed: a rollback has begun. Cancelled: stopping was asked for.
    """
    began, wanted = time.monotonic(), section(context)
    chosen = context.configuration.upgraded_agents
    before = known(context)
    open_ = [host for host in chosen if host.name not in before.done]
    if not open_:
        return _evidence(context, before, chosen)
    failed = _look(context, open_)
    todo = [host for host in open_ if host.name not in failed]
    store(context).remember(STEP, failed={name: cause[:LONGEST] for name, cause in failed.items()})
    trial = [host for host in chosen[: wanted.canary] if host in open_]
    stopped = ""
    if any(host.name in failed for host in trial):
        stopped = "the canary can't be begun"
    else:
        canary = [host for host in todo if host in trial]
        stopped = _hosts(context, canary, len(failed), failed, max(1, len(canary))) and "the canary has failed"
    if not stopped:
        rest = [host for host in todo if host not in trial]
        stopped = _hosts(context, rest, allowed(len(chosen), wanted.failure_rate), failed, wanted.at_once)
    now = known(context)
    seconds = round(now.seconds + time.monotonic() - began, 1)
    store(context).remember(STEP, seconds=seconds)
    context.progress(
        f"agents: {len(now.done)} of {len(chosen)} hosts in {duration(seconds)}, next to the transfer and the first start"
        + (f"; {len(failed)} failed" if failed else "")
    )
    if stopped:
        raise StepFailed(
            f"the agents' wave is stopped, {stopped}: {_in_words(failed)}",
            f"{len(now.done)} of {len(chosen)} hosts have the new agent; the others keep their old one, and nothing more was begun",
            "correct the cause, or put hosts that can wait into agents.upgrade.later, then `pulumi up` resumes; or go back: "
            f"parallel-build back {context.site.stack}",
        )
    return _evidence(context, known(context), chosen)


def _in_words(failed: dict[str, str]) -> str:
    shown = [f"{name}: {cause}" for name, cause in list(failed.items())[:SHOWN]]
    return "; ".join(shown) + (f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else "")


def _evidence(context: Context, wave: Wave, chosen: Sequence[Hypervisor]) -> Outputs:
    kept = kept_old(context)
    if kept:
        context.pending = (
            f"{len(kept)} hosts keep their old agent and take no new VMs on the new side: {_in_words(kept)}. "
            "Correct that (or take them out of agents.upgrade.later), then `pulumi up` does them"
        )
    return {"hosts": len(chosen), "done": len(wave.done), "not renewed": kept, "seconds": wave.seconds}


def kept_old(context: Context) -> dict[str, str]:
    """Hosts that keep their old agent, and why."""
    wave, wanted = known(context), section(context)
    later = {name: "agents.upgrade.later" for name in wanted.later if name not in wave.done}
    return later | {name: cause for name, cause in wave.failed.items() if name not in wave.done}


def _look(context: Context, hosts: Sequence[Hypervisor]) -> dict[str, str]:
    """Which hosts can't be begun, and why; changes nothing. One that is off takes the whole time limit of a connection: they are asked side by side."""

    def problem(hypervisor: Hypervisor) -> str:
        try:
            fetched = packages_of(context, hypervisor).fetched()
            return "" if fetched else f"its packages are not in {FOLDER}, where step AgentPackages puts them in phase prepared"
        except (ConnectionFailed, CommandFailed, StepFailed) as error:
            return error.fact

    with Workers(max(AT_ONCE, section(context).at_once), context.cancel) as pool:
        return {host.name: words for host, words in zip(hosts, pool.map(problem, hosts), strict=True) if words}


def _hosts(context: Context, hosts: Sequence[Hypervisor], permitted: int, failed: dict[str, str], at_once: int) -> str:
    """Do hosts side by side; why nothing more was begun, empty where all were tried.

    Args:
        failed: gets the causes; what is in it already counts as well.
    """
    queue, running = deque(hosts), dict[Future[None], Hypervisor]()
    with Workers(at_once, context.cancel) as pool:
        while queue or running:
            free = at_once - len(running)
            if queue and free and len(failed) <= permitted:
                context.cancel.check()
                some = [queue.popleft() for _ in range(min(free, len(queue)))]
                begun = _begin(context, some)
                running |= {pool.submit(_upgrade, context, host, begun[host.name]): host for host in some}
            if not running:
                break
            ended = {running.pop(future): future for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done}
            _note(context, ended, failed)
    return f"{len(failed)} hosts have failed and {permitted} may" if len(failed) > permitted else ""


def _begin(context: Context, hosts: Sequence[Hypervisor]) -> dict[str, str]:
    """In one write, before anything is done there; what each agent's unit was. Refused once a rollback has begun."""
    begun = known(context).begun
    with Workers(len(hosts)) as pool:
        states = list(pool.map(lambda host: Services(context.host(host)).state(AGENT), hosts))
    for host, state in zip(hosts, states, strict=True):
        begun.setdefault(host.name, (ACTIVE if state.active else "") + (ENABLED if state.enabled else ""))
    context.intend("upgrade agents", hosts=[host.name for host in hosts])
    store(context).note({STEP: {"begun": begun}}, forward=True)
    return begun


def _note(context: Context, ended: dict[Hypervisor, Future[None]], failed: dict[str, str]) -> None:
    if not ended:
        return
    done = known(context).done
    for host, future in ended.items():
        try:
            future.result()
        except (Cancelled, GuardFailed, Fenced):
            raise
        except ParallelBuildError as error:
            failed[host.name] = error.cause or error.fact
            context.progress(f"{host.name} keeps its old agent: {error}")
        else:
            failed.pop(host.name, None)
            done.append(host.name)
    store(context).remember(STEP, done=done, failed={name: cause[:LONGEST] for name, cause in failed.items()})
    context.progress(f"agents renewed: {len(done)}" + (f", {len(failed)} failed" if failed else ""))


def _upgrade(context: Context, hypervisor: Hypervisor, was: str) -> None:
    context.progress(f"{hypervisor.name}: {AGENT} stops, its packages are installed")
    _stopped(context, hypervisor, was, packages_of(context, hypervisor).install)


def _stopped(context: Context, hypervisor: Hypervisor, was: str, work: Callable[[float], None]) -> None:
    """Stop, work on its packages, start. Where the work fails the agent that is there is started again.

    Args:
        work: is given its time limit in seconds.
    """
    context.host(hypervisor).run(["systemctl", "stop", AGENT], timeout=120, cancellable=False)
    try:
        work(section(context).timeout.total_seconds())
    finally:
        _as_it_was(context, hypervisor, was)


def _as_it_was(context: Context, hypervisor: Hypervisor, was: str) -> None:
    """The agent's unit as it was found: a package's script may have enabled, disabled, started or stopped it."""
    host = context.host(hypervisor)
    services = Services(host)
    if ACTIVE not in was:
        host.run(["systemctl", "stop", AGENT], timeout=120, cancellable=False)
        return
    services.bring_up(AGENT, enable=ENABLED in was)
    try:
        wait_for(f"{AGENT} on {hypervisor.name}", partial(_runs, services), timeout=STARTED, cancel=context.cancel, interval=1)
    except StepFailed:
        end = unit_end.read(host, AGENT)
        raise StepFailed(
            f"{AGENT} on {hypervisor.name} does not run: {end.words}",
            end.cause[0] if end.cause else "its own log says why",
            f"see `journalctl -u {AGENT}` and /var/log/cloudstack/agent/agent.log there",
        ) from None


def _runs(services: Services) -> bool:
    state = services.state(AGENT)
    return state.active and state.main_pid > 0


# On the new side: hosts with an old agent take no new VMs.


def set_aside(context: Context, cloud: Cloud) -> dict[str, str]:
    """Disable hosts that keep their old agent on the new side, and enable those that are done since; those that are disabled now, and why."""
    kept, records = kept_old(context), store(context)
    if not kept and not known(context).aside:
        return {}
    by_name = {each.hypervisor.name: each for each in _listed(context, cloud) if each.hypervisor is not None}
    for name in kept:
        host = by_name.get(name)
        if host is None or not host.enabled or name in known(context).aside:
            continue
        records.remember(STEP, aside={**known(context).aside, name: str(host.item["id"])})
        context.intend("no new VMs on a host with an old agent", host=name)
        cloud.call("updateHost", id=str(host.item["id"]), allocationstate="Disable")
    for name, identity in known(context).aside.items():
        if name not in kept:
            context.intend("new VMs on a host again, its agent is renewed", host=name)
            cloud.call("updateHost", id=identity, allocationstate="Enable")
            records.remember(STEP, aside={other: of for other, of in known(context).aside.items() if other != name})
    if kept:
        context.progress(f"NO NEW VMS, since they keep their old agent: {_in_words(kept)}")
    return kept


def not_awaited(configuration: StackConfiguration, failed: Collection[str], items: Collection[agents.Item]) -> set[str]:
    """Ids of hosts whose agent could not be renewed: they are listed, and the window does not wait for them."""
    if not failed:
        return set()
    found = agents.agent_hosts(items, configuration.original.hypervisors)
    return {str(each.item.get("id")) for each in found if each.hypervisor is not None and each.hypervisor.name in failed}


def _listed(context: Context, cloud: Cloud) -> list[agents.AgentHost]:
    return agents.agent_hosts(cloud.list("listHosts", type="Routing"), context.configuration.original.hypervisors)


# The reverse.


def undo(context: Context) -> list[str]:
    """Put the old packages back on every host that was begun, side by side.

    Returns:
        hosts where that could not be done, in words; they stay on record.
    """
    wave = known(context)
    if not wave.begun:
        return []
    context.progress(f"putting the old agents back on {len(wave.begun)} hosts")
    hosts = {host.name: host for host in context.configuration.original.hypervisors}
    with Workers(section(context).at_once, context.cancel) as pool:
        work = {name: pool.submit(_put_back, context, hosts.get(name), name, was) for name, was in wave.begun.items()}
    left = {name: words for name, future in work.items() if (words := future.result())}
    begun = {name: was for name, was in wave.begun.items() if name in left}
    store(context).remember(STEP, begun=begun, done=[name for name in wave.done if name in begun], failed={})
    for name, words in left.items():
        context.progress(f"{name}: its old agent can't be put back yet: {words}")
        context.run.record("not undone", step=context.step, host=name, error=words)
    return [f"the old agent on {name}: {words}" for name, words in left.items()]


def forget(context: Context, name: str) -> list[str]:
    """Take a host off the record; what is then to be done there by hand, in words."""
    wave = known(context)
    if name not in wave.begun:
        return []
    begun = {other: was for other, was in wave.begun.items() if other != name}
    store(context).remember(STEP, begun=begun, done=[other for other in wave.done if other != name])
    return [f"the packages in {FOLDER}/old installed"]


def _put_back(context: Context, hypervisor: Hypervisor | None, name: str, was: str) -> str:
    """Put one back; what kept it from that, in words."""
    if hypervisor is None:
        return f"the stack does not name {name} any more: put it back into original.hypervisors"
    try:
        _stopped(context, hypervisor, was, packages_of(context, hypervisor).put_back)
    except (ConnectionFailed, CommandFailed, StepFailed) as error:
        return error.cause or error.fact
    return ""


def let_ha_go(context: Context, missing: Collection[str]) -> list[str]:
    """High availability on the original as found, once its hosts are back; what keeps it from that, in words.

    Args:
        missing: what of the hosts is not back.
    """
    if not store(context).facts(ha_hold.STEP).get("original"):
        return []
    if missing:
        return ["high availability stays off on the original until its hosts are back"]
    try:
        ha_hold.put_back(context, "original")
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        return [f"high availability on the original: {error.reason}"]
    return []
