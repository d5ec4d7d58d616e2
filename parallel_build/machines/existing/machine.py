"""A server that is there already, made ready for its role and later left as it was found. No Pulumi.

What is found is written down on the server first (`manifest`). Packages themselves are installed by the steps that need them; this module
fences what they would start, gives the server's name its real address, and at the end takes away everything that was not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parallel_build.cloudstack.services import DATABASE_UNITS, MANAGEMENT, USAGE, Services
from parallel_build.configuration import StackConfiguration
from parallel_build.configuration.role_packages import of_roles
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.machines.existing import rules, time_service
from parallel_build.machines.existing.facts import ServerFacts, gather
from parallel_build.machines.existing.hosts_file import with_names
from parallel_build.machines.existing.manifest import Manifest, Record
from parallel_build.machines.provisioning import TIME_PACKAGE
from parallel_build.records.run_folder import now
from parallel_build.remote.access import Access

HOSTS = "/etc/hosts"
FENCED = (MANAGEMENT, USAGE)
UNITS = (*FENCED, *DATABASE_UNITS)

Tell = Callable[..., None]


@dataclass
class ExistingServer:
    """One server.

    Attributes:
        host: session to it.
        wanted: its roles and size.
        configuration: the stack's.
        stack: the stack's name.
        intend: called before a change; progress: called after it.
    """

    host: Access
    wanted: rules.Wanted
    configuration: StackConfiguration
    stack: str
    intend: Tell
    progress: Callable[[str], None]

    @property
    def manifest(self) -> Manifest:
        """How it was found."""
        return Manifest(self.host)

    def prove(self) -> tuple[ServerFacts, list[str]]:
        """Prove that it can be used; changes nothing.

        Returns:
            the facts, and the names of the rules that hold.
        Raises:
            GuardFailed: names every rule that does not hold.
            ConnectionFailed: it can't be reached.
        """
        facts = gather(self.host)
        # Without root nothing can be read; the rules say so.
        begun = self.manifest.record() if facts.root else None
        if begun is not None and begun.stack != self.stack:
            raise GuardFailed(
                f"{self.host.name} belongs to stack {begun.stack} since {begun.taken}",
                "two stacks must not work on one server",
                f"destroy that stack first, or give {self.stack} another server",
            )
        return facts, rules.check(self.wanted, facts, rules.AGAIN if begun else rules.RULES)

    def begin(self, facts: ServerFacts) -> bool:
        """Write the manifest where there is none; return whether it had to be."""
        if self.manifest.record() is not None:
            return False
        services = Services(self.host)
        states = {unit: services.state(unit) for unit in UNITS}
        record = Record(
            stack=self.stack,
            taken=now(),
            named=self.named(),
            units={unit: [state.active, state.enabled, state.masked] for unit, state in states.items() if state.known or state.masked},
            unit=services.database_unit() if facts.database_units and facts.data else "",
        )
        self.intend(f"{self.host.name}: write down how it was found", unit=record.unit)
        self.manifest.take(record)
        return True

    @staticmethod
    def packages(configuration: StackConfiguration, wanted: rules.Wanted) -> list[str]:
        """The packages that steps install by name for a server's roles."""
        names = of_roles(configuration, wanted.machine.name, database=wanted.database, management=wanted.management)
        clock = [TIME_PACKAGE] if time_service.wanted(configuration, wanted.machine) else []
        return sorted({*names, *clock})

    @staticmethod
    def fenced(wanted: rules.Wanted) -> tuple[str, ...]:
        """The units that must not start: CloudStack's, and any database server's where the server is to have none."""
        if not wanted.management:
            return ()
        return FENCED if wanted.database else (*FENCED, *DATABASE_UNITS)

    def named(self) -> list[str]:
        """The packages that the configuration names for this server's roles."""
        return self.packages(self.configuration, self.wanted)

    def install(self) -> list[str]:
        """Fence units that must not start and give the name its address; return what had to be done."""
        changed = []
        services = Services(self.host)
        for unit in self.fenced(self.wanted):
            state = services.state(unit)
            if not state.masked or state.until_boot:
                self.intend(f"{self.host.name}: systemctl mask {unit}")
                # Before its package is there: Debian's packages start what they install.
                self.host.run(["systemctl", "mask", f"{unit}.service"], cancellable=False)
                changed.append(f"{unit} masked")
        found = self.host.read(HOSTS) or b""
        system = self.host.run(["hostname"]).stdout.strip()
        text = with_names(found.decode(errors="surrogateescape"), self.stack, self.wanted.machine, system, self._others())
        if text.encode(errors="surrogateescape") != found:
            self.intend(f"{self.host.name}: write {HOSTS}")
            self.host.write(HOSTS, text.encode(errors="surrogateescape"), mode=0o644)
            changed.append(f"{HOSTS} written")
        return changed + time_service.provide(self.host, time_service.wanted(self.configuration, self.wanted.machine), self.intend)

    def prove_installed(self) -> dict[str, Any]:
        """Prove what `install` did.

        Raises:
            StepFailed: its own name does not stand for its address.
        """
        address = self.wanted.machine.address
        found = self.host.script('getent ahosts "$(hostname)"; getent ahosts "$1"', [self.host.name], ok=None).stdout
        stands_for = sorted({line.split()[0] for line in found.splitlines() if line.split()})
        if stands_for != [address]:
            raise StepFailed(
                f"the name of {self.host.name} stands for {', '.join(stands_for) or 'nothing'} there, not for {address}",
                "CloudStack takes its node address from the server's name",
                f"look at {HOSTS} and the `hosts` line of /etc/nsswitch.conf on {self.host.name}",
            )
        return {"resolves": address}

    def _others(self) -> dict[str, str]:
        others = {other.name: other.address for other in self.configuration.new_machines()}
        # The rehearsal's server gets none.
        return {name: address for name, address in others.items() if name != self.host.name} if self.host.name in others else {}
