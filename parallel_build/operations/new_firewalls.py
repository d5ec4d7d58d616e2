"""firewalld on new management servers: what it does not open is seen otherwise only in the window, when the first of them has upgraded the schema.

It warns and does not refuse: a port may be open by a service, a source or a rule of its own, which is not looked for.
"""

from __future__ import annotations

from parallel_build.operations.context import Context

# Prints the ports that the default zone does not list; nothing where firewalld does not run.
CLOSED = """
command -v firewall-cmd >/dev/null && firewall-cmd --state >/dev/null 2>&1 || exit 0
for p; do firewall-cmd -q --query-port="$p/tcp" || echo "$p"; done
"""


def warn_of_closed_ports(context: Context) -> list[str]:
    """Name the ports of new management servers that their firewalld does not list as open."""
    ports = context.configuration.new.api.served.own_ports
    found = []
    for machine in context.configuration.new.management:
        shown = context.host(machine).run(["sh", "-c", CLOSED, "sh", *map(str, ports)], ok=None)
        if closed := shown.stdout.split():
            add = " ".join(f"--add-port={port}/tcp" for port in closed)
            found.append(
                f"firewalld on {machine.name} does not list {', '.join(closed)} as open in its default zone: unless another rule opens them, hosts and this "
                f"machine would not reach it in the window; run there: firewall-cmd --permanent {add} && firewall-cmd --reload"
            )
    for words in found:
        context.progress(f"warning: {words}")
    return found
