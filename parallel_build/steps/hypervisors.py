"""Hypervisors: every host that was Up before the window is Up again, on the new side."""

from __future__ import annotations

from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import agents
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.services import AGENT, Services
from parallel_build.configuration import StackConfiguration
from parallel_build.durations import duration
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.operations import agent_wave, ha_hold, lost_hosts, users_in
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.prove_agents_reach import REACHES
from parallel_build.remote.access import Access
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class Hypervisors(SwitchedStep):
    """Wait for the hosts."""

    type = "Hypervisors"
    summary = "hypervisors connected to the new side"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is waited for."""
        limit = duration(configuration.window.hosts_timeout)
        return [
            f"wait until every host that was Up when the window opened is Up again (listHosts), at most {limit}",
            *users_in.planned(configuration, "first"),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing of its own."""
        return ["nothing: agents dial the original again when the new servers are fenced"]

    def apply(self, context: Context) -> Outputs:
        """Ask the new API until all are Up."""
        ensure_running(context)
        users_in.settle(context)
        hosts = await_hosts(context)
        users_in.admit(context, "first")
        return {"hosts": {host["name"]: host.get("managementserverid") for host in hosts}}

    def verify(self, context: Context) -> Outputs:
        """Nothing to do again."""
        return {}

    def revert(self, context: Context) -> None:
        """Users out of the new side, where they are in."""
        users_in.leave(context)


def await_hosts(context: Context) -> list[dict[str, Any]]:
    """Wait until every host that was Up when the window opened is Up on the new side.

    Returns:
        those hosts, as listHosts gives them.
    Raises:
        StepFailed: some are not, after window.hostsTimeout.
    """
    noted = store(context).facts("Window")
    up: dict[str, str] = noted.get("hosts_up", {})
    wave = agent_wave.Wave.of(store(context).facts(agent_wave.STEP))
    expected = dict(sorted(up.items(), key=lambda item: item[1]))  # in the order in which an operator looks for them
    cloud = Cloud.new(context.site)
    missing: list[str] = []

    def all_up() -> list[dict[str, Any]] | None:
        hosts = {host["id"]: host for host in cloud.list("listHosts", type="Routing")}
        aside = lost_hosts.put_aside_since(noted.get("hosts_aside"), wave.aside.values(), hosts)
        left_out = agent_wave.not_awaited(context.configuration, wave.failed, hosts.values()) | aside
        awaited = {identity: name for identity, name in expected.items() if identity not in left_out}
        missing[:] = [
            f"{name} ({hosts[identity]['state'] if identity in hosts else 'unknown here'})"
            for identity, name in awaited.items()
            if identity not in hosts or hosts[identity].get("state") != "Up"
        ]
        without = (
            f", {len(expected) - len(awaited)} not awaited: put aside, or their agent could not be renewed"
            if len(awaited) < len(expected)
            else ""
        )
        context.progress(f"hosts Up: {len(awaited) - len(missing)} of {len(awaited)}{without}")
        return None if missing else [hosts[identity] for identity in awaited]

    try:
        found = wait_for(
            "every host to be Up",
            all_up,
            timeout=context.configuration.window.hosts_timeout.total_seconds(),
            cancel=context.cancel,
            interval=1,
        )
    except StepFailed:
        causes = why_missing(context, cloud, expected)
        raise StepFailed(
            f"not Up on the new side: {', '.join(missing)}",
            "; ".join(f"{name}: {cause}" for name, (cause, _) in causes.items()),
            "; ".join(f"{name}: {remedy}" for name, (_, remedy) in causes.items())
            + "; then `pulumi up`, which resumes from here. VMs on such a host run on meanwhile, they can only not be managed"
            + (
                ""
                if noted.get("hosts_aside") is None
                else ". One that is dead: updateHost allocationstate=Disable on the new side, then it is not awaited"
            ),
        ) from None
    _settle_agents(context, cloud)
    return found


def _settle_agents(context: Context, cloud: Cloud) -> None:
    """After the agents' wave, by the record: no new VMs on hosts with an old agent, and high availability as it was found."""
    records = store(context)
    if records.facts(agent_wave.STEP) or records.facts(ha_hold.STEP).get("new"):
        agent_wave.set_aside(context, asked(context, cloud))
        ha_hold.put_back(context, "new")
        records.remember(Hypervisors.type, passed=True)


def why_missing(context: Context, cloud: Cloud, expected: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Why each host that is missing has not come over, as far as it can be seen on itself, and what to do with it."""
    now = {host["id"]: host for host in cloud.list("listHosts", type="Routing")}
    new = agents.addresses(context.configuration.host_setting)
    causes = {}
    for identity, name in expected.items():
        item = now.get(identity)
        if item is not None and item.get("state") == "Up":
            continue
        known = agents.agent_hosts([item], context.configuration.original.hypervisors) if item else []
        if not known or known[0].hypervisor is None:
            causes[name] = (
                "it is not in original.hypervisors, so nothing can be seen on it",
                f"see there that `host=` in {agents.AGENT_FILE} has {','.join(new)}, and that port 8250 of these is reached",
            )
            continue
        try:
            causes[name] = stranded(context.host(known[0].hypervisor), new)
        except (ConnectionFailed, CommandFailed) as error:
            causes[name] = (str(error), "bring that host back")
    return causes


def stranded(host: Access, new: list[str]) -> tuple[str, str]:
    """Why the agent of a host has not come over to `new` addresses, seen on the host itself: cause and remedy."""
    active = Services(host).state(AGENT).active
    listed = agents.learnt(host)
    lacking = [address for address in new if address not in listed]
    if not active:
        return f"{AGENT} does not run there", f"there: systemctl start {AGENT}"
    if lacking:
        return (
            f"its {agents.AGENT_FILE} lists {', '.join(listed) or 'nothing'}, not {', '.join(lacking)}",
            f"there: set host={','.join([*new, *(address for address in listed if address not in new)])} in that file "
            f"and systemctl restart {AGENT} (running VMs are not touched)",
        )
    reached = host.run(["sh", "-c", REACHES, "sh", *new], timeout=10 + 3 * len(new)).stdout.split()
    closed = [address for address in new if address not in reached]
    if closed:
        return f"it does not reach port 8250 of {', '.join(closed)}", "open that port between it and the new servers"
    return (
        "it knows the new servers and reaches them, but its agent has not connected",
        f"see /var/log/cloudstack/agent/agent.log there; systemctl restart {AGENT}",
    )
