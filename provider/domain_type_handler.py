"""DomainType: under what, and with which processor, libvirt's guests run; found out once for a stack and kept in its state."""

from __future__ import annotations

from parallel_build.machines.domain_type import probe
from parallel_build.provider.handler import Finding, Handler
from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values


class DomainTypeHandler(Handler):
    """Inputs: `uri` of libvirt. Outputs: `uri`, `type` (`kvm` or `qemu`), `cpuMode`."""

    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """A connection must be named."""
        return [] if inputs.get("uri") else [Finding("uri", "libvirt's connection is missing")]

    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """Another connection is stored."""
        return [] if old_inputs.get("uri") == inputs.get("uri") else ["uri"]

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Start a guest and see."""
        uri = str(inputs["uri"])
        found = probe(uri, cancel=operation.session.cancel, progress=operation.tell)
        return f"DomainType/{uri}", {"uri": uri, "type": found.type, "cpuMode": found.cpu_mode}

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """The answer stays: a different one would make libvirt's plugin replace every machine."""
        return {**old_outputs, "uri": inputs["uri"]}

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """There is nothing to undo."""
