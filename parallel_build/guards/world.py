"""Guards over what is around the stack: which database the original really uses, who else uses it, and who else starts and stops its servers."""

from __future__ import annotations

import ipaddress

from parallel_build.cloudstack import heartbeats
from parallel_build.configuration import OriginalManagement
from parallel_build.errors import GuardFailed
from parallel_build.facts.management_node import DatabaseTarget, ManagementNode
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.remote.sql import Row
from parallel_build.resolved_stack import Site

WRONG_SOURCE = (
    "correct original.database.source: the server that they use now (db.cloud.host in /etc/cloudstack/management/db.properties); "
    "where they reach it through a proxy or a moving address, name that in original.frontend"
)


def is_row_of(row: Row, server: OriginalManagement, old: OriginalFacts) -> bool:
    """Whether a row of mshost is one of a server: by an address of its own, else by its number, else by its name.

    `service_ip` is `cluster.node.IP` of the server's db.properties: any of its own addresses, or 127.0.0.1, which every server has.
    A name alone does not count against addresses: a clone has the same name.
    """
    node, address = old.nodes.get(server.name, ManagementNode()), str(row["service_ip"])
    own = {each for each in old.addresses.get(server.name, []) if not _loopback(each)}
    if address == server.address or address in own:
        return True
    if row.get("msid") and row["msid"] in node.msids:
        return True
    named = str(row["name"]).lower() in {server.name, *node.names}
    if _loopback(address):
        others = {number for name, other in old.nodes.items() if name != server.name for number in other.msids}
        return named and row.get("msid") not in others
    return named and not own


def management_servers_are_known(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every management server with a heartbeat is in original.management, and all are of one version."""
    known = site.configuration.original.management
    alive = [row for row in old.management if heartbeats.beats(row)]
    strangers = [f"{row['name']} ({row['service_ip']})" for row in alive if not any(is_row_of(row, server, old) for server in known)]
    if strangers:
        raise GuardFailed(
            f"management servers that the stack does not know are alive: {', '.join(strangers)}",
            "they would go on writing while the databases are copied; the address is their cluster.node.IP, and neither it nor the number (msid) nor "
            "the name is one of a server in original.management",
            "add them to original.management, or stop them",
        )
    versions = {str(row["version"]) for row in alive}
    if len(versions) > 1:
        raise GuardFailed(
            f"the original's management servers are of several versions: {', '.join(sorted(versions))}",
            "an upgrade of theirs is under way or was never finished, and one schema fits one version",
            "bring them all to the same version, that of original.version",
        )


def management_servers_beat_here(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every management server of original.management that runs writes its heartbeat into the database of original.database.source now."""
    source = site.configuration.original.database.source.name
    alive = [row for row in old.management if heartbeats.beats(row)]
    running = [server for server in site.configuration.original.management if old.nodes.get(server.name, ManagementNode()).runs]
    silent = [_last(server, old) for server in running if not any(is_row_of(row, server, old) for row in alive)]
    if silent or not running:
        raise GuardFailed(
            f"management servers do not write to the database on {source}: {', '.join(silent)}"
            if silent
            else f"no management server of original.management runs, so nothing shows that the database on {source} is the one they use",
            "it may be a former source that was left running: what the cloud has done since would be lost, and the comparison would not see it",
            WRONG_SOURCE if silent else "start them before the upgrade",
        )


def _last(server: OriginalManagement, old: OriginalFacts) -> str:
    ages = [row["age"] for row in old.management if is_row_of(row, server, old) and row["age"] is not None]
    return f"{server.name} (last {min(ages)} s ago)" if ages else f"{server.name} (has no row)"


def management_servers_use_the_source(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: db.properties of each original management server leads to original.database.source, its replicas, or what original.frontend declares."""
    wrong: list[str] = []
    for server in site.configuration.original.management:
        node = old.nodes.get(server.name)
        if node is None:
            continue  # it could not be asked, which everything_was_read says
        if node.targets is None:
            wrong.append(f"{server.name} has no db.properties")
            continue
        wrong += [
            f"{target.key} of {server.name} is {target.host or 'empty'}{_stands_for(target)}, port {target.port}"
            for target in node.targets
            if not _leads(site, old, server, target)
        ]
    if wrong:
        raise GuardFailed(
            f"management servers use a database server that the stack does not name: {'; '.join(dict.fromkeys(wrong))}",
            "what they write there would be lost, or they would find it when they start again",
            WRONG_SOURCE,
        )


def _leads(site: Site, old: OriginalFacts, server: OriginalManagement, target: DatabaseTarget) -> bool:
    """Whether a target of db.properties is the configured source, for a replica's key the configured replica, or a declared address before them."""
    original = site.configuration.original
    pair, reached = original.database, {target.host, *target.addresses}
    if reached & {door.address for door in original.frontend if door.address}:
        return True
    if target.port != pair.port:
        return False
    replicas = target.key.endswith((".replicas", ".slaves"))
    own = {server.address, *old.addresses.get(server.name, [])}
    for place in (pair.source, pair.replica if replicas else None):
        if place is None:
            continue
        there = {place.address, *(each for each in old.addresses.get(place.name, []) if not _loopback(each))}
        if reached & there or (any(_loopback(each) for each in reached) and place.address in own):
            return True
    return False


def _stands_for(target: DatabaseTarget) -> str:
    others = [address for address in target.addresses if address != target.host]
    return f" ({', '.join(others)})" if others else ""


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


GUARDS = rules_of(management_servers_are_known, management_servers_beat_here, management_servers_use_the_source)
