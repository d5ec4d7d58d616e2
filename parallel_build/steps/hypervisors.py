"""Hypervisors: every host that was Up before the window is Up again, on the new side."""

from __future__ import annotations

from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.steps.base import Context, Outputs, step
from parallel_build.steps.common import store
from parallel_build.steps.management_start import ensure_running
from parallel_build.steps.rollback import SwitchedStep


@step
class Hypervisors(SwitchedStep):
    """Wait for the hosts."""

    type = "Hypervisors"
    summary = "hypervisors connected to the new side"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is waited for."""
        limit = configuration.window.hosts_timeout
        return [f"wait until every host that was Up when the window opened is Up again (listHosts), at most {limit}"]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing of its own."""
        return ["nothing: agents dial the original again when the new servers are fenced"]

    def apply(self, context: Context) -> Outputs:
        """Ask the new API until all are Up."""
        ensure_running(context)
        return {"hosts": {host["name"]: host.get("managementserverid") for host in await_hosts(context)}}

    def verify(self, context: Context) -> Outputs:
        """Nothing to do again."""
        return {}

    def revert(self, context: Context) -> None:
        """Nothing of its own."""


def await_hosts(context: Context) -> list[dict[str, Any]]:
    """Wait until every host that was Up when the window opened is Up on the new side.

    Returns:
        those hosts, as listHosts gives them.
    Raises:
        StepFailed: some are not, after window.hostsTimeout.
    """
    expected: dict[str, str] = store(context).facts("Window").get("hosts_up", {})
    cloud = Cloud.new(context.site)
    missing: list[str] = []

    def all_up() -> list[dict[str, Any]] | None:
        hosts = {host["id"]: host for host in cloud.list("listHosts", type="Routing")}
        missing[:] = [
            f"{name} ({hosts[identity]['state'] if identity in hosts else 'unknown here'})"
            for identity, name in expected.items()
            if identity not in hosts or hosts[identity].get("state") != "Up"
        ]
        context.progress(f"hosts Up: {len(expected) - len(missing)} of {len(expected)}")
        return None if missing else [hosts[identity] for identity in expected]

    try:
        return wait_for(
            "every host to be Up",
            all_up,
            timeout=context.configuration.window.hosts_timeout.total_seconds(),
            cancel=context.cancel,
            interval=1,
        )
    except StepFailed:
        raise StepFailed(
            f"not Up on the new side: {', '.join(missing)}",
            "an agent that never learnt the new addresses, or can't reach them, goes on dialling the old ones",
            "see `host=` in /etc/cloudstack/agent/agent.properties on that host and port 8250 of the new servers; then `pulumi up`",
        ) from None
