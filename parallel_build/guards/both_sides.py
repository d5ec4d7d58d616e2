"""Guards over both sides together: two clouds' worth of servers, kept apart, that fit each other."""

from __future__ import annotations

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.configuration import Hypervisor
from parallel_build.database.server.dialects import supported
from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.resolved_stack import Site


def sides_are_apart(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no machine of the new side answers at an address of the original, nor the other way round."""
    configuration = site.configuration
    originals = {server.address: server.name for server in configuration.original_servers()}
    new = {machine.address: machine.name for machine in configuration.new_machines()}
    mixed = [
        f"{name} has {address}, which is {originals[address]}"
        for name, own in fresh.addresses.items()
        for address in own
        if address in originals
    ]
    mixed += [f"{name} has {address}, which is {new[address]}" for name, own in old.addresses.items() for address in own if address in new]
    if mixed:
        raise GuardFailed(
            f"one machine is on both sides: {', '.join(mixed)}",
            "addresses of original and new are swapped, or sshHost leads to the other side",
            "correct the addresses and sshHost of these servers",
        )


def database_versions_fit(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: there is a proved or documented way from the original's database server to the new one by the chosen method."""
    if old.server is not None and fresh.server is not None:
        supported(old.server, fresh.server, site.configuration.transfer.method)
    names = "lower_case_table_names"
    if old.variables.get(names) and fresh.variables.get(names) and old.variables[names] != fresh.variables[names]:
        raise GuardFailed(
            f"{names} is {old.variables[names]} on the original and {fresh.variables[names]} on the new source",
            "tables would be found under other names; it can only be set when a server's data folder is made",
            f"`pulumi destroy`; put {names} = {old.variables[names]} into an option file (/etc/mysql/conf.d, /etc/my.cnf.d) of the image that the machines are "
            "made of, or of the existing machines; then `pulumi up`: it has to be there before the database server is installed",
        )


def replica_follows(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the new replica follows the new source without a fault, over TLS: from the start on it is the only second copy."""
    replica = site.configuration.new.database.replica
    if replica is not None and fresh.replica_fault:
        raise GuardFailed(
            f"{replica.name} does not follow {site.configuration.new.database.source.name}",
            fresh.replica_fault,
            f"remove the cause on {replica.name} (SHOW REPLICA STATUS or SHOW SLAVE STATUS there), then START REPLICA or START SLAVE",
        )


def nobody_uses_the_new_database(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the user cloud is not connected to the new source: something would be writing there already."""
    if fresh.database_users:
        raise GuardFailed(
            f"user cloud is connected to {site.configuration.new.database.source.name} from {', '.join(fresh.database_users)}",
            "a management server or a script uses the database that is about to be filled",
            "see who it is in SHOW PROCESSLIST there, and stop it",
        )


def target_is_installed(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every new management server has the packages of new.version: others would upgrade the schema to a different version."""
    version = site.configuration.new.version
    wanted = version.full
    other = [
        f"{server.name} has {server.package or 'none'}"
        for server in fresh.management
        if not _is_release(server.package, str(version)) or version.build not in server.package
    ]
    if other:
        raise GuardFailed(
            f"{MANAGEMENT} {wanted} is not installed everywhere: {', '.join(other)}",
            "packages were changed since phase built",
            f"install exactly {wanted} there again (apt-get install --allow-downgrades, or dnf downgrade)",
        )


def own_names_resolve(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: a new management server's own host name leads to an address; the set-up commands and Java look it up."""
    lost = [server.name for server in fresh.management if not server.resolves]
    if lost:
        raise GuardFailed(
            f"the own host name does not resolve on {', '.join(lost)}",
            "cloudstack-setup-databases and the start look it up",
            "add it to /etc/hosts or the DNS there",
        )


def agents_know_the_new_servers(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: agents find the new servers: `host` and their own files name every address of theirs already; with `agents.method: file` the stack can
    log in to each of their hosts and write it there.
    """
    configuration = site.configuration
    method, wanted = configuration.agents.method, configuration.host_setting
    with_agent = agents.agent_hosts(old.hosts, configuration.original.hypervisors)
    if method == "file":
        _files_can_be_written(old, [host.name for host in with_agent if host.hypervisor is None], agents.hosts_with_agent(configuration))
        return
    # With method none a cloud without such hosts (VMware, XenServer) has nobody who dials, besides system VMs, which the window replaces.
    if not old.host_setting or (method == "none" and not with_agent):
        return
    missing = agents.unnamed(old.host_setting, wanted)
    if method == "none":
        ignorant = [name for name, known in sorted(old.learnt.items()) if known and not agents.dials(known, wanted)]
    else:
        ignorant = [name for name, known in sorted(old.learnt.items()) if known and agents.unnamed(",".join(known), wanted)]
    if missing or ignorant:
        raise GuardFailed(
            f"`host` lacks {', '.join(missing)}" if missing else f"agents that have not learnt the new addresses: {', '.join(ignorant)}",
            "agents would not find the new servers once the original is down"
            + ("; with agents.method none nobody gives them a different address" if method == "none" else ""),
            "run `pulumi up` in phase prepared and see step AgentAddresses: it has agents learn them, or names what keeps them from it"
            if method == "setting"
            else "name the reused address in new.loadBalancer, or use agents.method setting",
        )


def _files_can_be_written(old: OriginalFacts, strangers: list[str], listed: list[Hypervisor]) -> None:
    without = [host.name for host in listed if host.name in old.learnt and not old.learnt[host.name]]
    if strangers:
        raise GuardFailed(
            f"hosts with an agent that the stack does not know: {', '.join(strangers)}",
            "agents.method file writes the new addresses on original.hypervisors, and nobody would give them to these",
            "add them to original.hypervisors, or take them out of the cloud",
        )
    if without:
        raise GuardFailed(
            f"no `host=` in {agents.AGENT_FILE} on {', '.join(without)}",
            "agents.method file writes it in the window; these hosts seem to have no cloudstack-agent",
            "correct original.hypervisors, or what was found on these hosts",
        )


def _is_release(package: str, wanted: str) -> bool:
    """`4.22.1.0`, also with a distribution's ending such as `4.22.1.0~jammy` or `4.22.1.0-1`."""
    return package == wanted or package.startswith((f"{wanted}~", f"{wanted}-", f"{wanted}+", f"{wanted}."))


GUARDS = rules_of(
    sides_are_apart,
    database_versions_fit,
    replica_follows,
    nobody_uses_the_new_database,
    target_is_installed,
    own_names_resolve,
    agents_know_the_new_servers,
)
