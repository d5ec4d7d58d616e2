"""Acceptance: functional tests where configured, then users in on the new side, unless they are in already."""

from __future__ import annotations

import shlex

from parallel_build.cloudstack.services import FENCE, in_words
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.operations import frontends, original_numbers, users_in
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.user_firewall import run_local
from parallel_build.records.front_place import CLOSED
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
        point = users_in.configured(configuration)
        if point == "first":
            return [*lines, "users are in already (window.usersIn: first): a command that fails is listed, and nobody is put out again"]
        if point == "routers":
            return [*lines, "users stay out until the last router wave (routers.untilRenewed: wait)"]
        return [*lines, *users_in.planned(configuration, point)]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Users out again and the new side down, before anything else is undone."""
        names = ", ".join(machine.name for machine in configuration.new.management)
        return [
            *frontends.plan(configuration, CLOSED, frontends.USERS),
            f"users out on the new side (method {configuration.window.user_access.method})",
            f"on {names}, at the same time: systemctl {in_words(FENCE)} usage and management",
        ]

    def apply(self, context: Context) -> Outputs:
        """Run each command; only then open. Where users are in already all commands are run, and their failure puts nobody out."""
        ensure_running(context)
        inside = users_in.are_in(context)
        failed = _run(context, keep_going=inside)
        original_numbers.note(context)
        if failed:
            raise StepFailed(
                f"{len(failed)} acceptance commands failed: {'; '.join(failed)}",
                "users are in since the first server and its hosts were good (window.usersIn: first), and stay in",
                f"correct the cause, or the command, and run `pulumi up`; or go back: parallel-build back {context.site.stack}",
            )
        users_in.admit(context, "accepted")
        context.pending = users_in.led(context)
        store(context).remember(self.type, passed=True, **({"accepted": True} if users_in.settle(context) != "routers" else {}))
        return {"commands": [shlex.join(words) for words in context.configuration.acceptance.commands]}

    def verify(self, context: Context) -> Outputs:
        """Acceptance is given once."""
        return dict(store(context).facts(self.type))

    def revert(self, context: Context) -> None:
        """Close the new side and fence it whole, so that nobody changes what is about to be left behind."""
        users_in.leave(context, always=True)


def _run(context: Context, *, keep_going: bool) -> list[str]:
    """Run the commands.

    Args:
        go_on: run those behind a failed one as well.
    Returns:
        what failed; where `keep_going` is not set the first failure is raised.
    """
    acceptance, failed = context.configuration.acceptance, list[str]()
    for words in acceptance.commands:
        context.progress(f"acceptance: {shlex.join(words)}")
        try:
            run_local(context, words, acceptance.timeout.total_seconds())
        except StepFailed as error:
            if not keep_going:
                raise
            failed.append(error.reason)
            context.note(failed=failed)
            context.progress(f"acceptance FAILED: {error.reason}")
    return failed
