"""The original's replica in the place of its source that is gone for good: only where it was recorded to have everything that the source had at its stop.

What it has is noted right before it is stopped. Promoting it and pointing the original's management servers at it is on record before each change,
with what was there; db.properties as it was found stays next to the new one.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import properties
from parallel_build.cloudstack.properties import DB_PROPERTIES
from parallel_build.configuration import Server
from parallel_build.database.replicate import log_end
from parallel_build.database.replicate.channel import Position
from parallel_build.database.replicate.pair_status import replica_position
from parallel_build.database.server.dialects import identify
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.facts import management_node
from parallel_build.operations import galera_stop, known_servers, original_galera
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import PROMOTED, promoted, schemas, store
from parallel_build.records.run_folder import now
from parallel_build.records.window import WindowRecord
from parallel_build.remote.access import Access
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.sql import Session, session
from parallel_build.remote.whole_files import KEEP

STEP = "OriginalDatabase"
CATCH_UP = 30  # seconds within which a replica gets what the source has written; nobody writes any more
FILES = (DB_PROPERTIES, management_node.USAGE_PROPERTIES)
FOUND = ".found-by-parallel-build"
# $1: the file. A link (usage's is one to management's, as a rule) is not a second file.
LOOK = 'if [ -f "$1" ] && [ ! -L "$1" ]; then stat -c "%a %U:%G" "$1"; fi'


def note(context: Context, server: Server) -> None:
    """Note what the replica has, right before it is stopped; one that is down already has been asked before, or can't be."""
    found: dict[str, Any] = {"server": server.name, "noted": now(), "lacks": ""}
    try:
        if find_socket(context.host(server)) is None:
            return
        found |= _positions(context, server)
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        found["lacks"] = f"its position could not be read: {error.reason}"
    store(context).remember(STEP, replica=found)
    if found["lacks"]:
        context.progress(f"{server.name} could not take the source's place if that were lost: {found['lacks']}")


def _positions(context: Context, server: Server) -> dict[str, Any]:
    source = context.configuration.original.database.source
    with session(context.host(source)) as old:
        end = log_end.read(old, schemas(context.configuration)).position
    if end is None:
        return {"lacks": f"{source.name} writes no binary log, by which it could be seen"}
    with session(context.host(server)) as database:
        last: list[dict[str, Any]] = []

        def caught_up() -> bool:
            last[:] = [_read(database, source)]
            return bool(last[0].get("has") and Position(*last[0]["has"]).order >= end.order)

        with contextlib.suppress(StepFailed):  # how far it is, is what is noted
            wait_for(f"{server.name} to have what {source.name} has", caught_up, timeout=CATCH_UP, cancel=context.cancel, interval=0.5)
        return {**last[0], "gtid": replica_position(database)}


def _read(database: Session, source: Server) -> dict[str, Any]:
    """How far a replica has applied its source's log, or why that says nothing."""
    dialect = identify(database).dialect
    names = dialect.status_fields
    rows = database.rows(dialect.replica_status)
    row = rows[0] if len(rows) == 1 else next((row for row in rows if str(row[names["host"]]) in (source.address, source.name)), None)
    if row is None or not row[names["applied_file"]]:
        return {"lacks": "it does not replicate"}
    filters = [name for name, value in row.items() if name.startswith("Replicate_") and name != "Replicate_Ignore_Server_Ids" and value]
    if filters:
        return {"lacks": f"it does not take everything: {', '.join(filters)}"}
    errors = [str(row[names[key]]) for key in ("io_error", "sql_error") if row[names[key]]]
    return {
        "has": [str(row[names["applied_file"]]), int(row[names["applied_position"]])],
        "lacks": f"its replication has failed: {' | '.join(errors)}" if errors else "",
    }


def lacking(record: WindowRecord) -> str:
    """What the replica lacks of what the source had when it was stopped, in words; empty where it is proved to have everything."""
    facts = record.facts.get(STEP, {})
    noted: dict[str, Any] = facts.get("replica") or {}
    if nodes := galera_stop.lacking(record):
        return "" if "" in nodes.values() else "; ".join(f"{name}: {why}" for name, why in nodes.items())
    if not noted:
        return "what it has was not noted when the original was stopped (an earlier version did that, or there is no replica)"
    if noted.get("lacks"):
        return str(noted["lacks"])
    end = facts.get("end") or (record.facts.get("DatabaseTransfer", {}).get("copied") or {}).get("original") or {}
    if not end.get("position") or not noted.get("has"):
        return "where the source's binary log ended was not noted"
    has, last = (Position(str(at[0]), int(at[1])) for at in (noted["has"], end["position"]))
    if has == last:
        return ""
    if has.file == last.file and has.order < last.order:
        return f"{last.offset - has.offset} bytes of the source's binary log, from {has} to {last}"
    return f"it has applied the source's binary log up to {has}, and the source was stopped at {last}"


def choose(context: Context) -> Server:
    """Have the replica serve in the source's place from here on; on record before anything is changed.

    Raises:
        GuardFailed: it is not proved to have everything; or the source is there.
    """
    configuration, records = context.configuration, store(context)
    record, source = records.mine(), configuration.original.database.source
    if server := promoted(context, record):
        return server
    others = [each for each in known_servers.original_databases(configuration, record) if each.name != source.name]
    cluster = galera_stop.clustered_record(record)
    replica = original_galera.stand_in(context, record, others) if cluster else next(iter(others), None)
    if replica is None:
        raise GuardFailed(
            f"the original has no {'node that is proved to have everything and can be reached' if cluster else 'replica'} to take its source's place",
            lacking(record) or "they can't be reached" if cluster else "original.database.replica is not set",
            f"bring {source.name} back" + (f", or {' or '.join(each.name for each in others)}" if cluster else ""),
        )
    if not isinstance(records.original_problem(), (ConnectionFailed, CommandFailed)):  # a record that can't be used says that it answers
        raise GuardFailed(
            f"{source.name} can be reached, so {replica.name} does not take its place",
            "two sources would each be taken for the original's",
            f"roll back without --from-replica: parallel-build back {context.site.stack}",
        )
    noted = record.facts.get(STEP, {}).get("replica") or {}
    lacks = lacking(record) if noted.get("server", replica.name) == replica.name else f"what was noted is of {noted['server']}"
    if lacks:
        raise GuardFailed(
            f"{replica.name} is not proved to have everything that {source.name} had when it was stopped: {lacks}",
            "rows that users have seen stored could be missing on it; nothing has been changed",
            f"bring {source.name} back, or its disk in another machine of that address; or keep the new side",
        )
    context.intend("promote the original's replica", server=replica.name, has=noted.get("has"))
    records.mark_returning(ahead=True)
    records.remember(PROMOTED, server=replica.name, instead=source.name, since=now())
    return replica


def take_over(context: Context, server: Server) -> None:
    """The replica, which runs, stops following and lets everybody write; nothing happens where it does already.

    Raises:
        StepFailed: it has applied something else than what was noted.
    """
    records = store(context)
    record = records.mine()
    noted = record.facts.get(STEP, {}).get("replica") or {}
    with session(context.host(server)) as database:
        dialect = identify(database).dialect
        if "found" not in record.facts.get(PROMOTED, {}):
            # By transactions where it has their names: what a server shows of its source's files after a start differs between versions.
            names = noted.get("gtid")
            now_at = replica_position(database) if names else _read(database, context.configuration.original.database.source).get("has")
            if now_at != (names or noted.get("has")):
                raise StepFailed(
                    f"{server.name} stands at {now_at}, and stood at {names or noted.get('has')} when it was stopped",
                    "somebody has started it, or changed its replication, since",
                    f"it is not promoted as it is: bring {context.configuration.original.database.source.name} back, then run "
                    f"`parallel-build back {context.site.stack}`; or keep the new side",
                )
            found = {name: str(database.value(f"SELECT @@GLOBAL.{name}")) for name in dialect.read_only}
            status = [
                {key: str(value) for key, value in row.items() if value not in (None, "")} for row in database.rows(dialect.replica_status)
            ]
            records.remember(PROMOTED, found=found, replication=status)
        context.intend("stop following, let everybody write", server=server.name)
        database.execute("STOP ALL SLAVES" if dialect.family == "mariadb" else dialect.stop_replica)
        for name in dialect.read_only:
            database.execute(f"SET GLOBAL {name} = 0")
        if any(str(database.value(f"SELECT @@GLOBAL.{name}")) not in ("0", "OFF") for name in dialect.read_only):
            raise StepFailed(
                f"{server.name} is still read only",
                "the server took SET GLOBAL read_only = 0, and something has set it again since: a cluster manager, a timer or an operator",
                f"see who is connected (SHOW PROCESSLIST on {server.name}) and what watches over its replication, stop that, then run the same command again",
            )
    context.progress(f"{server.name} takes the place of the original's source")


def point(context: Context, server: Server, record: WindowRecord | None) -> None:
    """Have a server of the original use the promoted replica before CloudStack is started on it; nothing happens where none was promoted.

    Args:
        record: the window's.
    Raises:
        StepFailed: its db.properties leads neither to the source nor to the replica.
    """
    replica = promoted(context, record) if record is not None else None
    if record is None or replica is None:
        return
    host, source = context.host(server), context.configuration.original.database.source
    led = False
    for path in FILES:
        about = host.run(["sh", "-c", LOOK, "sh", path]).stdout.split()
        if about:
            led |= _point_file(context, host, path, about, source, replica, kept_as(record))
    if not led:
        raise StepFailed(
            f"{DB_PROPERTIES} on {server.name} leads neither to {source.name} nor to {replica.name}",
            "it may name an address that was moved, or another server",
            f"set db.cloud.host there to {replica.address}, then run the same command again",
        )


def kept_as(record: WindowRecord) -> str:
    """What a file as this window found it is called behind its own name: what an earlier window kept is no longer what was found."""
    return f"{FOUND}-{re.sub(r'[^0-9A-Za-z]', '', str(record.opened))[:20]}"


def _point_file(context: Context, host: Access, path: str, about: list[str], source: Server, replica: Server, kept: str) -> bool:
    text = properties.decode(host.read(path) or b"")
    values = properties.parse_of(host, path, text)
    changed: dict[str, str] = {}
    led = False
    for target in management_node.targets(values):
        known = management_node.addresses_of(host, target.host) if target.host else []
        led |= replica.address in known or target.host == replica.name
        if source.address in known or target.host == source.name:
            word = rf"(?<![\w.-]){re.escape(target.host)}(?![\w.-])"
            changed[target.key] = re.sub(word, replica.address, changed.get(target.key, values[target.key]))
    if not changed:
        return led
    # A value may hold a password where it is a whole URI: only the file that is kept has it.
    store(context).remember(f"{PROMOTED}/{host.name}", **{path: {"keys": sorted(changed), "found": path + kept}})
    context.intend("point at the promoted replica", server=host.name, file=path, keys=sorted(changed))
    host.run(["sh", "-c", KEEP, "sh", path, path + kept], cancellable=False)
    host.write(path, properties.encode(properties.replace(text, changed, f"{host.name}: {path}")), mode=int(about[0], 8), owner=about[1])
    context.progress(f"{host.name}: {', '.join(sorted(changed))} in {path} lead to {replica.name}; what was there: {path}{kept}")
    return True


def redundancy(context: Context, server: Server) -> None:
    """Say what is left to be done by the operator: the promoted replica serves alone."""
    source = context.configuration.original.database.source
    found = store(context).facts(PROMOTED).get("found") or {}
    again = ", ".join(name for name, value in found.items() if value in ("1", "ON"))
    words = [f"{server.name} serves as the original's source, without a replica: one more loss and no copy of the original is left"]
    if again:
        words.append(f"{again} is off until it starts again: take it out of its option file on {server.name}")
    words.append(
        f"set original.database.source to {server.name}, remove original.database.replica, and set up a new replica; never start {source.name} as it was"
    )
    for line in words:
        context.progress(line)
    context.run.record("promoted", server=server.name, instead=source.name, left=words)


def unreachable(context: Context, record: WindowRecord | None) -> None:
    """Rule: a rollback does not begin while the original's source is gone and nothing was promoted: the new side would be fenced for nothing.

    Raises:
        GuardFailed: it is.
    """
    if record is None or record.closed or promoted(context, record) or not record.facts.get(STEP, {}).get("units"):
        return
    problem = store(context).original_problem()
    if not isinstance(problem, (ConnectionFailed, CommandFailed)):
        return
    source, lacks = context.configuration.original.database.source, lacking(record)
    other = (
        f"its replica can't take its place: {lacks}"
        if lacks
        else f"or have its replica take its place, which has everything: parallel-build back {context.site.stack} --from-replica"
    )
    raise GuardFailed(
        f"{source.name} can't be reached, and without a database the original can't serve",
        f"{problem.reason}. The new side was left as it is",
        f"bring {source.name} back, then run the same command again; {other}",
    )
