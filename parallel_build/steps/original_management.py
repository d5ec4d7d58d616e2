"""OriginalManagement: every old management and usage server down, and unable to come back by itself."""

from __future__ import annotations

from parallel_build.cloudstack.services import FENCE, in_words
from parallel_build.configuration import OriginalManagement as OriginalServer
from parallel_build.configuration import Server, StackConfiguration
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import deadline, fence_new_database, ha_hold, original_locks, original_numbers, prove_original_down
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import to_stop, units_of
from parallel_build.operations.fence_new_side import fence_new_side
from parallel_build.operations.let_users_out import keep_users_out
from parallel_build.operations.original_management import Servers, prove_at_rest, remember_units, stop
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class OriginalManagement(SwitchedStep):
    """Old management and usage servers stopped, disabled and masked, proved down."""

    type = "OriginalManagement"
    summary = "original management and usage servers down"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Disable, stop, mask, prove."""
        lines = [
            f"on {server.name} ({server.address}): systemctl {in_words(FENCE)} {unit}"
            for server in to_stop(configuration)
            for unit in units_of(server)
        ]
        ports = ", ".join(str(port) for port in configuration.original.served.own_ports)
        return [*lines, f"prove: ports {ports} closed, units masked, mshost rows Down"]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Prove the new side down, then unmask, enable, start, wait."""
        names = ", ".join(machine.name for machine in configuration.new.management)
        first = f"prove that {names} are down, or nothing is started: fenced over SSH, else powered off through the platform"
        closed = fence_new_database.words(configuration)
        lines = [
            f"on {server.name} ({server.address}): systemctl unmask and start {unit}, as it was found"
            for server in (*configuration.original.management, *configuration.original.usage)
            for unit in reversed(units_of(server))
        ]
        numbers = "the original's next VM ids and MAC addresses moved past those that the new side gave away, never back"
        return [first, closed, numbers, *lines, f"wait until the API answers with {configuration.original.version}"]

    def apply(self, context: Context) -> Outputs:
        """Stop and fence each server, usage first; one that the operator has switched off himself must be silent, and its row must stand still."""
        servers = to_stop(context.configuration)
        keep_users_out(context)
        remember_units(context, servers)
        context.intend("stop the original's management", servers=[server.name for server in servers])
        lost: list[Server] = []
        for server in servers:
            context.cancel.check()
            deadline.not_going_back(context)
            try:
                stop(context, server)
            except ConnectionFailed as error:
                prove_original_down.silent(context, server, error)
                lost.append(server)
            else:
                context.note(stopped=[*context.done.get("stopped", []), server.name])
        stopped = [server.name for server in servers if server not in lost]
        return {
            "stopped": stopped,
            "confirmed down": [server.name for server in lost],
            "mshost": prove_at_rest(context, [server for server in lost if isinstance(server, OriginalServer)]),
        }

    def verify(self, context: Context) -> Outputs:
        """Look whether they are down, stopping nothing: in a rollback that is ahead of the state they serve again."""
        prove_original_down.prove_management(context)
        return {"stopped": [server.name for server in to_stop(context.configuration)]}

    def revert(self, context: Context) -> None:
        """Release and start each server, management first, and wait until one of them answers. Window's undo lets nothing else be missing.

        Raises:
            RollbackIncomplete: a new management server can't be proved down: two sides could serve; or none of the original's answers.
        """
        fence_new_side(context)
        original_locks.unlock(context)
        original_numbers.move_past(context)
        ha_hold.hold_on_original(context)
        with Servers(context) as servers:
            servers.first()
            if context.configuration.window.stop_before:  # users stay out, and Window's undo does not come
                for words in servers.rest():
                    context.progress(f"not back yet: {words}")
