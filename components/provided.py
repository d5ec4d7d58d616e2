"""The base of every resource of the project's own provider: which version of the provider the engine is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from parallel_build.project import PROJECT
from parallel_build.stack import plugin


class ProvidedResource(pulumi.CustomResource):
    """A resource of the provider `cutover`.

    Args:
        kind: the type's name, without the package.
        inputs: its inputs, and None for each output.
    Raises:
        ConfigurationError: the provider is not installed.
    """

    def __init__(self, kind: str, resource_name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        options = pulumi.ResourceOptions.merge(pulumi.ResourceOptions(version=provider_version()), opts)
        super().__init__(f"{plugin.PROVIDER}:index:{kind}", resource_name, dict(inputs), options)


def provider_version() -> str | None:
    """The version to ask the engine for; None where the project names the provider itself, or the engine is a pretended one.

    Raises:
        ConfigurationError: the provider is not installed; the message names the command that does it.
    """
    if isinstance(get_monitor(), MockMonitor):
        return None
    root = pulumi.get_root_directory()
    return plugin.wanted_version(Path(root) if root else PROJECT, os.environ)
