"""What a resource type must be able to do, and the answers' shapes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values


@dataclass(frozen=True)
class Finding:
    """An input that can't be used."""

    property: str
    reason: str


class Handler(ABC):
    """One resource type.

    A handler raises `Refused` where nothing is to be recorded and `PartialFailure` where a half-done resource is. It never asks for a
    replacement: that would be an undo.
    """

    secret_outputs: ClassVar[Collection[str]] = ()

    @abstractmethod
    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """What is wrong with the inputs; those not known yet are left alone."""

    def before_diff(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> None:
        """Asked before what the state has is compared with what is wanted; changes nothing, and waits no longer than a preview may.

        Raises:
            Refused: what is there contradicts the state.
        """

    @abstractmethod
    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """Names of the inputs whose change is an update; empty for none."""

    @abstractmethod
    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Make it, or adopt what an interrupted create left; returns id and outputs."""

    @abstractmethod
    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Make it agree with the inputs, in place; returns the outputs."""

    @abstractmethod
    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """Undo it, whatever of it is there; a second call does nothing."""

    def read(self, operation: Operation, inputs: Values, outputs: Values) -> Values | None:
        """The present outputs, or None when the thing is not there any more. Default: what the state says."""
        return outputs
