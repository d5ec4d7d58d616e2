"""Rules over the original's database: contents, size, replication."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.database.schema.translate import names_database
from parallel_build.guards import both_sides, galera
from parallel_build.guards import original as guards
from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import guard_rule, rule
from parallel_build.rules import RuleFinding, Severity, listed

MANY_ROWS = 1_000_000
BEHIND = 60  # seconds
BRIDGE = "cloudbridge"
ROUTINES = ("procedure", "function")
# Tables that only grow, and that the upgrade's ALTERs copy [CloudStack issues 1387, 8266, 11103].
GROWING = (
    "cloud.event", "cloud.alert", "cloud.async_job", "cloud.usage_event", "cloud.vm_stats", "cloud.volume_stats",
    "cloud_usage.cloud_usage", "cloud_usage.usage_event",
)  # fmt: skip

guard_rule(guards.account_has_its_rights)
guard_rule(guards.database_key_fits)
guard_rule(guards.source_is_the_source)
guard_rule(guards.nothing_waits_on_the_peer)
guard_rule(guards.no_cluster_replication)
guard_rule(galera.galera_is_whole)
guard_rule(galera.galera_stands_by)
guard_rule(guards.binary_log_for_replication)
guard_rule(both_sides.database_versions_fit)


@rule(Severity.BLOCKS, "CloudStack issue 6074: upgrade scripts alter cloud_usage whether or not a usage server runs")
def usage_database_is_there(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The database cloud_usage has its tables."""
    names = {f"{row['db']}.{row['name']}" for row in facts.rows("tables")}
    if names and "cloud_usage.cloud_usage" not in names:
        yield RuleFinding(
            "the database cloud_usage has no table cloud_usage",
            "upgrade scripts alter it also where no usage server runs, and fail half way",
            "bring it back from a backup, or make an empty one with the scripts of the present version",
        )


@rule(Severity.WARNS, "original.database.cloudbridge says whether there is such a database")
def every_database_is_brought(facts: HealthFacts) -> Iterator[RuleFinding]:
    """CloudStack's old database cloudbridge, where there is one, is named in the stack."""
    if left := _left_behind(facts):
        yield RuleFinding(
            f"the database {BRIDGE} with {left} {'table' if left == 1 else 'tables'} is there and is not brought over",
            "original.database.cloudbridge is false, and the original's database server is stopped in the end",
            "set original.database.cloudbridge: true; or accept this finding where nobody needs its contents any more",
        )


def _left_behind(facts: HealthFacts) -> int:
    """How many tables cloudbridge has where it does not travel."""
    if facts.site.configuration.original.database.cloudbridge:
        return 0
    return sum(row["db"] == BRIDGE for row in facts.rows("tables"))


@rule(Severity.WARNS, "transactions and consistent copies need InnoDB")
def tables_are_transactional(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every table is InnoDB."""
    others = [f"{row['db']}.{row['name']} ({row['engine']})" for row in facts.rows("engines")]
    if others:
        yield RuleFinding(
            f"tables are not InnoDB: {listed(others)}",
            "a copy of them is not consistent while servers run, and replication may differ",
            "ALTER TABLE ... ENGINE=InnoDB, or have them copied in the window (transfer.method dump)",
        )


@rule(Severity.NOTES, "table sizes; adminguide on event.purge.delay and usage")
def growing_tables_are_small(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports tables that only grow, when they are large."""
    large = [
        f"{row['db']}.{row['name']} ({int(row['row_count']):,} rows, {float(row['bytes']) / 1e6:.0f} MB)"
        for row in facts.rows("tables")
        if f"{row['db']}.{row['name']}" in GROWING and int(row["row_count"] or 0) >= MANY_ROWS
    ]
    if large:
        yield RuleFinding(
            f"tables that only grow are large: {listed(large)}",
            "copying and altering them is a good part of the window",
            "housekeeping in the rehearsal and before the window (event.purge.delay, removeRawUsageRecords)",
        )


@rule(Severity.BLOCKS, "a view that does not resolve can't be made on another server")
def views_resolve(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every view's tables and columns are there."""
    # One whose definer is missing is no such view to information_schema: that account is made on the new side, and another rule names it.
    broken = [row for row in facts.rows("views") if str(row["words"]) not in ("VIEW", "")]
    if broken:
        names = [f"{row['db']}.{row['name']} ({row['words']})" for row in broken]
        yield RuleFinding(
            f"views do not resolve: {listed(names)}",
            "a table or column that they name is gone, so the new server can't make them",
            "DROP VIEW each of them where nobody needs it, or bring back what it names (SHOW CREATE VIEW, CHECK TABLE)",
        )


@rule(Severity.BLOCKS, "what is not in CloudStack's databases is not brought over")
def objects_need_no_other_database(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No view, trigger, event, routine or foreign key names another database."""
    others = [*(str(row["name"]) for row in facts.rows("other_databases")), *([BRIDGE] if _left_behind(facts) else [])]
    objects = [{**row, "kind": "view"} for row in facts.rows("views")] + facts.rows("code")
    named = [(row, other) for row in objects for other in others if names_database(str(row["body"] or ""), other)]
    tables = [f"table {row['db']}.{row['name']} (foreign key {row['fk']}: {row['other']})" for row in facts.rows("foreign_keys_out")]
    called = [f"{row['kind']} {row['db']}.{row['name']} ({other})" for row, other in named if row["kind"] in ROUTINES]
    failing = tables + [f"{row['kind']} {row['db']}.{row['name']} ({other})" for row, other in named if row["kind"] not in ROUTINES]
    remedy = "drop them, or have them do without that database"
    if failing:
        yield RuleFinding(
            f"objects need databases that are not brought over: {listed(failing)}", "they can't be made or fail when used", remedy
        )
    if called:
        yield RuleFinding(
            f"routines name databases that are not brought over: {listed(called)}",
            "a call of them fails on the new side",
            remedy,
            Severity.WARNS,
        )


@rule(Severity.WARNS, "accounts of the original's server")
def definers_are_there(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Views and routines are defined by accounts that exist."""
    missing = [definer for definer in facts.old.definers if definer not in facts.old.accounts]
    if missing and facts.old.accounts:
        yield RuleFinding(
            f"views or routines are defined by accounts that do not exist: {listed(missing)}",
            "they fail when used (ERROR 1449)",
            "create these accounts, locked; the new side gets them so",
        )


@rule(Severity.WARNS, "the replica's own status")
def replica_follows(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The original's replica follows its source."""
    replica = facts.site.configuration.original.database.replica
    if replica is None:
        if facts.site.configuration.original.database.nodes:
            return  # a cluster's nodes are what the guard galera_is_whole judges
        yield RuleFinding(
            "the original's database has no replica",
            "nothing stands in for its source while the window runs",
            "none needed",
            Severity.NOTES,
        )
        return
    if facts.replica_problem:
        yield RuleFinding(
            f"the replica {replica.name} can't be asked: {facts.replica_problem}",
            "nobody knows whether it has what the source has",
            f"look at the database server on {replica.name}, or take it out of original.database",
        )
    elif facts.replica is None:
        yield RuleFinding(
            f"{replica.name} replicates from nobody",
            "it is in the stack as the original's replica; a rollback does not count on it",
            "set its replication up again, or take it out of original.database",
        )
    elif not (facts.replica.receiving and facts.replica.applying):
        yield RuleFinding(
            f"replication to {replica.name} stands still" + (f": {facts.replica.error}" if facts.replica.error else ""),
            "it falls behind, and after a failure of the source what it lacks is lost",
            "START REPLICA there after fixing the cause",
        )
    elif (facts.replica.lag or 0) > BEHIND:
        yield RuleFinding(
            f"{replica.name} is {facts.replica.lag} s behind its source",
            "it can't keep up, or caught up only just now",
            f"look at the load of {replica.name} (SHOW PROCESSLIST, its disk)",
        )
