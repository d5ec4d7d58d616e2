"""Stopping the original's database servers for good, and starting them again."""

from __future__ import annotations

import posixpath
from functools import partial
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import Server, StackConfiguration
from parallel_build.database.server.dialects import require
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import (
    deadline,
    frontends,
    galera_stop,
    known_servers,
    original_galera,
    original_locks,
    original_replica,
    original_stop,
    prove_original_down,
)
from parallel_build.operations.confirmed_down import command, is_lost
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import original_database, original_source, promoted, store, tolerated
from parallel_build.records.touched import STOP
from parallel_build.remote.sql import session

# Redo logs and shared tables of InnoDB, and Aria's control file: of what a server writes at its start or end, whatever else it does.
# A folder without any of them is none of the server's: what can't be seen has not stood still. It may be a link.
UNKNOWN = "unknown"
FILES = r"""
found=$(for folder; do find -H "$folder" -maxdepth 2 -type f \( -name 'ibdata*' -o -name 'ib_logfile*' -o -name '#ib_redo*' -o -name aria_log_control \) \
  -printf '%p %T@ %s\n' 2>/dev/null || true; done | sort)
if [ -z "$found" ]; then echo unknown; else printf '%s\n' "$found" | sha256sum | cut -d' ' -f1; fi
"""
# Where a server keeps these files, if not in its folder; a path may be one within that.
ELSEWHERE = ("innodb_data_home_dir", "innodb_log_group_home_dir", "aria_log_dir_path")
USUAL = "/var/lib/mysql"


def servers(configuration: StackConfiguration) -> list[Server]:
    """The original's database servers, source last: all others are stopped before it and started after it, as replication and Galera want it."""
    pair = configuration.original.database
    return [*pair.stand_by, pair.source]


def stop_servers(context: Context) -> Outputs:
    """Stop and fence both; a replica that the operator has switched off himself must be silent."""
    units = _units(context)
    frontends.close(context, store(context), frontends.DATABASE)
    store(context).keep_copy()  # the new source has the data, and from here on the original's host is one that may be given up
    context.intend("stop the original's databases", units=units)
    cluster = galera_stop.clustered(context.configuration, store(context).read())
    for server in servers(context.configuration):
        deadline.not_going_back(context)
        source = server == context.configuration.original.database.source
        try:
            if cluster:
                galera_stop.note(context, server)
            elif not source:
                original_replica.note(context, server)
            if original_locks.keeps_running(context, server, units.get(server.name)):
                lock = partial(original_locks.lock, context, server)
                original_stop.lock_unmoved(context, lock) if source else lock()
            elif source:
                _note_folder(context)
                original_stop.stop_unmoved(
                    context, partial(_stop, context, server, units.get(server.name)), partial(_start, context, server)
                )
            else:
                _stop(context, server, units.get(server.name), patience=galera_stop.patience(context, server) if cluster else None)
        except ConnectionFailed as error:
            # The source is only passed over where this window had stopped it before.
            if source and store(context).facts("OriginalDatabase").get("rest") is None and not _locked(context):
                raise
            prove_original_down.silent(context, server, error)
        else:
            if cluster:
                galera_stop.note_stopped(context, server)
            context.note(stopped=[*context.done.get("stopped", []), server.name])
    known = store(context).facts("OriginalDatabase")
    if known.get("rest") is None and not _locked(context):
        rest = _at_rest(context, known)
        if rest == UNKNOWN:
            raise StepFailed(
                f"{original_database(context).name}: none of InnoDB's files is in {known.get('folder') or USUAL}",
                "by them it is seen whether somebody starts the original's database after this",
                "start it, so that it can be asked for its folders, then run the same command again",
            )
        store(context).remember("OriginalDatabase", rest=rest)
    return {"units": units}


def _stop(context: Context, server: Server, unit: str | None, *, patience: float | None = None) -> None:
    services, port = Services(context.host(server)), context.configuration.original.database.port
    unit = unit or services.database_unit()
    context.progress(f"stopping {unit} on {server.name}")
    services.stop_and_fence(unit, timeout=600, patience=patience)
    wait_for(f"port {port} of {server.name} to close", lambda: not services.listening([port]), timeout=60, cancel=context.cancel)


def _units(context: Context) -> dict[str, str]:
    """The units of the database servers; what they are is on record before the first is stopped."""
    records = store(context)
    record = records.mine()
    remembered: dict[str, str] = dict(record.facts.get("OriginalDatabase", {}).get("units", {}))
    fresh = []
    for server in servers(context.configuration):
        if server.name in remembered:
            continue
        with tolerated(context, f"looking for the database server's unit on {server.name}"):
            services = Services(context.host(server))
            unit = services.database_unit()
            fresh.append(known_servers.touch(context, server, STOP, units={unit: known_servers.found(services.state(unit))}))
            remembered[server.name] = unit
    if fresh:
        records.note({"OriginalDatabase": {"units": remembered}}, forward=True, servers=fresh)
    return remembered


def ran_since(context: Context, known: dict[str, Any]) -> bool:
    """Whether the original's source runs, or has run, since this window stopped it: then the copy may lack what was written there.

    That a unit is masked and down now does not tell: a colleague may have started it for a moment. Its files do, every server writes to them when it ends.
    Args:
        known: what the window's record has of this step.
    """
    rest = known.get("rest")
    if rest is None:
        return known.get("end") is not None and _locked(context) and original_stop.moved_since_lock(context) != ""
    try:
        now = _at_rest(context, known)
    except ConnectionFailed as error:
        source = context.configuration.original.database.source
        prove_original_down.silent(context, source, error)
        context.progress(f"{source.name} is gone: whether it has run since the copy was made can't be seen any more")
        return False
    return rest != now or now == UNKNOWN


def _locked(context: Context) -> bool:
    """Whether the source keeps running for others, with CloudStack's accounts locked."""
    return bool(original_locks.locked(store(context).read(), context.configuration.original.database.source.name))


def _note_folder(context: Context) -> None:
    """Where the source keeps its files: only it can tell, and only while it runs."""
    records = store(context)
    if "folder" in records.facts("OriginalDatabase"):
        return
    with tolerated(context, "asking the original's database for its folder"), session(original_database(context)) as database:
        folder = str(database.value("SELECT @@datadir"))
        others = [require(database, name) for name in ELSEWHERE]
        records.remember("OriginalDatabase", folder=folder, folders=[posixpath.join(folder, other) for other in others if other])


def _at_rest(context: Context, known: dict[str, Any]) -> str:
    """What shows whether the source's files have been written to."""
    folders = list(dict.fromkeys([known.get("folder") or USUAL, *known.get("folders", [])]))
    return original_database(context).script(FILES, folders).stdout.strip()


def start(context: Context) -> None:
    """Start the original's source and wait until it answers; nothing happens where it runs.

    Raises:
        ConnectionFailed: it can't be reached.
    """
    store(context).level()  # whoever works on this host next must not find an old record there
    if store(context).facts("OriginalDatabase").get("rest") is not None:
        store(context).remember("OriginalDatabase", rest=None)
    source = context.configuration.original.database.source
    replica = promoted(context)
    if replica is None:
        _start(context, source)
        return _open(context)
    if source.name not in context.configuration.confirmed_down:
        raise GuardFailed(
            f"{source.name} is not started: {replica.name} was promoted in its place in this window",
            "each of the two would be taken for the original's source",
            f"confirm that {source.name} is down: {command(context.configuration, context.site.stack, source.name)}; then run the same command again",
        )
    _start(context, replica)
    if not galera_stop.clustered(context.configuration, store(context).read()):
        original_replica.take_over(context, replica)
    return _open(context)


def _open(context: Context) -> None:
    """In a rollback: what stands before the database leads to it again, before the first management server comes that way.

    What does not lead there yet is on record, and listed when the original serves.
    """
    if context.undoing:
        frontends.to_original(context, store(context), frontends.DATABASE)


def start_replica(context: Context) -> list[str]:
    """Start the original's replica, where it has one, also one that only the record has: management does not wait for it.

    Returns:
        what is missing: a replica that does not start does not keep the original from serving.
    """
    configuration, record = context.configuration, store(context).read()
    missing: list[str] = []
    if galera_stop.clustered(configuration, record):
        return original_galera.rejoin(context)
    if serving := promoted(context, record):
        original_replica.redundancy(context, serving)
        return missing
    for server in known_servers.original_databases(configuration, record):
        if server.name == configuration.original.database.source.name:
            continue
        try:
            _start(context, server)
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            context.progress(f"{server.name} can't be brought back yet: {error}")
            if not is_lost(context, server, error):
                missing.append(f"replica {server.name}: {error}")
    return missing


def _start(context: Context, server: Server) -> None:
    record = store(context).read()
    if galera_stop.clustered(context.configuration, record):
        original_galera.serve(context)
        return
    units: dict[str, str] = {} if record is None or record.closed else record.facts.get("OriginalDatabase", {}).get("units", {})
    host = context.host(server)
    services = Services(host)
    unit = units.get(server.name) or services.database_unit()
    found = known_servers.as_found(record, server.name, unit)
    if not found.active and server.name != original_source(context).name:
        if not found.masked:
            services.release(unit, enable=found.enabled)
        context.progress(f"{unit} on {server.name} did not run when the window opened, and stays down")
        return
    if services.bring_up(unit, enable=found.enabled, timeout=600):
        context.progress(f"{unit} started on {server.name}")

    def answers() -> bool:
        try:
            with session(host) as database:
                return bool(database.value("SELECT 1") == 1)
        except (ConnectionFailed, CommandFailed):
            return False

    wait_for(f"the database server on {server.name}", answers, timeout=600, cancel=context.cancel, progress=context.progress)
