"""The stack's identity, made before anything else."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from parallel_build.components.provided import ProvidedResource


class StackIdentity(ProvidedResource):
    """`cutover:index:StackIdentity`: a random identity, made once and kept in the state; the record of the stack's windows carries it.

    Inputs:
        former: the identity as earlier versions of this project derived it.
        adopt: identity of a window that another state opened, to continue or roll it back with this one; None for none.
        stack, phase, machines: what the stack is called, where it is to be, and its new machines (name -> address and platform): a name that
            changes under users is refused.
    Outputs:
        identities: every identity that windows of this stack may be known by, the present one first.
    """

    identities: pulumi.Output[list[str]]

    def __init__(
        self,
        resource_name: str,
        *,
        former: pulumi.Input[str],
        stack: str,
        phase: str,
        machines: Mapping[str, str],
        adopt: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {"former": former, "adopt": adopt, "stack": stack, "phase": phase, "machines": dict(machines), "identities": None}
        super().__init__("StackIdentity", resource_name, inputs, opts)
