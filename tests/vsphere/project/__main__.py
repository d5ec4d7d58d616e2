"""The machines of a stack and nothing else: what can be proved against a simulated vCenter, where no guest ever runs."""

from __future__ import annotations

from typing import Any

import pulumi

from parallel_build.components.machines.machine import MachineRequest
from parallel_build.components.machines.platforms import PLATFORMS
from parallel_build.configuration import NewMachine, Phase, StackConfiguration, load
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.provisioning import Provisioning
from parallel_build.secret import Secret

HOST_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nPLANTED-HOST-KEY\n-----END OPENSSH PRIVATE KEY-----\n"


def provisioning(configuration: StackConfiguration, machine: NewMachine) -> Provisioning:
    """What the machine is given; `note` stands for a provisioning that a later version of the project writes differently."""
    return Provisioning(
        hostname=machine.name,
        address=machine.address,
        host_key_private=Secret(HOST_KEY),
        host_key_public=f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{machine.name}",
        authorized_keys=("ssh-ed25519 AAAAoperator",),
        prefix=configuration.new.network.prefix,
        gateway=configuration.new.network.gateway,
        domain=pulumi.Config().get("note") or "cloud.internal",
    )


def program() -> None:
    """Declare the machines."""
    stack = pulumi.get_stack()
    configuration = load(pulumi.Config().require_object("configuration"), stack)
    foundations: dict[str, Any] = {}
    for machine in configuration.new_machines():
        platform = PLATFORMS[configuration.platform_of(machine)]
        if platform.foundation and platform.module not in foundations:
            foundations[platform.module] = platform.foundation(stack, configuration)
        parent = pulumi.ComponentResource("parallel-build:index:Machine", machine.name)
        request = MachineRequest(
            stack=stack,
            configuration=configuration,
            machine=machine,
            provisioning=pulumi.Output.secret(provisioning(configuration, machine)),
            site=pulumi.Output.secret("{}"),
            foundation=foundations.get(platform.module),
            parent=parent,
            protect=configuration.phase.reached(Phase.RETIRED),
        )
        platform.build(request)


try:
    program()
except ParallelBuildError as error:
    raise pulumi.RunError(str(error)) from None
