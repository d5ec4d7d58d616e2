"""The fence on an original database server that keeps running for others (`original.database.others`): CloudStack's writing accounts locked there.

Found by db.properties of each management server and by the grants. An account that others are named with stays open, unless CloudStack itself logs in
with it. The undo is on record before the first lock; in a rollback they are unlocked only when the new side is fenced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parallel_build.cloudstack.services import Services
from parallel_build.configuration import Server
from parallel_build.database.replicate import pair
from parallel_build.database.server import account_locks
from parallel_build.database.server.account_locks import AccountLock
from parallel_build.errors import Cancelled, Fenced, ParallelBuildError
from parallel_build.facts import management_node
from parallel_build.operations import known_servers
from parallel_build.operations.confirmed_down import is_lost
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_source, schemas, store, tolerated
from parallel_build.records.window import WindowRecord
from parallel_build.remote.sql import session

STEP = "OriginalLocks"  # under this name the window's record has the accounts that were locked, by server
LIMIT = 60.0  # seconds for the sessions' end


def keeps_running(context: Context, server: Server, unit: str | None) -> bool:
    """Whether a server is to keep running for others; one that this window has stopped already stays down."""
    if not context.configuration.original.database.others:
        return False
    services = Services(context.host(server))
    return not services.state(unit or services.database_unit()).fenced


def locked(record: WindowRecord | None, name: str) -> list[AccountLock]:
    """The accounts that this window has locked on a server, as they were found."""
    kept: Mapping[str, Any] = record.facts.get(STEP, {}).get(name, {}) if record is not None and not record.closed else {}
    return [AccountLock.of(each) for each in kept.get("accounts", [])]


def lock(context: Context, server: Server) -> None:
    """Lock the accounts on one server and end their sessions; proved by asking again."""
    host, users = context.host(server), _users(context)
    found = account_locks.look(host, schemas(context.configuration), users, timeout=LIMIT)
    others = [each for each in found if each.name.user not in users and _is_named(context, each)]
    known = {each.name: each for each in locked(store(context).read(), server.name)}
    wanted = [known.get(each.name, each) for each in found if each not in others]
    gone = [each for name, each in known.items() if name not in {lock.name for lock in wanted}]
    receivers = account_locks.receivers(host)
    kept = {"accounts": [each.kept() for each in [*wanted, *gone]], "received": receivers}
    store(context).note({STEP: {server.name: kept}}, forward=True)
    names = ", ".join(str(each.name) for each in wanted)
    context.intend("lock CloudStack's accounts on the original", server=server.name, accounts=names)
    with session(host) as database, pair.writable(database):
        ended = account_locks.close(host, wanted, timeout=LIMIT, cancel=context.cancel)
    context.progress(f"{server.name} keeps running for others; {names} locked there, {ended} sessions ended")
    if others:
        context.progress(
            f"{server.name}: {', '.join(str(each.name) for each in others)} may write to CloudStack's databases and stay open (others)"
        )
    if receivers:
        context.progress(
            f"{server.name}: the locks are in its binary log, which {', '.join(receivers)} received; they are put back the same way"
        )


def problems(context: Context, server: Server, accounts: list[AccountLock]) -> list[str]:
    """What is not as `lock` left it, in words."""
    found = account_locks.closed(context.host(server), accounts, timeout=LIMIT)
    return [f"on {server.name}, which keeps running for others, {words}" for words in found]


def unlock(context: Context) -> list[str]:
    """Put every account back as it was found, the source's first; nothing where none was locked.

    Returns:
        what is missing on other servers than the source, in words.
    Raises:
        ParallelBuildError: it can't be done on the source, or on the replica that was promoted in its place, without which no management server of
            the original works.
    """
    record, missing = store(context).read(), []
    source, serving = context.configuration.original.database.source.name, original_source(context).name
    for server in known_servers.original_databases(context.configuration, record):
        accounts = locked(record, server.name)
        if not accounts:
            continue
        if server.name == source != serving:
            context.progress(f"{server.name} is gone for good, and {serving} serves in its place: its accounts stay as they are")
            continue
        try:
            host = context.host(server)
            with session(host) as database, pair.writable(database):
                changed = account_locks.put_back(host, accounts, timeout=LIMIT)
            store(context).note({STEP: {server.name: {}}})
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            if server.name == serving:
                raise
            context.progress(f"{server.name}: its accounts can't be unlocked yet: {error}")
            if not is_lost(context, server, error):
                missing.append(f"accounts on {server.name}: {error}")
        else:
            context.progress(f"{server.name}: {len(changed)} accounts as they were found")
    return missing


def in_words(record: WindowRecord) -> list[str]:
    """What the record has of it, for people."""
    names = [name for name, kept in record.facts.get(STEP, {}).items() if kept]
    return [f"CloudStack's accounts are locked on {', '.join(names)}, which keep running for others"] if names else []


def _users(context: Context) -> set[str]:
    """Users that the management servers log in with, by their own files."""
    users = {"cloud"}
    original = context.configuration.original
    asked = [(server, management_node.read) for server in original.management]
    for server, read in (*asked, *((server, management_node.read_usage) for server in original.usage)):
        with tolerated(context, f"asking {server.name} for its db.properties"):
            users |= read(context.host(server)).users
    return users


def _is_named(context: Context, each: AccountLock) -> bool:
    return bool({each.name.user, f"{each.name.user}@{each.name.host}"} & set(context.configuration.original.database.others))
