"""Machines in systemd-nspawn on this computer, through the project's own provider: for the lab and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from parallel_build.components.machines.machine import MachineRequest
from parallel_build.components.provided import ProvidedResource
from parallel_build.machines.document import dump


class ContainerMachine(ProvidedResource):
    """`cutover:index:ContainerMachine`.

    Inputs:
        name, address: of the machine.
        root, folder, namespace, bridge: the section `platforms.container`.
        memory: limit in MiB.
        disk: GiB of a disk of its own, only where `platforms.container.disks` is set.
        provisioning: JSON text, a secret.
    Outputs: the inputs, without `provisioning`.
    """

    def __init__(self, resource_name: str, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["provisioning"]))
        super().__init__("ContainerMachine", resource_name, inputs, options)


def build(request: MachineRequest) -> Sequence[pulumi.Resource]:
    """One container. Its memory is its `memory`; its processors, and without `disks` its disk, are the computer's."""
    settings = request.configuration.platforms.container
    assert settings is not None  # the configuration was refused otherwise
    return [
        ContainerMachine(
            request.label(),
            {
                "name": request.name,
                "address": request.machine.address,
                "root": str(settings.roots.get(request.name, settings.root)),
                "folder": str(settings.folder),
                "namespace": settings.namespace,
                "bridge": settings.bridge,
                "memory": request.machine.memory,
                **({"disk": request.machine.disk} if settings.disks else {}),
                "provisioning": request.provisioning.apply(dump),
            },
            request.options(),
        )
    ]
