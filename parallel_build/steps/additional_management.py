"""AdditionalManagement: the other new management servers, one at a time, and usage on one."""

from __future__ import annotations

from parallel_build.cloudstack.services import FENCE, MANAGEMENT, USAGE, Services, in_words
from parallel_build.cloudstack.setup import no_download
from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.operations import prove_user_access, user_firewall, users_in
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import only_new_side, store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.start_management import ManagementStart, present_fingerprint
from parallel_build.operations.start_usage import start_usage
from parallel_build.records.states import FIRST_START, StartState, start_of
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


def further(configuration: StackConfiguration) -> list[NewMachine]:
    """The new management servers behind the first, in start order."""
    return configuration.new.management[1:]


@step
class AdditionalManagement(SwitchedStep):
    """Further management servers, and the usage server."""

    type = "AdditionalManagement"
    summary = "additional management servers and usage up"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The same commands on each further server."""
        lines, more = [], no_download(configuration.new.version)
        for machine in further(configuration):
            lines.append(f"on {machine.name} ({machine.address}): cloudstack-setup-databases, cloudstack-setup-management --no-start{more}")
            lines.append(f"on {machine.name}: unmask, start and prove {MANAGEMENT}; no schema upgrade may be left for it")
        usage = configuration.usage_server
        if usage is None:
            return [*lines, "no usage server is started (new.usage)"]
        unasked = "" if configuration.original.has_usage else "; the original has none (new.usage: false leaves it out)"
        return [*lines, f"on {usage.name}: unmask, enable and start {USAGE}; wait until its log says that it is ready{unasked}"]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Fence them."""
        lines = [f"on {usage.name}: {in_words(FENCE)} {USAGE}"] if (usage := configuration.usage_server) else []
        return lines + [f"on {machine.name}: {in_words(FENCE)} usage and management" for machine in further(configuration)]

    def apply(self, context: Context) -> Outputs:
        """One server after the other: each must be good before the next starts."""
        ensure_running(context)
        first = StartState.of(store(context).facts(FIRST_START)).good or {}
        fingerprint = first.get("fingerprint") or present_fingerprint(context)
        started = {}
        for machine in further(context.configuration):
            started[machine.name] = ManagementStart(context, machine, start_of(machine.name, first=False), upgrade=False).run(fingerprint)
            context.note(started=sorted(started))
        usage = start_usage(context)
        if started and users_in.are_in(context):
            user_firewall.open_started(context, further(context.configuration))
            prove_user_access.users_are_in(context, context.configuration.new.management, must=False)
        return {"started": started, "usage": usage}

    def verify(self, context: Context) -> Outputs:
        """The recorded proofs stand."""
        records = store(context)
        names = [machine.name for machine in further(context.configuration)]
        return {"started": {name: StartState.of(records.facts(start_of(name, first=False))).good for name in names}}

    def revert(self, context: Context) -> None:
        """Users out of the new side; then usage, it restarts itself; then the servers."""
        users_in.leave(context)
        usage = context.configuration.usage_server
        if usage is not None:
            with only_new_side(context, f"stopping {USAGE} on {usage.name}"):
                Services(context.host(usage)).stop_and_fence(USAGE)
        for machine in reversed(further(context.configuration)):
            ManagementStart(context, machine, start_of(machine.name, first=False), upgrade=False).fence()
