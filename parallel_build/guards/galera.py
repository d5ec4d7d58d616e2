"""Guards over an original that is a Galera cluster, by `original.database.nodes`: one whole cluster that CloudStack writes to through one node alone."""

from __future__ import annotations

from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.resolved_stack import Site

KEY = "original.database.nodes"


def galera_is_whole(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: with original.database.nodes, source and nodes are one Galera cluster: each of them Primary, Synced and ready, and no member but them."""
    pair = site.configuration.original.database
    asked = {server.name: old.galera[server.name] for server in pair.servers if server.name in old.galera}
    if not pair.nodes or len(asked) < len(pair.servers):
        return  # one that could not be asked is everything_was_read's
    if none := [name for name, node in asked.items() if not node.on]:
        raise GuardFailed(
            f"no node of a Galera cluster: {', '.join(none)}",
            f"{KEY} names the stand-by nodes of source's cluster, and the window would stop, and a rollback start, a cluster with another number of nodes",
            f"start the node there; or, where it is none any more, take it out of {KEY}, and out of wsrep_cluster_address of the others",
        )
    ill = [f"{name} ({node.words()})" for name, node in asked.items() if not node.synced]
    if ill:
        raise GuardFailed(
            f"Galera nodes do not serve: {', '.join(ill)}",
            "a node that has not everything can't be stopped in its turn, and a rollback could start from it",
            "wait until each shows Primary and Synced (SHOW STATUS LIKE 'wsrep%'), or bring it back; a desynced one: SET GLOBAL wsrep_desync = OFF",
        )
    if len(uuids := sorted({node.uuid for node in asked.values()})) > 1:
        raise GuardFailed(
            f"{', '.join(asked)} belong to {len(uuids)} Galera clusters ({', '.join(uuids)})",
            "only the nodes of source's own cluster have what the source has",
            f"correct {KEY}",
        )
    _no_strangers(old, max(node.size for node in asked.values()), len(pair.servers))


def _no_strangers(old: OriginalFacts, size: int, declared: int) -> None:
    if size == declared:
        return
    own = {address for name in old.galera for address in old.addresses.get(name, [])}
    members = {member for node in old.galera.values() for member in node.incoming}
    hosts = sorted({member.rpartition(":")[0].strip("[]") for member in members if ":" in member} - own)
    raise GuardFailed(
        f"the cluster has {size} members, and the stack names {declared}" + (f"; not named: {', '.join(hosts)}" if hosts else ""),
        "a member that the window does not stop keeps the cluster alive and writable next to the new side; an arbitrator (garbd) is such a member too",
        f"name every node in {KEY}; stop an arbitrator until the window is over: systemctl stop garb",
    )


def galera_stands_by(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: with original.database.nodes, nobody of CloudStack's is connected to a stand-by node: Galera does not replicate the locks that it takes."""
    pair = site.configuration.original.database
    if not pair.nodes:
        return
    users = {user for node in old.nodes.values() for user in node.users} or {"cloud"}
    found = [
        f"{client} on {server.name}"
        for server in pair.nodes
        if server.name in old.uses
        for client in old.uses[server.name].clients
        if client.user in users
    ]
    if found:
        raise GuardFailed(
            f"CloudStack uses stand-by nodes: {', '.join(found)}",
            "its locks (GET_LOCK) hold on one node only, and the copy, the last comparison and the stop are of the source",
            f"let what stands before the cluster lead to {pair.source.name} alone, the others as its backups; or correct original.database.source",
        )


GUARDS = rules_of(galera_is_whole, galera_stands_by)
