"""Building a machine on the platform that the configuration names, and waiting until it can be worked with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from parallel_build.components.component import Component
from parallel_build.components.declared import Stack
from parallel_build.components.machines.machine import Machine, MachineRequest, Shared
from parallel_build.components.machines.platforms import PLATFORMS
from parallel_build.components.steps import MachineReady
from parallel_build.configuration import NewMachine
from parallel_build.machines.provisioning import File, Provisioning
from parallel_build.secret import Secret

# Containers have this computer's clock; a server that exists already has a time service of its owner's.
OWN_CLOCK = frozenset({"libvirt", "vsphere"})


@dataclass(frozen=True)
class Content:
    """What a machine is to have next to name, network and keys.

    Attributes:
        files: files that are there before any service starts.
        packages: Debian packages.
        enabled_units: services enabled and started.
        masked_units: services that must never start by themselves.
    """

    files: tuple[File, ...] = ()
    packages: tuple[str, ...] = ()
    enabled_units: tuple[str, ...] = ()
    masked_units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """A machine before it is ready: its name, and what distinguishes it from a later machine of that name."""

    name: str
    made: pulumi.Output[str]


def build_machine(stack: Stack, machine: NewMachine, content: Content, parent: Component) -> Machine:
    """Declare a machine and its `MachineReady`; one that was declared for another of its roles is taken as it is.

    Args:
        machine: name, address, size, platform.
        content: what is on it.
        parent: component that it belongs to.
    """
    known: Machine | None = stack.machines.get(machine.name)
    if known is not None:
        return known
    configuration = stack.configuration
    name = configuration.platform_of(machine)
    platform = PLATFORMS[name]
    if name not in stack.foundations:
        declare = platform.foundation
        shared = Shared(stack.prefix, stack.vsphere_password)
        stack.foundations[name] = declare(stack.name, configuration, shared) if declare else None
    request = MachineRequest(
        stack=stack.name,
        configuration=configuration,
        machine=machine,
        provisioning=provisioning(stack, machine, content),
        site=stack.site,
        foundation=stack.foundations[name],
        parent=parent,
        readable=stack.readable,
        protect=stack.protected,
        made_by=stack.brought.resources.get(machine.name, ()),
    )
    resources = tuple(platform.build(request))
    making = (*resources, *request.made_by)
    ids: list[pulumi.Output[str]] = [resource.id for resource in making if isinstance(resource, pulumi.CustomResource)]
    made = pulumi.Output.all(*ids).apply(" ".join)
    ready = MachineReady(
        request.label("-ready"),
        stack,
        parameters={"name": machine.name},
        machines=[Identity(machine.name, made)],
        opts=parent.options(f"{machine.name}-ready", resources),
    )
    address = stack.brought.addresses.get(machine.name) or pulumi.Output.from_input(machine.address)
    declared = Machine(machine.name, address, name, stack.key_of(machine.name), resources, made, ready)
    stack.machines[machine.name] = declared
    return declared


def neighbours(stack: Stack, machine: NewMachine) -> dict[str, str]:
    """Names and addresses of the new side's machines, for each other; the rehearsal's server knows none."""
    others = {other.name: other.address for other in stack.configuration.new_machines()}
    return others if machine.name in others else {}


def time_servers(stack: Stack, machine: NewMachine) -> tuple[str, ...]:
    """What the machine's clock follows: only a virtual machine has one of its own to set, and the rehearsal's server reaches nobody."""
    configuration = stack.configuration
    alone = machine.name not in {each.name for each in configuration.new_machines()}
    return () if alone or configuration.platform_of(machine) not in OWN_CLOCK else tuple(configuration.new.network.time_servers)


def provisioning(stack: Stack, machine: NewMachine, content: Content) -> pulumi.Output[Provisioning]:
    """What the machine is made with; a secret, since its private host key is part of it."""
    network = stack.configuration.new.network

    def put_together(keys: Sequence[str]) -> Provisioning:
        private, public = keys
        return Provisioning(
            hostname=machine.name,
            address=machine.address,
            host_key_private=Secret(private),
            host_key_public=public,
            authorized_keys=(stack.settings.operator_key,),
            prefix=network.prefix,
            gateway=network.gateway,
            dns=tuple(network.dns),
            time_servers=time_servers(stack, machine),
            hosts=neighbours(stack, machine),
            files=content.files,
            packages=content.packages,
            enabled_units=content.enabled_units,
            masked_units=content.masked_units,
        )

    key = stack.host_keys.get(machine.name)
    # Where the server brings its own host key there is none to put on it.
    keys: pulumi.Input[list[str]] = pulumi.Output.all(key.private_key, key.public_key) if key else ["", machine.host_key or ""]
    secret: pulumi.Output[list[str]] = pulumi.Output.secret(keys)
    return secret.apply(put_together)
