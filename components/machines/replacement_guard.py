"""Refusing to build a machine again once the stack has been switched to it.

From phase `switched` on, a machine that is made again would be an empty server in the place of one that users' data is on, while every
step's resource still says that its work is done. The state shows whether the machine was made by an earlier run: a `Stash` keeps the value
of the run that first declared it.
"""

from __future__ import annotations

import uuid
from typing import Any

import pulumi
from pulumi import ResourceHook, ResourceHookArgs, ResourceHookOptions

from parallel_build.components.machines.machine import MachineRequest
from parallel_build.configuration import Phase
from parallel_build.errors import GuardFailed

_RUN = uuid.uuid4().hex
"""Distinguishes this run of the program from every other."""


class ReplacementGuard:
    """What keeps one machine as it is while the stack is switched.

    Args:
        request: the machine.
        source: what it is made from (a template's name), by the setting's key; a change of it is a replacement before the switch, and
            refused after it.
        setting: that setting's key, for the error.
    """

    def __init__(self, request: MachineRequest, source: str, setting: str) -> None:
        self.name, self.source, self.setting, self._label = request.name, source, setting, request.label()
        self.active = request.configuration.phase.reached(Phase.SWITCHED)
        self._phase = request.configuration.phase
        self.origin = pulumi.Stash(
            request.label("-origin"),
            input={"source": source, "run": _RUN},
            # Before the switch the record follows the machine (a new template: a new record); after it, it is only read.
            opts=request.options(
                "-origin",
                ignore_changes=["input"] if self.active else ["input.run"],
                replace_on_changes=None if self.active else ["input"],
            ),
        )

    def checked(self, value: pulumi.Input[str]) -> pulumi.Output[str]:
        """`value`, once it is sure that the machine's source has not been changed since the switch.

        Used for an input that the machine needs, so that the program ends before the machine is even declared: an engine that replaces by
        deleting first never gets to see it.

        Raises:
            pulumi.RunError: when the output is awaited; another source is configured than the machine was made from. It is the one exception
                that Pulumi shows in its own words from inside an output.
        """
        return pulumi.Output.all(self.origin.output, value).apply(lambda pair: self._check_source(pair[0], pair[1]))

    def hook(self) -> ResourceHook:
        """A hook for the machine's `before_create`, also in previews: refuses to make a machine that was there when the stack switched."""

        async def before_create(args: ResourceHookArgs) -> None:
            if self.active:
                self._check_new(await self.origin.output.future())

        return ResourceHook(f"{self._label}-hold", before_create, ResourceHookOptions(on_dry_run=True))

    def _check_source(self, origin: Any, value: str) -> str:
        made_of = origin["source"]
        if self.active and made_of != self.source:
            refusal = GuardFailed(
                f"{self.name} was made from {made_of}, and {self.setting} is {self.source} now",
                f"in phase {self._phase} the cloud runs on {self.name}: replacing it would delete what is on it",
                f"set {self.setting} back to {made_of}; to build from a different template, first roll back with "
                "`pulumi config set phase prepared && pulumi up`",
            )
            raise pulumi.RunError(str(refusal))
        return value

    def _check_new(self, origin: Any) -> None:
        if origin is not None and origin["run"] != _RUN:
            raise GuardFailed(
                f"{self.name} would be built again, and in phase {self._phase} the cloud runs on it",
                "the machine is gone from the state or from vCenter, or a change asks for a different one; a new one would be empty",
                f"bring {self.name} back (from its backup, then `pulumi import`), or roll back to the original with "
                "`pulumi config set phase prepared && pulumi up`; if it was never built, finish phase prepared first",
            )
