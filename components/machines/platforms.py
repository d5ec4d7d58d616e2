"""The platforms a machine can be built on: a table, so that one more is one line and one module."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from parallel_build.components.machines.machine import Builder, Foundation


@dataclass(frozen=True)
class Platform:
    """One platform.

    Attributes:
        module: module whose `build` makes the machine; imported when first used, because the SDKs of platforms that a stack does not
            use would cost seconds at every `pulumi preview`.
        makes_host_key: the stack makes the SSH host key beforehand; False where the server has its own.
    """

    module: str
    makes_host_key: bool = True

    @property
    def build(self) -> Builder:
        """The platform's builder."""
        builder: Builder = importlib.import_module(self.module).build
        return builder

    @property
    def foundation(self) -> Foundation | None:
        """What declares the things that all machines of the platform share, or None."""
        declare: Foundation | None = getattr(importlib.import_module(self.module), "foundation", None)
        return declare


PLATFORMS = {
    "libvirt": Platform("parallel_build.components.machines.libvirt"),
    "container": Platform("parallel_build.components.machines.container"),
    "vsphere": Platform("parallel_build.components.machines.vsphere"),
    "existing": Platform("parallel_build.components.machines.existing", makes_host_key=False),
}
