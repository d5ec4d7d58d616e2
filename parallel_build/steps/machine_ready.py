"""MachineReady: a new machine answers over SSH with its own host key, and what its first boot had to do is done."""

from __future__ import annotations

from parallel_build.cancel import wait_for
from parallel_build.configuration import NewMachine, Phase, StackConfiguration
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed, TimedOut
from parallel_build.machines.provisioning import DONE, LOG, UNIT
from parallel_build.operations.context import Context, Outputs
from parallel_build.remote.access import Access
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep

# An emulated guest on a busy host takes minutes to its first login; packages from a slow mirror take more.
SSH_LIMIT = 900.0
FIRST_BOOT_LIMIT = 1800.0
# An emulated processor under load answers even `true` late.
COMMAND_LIMIT = 300.0
# Says `done`, `running`, or `failed` and why. cloud-init's end is known by its result file: asking cloud-init itself starts a large program,
# which on an emulated processor takes longer than the whole answer may.
FIRST_BOOT = f"""
if [ -e {DONE} ]; then echo done
elif systemctl is-failed --quiet {UNIT}; then echo failed: {UNIT} ended with an error
elif [ -e /run/cloud-init/result.json ]; then
    [ -e {DONE} ] && echo done || echo failed: cloud-init has ended and {DONE} is missing
else echo running
fi
"""


def has_first_boot(configuration: StackConfiguration, machine: NewMachine) -> bool:
    """Whether a platform makes the machine, so that its first boot is awaited."""
    return configuration.platform_of(machine) != "existing"


@step
class MachineReady(FoundationStep):
    """Waits; changes nothing. Parameter `name`: the machine's."""

    type = "MachineReady"
    phase = Phase.BUILT
    summary = "machine reachable, first boot ended"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is waited for."""
        machine = self._machine(configuration)
        lines = [f"wait until {machine.name} ({machine.address}) lets the operator in over SSH, its host key checked strictly"]
        if has_first_boot(configuration, machine):
            lines.append(f"wait until its first boot has ended: files, packages and services in place ({DONE})")
        return lines

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing."""
        return ["nothing: it goes with the machine"]

    def apply(self, context: Context) -> Outputs:
        """Wait for the login, then for the end of the first boot."""
        machine = self._machine(context.configuration)
        host = context.host(machine)
        self._wait_for_login(context, host)
        if has_first_boot(context.configuration, machine):
            self._wait_for_first_boot(context, host)
        facts = host.script('. /etc/os-release; printf "%s\\n" "$PRETTY_NAME"; uname -r; nproc', timeout=COMMAND_LIMIT).stdout.splitlines()
        return {"address": machine.address, "system": facts[0], "kernel": facts[1], "processors": int(facts[2])}

    def revert(self, context: Context) -> None:
        """Nothing was changed."""

    def _machine(self, configuration: StackConfiguration) -> NewMachine:
        name = self.parameters["name"]
        return next(machine for machine in configuration.built_machines() if machine.name == name)

    @staticmethod
    def _wait_for_login(context: Context, host: Access) -> None:
        last: list[ConnectionFailed | CommandFailed] = []

        def lets_in() -> bool:
            try:
                host.run(["true"])
            except (ConnectionFailed, CommandFailed) as error:
                last[:] = [error]
                return False
            return True

        try:
            wait_for(
                f"{host.name} to let the operator in over SSH",
                lets_in,
                timeout=SSH_LIMIT,
                cancel=context.cancel,
                interval=1,
                progress=context.progress,
            )
        except TimedOut as error:
            why = last[0] if last else error
            raise StepFailed(error.fact, why.cause, why.remedy) from None

    @staticmethod
    def _wait_for_first_boot(context: Context, host: Access) -> None:
        def ended() -> bool:
            try:
                boot = host.script(FIRST_BOOT, timeout=COMMAND_LIMIT).stdout.strip()
            except ConnectionFailed:
                return False  # packages may restart sshd
            if boot.startswith("failed"):
                tail = host.run(["tail", "-n", "5", LOG], timeout=COMMAND_LIMIT, ok=None).stdout.strip().splitlines()
                raise StepFailed(
                    f"the first boot of {host.name} did not end well ({boot.removeprefix('failed: ')})",
                    " | ".join(line.strip() for line in tail),
                    f"read {LOG} and `cloud-init status --long` there; then run `pulumi up`, or `pulumi destroy` to start afresh",
                )
            return boot == "done"

        wait_for(
            f"the first boot of {host.name} to end",
            ended,
            timeout=FIRST_BOOT_LIMIT,
            cancel=context.cancel,
            interval=1,
            progress=context.progress,
            remedy=f"read {LOG} and `cloud-init status --long` there",
        )
