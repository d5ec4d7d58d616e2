"""Converging to "the original serves", from any mixture of states: what the Window's undo does, whichever steps had run."""

from __future__ import annotations

from collections.abc import Collection

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.services import AGENT, Services
from parallel_build.configuration import Hypervisor
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.operations import (
    agent_wave,
    drain,
    frontends,
    ha_hold,
    hosts_back,
    hypervisor_commands,
    known_servers,
    lost_hosts,
    original_database,
    original_locks,
    original_management,
    original_numbers,
    user_firewall,
)
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import only_new_side, store
from parallel_build.operations.context_helpers import original_database as original_database_host
from parallel_build.operations.fence_new_side import fence_new_side
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import AT_ONCE, Workers
from parallel_build.remote.sql import session

GUEST_PREFIXES = {"s": "SecondaryStorageVM", "v": "ConsoleProxy", "r": "DomainRouter"}  # instance names s-5-VM, v-6-VM, r-7-VM


def serve_at_once(context: Context) -> None:
    """The shortest safe way to a serving original with users in, ahead of every step's own undo; Window's undo does it again and all the rest.

    In this order: written down that no step goes forward any more; the new side proved down; its numbers passed by; the original's management servers;
    users. The original's source starts while the new side is fenced: a database that only masked servers use serves nobody. The hypervisors' steps are
    undone next to the start of management. Everything that no user of the cloud waits for comes later.
    Raises:
        RollbackIncomplete: a new management server can't be proved down, or none of the original's serves.
    """
    configuration = context.configuration
    opening = Workers(8)
    record = store(context).look()
    for server in (
        *known_servers.new_management(configuration, record),
        *known_servers.original_management(configuration, record),
    ):
        opening.submit(context.host(server).reachable)  # only so that the sessions are open when they are needed
    opening.shutdown(wait=False)
    store(context).mark_returning(ahead=True)
    context.intend("go back: the original serves")
    with Workers(3) as pool:
        starting = pool.submit(original_database.start, context)
        closing = pool.submit(_close_fronts, context, record)
        fence_new_side(context)
        starting.result()
        original_locks.unlock(context)
        hypervisors = pool.submit(hypervisor_commands.undo, context)
        original_numbers.move_past(context)
        ha_hold.hold_on_original(context)
        with original_management.Servers(context) as servers:
            servers.first()
            for words in drain.allow_jobs(context):
                context.progress(words)
            closing.result()  # a machine that hangs has had the time in which management starts
            out = user_firewall.let_users_in(context)
            users = f"users can't come in everywhere yet ({'; '.join(out)})" if out else "users are in"
            context.progress(f"the original serves and {users}; what is left is undone now")
            hosts_back.take_agents(context)
            hypervisors.result()
            servers.settle()


def _close_fronts(context: Context, record: WindowRecord | None) -> None:
    """Users who come by what leads to the new side are answered while that goes down, instead of cut off."""
    if record is not None and record.facts.get(frontends.STEP):
        with only_new_side(context, "users out by what stands before the original"):
            frontends.close_on_new(context, store(context), frontends.USERS)  # the database's may be led back at this moment


def serve_from_original(context: Context) -> list[str]:
    """Original databases, then management, then users: each only started where it is down.

    Returns:
        what is missing although the original serves: servers that do not come back, hypervisors whose steps can't be undone yet.
    """
    original_database.start(context)
    locked = original_locks.unlock(context)
    original_numbers.move_past(context)
    ha_hold.hold_on_original(context)
    with original_management.Servers(context) as servers:
        servers.first()
        missing = locked + drain.allow_jobs(context)
        missing += user_firewall.let_users_in(context)
        hosts_back.take_agents(context)
        redirect_agents(context)
        missing += original_database.start_replica(context)
        lost_hosts.give_up(context)
        hypervisor_commands.undo(context)
        missing += agent_wave.undo(context)
        missing += servers.rest()
    missing += frontends.to_original(context, store(context), frontends.DATABASE)
    away = hosts_back.missing(context)
    # Once more: nobody has waited for a host that is put aside, and its agent may have dialled a server that was cut off since.
    missing += hosts_back.take_agents(context)
    return missing + hypervisor_commands.left(context) + away + agent_wave.let_ha_go(context, away)


def redirect_agents(context: Context) -> None:
    """Agents that know no address of the original any more are given them by file, and restarted.

    They know them as long as `host` on the new side lists them; an operator may have changed it there.
    """
    with session(original_database_host(context)) as database:
        value = str(database.value("SELECT value FROM cloud.configuration WHERE name = 'host'") or "")
    others = agents.addresses(agents.reduced(value, agents.addresses(context.configuration.host_setting)))
    originals = [address for address in others if not agents.is_loopback(address)]
    if not originals:
        return
    for hypervisor in agents.hosts_with_agent(context.configuration):
        try:
            known = agents.learnt(context.host(hypervisor))
            if known and not set(known) & set(originals):
                context.progress(f"{hypervisor.name}: its agent knows only {', '.join(known)}, giving it {', '.join(originals)}")
                known_to_all = [address for address in agents.addresses(value) if not agents.is_loopback(address)]
                context.intend("set the agent's addresses", host=hypervisor.name, value=",".join(known_to_all))
                runs = Services(context.host(hypervisor)).state(AGENT).active
                hypervisor_commands.set_addresses(context, hypervisor, ",".join(known_to_all), restart=runs)
        except (ConnectionFailed, CommandFailed, StepFailed) as error:
            context.progress(f"{hypervisor.name}: its agent's addresses can't be looked at: {error}")


def tidy_hypervisors(context: Context, keep: Collection[str] = ()) -> dict[str, list[str]]:
    """Remove the system VMs and routers that the new side made from KVM hosts that the stack may log in to.

    Users' VMs are never touched. Unknown to the original = an instance name of a system VM whose id its database does not have as running there.

    Args:
        keep: names of those that are not removed now: routers whose networks the original has not restarted yet.
    Returns:
        host -> instance names removed.
    """
    with session(original_database_host(context)) as database:
        known = {
            str(row["n"])
            for row in database.rows("SELECT instance_name AS n FROM cloud.vm_instance WHERE removed IS NULL AND type <> 'User'")
        }

    def tidy(hypervisor: Hypervisor) -> list[str]:
        try:
            return _tidy(context, hypervisor, known | set(keep))
        except (ConnectionFailed, CommandFailed) as error:
            context.progress(f"{hypervisor.name}: system VMs of the new side can't be looked for: {error}")
            return []

    hypervisors = [each for each in context.configuration.original.hypervisors if each.kind == "kvm"]
    with Workers(AT_ONCE) as pool:
        removed = dict(zip((each.name for each in hypervisors), pool.map(tidy, hypervisors), strict=True))
    return {name: found for name, found in removed.items() if found}


def _tidy(context: Context, hypervisor: Hypervisor, known: set[str]) -> list[str]:
    listed = context.host(hypervisor).run(["virsh", "list", "--all", "--name"]).stdout.split()
    strangers = [name for name in listed if is_system_vm(name) and name not in known]
    for name in strangers:
        remove_guest(context, hypervisor, name)
    return strangers


def remove_guest(context: Context, hypervisor: Hypervisor, name: str) -> None:
    """Remove a system VM or router that the new side made."""
    host = context.host(hypervisor)
    context.progress(f"{hypervisor.name}: removing {name}, which the new side made")
    context.intend("remove a system VM of the new side", host=hypervisor.name, name=name)
    host.run(["virsh", "destroy", name], timeout=120, ok=(0, 1))
    host.run(["virsh", "undefine", name], timeout=120, ok=(0, 1))


def is_system_vm(name: str) -> bool:
    """Whether an instance name is CloudStack's for a system VM or router (`s-5-VM`, with an optional instance suffix)."""
    parts = name.split("-")
    return len(parts) >= 3 and parts[0] in GUEST_PREFIXES and parts[1].isdigit()
