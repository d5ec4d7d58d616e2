"""Declaring what all components of a stack share: settings, the machines' host keys, and the resolved site as one secret."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from parallel_build.components.declared import Stack
from parallel_build.components.keys import SshHostKey
from parallel_build.components.machines.platforms import PLATFORMS
from parallel_build.components.settings import Settings
from parallel_build.resolved_stack import Site


def declare_stack(settings: Settings) -> Stack:
    """Declare the host keys, and put the site together from them."""
    configuration = settings.configuration
    keys = {
        machine.name: SshHostKey(f"{machine.name}-host-key", name=machine.name)
        for machine in configuration.built_machines()
        if PLATFORMS[configuration.platform_of(machine)].makes_host_key
    }

    def resolve(public_keys: Sequence[str]) -> str:
        known = dict(zip(keys, public_keys, strict=True))
        return Site(settings.stack, configuration, settings.secrets, known, settings.sealed).to_json()

    # A secret from its first moment: the text holds every password of the stack.
    public_keys: pulumi.Output[list[str]] = pulumi.Output.all(*(key.public_key for key in keys.values()))
    secret: pulumi.Output[list[str]] = pulumi.Output.secret(public_keys)
    return Stack(settings, keys, secret.apply(resolve), {})
