"""Acceptance: functional tests where configured, then users in on the new side."""

from __future__ import annotations

import shlex

from parallel_build.configuration import StackConfiguration
from parallel_build.operations import original_numbers, user_firewall
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.fence_new_side import fence_new_side
from parallel_build.operations.user_firewall import run_local
from parallel_build.remote.parallel import Workers
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class Acceptance(SwitchedStep):
    """The new side is accepted and users are let in."""

    type = "Acceptance"
    summary = "functional tests, then users in"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The commands, then the barrier's end."""
        lines = [f"run here: {shlex.join(words)}" for words in configuration.acceptance.commands]
        return [*lines, f"users in on the new side (method {configuration.window.user_access.method})"]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Users out again and the new side down, before anything else is undone."""
        names = ", ".join(machine.name for machine in configuration.new.management)
        return [
            f"users out on the new side (method {configuration.window.user_access.method})",
            f"on {names}, at the same time: systemctl disable, mask and stop usage and management",
        ]

    def apply(self, context: Context) -> Outputs:
        """Run each command; only then open."""
        ensure_running(context)
        acceptance = context.configuration.acceptance
        for words in acceptance.commands:
            context.progress(f"acceptance: {shlex.join(words)}")
            run_local(words, acceptance.timeout.total_seconds())
        original_numbers.note(context)
        context.intend("users in on the new side")
        user_firewall.admit_on_new(context)
        store(context).remember(self.type, accepted=True)
        return {"commands": [shlex.join(words) for words in acceptance.commands]}

    def verify(self, context: Context) -> Outputs:
        """Acceptance is given once."""
        return dict(store(context).facts(self.type))

    def revert(self, context: Context) -> None:
        """Close the new side and fence it whole, so that nobody changes what is about to be left behind.

        All its servers at once: the undos of the steps that started them would do it one after the other, and the original waits for each.
        On a way back that is ahead of the state users may be in on the original already: a load balancer's command would put them out there.
        """
        record = store(context).read()
        if record is not None and record.ahead:
            fence_new_side(context, insist=False)
            return
        with Workers(2) as pool:
            both = [
                pool.submit(user_firewall.close_on_new, context),
                pool.submit(fence_new_side, context, insist=False),
            ]
        for each in both:
            each.result()
