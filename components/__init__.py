"""The library: a CloudStack upgrade by parallel build, as Pulumi components.

    from parallel_build.components import Cloud, CloudArgs, CloudSecrets, ReplicatedDatabase, ReplicatedDatabaseArgs  # and so on

docs/start/library.md has a program of one's own. Names are looked up when they are first used: importing one module of this package brings no other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parallel_build.components.arguments import ArgumentsRefused
    from parallel_build.components.cloud import Cloud
    from parallel_build.components.cloud_args import CloudArgs, CloudSecrets
    from parallel_build.components.cutover import Cutover, CutoverArgs
    from parallel_build.components.database import ReplicatedDatabase, ReplicatedDatabaseArgs
    from parallel_build.components.machines.machine import Machine
    from parallel_build.components.management import ManagementServers, ManagementServersArgs
    from parallel_build.components.own import OwnMachine
    from parallel_build.components.preparation import Preparation, PreparationArgs
    from parallel_build.components.rehearsal import RehearsalServer, RehearsalServerArgs
    from parallel_build.components.workload import Workload, WorkloadArgs

MODULES = {
    "ArgumentsRefused": "arguments",
    "Cloud": "cloud",
    "CloudArgs": "cloud_args",
    "CloudSecrets": "cloud_args",
    "Cutover": "cutover",
    "CutoverArgs": "cutover",
    "Machine": "machines.machine",
    "ManagementServers": "management",
    "ManagementServersArgs": "management",
    "OwnMachine": "own",
    "Preparation": "preparation",
    "PreparationArgs": "preparation",
    "RehearsalServer": "rehearsal",
    "RehearsalServerArgs": "rehearsal",
    "ReplicatedDatabase": "database",
    "ReplicatedDatabaseArgs": "database",
    "Workload": "workload",
    "WorkloadArgs": "workload",
}

__all__ = [
    "ArgumentsRefused",
    "Cloud",
    "CloudArgs",
    "CloudSecrets",
    "Cutover",
    "CutoverArgs",
    "Machine",
    "ManagementServers",
    "ManagementServersArgs",
    "OwnMachine",
    "Preparation",
    "PreparationArgs",
    "RehearsalServer",
    "RehearsalServerArgs",
    "ReplicatedDatabase",
    "ReplicatedDatabaseArgs",
    "Workload",
    "WorkloadArgs",
]


def __getattr__(name: str) -> Any:
    """A public name."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
