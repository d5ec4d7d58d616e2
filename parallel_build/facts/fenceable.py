"""Whether the units of an original server can be kept down: systemd masks no unit whose own file stands where the mask would. Changes nothing."""

from __future__ import annotations

from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.configuration import Server, StackConfiguration
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access

# A mask is a link to /dev/null in this folder; an operator's own copy of a unit, or a link to it, stands in its place [systemctl: "File ... already exists"].
LOOK = r"""
for unit; do
  file=/etc/systemd/system/$unit.service
  if { [ -e "$file" ] || [ -L "$file" ]; } && [ "$(readlink "$file")" != /dev/null ]; then echo "$file"; fi
done
"""


def problems(host: Access, configuration: StackConfiguration, server: Server) -> list[str]:
    """What keeps units of a server from being masked: files, or why its database server's unit is not known."""
    original = configuration.original
    managers = {each.name for each in original.management}
    units = [MANAGEMENT, USAGE] if server.name in managers else [USAGE] if server.name in {each.name for each in original.usage} else []
    # With others it keeps running, and CloudStack's accounts are locked instead.
    if server.name in {each.name for each in original.database.servers} and not original.database.others:
        try:
            units.append(Services(host).database_unit())
        except StepFailed as error:
            return [f"{error.fact} ({error.cause})"]
    return host.script(LOOK, units).stdout.splitlines() if units else []
