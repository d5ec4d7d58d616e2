"""What a step is: a plan in words, an apply, an undo, and a proof; the provider knows nothing more about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.operations.context import Context, Outputs


class Step(ABC):
    """One declared step.

    Apply must accept that an earlier apply was interrupted anywhere: what is done already is found by looking, not redone.
    Revert works from what it observes, is idempotent, and is right also when apply never ran or ran half.

    Args:
        parameters: what distinguishes several resources of one step (a template's name); empty for most.
    """

    type: ClassVar[str]
    phase: ClassVar[Phase]
    summary: ClassVar[str]
    # What a step before the window made and the window uses up: it is looked at again when the stack goes back from the switch.
    spent_by_switch: ClassVar[bool] = False
    # What was done in a window, and was undone with it: the state alone does not know of a rollback that left Pulumi out.
    of_window: ClassVar[bool] = False
    # A secret of the site that the window uses as a step before it has set it.
    window_uses: ClassVar[str] = ""

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.parameters: Mapping[str, Any] = parameters or {}

    @abstractmethod
    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The exact actions, in order, in words and commands, secrets masked. Pure: contacts nothing."""

    @abstractmethod
    def undo(self, configuration: StackConfiguration) -> list[str]:
        """What the undo will do, in order. Pure: contacts nothing."""

    @abstractmethod
    def apply(self, context: Context) -> Outputs:
        """Do it, prove it, and return the evidence (plain JSON values, no secrets)."""

    @abstractmethod
    def revert(self, context: Context) -> None:
        """Undo it, whatever of it is there, and prove that."""

    def before_apply(self, context: Context) -> None:
        """Asked before every apply, which does not happen when this raises; changes nothing. Default: nothing is asked.

        Raises:
            GuardFailed: the step may not be done now.
        """

    def takes_part(self, context: Context) -> bool:
        """Whether the step belongs to the window that is open; one that does not does nothing, forward and back. Changes nothing.

        Raises:
            GuardFailed: nobody can tell.
        """
        return True

    def before_verify(self, context: Context) -> None:
        """Asked before every `verify`, which does not happen when this raises; changes nothing. Default: nothing is asked.

        Raises:
            GuardFailed: nothing can be proved now.
        """

    def prove_secret(self, context: Context) -> Outputs:
        """Asked where `window_uses` is not what it was, and the stack is past the step's phase; changes nothing.

        Raises:
            GuardFailed: what the step has set is not the new one.
        """
        return {}

    def before_revert(self, context: Context) -> None:
        """Asked before every undo, which does not happen when this raises; changes nothing of the cloud. Default: an undo is always allowed.

        Steps of the switched phase ask `parallel_build.operations.rollback_window.check_allowed`, and write down that a rollback has begun.
        Raises:
            GuardFailed: going back is not allowed any more.
        """

    def verify(self, context: Context) -> Outputs:
        """Prove again that it is done, changing nothing; called when inputs have changed. Default: apply, which is idempotent."""
        return self.apply(context)


REGISTRY: dict[str, type[Step]] = {}


def step(cls: type[Step]) -> type[Step]:
    """Register a step class under its resource type name."""
    if cls.type in REGISTRY:
        raise ValueError(f"two steps are named {cls.type}")
    REGISTRY[cls.type] = cls
    return cls
