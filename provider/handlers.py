"""The table of resource types."""

from __future__ import annotations

from parallel_build.provider import NAME
from parallel_build.provider.container_handler import ContainerMachineHandler
from parallel_build.provider.domain_type_handler import DomainTypeHandler
from parallel_build.provider.handler import Handler
from parallel_build.provider.identity_handler import StackIdentityHandler
from parallel_build.provider.key_handler import SshHostKeyHandler
from parallel_build.provider.step_handler import StepHandler
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY


def token(name: str) -> str:
    """The resource type of a name."""
    return f"{NAME}:index:{name}"


def all_handlers() -> dict[str, Handler]:
    """Every resource type: the steps by their names, and what is no step."""
    load_all()
    handlers: dict[str, Handler] = {token(name): StepHandler(step_class) for name, step_class in REGISTRY.items()}
    machines: dict[str, Handler] = {
        token("StackIdentity"): StackIdentityHandler(),
        token("SshHostKey"): SshHostKeyHandler(),
        token("DomainType"): DomainTypeHandler(),
        token("ContainerMachine"): ContainerMachineHandler(),
    }
    return handlers | machines
