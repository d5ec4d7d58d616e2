"""Whether going back is still allowed: past the rollback window, what users did on the new side would be lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from parallel_build.configuration import Phase
from parallel_build.errors import GuardFailed
from parallel_build.steps import deadline
from parallel_build.steps.base import Context, Step
from parallel_build.steps.common import new_database, store
from parallel_build.steps.created import since_window


def check_allowed(context: Context) -> None:
    """Rule: the switched phase is undone only within `window.rollbackWindow` of the switch, and not once the stack is retired.

    Changes nothing. A window that was never switched may always be undone.
    Raises:
        GuardFailed: it is not; lists what was created since the window opened.
    """
    configuration = context.configuration
    record = store(context).read()
    if configuration.window.stop_before and record is not None and record.switched and not record.closed:
        raise GuardFailed(
            f"window.stopBefore {configuration.window.stop_before} is behind the switch: the new side serves since {record.switched}",
            "undoing only the last steps would leave neither side serving",
            "remove window.stopBefore to go on, or set phase to prepared to go back altogether",
        )
    if configuration.window.force_rollback:
        return
    switched = None
    mine = record is not None and not record.closed and record.identity == context.site.identity
    if record is not None and mine and record.switched:
        switched = datetime.fromisoformat(record.switched)
    if configuration.phase is Phase.RETIRED or (record is not None and mine and record.retired):
        why = "the stack is retired"
    elif switched is not None and datetime.now(UTC) - switched > configuration.window.rollback_window:
        why = f"the switch was at {switched:%Y-%m-%d %H:%M} UTC, more than {configuration.window.rollback_window} ago"
    else:
        return
    raise GuardFailed(
        f"going back is refused: {why}",
        f"what users did since would be lost: {since_window(context, new_database(context)).in_words()}",
        "keep the new side; or, knowing that, set window.forceRollback to true, run `pulumi up` in the present phase, then go back",
    )


class SwitchedStep(Step):
    """Base of the window's steps: each asks before its undo whether going back is still allowed."""

    phase = Phase.SWITCHED
    within_deadline: ClassVar[bool] = False  # whether the step comes before the new side's start, and must be done by then

    def before_apply(self, context: Context) -> None:
        """Raises DeadlinePassed when the new side should have started by now; the step's waits and loops end then as well."""
        if self.within_deadline:
            deadline.hold(context)

    def before_revert(self, context: Context) -> None:
        """Raises GuardFailed past the rollback window, once retired, or when a hold point would be behind the new side's start."""
        check_allowed(context)
