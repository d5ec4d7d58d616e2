"""`new.network.timeServers` on a server that exists already: its owner's time service stays as it is; where none runs, chrony follows these servers.

A container has its host's clock, and the rehearsal's server reaches nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.machines.provisioning import TIME_LIMIT, TIME_NEAR, TIME_PACKAGE, TIME_SOURCES, TIME_UNIT
from parallel_build.remote.access import Access
from parallel_build.remote.families import EL, family_of
from parallel_build.remote.packages import packages_of

SERVICES = ("chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "systemd-timesyncd")
_KEPT = r"""
if systemd-detect-virt --quiet --container; then echo container; fi
for unit; do if systemctl --quiet is-active "$unit"; then echo "$unit"; fi; done
"""


def wanted(configuration: StackConfiguration, machine: NewMachine) -> tuple[str, ...]:
    """The time servers that the stack has for a machine."""
    alone = machine.name not in {each.name for each in configuration.new_machines()}
    return () if alone else tuple(configuration.new.network.time_servers)


def provide(host: Access, servers: Sequence[str], intend: Callable[..., None]) -> list[str]:
    """Have the clock follow the servers where nothing keeps it; return what had to be done.

    Raises:
        StepFailed: the package can't be installed, or the server is of the EL family.
        CommandFailed: the servers give no time.
    """
    if not servers or host.script(_KEPT, SERVICES, timeout=60).stdout.split():
        return []
    if family_of(host) is EL:
        raise StepFailed(
            f"{host.name}: no time service runs",
            "on servers of the EL family that are there already the time service is their owner's",
            f"start chronyd on {host.name}, following {', '.join(servers)}; or take new.network.timeServers out",
        )
    text = "".join(f"server {server} iburst\n" for server in servers)
    intend(f"{host.name}: no time service runs: install {TIME_PACKAGE}, which follows {', '.join(servers)}")
    packages_of(host).install([TIME_PACKAGE])
    host.run(["install", "-d", "-m", "755", TIME_SOURCES.rpartition("/")[0]])
    host.write(TIME_SOURCES, text, mode=0o644)
    host.script(f'systemctl enable --quiet {TIME_UNIT}; systemctl restart {TIME_UNIT}; chronyc -n waitsync "$1" "$2" 0 1',
                [str(TIME_LIMIT), str(TIME_NEAR)], timeout=TIME_LIMIT + 60)  # fmt: skip
    return [f"{TIME_PACKAGE} follows {', '.join(servers)}"]
