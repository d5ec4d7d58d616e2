"""Guards over the new servers: built, never set up, and aimed at nothing of the original's."""

from __future__ import annotations

from parallel_build.cloudstack.properties import DB_PROPERTIES
from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.cloudstack.web import SERVER_PROPERTIES
from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.resolved_stack import Site

SPACE_FACTOR = 2.0  # the copy, and the largest table again for ALTER, and binary logs
SEEDED_FACTOR = 1.0  # the copy is there: the schema upgrade may write every table again


def services_are_fenced(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: management and usage units on new servers are down and masked."""
    for server in fresh.management:
        for unit in server.units:
            if unit.name in (MANAGEMENT, USAGE) and not unit.fenced:
                raise GuardFailed(
                    f"{unit.name} on {server.name} is {'running' if unit.active else 'not masked'}",
                    "a new server must not start before its database is there",
                    f"run there: systemctl mask --now {unit.name}",
                )
        if server.open_ports:
            raise GuardFailed(
                f"{server.name} listens on {', '.join(str(port) for port in server.open_ports)}",
                "something runs there already, and the new management server needs them",
                f"see `ss -ltnp` on {server.name}, and stop it",
            )


def databases_are_empty(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the new databases exist and are empty (`transfer.method: dump`)."""
    if site.configuration.transfer.method != "dump":
        return
    for schema, tables in fresh.tables.items():
        if tables != 0:
            raise GuardFailed(
                f"{schema} on {site.configuration.new.database.source.name} "
                + ("does not exist" if tables < 0 else f"holds {tables} tables"),
                "the databases were made in phase built and must be there, empty: a copy is never imported over something else",
                "look at what is in it; drop it there only if you know that nobody needs it"
                if tables > 0
                else f"CREATE DATABASE {schema} there, with the character set and collation that it has on the original",
            )


def never_the_old_database(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no db.properties of a new server names the original's database: a newer server would upgrade it under the old ones."""
    forbidden = {word for database in site.configuration.original.database.servers for word in (database.address, database.name)}
    for server in fresh.management:
        if server.database_host in forbidden:
            raise GuardFailed(
                f"db.properties on {server.name} names the original's database {server.database_host}",
                "a start would upgrade the original's schema",
                f"put the packaged file back on {server.name}: remove {DB_PROPERTIES}, then run `apt-get install --reinstall -o "
                "Dpkg::Options::=--force-confmiss cloudstack-management`, or `dnf reinstall cloudstack-management`",
            )


def no_database_beside_management(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no database server runs on a new management server, except the stack's own with new.allInOne, which lets nobody in as cloud/cloud: with an
    unreadable db.properties CloudStack falls back to localhost, cloud/cloud.
    """
    both = site.configuration.new.with_both_roles()
    for server in fresh.management:
        if server.local_database and server.name not in both:
            raise GuardFailed(
                f"a database server runs on {server.name}",
                "CloudStack falls back to localhost with cloud/cloud when it can't read db.properties",
                f"take the database server off {server.name}, or take another machine; where it is to be the new source too: new.allInOne",
            )


def node_addresses_are_local(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: each new server has its configured address: cluster.node.IP must be local, or the start fails after the schema upgrade."""
    addresses = {machine.name: machine.address for machine in site.configuration.new.management}
    for server in fresh.management:
        if server.addresses and addresses[server.name] not in server.addresses:
            raise GuardFailed(
                f"{server.name} does not have the address {addresses[server.name]} (it has {', '.join(server.addresses)})",
                "CloudStack upgrades the schema first and fails on it afterwards",
                "correct the address in the stack or on the machine",
            )


def needed_servers_are_reachable(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: new management servers reach the new database, the hypervisors, and the vCenters, storage, LDAP and mail servers that the original's reach."""
    # A hypervisor that is away is reached by nobody.
    closed = {server.name: [each for each in server.unreachable if each.partition(" (")[0] not in old.away] for server in fresh.management}
    if any(closed.values()):
        raise GuardFailed(
            "; ".join(f"{name} can't reach {', '.join(found)}" for name, found in closed.items() if found),
            "a management server that is active must reach all of them",
            "open the way in the firewalls between them; secondary storage by NFS must also be exported to it",
        )


def space_is_enough(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the new source has room for the copy twice over; once more where it is there already."""
    seeded = site.configuration.transfer.method == "replicate"
    needed = old.bytes * (SEEDED_FACTOR if seeded else SPACE_FACTOR)
    if fresh.free_bytes and needed > fresh.free_bytes:
        raise GuardFailed(
            f"the databases are {old.bytes / 1e9:.1f} GB, the new source has {fresh.free_bytes / 1e9:.1f} GB free",
            "the schema upgrade may write every table again" if seeded else "the copy, its largest table again, and binary logs must fit",
            f"give {site.configuration.new.database.source.name} a larger disk: {needed / 1e9:.1f} GB have to be free",
        )


def definers_exist(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every account that defines a view or routine exists on the new source, or they would fail when used."""
    missing = [definer for definer in old.definers if definer not in fresh.accounts]
    if missing and fresh.accounts:
        raise GuardFailed(
            f"views or routines are defined by accounts that the new source lacks: {', '.join(missing)}",
            "what an account defines runs with its rights, and fails without it (ERROR 1449)",
            "make each there as on the original, with the same rights, and lock it where nobody logs in with it: "
            "CREATE USER ... ACCOUNT LOCK; GRANT ...",
        )


def servers_will_serve_as_configured(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: each new server's server.properties opens what new.api says, with a keystore for https, or its start would never be seen to be good."""
    served = site.configuration.new.api.served
    for server in fresh.management:
        if server.web is None:
            continue
        if not server.web.serves(served.scheme, served.port):
            raise GuardFailed(
                f"{server.name} will serve {server.web.words}, not {served.scheme} on {served.port}",
                "new.api says otherwise",
                f"change http.enable, http.port, https.enable and https.port in {SERVER_PROPERTIES} there, or new.api",
            )
        if served.scheme == "https" and server.web.keystore_problem:
            raise GuardFailed(
                f"{server.name} would start without https: {server.web.keystore_problem}",
                "CloudStack goes without it, and says nothing, when its keystore can't be used",
                f"put a keystore with the server's certificate there, readable by user cloud, and its password into {SERVER_PROPERTIES}",
            )


def carried_state_is_current(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: each new management server has the files that new.carry names as the original's server has them now."""
    if fresh.carried_otherwise:
        raise GuardFailed(
            f"not as on {site.configuration.carried_from.name}: {', '.join(fresh.carried_otherwise)}",
            "they were changed on the original since they were carried, or on the new server",
            'run `pulumi config set --path new.carry.renew "$(date)"`, then `pulumi up` in phase prepared',
        )


GUARDS = rules_of(
    services_are_fenced,
    databases_are_empty,
    never_the_old_database,
    no_database_beside_management,
    node_addresses_are_local,
    servers_will_serve_as_configured,
    needed_servers_are_reachable,
    space_is_enough,
    definers_exist,
    carried_state_is_current,
)
