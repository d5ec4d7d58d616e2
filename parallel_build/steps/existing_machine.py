"""ExistingMachine: a server that is there already, proved fit, made ready for its role, and left as it was found."""

from __future__ import annotations

from parallel_build.configuration import NewMachine, Phase, StackConfiguration
from parallel_build.database.server.settings import TLS_FOLDER, OptionFile, option_files
from parallel_build.errors import ConnectionFailed, RollbackIncomplete
from parallel_build.machines.existing import time_service
from parallel_build.machines.existing.kept_logs import ROOT
from parallel_build.machines.existing.machine import HOSTS, ExistingServer
from parallel_build.machines.existing.manifest import FOLDER
from parallel_build.machines.existing.rules import RULES, Wanted
from parallel_build.machines.existing.undo import Leaving
from parallel_build.machines.provisioning import TIME_PACKAGE
from parallel_build.operations.context import Context, Outputs
from parallel_build.remote.families import placed
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep


@step
class ExistingMachine(FoundationStep):
    """Parameter `name`: the machine's."""

    type = "ExistingMachine"
    phase = Phase.BUILT
    summary = "existing server proved and made ready"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is proved, written down and changed."""
        machine = self._machine(configuration)
        wanted = Wanted.of(configuration, machine)
        actions = [
            f"prove that {machine.name} ({machine.ssh_host or machine.address}) can be used, changing nothing: "
            + ", ".join(rule.name.replace("_", " ") for rule in RULES),
            f"on {machine.name}: write down packages, accounts and paths as they are found ({FOLDER})",
        ]
        if servers := time_service.wanted(configuration, machine):
            actions.append(f"on {machine.name}: where no time service runs, install {TIME_PACKAGE}, which follows {', '.join(servers)}")
        actions += [f"on {machine.name}: systemctl mask {unit}" for unit in ExistingServer.fenced(wanted)]
        return [*actions, f"on {machine.name}: {HOSTS}: its own name stands for {machine.address}, and the names of the other new servers"]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """What is taken away."""
        machine = self._machine(configuration)
        wanted = Wanted.of(configuration, machine)
        actions = [f"on {machine.name}: keep CloudStack's and the database server's logs in {ROOT}"]
        if machine.name == configuration.new.database.source.name:
            actions.append(f"on {machine.name}: where the cloud ran on its databases, keep a dump of them there as well")
        names = ExistingServer.packages(configuration, wanted)
        return [
            *actions,
            f"on {machine.name}: remove {', '.join(names)} (by apt or dnf) and what came with them, as far as it was not there before",
            f"on {machine.name}: remove their files and accounts; put back {HOSTS}, units and what package tools rewrote",
            f"prove: packages and paths of {machine.name} are as they were found, its logs aside",
        ]

    def apply(self, context: Context) -> Outputs:
        """Prove, write down, make ready."""
        server = self._server(context)
        facts, holding = server.prove()
        context.progress(
            f"{server.host.name}: {facts.system}, {facts.processors} processors, {facts.memory} MiB; {len(holding)} rules hold"
        )
        if server.begin(facts):
            context.progress(f"{server.host.name}: written down how it was found")
        changed = server.install()
        if changed:
            context.progress(f"{server.host.name}: {', '.join(changed)}")
        return {
            "system": facts.system,
            "processors": facts.processors,
            "memory": facts.memory,
            "selinux": facts.selinux,
            "clock": round(facts.clock, 3),
            "rules": holding,
            **server.prove_installed(),
        }

    def revert(self, context: Context) -> None:
        """Leave the server as it was found; where nothing was begun, nothing is done."""
        server = self._server(context)
        try:
            record = server.manifest.record()
            if record is None or record.stack != context.site.stack:
                context.progress(f"{server.host.name}: nothing of this stack is on it")
                return
            leaving = Leaving(
                host=server.host,
                named=server.named(),
                files=[TLS_FOLDER, *(placed(server.host, file.path) for file in self._option_files(context.configuration))],
                source=server.host.name == context.configuration.new.database.source.name,
                stack=context.site.stack,
                intend=context.intend,
                progress=context.progress,
            )
            leaving.run(record)
        except ConnectionFailed as error:
            raise RollbackIncomplete(
                f"{server.host.name} can't be reached, so what was installed is still on it",
                error.cause,
                "bring it back and run `pulumi destroy` again; if it is gone for good, take it out of the state: `pulumi state delete URN`, where "
                "`pulumi stack --show-urns` prints its URN",
            ) from None
        context.note(**leaving.evidence)

    def _machine(self, configuration: StackConfiguration) -> NewMachine:
        name = self.parameters["name"]
        return next(machine for machine in configuration.built_machines() if machine.name == name)

    def _option_files(self, configuration: StackConfiguration) -> tuple[OptionFile, ...]:
        machine = self._machine(configuration)
        return option_files(configuration, machine) if Wanted.of(configuration, machine).database else ()

    def _server(self, context: Context) -> ExistingServer:
        machine = self._machine(context.configuration)
        return ExistingServer(
            host=context.host(machine),
            wanted=Wanted.of(context.configuration, machine),
            configuration=context.configuration,
            stack=context.site.stack,
            intend=context.intend,
            progress=context.progress,
        )
