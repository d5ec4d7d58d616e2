"""What the steps before the window have in common that a window rests on."""

from __future__ import annotations

from parallel_build.operations.context import Context
from parallel_build.operations.rollback_window import no_window_open
from parallel_build.steps.base import Step


class FoundationStep(Step):
    """Base of the steps that the window rests on: none is undone under an open window, whatever the state knows of it.

    The rehearsal's server is made ready by the same steps, and no window rests on it: it goes when it has served, in phase retired as well.
    """

    def before_revert(self, context: Context) -> None:
        """Raises GuardFailed while a window is open, or when nobody can tell."""
        machine = context.configuration.rehearsal.machine
        if machine is None or self.parameters.get("name") != machine.name:
            no_window_open(context)
