"""The stack that is declared: what all its components share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from parallel_build.components.keys import SshHostKey
from parallel_build.components.settings import Settings
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.secret import Secret


@dataclass(frozen=True)
class Stack:
    """The stack that is declared.

    Attributes:
        settings: what the operator said.
        host_keys: keys made by the stack, by machine.
        site: the resolved stack as JSON text, a secret; unknown in a preview before the keys are made.
        foundations: what a platform made once for all its machines, by platform.
    """

    settings: Settings
    host_keys: dict[str, SshHostKey]
    site: pulumi.Output[str]
    foundations: dict[str, Any]

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.settings.stack

    @property
    def configuration(self) -> StackConfiguration:
        """The stack's configuration."""
        return self.settings.configuration

    def reached(self, phase: Phase) -> bool:
        """Whether the stack is to be in `phase` or beyond."""
        return self.configuration.phase.reached(phase)

    @property
    def hidden(self) -> Sequence[Secret]:
        """What no text for a reader may show."""
        return [*self.settings.secrets.all(), *self.settings.sealed]

    @property
    def protected(self) -> bool:
        """Whether the new machines must not be deleted: going back has ended, and the operator has not overruled that."""
        return self.configuration.phase is Phase.RETIRED and not self.configuration.window.force_rollback
