"""Rules over the original's servers: management servers, their rows, clocks, disks, units."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.cloudstack import heartbeats
from parallel_build.configuration.values import usual_address
from parallel_build.guards import frontend, world
from parallel_build.guards import original as guards
from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import guard_rule, rule
from parallel_build.rules import RuleFinding, Severity, listed

SCARCE = 1 << 30  # bytes free that a server of a cloud should have wherever it writes
FULL = 100 << 20  # with less, logs and tables stop
AT_SERVICE = ("Up", "Down")


@rule(Severity.BLOCKS, "what can't be seen can't be judged")
def everything_is_readable(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every server, the database and the API can be asked."""
    for problem in [*facts.old.problems, *facts.problems]:
        yield RuleFinding(problem, "what can't be seen can't be judged", "make it reachable and readable, then check again")


guard_rule(world.management_servers_are_known)
guard_rule(world.management_servers_beat_here)
guard_rule(world.management_servers_use_the_source)
guard_rule(world.api_serves_this_database)
guard_rule(world.usage_servers_are_known)
guard_rule(world.database_serves_nobody_else)
guard_rule(world.nobody_else_starts_the_servers)
guard_rule(world.servers_have_their_own_addresses)


@rule(Severity.WARNS, "accounts and sessions of the original's database servers")
def database_readers_move(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Nobody who only reads from the original's database servers is forgotten: monitoring, billing, reports."""
    found = world.readers(facts.site, facts.old)
    if found:
        yield RuleFinding(
            f"these read from the original's database servers: {listed(found)}",
            "the window stops those servers, and the new ones do not have these accounts",
            "make them on the new servers after the switch and point the readers there; or name them in original.database.others",
        )


guard_rule(frontend.fronts_can_be_turned)
guard_rule(frontend.front_addresses_are_held_once)


@rule(Severity.WARNS, "ProxySQL's documentation of mysql_servers: a server that is SHUNNED or ONLINE is chosen by the proxy alone")
def database_proxies_are_closed(facts: HealthFacts) -> Iterator[RuleFinding]:
    """A proxy that stands before the original's database is closed by the window, or leads to nothing that the stack does not know."""
    for words in frontend.left_open(facts.site):
        yield RuleFinding(
            words,
            "a script or report that still writes through it would write next to the cloud that is in service",
            "give it `close` and `toOriginal` in original.frontend: docs/operate/frontend.md has the commands for ProxySQL",
        )


guard_rule(guards.servers_answer_themselves)
guard_rule(guards.clocks_agree)


@rule(Severity.WARNS, "cluster.heartbeat.threshold; CloudStack pull request 12140")
def management_servers_beat(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No row of mshost says Up without a heartbeat."""
    stale = [
        f"{row['name']} ({row['service_ip']}), last seen {(row['age'] or 0) / 3600:.1f} h ago"
        for row in facts.rows("servers")
        if row["state"] == "Up" and (row["age"] or 0) >= heartbeats.THRESHOLD
    ]
    if stale:
        yield RuleFinding(
            f"management servers are Up in mshost but have no heartbeat: {listed(stale)}",
            "they were killed; a new server that finds such a row in the copy ends with exit code 5 (the window puts it right there)",
            "start them, or set their rows Down on the original if they are gone for good",
        )


@rule(Severity.WARNS, "stack file, original.management")
def configured_servers_serve(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every configured management server has a row that is Up."""
    up = [row for row in facts.rows("servers") if row["state"] == "Up" and (row["age"] or 0) < heartbeats.THRESHOLD]
    if not facts.rows("servers"):
        return
    for server in facts.site.configuration.original.management:
        if not any(world.is_row_of(row, server, facts.old) for row in up):
            yield RuleFinding(
                f"{server.name} ({server.address}) is in original.management but does not serve",
                "a rollback would wait for it to answer",
                "start it, or take it out of original.management",
            )


@rule(Severity.WARNS, "states of ManagementServerHost.java since 4.19")
def no_server_is_leaving(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No management server is in maintenance or about to shut down."""
    for row in facts.rows("servers"):
        if row["state"] not in AT_SERVICE:
            yield RuleFinding(
                f"management server {row['name']} is {row['state']}",
                "somebody takes it out of service, and it refuses new jobs",
                "end that (cancelMaintenance or cancelShutdown), or wait for its end",
            )


@rule(Severity.NOTES, "CloudStack issue 8516")
def old_rows_of_servers(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports rows of management servers that are no longer there."""
    known = {server.address for server in facts.site.configuration.original.management}
    gone = [
        f"{row['name']} ({row['service_ip']})"
        for row in facts.rows("servers")
        if usual_address(str(row["service_ip"])) not in known and row["state"] == "Down"
    ]
    if gone:
        yield RuleFinding(
            f"mshost has rows of servers that are not in original.management: {listed(gone)}",
            "they are Down and harm nothing; a new server with one of these addresses is distinguished from it by its MAC address",
            "none needed; removeManagementServer tidies them up since 4.21",
        )


@rule(Severity.WARNS, "units of CloudStack's packages")
def services_are_enabled(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Services that serve also start after a reboot."""
    for name, server in facts.servers.items():
        for unit, (active, enabled) in server.units.items():
            if active == "active" and enabled == "disabled":
                yield RuleFinding(
                    f"{unit} on {name} runs but is not enabled",
                    "after a reboot it stays down; a rollback leaves it as it was found",
                    f"there: systemctl enable {unit}",
                )


@rule(Severity.WARNS, "df on every server; a schema upgrade and logs need room")
def disks_have_room(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Wherever CloudStack or a database server writes there is room."""
    for name, server in facts.servers.items():
        for each in server.file_systems:
            if each.free < SCARCE:
                yield RuleFinding(
                    f"{name}: {each.mount} has {each.free / 1e6:.0f} MB free of {each.size / 1e9:.1f} GB",
                    "CloudStack or its database writes there; a full disk stops it",
                    "make room: old logs, dumps, binary logs",
                    Severity.BLOCKS if each.free < FULL else None,
                )
