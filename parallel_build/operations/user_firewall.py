"""Letting users out and in: the packet filter on the management servers, or what the operator has configured instead."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence

from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import API_PORTS, Server, StackConfiguration
from parallel_build.errors import Cancelled, Fenced, ParallelBuildError, StepFailed
from parallel_build.operations import known_servers, lasting_barrier, original_management, prove_user_access, user_access_setting
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import only_new_side, store
from parallel_build.remote.host import Host
from parallel_build.remote.parallel import Workers

WEB_PORTS = (80, 443)  # where users come without a port: a redirection or a proxy on the server

TABLE = "cloudstack_parallel_build"

# The same barrier in the two packet filters; reached by both families, gone with one command.
NFT_CLOSE = """
nft -f - <<RULES
add table inet {table}
delete table inet {table}
table inet {table} {{
  chain users {{
    type filter hook input priority -150; policy accept;
    iif lo accept
{accept}
    tcp dport {{ {ports} }} reject with tcp reset
  }}
}}
RULES
"""

IPTABLES_CLOSE = """
for t in iptables ip6tables; do command -v $t >/dev/null || continue
  $t -w -N {chain} 2>/dev/null || $t -w -F {chain}
  $t -w -A {chain} -i lo -j RETURN
done
{accept}
for t in iptables ip6tables; do command -v $t >/dev/null || continue
  $t -w -A {chain} -p tcp -m multiport --dports {ports} -j REJECT --reject-with tcp-reset
  $t -w -C INPUT -j {chain} 2>/dev/null || $t -w -I INPUT 1 -j {chain}
done
"""

CHAIN = "CSPB-USERS"

OPEN = f"""
if command -v nft >/dev/null; then nft delete table inet {TABLE} 2>/dev/null || true; fi
for t in iptables ip6tables; do command -v $t >/dev/null || continue
  while $t -w -D INPUT -j {CHAIN} 2>/dev/null; do :; done
  $t -w -F {CHAIN} 2>/dev/null || true; $t -w -X {CHAIN} 2>/dev/null || true
done
"""

CLOSED = f"""
if command -v nft >/dev/null && nft list table inet {TABLE} >/dev/null 2>&1; then echo closed
elif command -v iptables >/dev/null && iptables -w -C INPUT -j {CHAIN} 2>/dev/null; then echo closed
else echo open; fi
"""


def user_ports(configuration: StackConfiguration) -> list[int]:
    """TCP ports that users may come to on a management server of either side, sorted."""
    served = (configuration.original.served.port, configuration.new.api.served.port)
    return sorted({*WEB_PORTS, *API_PORTS.values(), *served})


def close_firewall(host: Host, allowed: Iterable[str], closed: Iterable[int]) -> None:
    """Refuse the ports that users come to, on a server, to everyone but `allowed` networks; proved by looking."""
    networks = list(allowed)
    ports = ", ".join(str(port) for port in closed)
    nft = "\n".join(f"    {'ip6' if ':' in net else 'ip'} saddr {net} accept" for net in networks)
    tables = "\n".join(f"{'ip6tables' if ':' in net else 'iptables'} -w -A {CHAIN} -s {net} -j RETURN" for net in networks)
    script = (
        "if command -v nft >/dev/null; then"
        + NFT_CLOSE.format(table=TABLE, accept=nft, ports=ports)
        + "else"
        + IPTABLES_CLOSE.format(chain=CHAIN, accept=tables, ports=ports.replace(" ", ""))
        + "fi"
    )
    host.script(script, cancellable=False)
    if not firewall_closed(host):
        raise StepFailed(
            f"{host.name}: the packet filter does not hold users out",
            "neither nft nor iptables took the rules",
            "install nftables there, or keep users out another way (window.userAccess.method cidr or command)",
        )
    lasting_barrier.keep(host, script)


def open_firewall(host: Host) -> None:
    """Take the barrier away; nothing happens where there is none.

    What would bring it back goes first: a server that dies in between comes up open, as was asked for.
    """
    lasting_barrier.forget(host)
    host.script(OPEN, cancellable=False)
    if firewall_closed(host):
        raise StepFailed(
            f"{host.name}: users are still held out",
            f"table {TABLE} or chain {CHAIN} can't be removed",
            f"there: nft delete table inet {TABLE}; iptables -D INPUT -j {CHAIN}; then run the same command again",
        )


def firewall_closed(host: Host) -> bool:
    """Whether the barrier is up on a server."""
    return host.script(CLOSED).stdout.strip() == "closed"


def at_once(act: Callable[[Server], None], servers: Sequence[Server]) -> None:
    """Do the same on every server at the same time; all are tried, the first error is raised."""
    with Workers(max(1, len(servers))) as pool:
        futures = [pool.submit(act, server) for server in servers]
    for future in futures:
        future.result()


def run_local(words: list[str], timeout: float) -> None:
    """Run the operator's own load balancer command on this machine.

    Raises:
        StepFailed: it did not end with exit code 0 in time.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, env=dict(os.environ))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepFailed(f"the command {shlex.join(words)} could not be run", str(error), "correct window.userAccess") from None
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise StepFailed(f"{shlex.join(words)} ended with exit code {done.returncode}", " ".join(tail), "correct window.userAccess")


def let_users_in(context: Context) -> list[str]:
    """Open on the original; one of its management servers is up again by then.

    Returns:
        servers that users are still kept out of, and why.
    Raises:
        StepFailed: users are in nowhere.
    """
    access, kept = context.configuration.window.user_access, dict[str, ParallelBuildError]()
    if access.method == "command":
        if store(context).facts("UserAccess").get("closed"):
            run_local(access.open, 120)
    elif access.method == "cidr":
        user_access_setting.open_again(context, original_management.answering(context))
    else:
        record = store(context).read()
        originals = known_servers.original_management(context.configuration, record)

        def let_in(server: Server) -> None:
            try:
                open_firewall(context.host(server))
            except (Cancelled, Fenced):
                raise
            except ParallelBuildError as error:
                context.progress(f"users in on {server.name}: {error}")
                context.run.record("users kept out", step=context.step, server=server.name, error=str(error))
                if server in originals:
                    kept[server.name] = error

        context.progress(f"users in on {', '.join(server.name for server in originals)}")
        at_once(let_in, originals)
        if originals and len(kept) == len(originals):
            raise next(iter(kept.values()))
        at_once(let_in, known_servers.new_management(context.configuration, record))
    prove_user_access.users_are_in(context, context.configuration.original.management, must=False)
    return [f"users on {name}: {error}" for name, error in kept.items()]


def admit_on_new(context: Context) -> None:
    """Let users in on the new side, once it is accepted."""
    access = context.configuration.window.user_access
    if access.method == "command":
        run_local(access.open, 120)
    elif access.method == "cidr":
        user_access_setting.open_again(context, Cloud.new(context.site))
    else:
        for machine in context.configuration.new.management:
            open_firewall(context.host(machine))
    prove_user_access.users_are_in(context, context.configuration.new.management, must=True)


def close_on_new(context: Context) -> None:
    """Users out of the new side again, before it is left; a server that can't be reached serves nobody."""
    access = context.configuration.window.user_access
    if access.method == "command":
        with only_new_side(context, "users out of the new side"):
            run_local(access.close, 120)
        return
    if access.method == "cidr":
        machine = context.configuration.new.management[0]
        with only_new_side(context, f"users out by {machine.name}"):
            user_access_setting.close(context, Cloud.new(context.site, machine), allowed_networks(context.configuration))
        return
    allowed, ports = allowed_networks(context.configuration), user_ports(context.configuration)

    def close(machine: Server) -> None:
        with only_new_side(context, f"users out on {machine.name}"):
            close_firewall(context.host(machine), allowed, ports)

    at_once(close, context.configuration.new.management)


def server_networks(configuration: StackConfiguration) -> list[str]:
    servers: list[Server] = [*configuration.original.management, *configuration.new.management]
    return [f"{server.address}/{128 if ':' in server.address else 32}" for server in servers]


def allowed_networks(configuration: StackConfiguration) -> list[str]:
    return [*configuration.window.user_access.administrators, *server_networks(configuration)]


def closed_servers(configuration: StackConfiguration) -> list[Server]:
    return [*configuration.original.management, *configuration.new.management]
