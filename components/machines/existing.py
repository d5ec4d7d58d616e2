"""Servers that are there already: metal, or virtual machines made elsewhere. Nothing is created; a step makes them ready and undoes that.

Children of a machine's component: `cutover:index:ExistingMachine`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from parallel_build.components.machines.machine import MachineRequest
from parallel_build.components.steps import StepResource


class ExistingMachine(StepResource):
    """`cutover:index:ExistingMachine`: the server proved fit, how it was found written down, its role prepared."""

    STEP = "ExistingMachine"


def build(request: MachineRequest) -> Sequence[pulumi.Resource]:
    """Declare the server's step. It is the first resource on the server, so its undo runs last there."""
    return [
        ExistingMachine(
            request.label("-existing"),
            request,
            parameters={"name": request.name},
            opts=request.options("-existing", after=request.made_by),
        )
    ]
