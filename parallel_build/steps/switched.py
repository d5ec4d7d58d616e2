"""What the window's steps have in common: they end by the deadline, and are undone only while that is allowed."""

from __future__ import annotations

from typing import ClassVar

from parallel_build.configuration import Phase
from parallel_build.operations import deadline
from parallel_build.operations.claim import claim
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.rollback_window import check_allowed, mark_rollback
from parallel_build.steps.base import Step


class SwitchedStep(Step):
    """Base of the window's steps: each asks before its undo whether going back is still allowed."""

    phase = Phase.SWITCHED
    of_window = True
    opens_window: ClassVar[bool] = False
    within_deadline: ClassVar[bool] = False  # whether the step comes before the new side's start, and must be done by then

    def before_apply(self, context: Context) -> None:
        """Raises DeadlinePassed when the new side should have started by now; the step's waits and loops end then as well.

        Raises GuardFailed while a rollback is under way, or when the window is not this stack's; Fenced when a later run has taken over.
        """
        claim(context)
        if self.opens_window:
            deadline.not_going_back(context, opening=True)
        elif self.within_deadline:
            deadline.hold(context)
        else:
            deadline.not_going_back(context)

    def takes_part(self, context: Context) -> bool:
        """No for a step that was not there when the window opened: what it should come before may be done already."""
        record = store(context).read()
        return record is None or record.closed is not None or self.type in record.steps

    def before_verify(self, context: Context) -> None:
        """Raises GuardFailed when the window that is open is another stack's: nothing of it can be proved for this one."""
        records = store(context)
        record = records.read()
        if record is not None and not record.closed:
            records.check_owner(record)

    def before_revert(self, context: Context) -> None:
        """Raises GuardFailed past the rollback window, once retired, or when a hold point would be behind the new side's start.

        A rollback is written down before the first of its undos; it changes nothing else.
        """
        claim(context)
        check_allowed(context)
        mark_rollback(context)
