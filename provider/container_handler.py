"""ContainerMachine: a machine in systemd-nspawn, for the lab and for tests."""

from __future__ import annotations

from pathlib import Path

from parallel_build.errors import ParallelBuildError
from parallel_build.machines import document
from parallel_build.machines.container import machine as container
from parallel_build.provider.failure import PartialFailure, Refused
from parallel_build.provider.handler import Finding, Handler
from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values, is_unknown

START_LIMIT = 120.0
FIXED = ("name", "address", "root", "folder", "namespace", "bridge")


class ContainerMachineHandler(Handler):
    """Inputs: `name`, `address`, `root`, `folder`, `namespace`, `bridge`, `memory` (MiB), `disk` (GiB, may be missing), `provisioning` (secret JSON text).

    Outputs: the inputs without `provisioning`. What a machine is made of is fixed when it is made; later texts are stored.
    """

    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """Every setting must be there."""
        return [Finding(name, "this setting is missing") for name in (*FIXED, "provisioning") if not inputs.get(name)]

    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """Any setting; a provisioning that is not known yet can't be told from the old one."""
        names = [*FIXED, "memory", "provisioning"]
        return [name for name in names if is_unknown(inputs.get(name)) or old_inputs.get(name) != inputs.get(name)]

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Make the machine, or take the one that an interrupted create left, and wait until its sshd answers."""
        identity, outputs = f"ContainerMachine/{inputs['name']}", self._outputs(inputs)
        try:
            self._make(operation, inputs)
        except ParallelBuildError as error:
            if (Path(inputs["folder"]) / str(inputs["name"])).exists():
                raise PartialFailure(identity, outputs, str(error)) from None
            raise
        return identity, outputs

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Store new texts, make what a failed create left half, and switch the machine on where it is off."""
        moved = [name for name in FIXED if old_inputs.get(name) != inputs.get(name)]
        if moved:
            raise Refused(
                f"machine {old_inputs['name']} can't be given another {', '.join(moved)} in place. "
                "Remedy: give it a new name, or run `pulumi destroy` first."
            )
        self._make(operation, inputs)
        return self._outputs(inputs)

    def read(self, operation: Operation, inputs: Values, outputs: Values) -> Values | None:
        """The machine, where it has been made, on or off."""
        folder, name = outputs.get("folder"), outputs.get("name")
        return outputs if folder and name and container.exists(Path(folder), str(name)) else None

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """Remove it, in whatever state it is."""
        container.delete(Path(outputs["folder"]), str(outputs["name"]))

    @staticmethod
    def _make(operation: Operation, inputs: Values) -> None:
        spec = container.ContainerSpec(
            name=str(inputs["name"]),
            root=Path(inputs["root"]),
            folder=Path(inputs["folder"]),
            namespace=str(inputs["namespace"]),
            bridge=str(inputs["bridge"]),
            provisioning=document.load(str(inputs["provisioning"])),
            memory=inputs.get("memory"),
            disk=int(inputs["disk"]) if inputs.get("disk") else None,
        )
        operation.tell(f"starting {spec.name} ({spec.provisioning.address})")
        container.create(spec, timeout=START_LIMIT, cancel=operation.session.cancel)

    @staticmethod
    def _outputs(inputs: Values) -> Values:
        return {name: value for name, value in inputs.items() if name != "provisioning"}
