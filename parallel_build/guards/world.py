"""Guards over what is around the stack: which database the original really uses, who else uses it, and who else starts and stops its servers."""

from __future__ import annotations

import ipaddress
from itertools import combinations

from parallel_build.cloudstack import heartbeats
from parallel_build.configuration import OriginalManagement, Server
from parallel_build.configuration.api import host_of
from parallel_build.configuration.values import usual_address
from parallel_build.errors import GuardFailed
from parallel_build.facts.cluster_managers import ClusterManager
from parallel_build.facts.management_node import DatabaseTarget, ManagementNode
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.remote.sql import Row
from parallel_build.resolved_stack import Site
from parallel_build.versions import is_version

WRONG_SOURCE = (
    "correct original.database.source: the server that they use now (db.cloud.host in /etc/cloudstack/management/db.properties); "
    "where they reach it through a proxy or a moving address, name that in original.frontend"
)


def is_row_of(row: Row, server: OriginalManagement, old: OriginalFacts) -> bool:
    """Whether a row of mshost is one of a server: by an address of its own, else by its number, else by its name.

    `service_ip` is `cluster.node.IP` of the server's db.properties: any of its own addresses, or 127.0.0.1, which every server has.
    A name alone does not count against addresses: a clone has the same name.
    """
    node, address = old.nodes.get(server.name, ManagementNode()), usual_address(str(row["service_ip"]))
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
            "they would still write while the databases are copied; the address is their cluster.node.IP, and neither it nor the number (msid) nor "
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
    configured = site.configuration.original.version
    if site.configuration.move and any(not is_version(version, configured, exact=True) for version in versions):
        raise GuardFailed(
            f"the original's management servers run {', '.join(sorted(versions))}, and original.version is {configured.full}",
            "a move takes the same build on new servers; a vendor's or a patch build is a different one, with other code on the same schema",
            "write what they run into original.version and new.version, and name the repository with that build",
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


def api_serves_this_database(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: original.api.url leads to management servers that use the database of original.database.source, not to those of a clone."""
    if old.api_servers is None:  # a version whose API does not say
        return
    source, url = site.configuration.original.database.source.name, site.configuration.original.api.url
    strangers = sorted(set(old.api_servers) - {str(row["name"]).lower() for row in old.management})
    beating = {str(row["name"]).lower() for row in old.management if heartbeats.beats(row)}
    if strangers or (beating and not beating.intersection(old.api_servers)):
        raise GuardFailed(
            f"the API at {url} is not served from the database on {source}: "
            + (
                f"it lists {', '.join(strangers)} as in service, which that database does not have"
                if strangers
                else f"of {', '.join(sorted(beating))}, which write there, it lists none as in service"
            ),
            "it may be that of a clone, such as a test cloud; what the window asks for and starts by the API would happen there",
            "correct original.api.url: the address of a management server of this cloud, or of what stands before them",
        )


def usage_servers_are_known(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: each original management server whose usage server runs is marked with usage: true, or it would write on while the databases are copied."""
    unmarked = [server.name for server in site.configuration.original.management if not server.usage and _usage_runs(old, server.name)]
    if unmarked:
        raise GuardFailed(
            f"the usage server runs on {', '.join(unmarked)}, and original.management does not say so",
            "the window would not stop it, and what it writes while the databases are copied would be lost",
            "set usage: true at these servers in the stack file; or, where it is not to run: systemctl disable --now cloudstack-usage",
        )


def _usage_runs(old: OriginalFacts, name: str) -> bool:
    return old.nodes.get(name, ManagementNode()).usage


def _last(server: OriginalManagement, old: OriginalFacts) -> str:
    ages = [row["age"] for row in old.management if is_row_of(row, server, old) and row["age"] is not None]
    return f"{server.name} (last {min(ages)} s ago)" if ages else f"{server.name} (has no row)"


def management_servers_use_the_source(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: db.properties of each original management and usage server leads to original.database.source, its replicas, or what original.frontend
    declares.
    """
    wrong: list[str] = []
    for server in (*site.configuration.original.management, *site.configuration.original.usage):
        node = old.nodes.get(server.name)
        if node is None:
            continue  # it could not be asked, which everything_was_read says
        if node.targets is None:
            wrong.append(f"{server.name} has no db.properties")
            continue
        wrong += [
            f"{target.place} of {server.name} is {target.host or 'empty'}{_stands_for(target)}, port {target.port}"
            for target in node.targets
            if not _leads(site, old, server, target)
        ]
    if wrong:
        raise GuardFailed(
            f"management servers use a database server that the stack does not name: {'; '.join(dict.fromkeys(wrong))}",
            "what they write there would be lost, or they would find it when they start again",
            WRONG_SOURCE,
        )


def _leads(site: Site, old: OriginalFacts, server: Server, target: DatabaseTarget) -> bool:
    """Whether a target of db.properties is the configured source, for a replica's key the configured replica, or a declared address before them."""
    original = site.configuration.original
    pair, reached = original.database, {target.host, *target.addresses}
    if reached & {door.address for door in original.frontend if door.address}:
        return True
    if target.port != pair.port:
        return False
    replicas = target.key.endswith((".replicas", ".slaves"))
    own = {server.address, *old.addresses.get(server.name, [])}
    for place in pair.servers if replicas else [pair.source]:
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


def database_serves_nobody_else(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: nobody but CloudStack writes to a database server that the window stops; for who is named in original.database.others it keeps running."""
    schemas, writers, _ = _other_users(site, old)
    if schemas or writers:
        raise GuardFailed(
            f"the original's database servers serve others as well: {'; '.join([*(f'schema {each}' for each in schemas), *writers])}",
            "the window stops and masks those servers and copies CloudStack's databases alone; what others write there meanwhile would be lost. "
            "A usage or management server that the stack does not know shows as a session of CloudStack's account",
            "move them elsewhere, drop accounts that nobody uses, or name each in original.database.others (SCHEMA, USER or USER@HOST): then the servers keep "
            "running for them, and CloudStack's accounts are locked there instead",
        )


def readers(site: Site, old: OriginalFacts) -> list[str]:
    """Accounts and sessions that only read: the window may open, and on the new side they don't exist."""
    return _other_users(site, old)[2]


def notices(site: Site, old: OriginalFacts) -> list[str]:
    """What does not keep the window from opening and somebody should know."""
    found = readers(site, old)
    words = "these only read, lose the original's database in the window, and have no account on the new one"
    lines = [f"warning: {words}: {', '.join(found)}"] if found else []
    if old.away:
        lines.append(
            f"warning: {', '.join(sorted(old.away))} can't be reached and is put aside in the cloud: what a hypervisor gets in the window it will lack, "
            "so see to that before it runs VMs again"
        )
    return lines


def _other_users(site: Site, old: OriginalFacts) -> tuple[list[str], list[str], list[str]]:
    """Schemas, who may write, and who only reads, in words; nobody who is named in original.database.others."""
    named = set(site.configuration.original.database.others)
    cloudstacks = {user for node in old.nodes.values() for user in node.users} or {"cloud"}
    places = _places(site, old)
    database = site.configuration.original.database
    pair = {address for each in database.servers for address in (each.name, each.address, *old.addresses.get(each.name, []))}
    schemas: set[str] = set()
    writing: set[str] = set()
    reading: set[str] = set()
    for server, use in old.uses.items():
        schemas |= set(use.schemas) - named
        writers = {account.user for account in use.accounts if account.writes} | cloudstacks | {"root"}
        replicating = {account.user for account in use.accounts if account.replicates}
        for account in use.accounts:
            if account.user not in cloudstacks and not account.replicates and not named & {account.user, str(account)}:
                (writing if account.writes else reading).add(f"account {account}")
        for client in use.clients:
            known = places[server] if client.user in cloudstacks else pair if client.user in replicating else set()
            ours = known & {client.host.lower(), *client.addresses}
            if not ours and not named & {client.user, *(f"{client.user}@{place}" for place in (client.host, *client.addresses))}:
                (writing if client.user in writers else reading).add(f"a session of {client} on {server}")
    return sorted(schemas), sorted(writing), sorted(reading)


def _places(site: Site, old: OriginalFacts) -> dict[str, set[str]]:
    """For each database server, from where CloudStack's own sessions come: management servers, and what is declared before the database."""
    original = site.configuration.original
    places = {door.address for door in original.frontend if door.address}
    places |= {host.address for door in original.frontend if door.stands_before == "database" for host in door.hosts}
    for server in (*original.management, *original.usage):
        node = old.nodes.get(server.name, ManagementNode())
        own = {each for each in old.addresses.get(server.name, []) if not _loopback(each)}
        places |= {server.name, server.address, *own, *node.names}
    found: dict[str, set[str]] = {}
    for place in original.database.servers:
        mine = {place.address, *(each for each in old.addresses.get(place.name, []) if not _loopback(each))}
        # A management server on the same machine comes through the loopback.
        found[place.name] = places | ({"localhost", "127.0.0.1", "::1"} if mine & places else set())
    return found


def nobody_else_starts_the_servers(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no cluster manager on the original's servers can start or stop the window's units or move the stack's addresses, unless
    original.frontend declares it.
    """
    named = _named_addresses(site)
    found: list[str] = []
    for server, managers in old.managers.items():
        for manager in managers:
            if _declared(site, server, manager):
                continue
            moves = sorted(named.intersection(manager.addresses) - _moved_by(site, server, manager))
            does = [f"starts and stops {', '.join(manager.units)}"] if manager.units else []
            does += [f"moves {', '.join(moves)}"] if moves else []
            does += [f"may start anything: {manager.unknown}"] if manager.unknown else []
            if does:
                found.append(f"{manager.kind} on {server} {' and '.join(does)}")
    if found:
        raise GuardFailed(
            f"the original's servers are managed by others as well: {'; '.join(found)}",
            "it would start what the window has stopped, next to the new side, or take an address away",
            "stop and disable it, or put these resources out of its hands (pcs property set maintenance-mode=true, monit unmonitor, puppet agent --disable); "
            "then declare it in original.frontend with its kind and servers",
        )


def servers_have_their_own_addresses(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the address of each original server is its own for good: the window's record would be looked for elsewhere once it has moved."""
    servers = {server.name: server.address for server in site.configuration.original_servers()}
    moved = [
        f"{name} ({address}, moved by {manager.kind} on {where})"
        for name, address in servers.items()
        for where, managers in old.managers.items()
        for manager in managers
        if address in manager.addresses
    ]
    for one, other in combinations(site.configuration.original.database.servers, 2):
        if one.address in old.addresses.get(other.name, []) or other.address in old.addresses.get(one.name, []):
            moved.append(f"{one.name} and {other.name} (one machine has both {one.address} and {other.address})")
    if moved:
        raise GuardFailed(
            f"addresses in the stack file move between servers: {'; '.join(moved)}",
            "the window keeps its record on the database server, and stops what is at these addresses; after a move both would be at another server",
            "give each server its own fixed address in the stack file, and name the moving one in original.frontend",
        )


def _named_addresses(site: Site) -> set[str]:
    original, new = site.configuration.original, site.configuration.new
    found = {server.address for server in site.configuration.original_servers()} | {
        machine.address for machine in site.configuration.new_machines()
    }
    found |= {door.address for door in original.frontend if door.address}
    found |= {word for word in (host_of(original.api.url), new.load_balancer) if word}
    return found


def _declared(site: Site, server: str, manager: ClusterManager) -> bool:
    kinds = {manager.kind, "corosync"} if manager.kind == "pacemaker" else {manager.kind}
    return any(door.kind in kinds and (not door.servers or server in door.servers) for door in site.configuration.original.frontend)


def _moved_by(site: Site, server: str, manager: ClusterManager) -> set[str]:
    """Addresses of fronts of which original.frontend says that this manager moves them there."""
    doors = (door for door in site.configuration.original.frontend if door.moved_by == manager.kind and server in door.servers)
    return {door.address for door in doors if door.address}


GUARDS = rules_of(
    management_servers_are_known,
    management_servers_beat_here,
    management_servers_use_the_source,
    api_serves_this_database,
    usage_servers_are_known,
    database_serves_nobody_else,
    nobody_else_starts_the_servers,
    servers_have_their_own_addresses,
)
