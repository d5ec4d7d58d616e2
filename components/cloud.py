"""Declaring what all components of a stack share: settings, the machines' host keys, and the resolved site as one secret."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from parallel_build.components.declared import Stack
from parallel_build.components.identity import StackIdentity
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

    def known(public_keys: Sequence[str]) -> dict[str, str]:
        return dict(zip(keys, public_keys, strict=True))

    def resolve(made: Sequence[Sequence[str]]) -> str:
        public_keys, identities = made
        return Site(
            settings.stack, configuration, settings.secrets, known(public_keys), settings.sealed, known_as=tuple(identities)
        ).to_json()

    def former(public_keys: Sequence[str]) -> str:
        return Site(settings.stack, configuration, settings.secrets, known(public_keys)).derived_identity()

    # A secret from its first moment: the text holds every password of the stack.
    public_keys: pulumi.Output[list[str]] = pulumi.Output.all(*(key.public_key for key in keys.values()))
    identity = StackIdentity(
        "identity",
        former=public_keys.apply(former),
        stack=settings.stack,
        phase=configuration.phase.value,
        machines={machine.name: f"{machine.address} on {configuration.platform_of(machine)}" for machine in configuration.new_machines()},
        adopt=configuration.window.adopt,
    )
    secret: pulumi.Output[list[list[str]]] = pulumi.Output.secret(pulumi.Output.all(public_keys, identity.identities))
    return Stack(settings, keys, secret.apply(resolve), {})
