"""The workload: domains, accounts, networks and VMs for tests of the upgrade, on the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pydantic import ValidationError

from parallel_build.components.arguments import MISSING, expected, in_its_own_words, refused
from parallel_build.components.cloud import Cloud
from parallel_build.components.component import Component
from parallel_build.components.steps import Workload as WorkloadStep
from parallel_build.configuration import Phase
from parallel_build.configuration.loading import describe
from parallel_build.errors import ConfigurationError
from parallel_build.workload.profile import BUILT_IN, Profile, load


@dataclass
class WorkloadArgs:
    """What `Workload` is declared with.

    Attributes:
        cloud: the cloud; it must be in phase `built` or beyond when its workload is made.
        profile: `small`, `medium` or `large`; a file (YAML); or numbers by kind, as such a file has them.
        zone: the zone's name; "" for the first that is enabled.
    """

    cloud: Cloud = MISSING
    profile: str | Path | Mapping[str, Any] = "small"
    zone: str = ""


class Workload(Component):
    """`cutover:components:Workload`. Declared before `Cutover`, whose window opens after it and is undone before it.

    Children: `Workload`, the step. Deleted in phase `retired` it stays where it is: the original that it was made on is history.

    Attributes:
        cloud: the cloud.
        profile: what was wanted.
        there: how many of each kind are there; an output.
        status: the step's status; an output.
    """

    cloud: Cloud
    profile: Profile
    there: pulumi.Output[Mapping[str, int]]
    status: pulumi.Output[str]

    @in_its_own_words
    def __init__(self, name: str, args: WorkloadArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = expected("Workload", name, "args", args, WorkloadArgs)
        self.cloud = expected("Workload", name, "args.cloud", given.cloud, Cloud)
        self.profile = _profile(name, given.profile)
        zone = expected("Workload", name, "args.zone", given.zone, str)
        stack = self.cloud.declared
        if stack.window_declared:
            raise refused(
                "Workload", name, "args.cloud", "has a Cutover that was declared before it",
                "the workload must be there before the window opens, and go after it is closed",
                "declare Workload before Cutover",
            )  # fmt: skip
        super().__init__(name, opts)
        parameters = {"profile": self.profile.document(), "zone": zone}
        step = WorkloadStep(
            self.child("workload"), stack, parameters=parameters, opts=self.options("workload", retain_on_delete=_over(stack))
        )
        stack.before_window.append(step)
        self.there = step.result.apply(lambda found: (found or {}).get("there") or {})
        self.status = step.status
        self.register_outputs({"there": self.there, "status": self.status})


def _over(stack: Any) -> bool:
    """Whether the original is history, so that nothing of the workload can be removed there any more."""
    return bool(stack.configuration.phase is Phase.RETIRED)


def _profile(name: str, given: Any) -> Profile:
    if isinstance(given, str | Path):
        try:
            return load(str(given))
        except ConfigurationError as error:
            raise refused("Workload", name, "args.profile", "can't be used", error.fact, error.remedy.partition(";")[0]) from None
    try:
        return Profile.model_validate(dict(expected("Workload", name, "args.profile", given, Mapping)))  # type: ignore[type-abstract]
    except ValidationError as error:
        raise refused(
            "Workload",
            name,
            "args.profile",
            f"can't be used:\n  {describe(error)}\n",
            "a profile has a number for each kind of thing",
            f"correct these, or name one of {', '.join(BUILT_IN)}",
        ) from None
