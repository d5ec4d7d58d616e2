"""The stack program: configuration in, components out."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pulumi

from parallel_build.components.cloud import declare_stack
from parallel_build.components.cutover import Cutover
from parallel_build.components.database import ReplicatedDatabase
from parallel_build.components.management import ManagementServers
from parallel_build.components.preparation import Preparation
from parallel_build.components.settings import Settings, read_settings
from parallel_build.components.steps import Retirement
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError


def declare(settings: Settings) -> None:
    """Declare everything up to the phase that the configuration names, and the stack's outputs."""
    stack = declare_stack(settings)
    configuration = stack.configuration
    database = ReplicatedDatabase("database", stack)
    management = ManagementServers("management", stack)
    done: list[pulumi.Resource] = [database.databases, *management.installed]
    if stack.reached(Phase.PREPARED):
        done += Preparation("preparation", stack, done, [database.source, database.replica]).steps
    if stack.reached(Phase.SWITCHED):
        done += Cutover("cutover", stack, done).steps
    if stack.reached(Phase.RETIRED):
        Retirement("retirement", stack, opts=pulumi.ResourceOptions(depends_on=done))
    machines = [database.source, database.replica, *management.machines]
    pulumi.export("phase", configuration.phase.value)
    pulumi.export("addresses", {machine.name: machine.address for machine in machines})
    pulumi.export("hostKeys", {machine.name: machine.host_key for machine in machines if machine.host_key is not None})
    pulumi.export("host", configuration.host_setting)


# The Python host takes this exit code for "the operator has been told"; with any other it adds a line of its own
# [pulumi-language-python-exec, PYTHON_PROCESS_EXITED_AFTER_SHOWING_USER_ACTIONABLE_MESSAGE_CODE].
TOLD = 32


def run(program: Callable[[Settings], None]) -> None:
    """Run a program on the stack's settings; an expected failure ends it in its own words, without a traceback."""
    try:
        program(read_settings())
    except ParallelBuildError as error:
        pulumi.log.error(str(error))
        sys.exit(TOLD)


def main() -> None:
    """The stack program."""
    run(declare)
