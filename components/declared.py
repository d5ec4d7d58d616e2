"""The cloud that is declared: what all its components share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from parallel_build.components.keys import SshHostKey
from parallel_build.components.own import Brought
from parallel_build.components.settings import Settings
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.secret import Secret, masked


@dataclass(frozen=True)
class Stack:
    """The cloud that is declared.

    Attributes:
        settings: what the operator wants.
        host_keys: keys made by the stack, by machine.
        site: the resolved stack as JSON text, a secret; unknown in a preview before the keys are made.
        foundations: what a platform made once for all its machines, by platform.
        prefix: begins the names of what a platform makes once, so that two clouds stand in one program.
        brought: machines of the program's own.
        late: texts of secrets that are outputs, which no reader may see; None where all are known.
        late_secrets: the same by name.
        machines: what `build_machine` has made so far, by name: a machine with two roles is declared once.
        works_on: what installs something on a machine, by its name, so that two never do at the same time.
        before_window: what else must be there before the window opens, and goes only after it is closed.
        window_declared: the `Cutover` of this cloud, once it was declared.
    """

    settings: Settings
    host_keys: dict[str, SshHostKey]
    site: pulumi.Output[str]
    foundations: dict[str, Any]
    prefix: str = ""
    brought: Brought = field(default_factory=Brought)
    late: pulumi.Output[list[str]] | None = None
    late_secrets: pulumi.Output[dict[str, str]] | None = None
    machines: dict[str, Any] = field(default_factory=dict)
    works_on: dict[str, list[pulumi.Resource]] = field(default_factory=dict)
    before_window: list[pulumi.Resource] = field(default_factory=list)
    window_declared: list[pulumi.Resource] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that everything outside of Pulumi bears."""
        return self.settings.stack

    @property
    def configuration(self) -> StackConfiguration:
        """The stack's configuration."""
        return self.settings.configuration

    def reached(self, phase: Phase) -> bool:
        """Whether the stack is to be in `phase` or beyond."""
        return self.configuration.phase.reached(phase)

    def key_of(self, machine: str) -> pulumi.Output[str] | None:
        """The machine's public host key; None where the operator's known hosts or the configuration has it."""
        made = self.host_keys.get(machine)
        return made.public_key if made else self.brought.keys.get(machine)

    def readable(self, texts: Sequence[str], shape: Callable[[Sequence[str]], list[str]]) -> pulumi.Input[list[str]]:
        """Texts for the reader of a preview: no secret in them, and an address that is not known yet by its machine's name.

        Args:
            shape: breaks them into lines.
        """
        shown = [self._placed(text) for text in texts]
        hidden = self.settings.hidden()
        if self.late is None:
            return shape(masked(shown, hidden))

        def mask_all(found: Any) -> list[str]:
            known = [Secret(text) for text in found if isinstance(text, str) and text] if isinstance(found, list) else []
            return shape(masked(shown, [*hidden, *known]))

        # What is not known yet can't be part of a text that is; without the mark the plan would be one big secret.
        texts_known: pulumi.Output[list[str]] = self.late.apply(mask_all, run_with_unknowns=True)
        return pulumi.Output.unsecret(texts_known)

    def _placed(self, text: str) -> str:
        placeholders: Mapping[str, str] = {
            machine.address: machine.name for machine in self.configuration.built_machines() if machine.name in self.brought.addresses
        }
        for address, name in placeholders.items():
            text = text.replace(f"{name} ({address})", f"{name} (its address)").replace(address, f"the address of {name}")
        return text

    @property
    def vsphere_password(self) -> pulumi.Input[str] | None:
        """vCenter's password, a secret; None where there is none."""
        if self.late_secrets is not None:
            return self.late_secrets.apply(lambda found: found.get("vsphere_password", ""))
        password = self.settings.secrets.vsphere_password if self.settings.secrets else None
        return pulumi.Output.secret(password.reveal()) if password else None

    @property
    def protected(self) -> bool:
        """Whether the new machines must not be deleted: going back has ended, and the operator has not overruled that."""
        return self.configuration.phase is Phase.RETIRED and not self.configuration.window.force_rollback
