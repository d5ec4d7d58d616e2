"""The platforms a machine can be built on: a table, so that one more is one line and one module."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from parallel_build.components.machines.machine import Builder, Foundation
from parallel_build.errors import ConfigurationError


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
        builder: Builder = self._module().build
        return builder

    @property
    def foundation(self) -> Foundation | None:
        """What declares the things that all machines of the platform share, or None."""
        declare: Foundation | None = getattr(self._module(), "foundation", None)
        return declare

    def _module(self) -> ModuleType:
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            name = self.module.rpartition(".")[2]
            if error.name is None or not error.name.startswith("pulumi_"):
                raise
            raise ConfigurationError(
                f"machines on {name} need the Python package {error.name}",
                "a platform's SDK comes with the extra of its name",
                f"pip install 'cloudstack-parallel-build[{name}]'; nothing has been contacted or changed",
            ) from None


PLATFORMS = {
    "libvirt": Platform("parallel_build.components.machines.libvirt"),
    "container": Platform("parallel_build.components.machines.container"),
    "vsphere": Platform("parallel_build.components.machines.vsphere"),
    "existing": Platform("parallel_build.components.machines.existing", makes_host_key=False),
}
