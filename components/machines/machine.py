"""One kind of machine for every component, whatever platform builds it.

A platform is a module with a function `build(request: MachineRequest) -> Sequence[pulumi.Resource]`; `parallel_build.components.machines.platforms` is the
table of them. What all its machines share (a storage pool, looked-up objects) it declares in a function
`foundation(stack: str, configuration: StackConfiguration, shared: Shared) -> Any`, called once, where it has one. Nothing but that module knows the
platform: databases and management servers see a `Machine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi

from parallel_build.components.component import Component
from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.machines.provisioning import Provisioning

Readable = Callable[[Sequence[str], Callable[[Sequence[str]], list[str]]], pulumi.Input[list[str]]]
"""Takes texts and what breaks them into lines; leaves out what no reader may see."""


def as_it_is(texts: Sequence[str], shape: Callable[[Sequence[str]], list[str]]) -> pulumi.Input[list[str]]:
    """The texts, where nothing in them is a secret."""
    return shape(texts)


@dataclass(frozen=True)
class Shared:
    """What a platform needs, next to the configuration, to declare things once for all machines of a cloud.

    Attributes:
        prefix: begins the name of each resource, so that two clouds stand in one program.
        vsphere_password: vCenter's password; None takes the stack's secret of that name.
    """

    prefix: str = ""
    vsphere_password: pulumi.Input[str] | None = None


@dataclass(frozen=True)
class MachineRequest:
    """What a platform is asked to build.

    Attributes:
        stack: name of the Pulumi stack; part of every name that leaves the stack (pools, volumes, folders).
        configuration: the stack's configuration; `configuration.platforms` has the platform's own section.
        machine: name, address, size.
        provisioning: what must be on the machine when it first answers: host name, keys, network, files, packages, commands. A secret
            output, because it holds the machine's private host key; unknown in a preview before the key is made.
        readable: takes what no reader may see out of a text.
        made_by: resources of the program's own that make the machine (platform `existing`).
        site: the stack resolved, as a secret JSON text: for a platform whose machine is reached over SSH to be made ready (`existing`).
        foundation: what the platform's `foundation` returned; None where it has none.
        parent: component that the machine belongs to.
        protect: refuse deletion (a retired stack).
    """

    stack: str
    configuration: StackConfiguration
    machine: NewMachine
    provisioning: pulumi.Output[Provisioning]
    site: pulumi.Output[str]
    foundation: Any
    parent: pulumi.Resource
    protect: bool = False
    readable: Readable = as_it_is
    made_by: Sequence[pulumi.Resource] = ()

    @property
    def name(self) -> str:
        """The machine's name: host name, and name of its resource."""
        return self.machine.name

    def label(self, suffix: str = "") -> str:
        """Name of a resource that a platform makes for this machine."""
        return self.group_label(f"{self.name}{suffix}")

    def group_label(self, name: str) -> str:
        """Name of a resource that a platform makes for several machines of one component."""
        return self.parent.child(name) if isinstance(self.parent, Component) else name

    def options(self, suffix: str = "", **more: Any) -> pulumi.ResourceOptions:
        """Options of a resource that a platform makes for this machine: its parent, its protection, its earlier name, and `more`."""
        return self.group_options(f"{self.name}{suffix}", **more)

    def group_options(self, name: str, after: Sequence[pulumi.Resource] = (), **more: Any) -> pulumi.ResourceOptions:
        """The same for a resource of several machines."""
        depends = [*after, *more.pop("depends_on", ())]
        protect = self.protect or None
        if isinstance(self.parent, Component):
            return self.parent.options(name, depends, protect=protect, **more)
        return pulumi.ResourceOptions(parent=self.parent, depends_on=depends, protect=protect, **more)


Builder = Callable[[MachineRequest], Sequence[pulumi.Resource]]


class Foundation(Protocol):
    """Declares what all machines of a platform share."""

    def __call__(self, stack: str, configuration: StackConfiguration, shared: Shared = ...) -> Any:
        """Whatever the platform's `build` needs of it."""


@dataclass(frozen=True)
class Machine:
    """A machine that is there, reachable over SSH with strict host keys, and has everything its provisioning named.

    Attributes:
        name: host name, unique in the stack.
        address: IP address other servers reach it at.
        platform: what built it.
        host_key: its public SSH host key; None where the operator's known hosts or `hostKey` has it (platform `existing`).
        resources: what the platform made.
        made: the ids of those; a different id is a different, empty machine.
        ready: depend on this to run after the machine can be logged in to and its first boot has ended.
    """

    name: str
    address: pulumi.Output[str]
    platform: str
    host_key: pulumi.Output[str] | None
    resources: tuple[pulumi.Resource, ...]
    made: pulumi.Output[str]
    ready: pulumi.Resource
