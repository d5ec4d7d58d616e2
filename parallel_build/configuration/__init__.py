"""The stack's configuration: typed, complete, and checked in full before anything is contacted.

The keys are written in camelCase in `stacks/Pulumi.<stack>.yaml`; every section is one Pulumi configuration value of the project.
`StackConfiguration` is what an operator writes; `parallel_build.resolved_stack.Site` adds what is only known once machines exist.
"""

from __future__ import annotations

from parallel_build.configuration.agents import AgentUpgrade
from parallel_build.configuration.api import AGENTS, API_PORTS, PEERS, ServedApi, unreadable
from parallel_build.configuration.frontend import Frontend
from parallel_build.configuration.loading import describe, known, load, load_secrets
from parallel_build.configuration.platforms import LibvirtPlatform, VspherePlatform
from parallel_build.configuration.preparation import Housekeeping, Parity, Template
from parallel_build.configuration.routers import Hours, Routers, Wave
from parallel_build.configuration.secrets import Secrets
from parallel_build.configuration.server import Server, Ssh
from parallel_build.configuration.servers import Hypervisor, NewMachine, OriginalManagement
from parallel_build.configuration.stack import StackConfiguration
from parallel_build.configuration.values import HOST_NAME, Phase
from parallel_build.configuration.window import DumpFile, HypervisorCommand, SwitchedStepName, UserProbe

__all__ = [
    "AGENTS",
    "API_PORTS",
    "HOST_NAME",
    "PEERS",
    "AgentUpgrade",
    "DumpFile",
    "Frontend",
    "Hours",
    "Housekeeping",
    "Hypervisor",
    "HypervisorCommand",
    "LibvirtPlatform",
    "NewMachine",
    "OriginalManagement",
    "Parity",
    "Phase",
    "Routers",
    "Secrets",
    "ServedApi",
    "Server",
    "Ssh",
    "StackConfiguration",
    "SwitchedStepName",
    "Template",
    "UserProbe",
    "VspherePlatform",
    "Wave",
    "describe",
    "known",
    "load",
    "load_secrets",
    "unreadable",
]
