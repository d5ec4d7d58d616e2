"""The stack program: configuration in, components out."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pulumi

from parallel_build.components.cloud import Cloud
from parallel_build.components.cutover import Cutover, CutoverArgs
from parallel_build.components.database import ReplicatedDatabase, ReplicatedDatabaseArgs
from parallel_build.components.management import ManagementServers, ManagementServersArgs
from parallel_build.components.preparation import Preparation, PreparationArgs
from parallel_build.components.settings import Settings, read_settings
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError


def declare(settings: Settings) -> None:
    """Declare everything up to the phase that the configuration names, and the stack's outputs."""
    cloud = Cloud(Cloud.ROOT, settings)
    stack = cloud.declared
    database = ReplicatedDatabase("database", ReplicatedDatabaseArgs(cloud))
    management = ManagementServers("management", ManagementServersArgs(cloud))
    if stack.reached(Phase.PREPARED):
        preparation = Preparation("preparation", PreparationArgs(cloud, database, management))
        if stack.reached(Phase.SWITCHED):
            Cutover("cutover", CutoverArgs(cloud, preparation))
    pulumi.export("phase", cloud.phase)
    pulumi.export("addresses", cloud.addresses)
    pulumi.export("hostKeys", cloud.host_keys)
    pulumi.export("host", cloud.host)
    pulumi.export("versions", cloud.versions)
    pulumi.export("record", cloud.record)


# The Python host takes this exit code for "the operator has the message"; with any other it adds a line of its own
# [pulumi-language-python-exec, PYTHON_PROCESS_EXITED_AFTER_SHOWING_USER_ACTIONABLE_MESSAGE_CODE].
SHOWN = 32


def run(program: Callable[[Settings], None]) -> None:
    """Run a program on the stack's settings; an expected failure ends it in its own words, without a traceback."""
    try:
        program(read_settings())
    except ParallelBuildError as error:
        pulumi.log.error(str(error))
        sys.exit(SHOWN)


def main() -> None:
    """The stack program."""
    run(declare)
