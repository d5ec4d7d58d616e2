"""The fence at the new side's database: in a rollback nothing of the new side writes there any more, whatever became of its management servers.

A ladder with limits: the accounts that may write to the cloud's databases are locked and their sessions end; else the database server is stopped and
masked; else killed; else its power is cut; else the rollback is refused, and names it. A management server can do nothing without its database.
What a rung is about to change is on record before it, so that a power cut at any line leaves either nothing or its undo.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.database.server import account_locks
from parallel_build.database.server.account_locks import AccountLock
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, ParallelBuildError, RollbackIncomplete, StepFailed
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import MadeGuest
from parallel_build.operations import known_servers, original_management, prove_original_down
from parallel_build.operations.confirmed_down import command
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import schemas, store
from parallel_build.records.touched import STOP, Found
from parallel_build.records.window import WindowRecord
from parallel_build.remote.database_login import login_of

T = TypeVar("T")
STEP = "DatabaseFence"  # under this name the window's record has what was locked or stopped, by server
ACCOUNTS, STOPPED, KILLED, OFF = "accounts locked", "stopped and masked", "killed and masked", "off"
LOCK_LIMIT, STOP_LIMIT, KILL_LIMIT, POWER_LIMIT = 20.0, 60.0, 20.0, 120.0  # seconds
ASIDE = 20.0  # seconds for a short command on a server that may be ill
LIFT_LIMIT = 60.0
LOOK = 0.1  # seconds between two looks whether stopping was asked for
# Masked before it is stopped, and not waited for: a server that hangs keeps systemctl for its own time limit, which is 15 minutes on MariaDB.
# Stopped also where a disk that is read only takes no mask: that one counts as fenced by none of these, and does no harm until the next boot.
_MASK = 'masked=0; systemctl mask "$1" || masked=$?; '
STOP_UNIT = f'systemctl disable "$1" 2>/dev/null || true; {_MASK} systemctl stop --no-block "$1"; exit $masked'
KILL_UNIT = f'{_MASK} systemctl kill --signal=KILL "$1" || true; exit $masked'


def words(configuration: StackConfiguration) -> str:
    """The plan's line."""
    source, names = configuration.new.database.source, " and ".join(schemas(configuration))
    return (
        f"on {source.name} ({source.address}): ALTER USER ... ACCOUNT LOCK for every account that may write to {names} (not in the binary log); KILL their "
        f"sessions ({LOCK_LIMIT:.0f} s); else mask and stop the database server ({STOP_LIMIT:.0f} s); else kill it; else cut its power; else nothing is started"
    )


def fence(context: Context) -> dict[str, str]:
    """Close the new source to whoever may write to the cloud's databases; also one that only the record has.

    Returns:
        by server how that was done.
    Raises:
        RollbackIncomplete: nothing of the ladder was possible; names the server and the way out.
    """
    record = store(context).read()
    return {server.name: _fence(context, server) for server in known_servers.new_databases(context.configuration, record)}


def _fence(context: Context, server: NewMachine) -> str:
    failures: list[ParallelBuildError] = []
    for rung, limit, how in ((_lock, LOCK_LIMIT, ACCOUNTS), (_stop, STOP_LIMIT, STOPPED), (_kill, KILL_LIMIT, KILLED)):
        known = _facts(context, server)
        if rung is _lock and known.get("how") in (STOPPED, KILLED):
            continue  # it is down, or is to be again
        if rung is _kill and "unit" not in known:
            continue  # it could not be asked what runs there
        try:
            rung(context, server, limit)
        except (Cancelled, Fenced):
            raise
        except Exception as error:  # whatever an ill server makes of an answer: the next rung needs none of it
            failure = error if isinstance(error, ParallelBuildError) else _unexpected(server, error)
            context.progress(f"{server.name}: not yet {how}: {failure}")
            failures.append(failure)
        else:
            return _done(context, server, how)
    return _closed_before(context, server) or _cut(context, server, failures)


def _closed_before(context: Context, server: NewMachine) -> str:
    """How an earlier try of this rollback has closed one that can't be reached any more, empty where it has not: locks and masks outlive its loss.

    Nobody but this rollback opens it again, and that is on record before.
    """
    how = str(_facts(context, server).get("how") or "")
    if how not in (ACCOUNTS, STOPPED, KILLED):
        return ""
    if within(context, f"reaching {server.name}", ASIDE, lambda _: context.host(server).reachable()):
        return ""
    context.progress(f"{server.name} can't be reached any more; it was closed before in this rollback, and stays so: {how}")
    context.run.record("closed before", server=server.name, by=how)
    return how


def _unexpected(server: NewMachine, error: Exception) -> StepFailed:
    return StepFailed(
        f"unexpected {type(error).__name__}: {error}",
        f"{server.name} answered something that can't be understood",
        f"look at its database server ({server.address})",
    )


def _done(context: Context, server: NewMachine, how: str) -> str:
    known = _facts(context, server).get("how")
    if (known, how) == (KILLED, STOPPED):
        return KILLED
    if known != how:
        _note(context, server, how=how)
        context.progress(f"{server.name}: fenced at its database: {how}")
        context.run.record("database fenced", server=server.name, by=how)
    return how


def _lock(context: Context, server: NewMachine, limit: float) -> None:
    host, end = context.host(server), time.monotonic() + limit
    what = f"locking the accounts on {server.name}"
    names = [*schemas(context.configuration)]
    found = within(context, what, limit, lambda _: account_locks.look(host, names, timeout=limit))
    known = {each["user"] + "@" + each["host"]: each for each in _facts(context, server).get("accounts", [])}
    kept = [known.get(f"{each.name.user}@{each.name.host}", each.kept()) for each in found]
    gone = [each for name, each in known.items() if name not in {f"{each.name.user}@{each.name.host}" for each in found}]
    # On record before the first lock. What an earlier try has noted of an account stays: by now it may be locked by that.
    login = login_of(context.site, server.name)
    _note(context, server, accounts=[*kept, *gone], by=login.option_file or login.user)
    locks = [AccountLock.of(each) for each in kept]
    left = max(1.0, end - time.monotonic())
    ended = within(context, what, left, lambda cancel: account_locks.close(host, locks, timeout=left, cancel=cancel))
    if ended:
        context.progress(f"{server.name}: {len(locks)} accounts locked, {ended} sessions ended")


def _stop(context: Context, server: NewMachine, limit: float) -> None:
    end = time.monotonic() + limit
    what = f"stopping the database server on {server.name}"
    services = Services(context.host(server))
    unit = within(context, what, ASIDE, lambda _: services.database_unit())
    state = within(context, what, ASIDE, lambda _: services.state(unit))
    if state.fenced and within(context, what, ASIDE, lambda _: _silent(context, services)):
        return
    touched = known_servers.touch(context, server, STOP, units={unit: known_servers.found(state)})
    store(context).note({STEP: {server.name: {**_facts(context, server), "unit": unit}}}, servers=[touched])
    context.intend("stop the new database server", server=server.name, unit=unit)
    within(context, what, ASIDE, lambda _: services.host.script(STOP_UNIT, [unit], timeout=ASIDE, cancellable=False))
    _await_down(context, services, unit, max(1.0, end - time.monotonic()))


def _kill(context: Context, server: NewMachine, limit: float) -> None:
    unit = str(_facts(context, server)["unit"])
    services = Services(context.host(server))
    context.intend("kill the new database server", server=server.name, unit=unit)
    what = f"killing the database server on {server.name}"
    within(context, what, ASIDE, lambda _: services.host.script(KILL_UNIT, [unit], timeout=ASIDE, cancellable=False))
    _await_down(context, services, unit, limit)


def _await_down(context: Context, services: Services, unit: str, limit: float) -> None:
    what = f"{unit} on {services.host.name} to end"
    within(
        context,
        what,
        limit + 5,
        lambda cancel: wait_for(
            what, lambda: services.state(unit).fenced and _silent(context, services), timeout=limit, cancel=cancel, interval=0.5
        ),
    )


def _silent(context: Context, services: Services) -> bool:
    """Somebody may run another server there than the unit's."""
    return not services.listening([context.configuration.new.database.port])


def _cut(context: Context, server: NewMachine, failures: list[ParallelBuildError]) -> str:
    made, before = MadeGuest.of(store(context).facts("Window").get("machines", {}).get(server.name)), _facts(context, server).get("how")
    _note(context, server, how=OFF)
    try:
        how = within(context, f"cutting the power of {server.name}", POWER_LIMIT, lambda _: power.cut(context.site, server, made))
    except (MachineFailed, StepFailed) as error:
        refused: ParallelBuildError = error
    else:
        context.progress(f"{server.name} is off, and its database with it: {how}")
        context.run.record("powered off", server=server.name, by=how, error=str(failures[-1]))
        return OFF
    if _confirmed(context, server):
        context.progress(
            f"{server.name} can't be reached and does not answer; window.confirmedDown says that the operator has switched it off"
        )
        context.run.record("confirmed down", server=server.name, error=str(failures[-1]))
        return OFF
    _note(context, server, how=before)
    reasons = "; ".join(dict.fromkeys(each.reason for each in [*failures, refused]))
    raise RollbackIncomplete(
        f"{server.name} ({server.address}) can't be fenced: the new side may still write to its database",
        f"its accounts could not be locked, nor could it be stopped, killed or powered off: {reasons}",
        f"restore the connection to it; or power it off for good and confirm it: {command(context.configuration, context.site.stack, server.name)}; "
        f"then parallel-build back {context.site.stack}",
    )


def _confirmed(context: Context, server: NewMachine) -> bool:
    """Whether the operator says that it is off, which counts only while it is silent."""
    if server.name not in context.configuration.confirmed_down:
        return False
    reached = within(context, f"reaching {server.name}", ASIDE, lambda _: context.host(server).reachable())
    ports = {context.configuration.new.database.port, *context.configuration.ports_of(server)}
    return not reached and not prove_original_down.answers(context, server, sorted(ports))


def within(context: Context, what: str, limit: float, act: Callable[[CancelToken], T]) -> T:
    """Do something that may hang, for at most so long; what still hangs then is cancelled, and not waited for.

    Raises:
        StepFailed: it did not come to its end in time. Cancelled: the engine asked to stop.
    """
    token, answer, failed = CancelToken(), list[T](), list[BaseException]()

    def run() -> None:
        try:
            answer.append(act(token))
        except BaseException as error:  # handed over to who waits
            failed.append(error)

    acting, end = threading.Thread(target=run, daemon=True), time.monotonic() + limit
    acting.start()
    try:
        while acting.is_alive() and time.monotonic() < end:
            acting.join(LOOK)
            context.cancel.check()
    finally:
        if acting.is_alive():
            token.set(f"nobody waits for {what} any more")
    if failed:
        raise failed[0]
    if not answer:
        raise StepFailed(f"{what} did not end within {limit:.0f} s", "the server hangs, or is too busy for it", "look at that server")
    return answer[0]


def lift(context: Context, record: WindowRecord | None, before_accounts: Callable[[], None] = lambda: None) -> list[str]:
    """Undo the fence, as it was found: the database server started where it was stopped, then the accounts. Nothing where there is none.

    Args:
        record: the window's, which may be closed: then nothing is written into it.
        before_accounts: done while the server runs and nobody is let in yet.
    Returns:
        what could not be undone, in words.
    """
    left: list[str] = []
    for name, facts in (record.facts.get(STEP, {}) if record is not None else {}).items():
        server = known_servers.new_database(context.configuration, record, name) if facts and record is not None else None
        if not facts or record is None:
            continue
        if server is None:
            left.append(f"{name} is not configured any more, and its database is still closed ({_words(facts)})")
            continue
        try:
            if not record.closed and "how" in facts:  # from here on it can't be taken for closed any more
                store(context).note({STEP: {name: {key: value for key, value in facts.items() if key != "how"}}})
            _lift(context, server, record, facts, before_accounts)
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            left.append(f"{name}: its database is still closed ({_words(facts)}): {error}{_other_login(context, server, facts)}")
        else:
            if not record.closed:
                store(context).note({STEP: {name: {}}})
    return left


def _other_login(context: Context, server: NewMachine, facts: dict[str, Any]) -> str:
    """Where the login was changed meanwhile, to an account that may be one of the locked."""
    login = login_of(context.site, server.name)
    by, now = facts.get("by"), login.option_file or login.user
    return (
        f" It was closed by the account of {by}, and {now} is asked now: set new.database.admin to {by} again"
        if by not in (None, now)
        else ""
    )


def _lift(context: Context, server: NewMachine, record: WindowRecord, facts: dict[str, Any], before_accounts: Callable[[], None]) -> None:
    host, unit = context.host(server), facts.get("unit")
    if unit is not None:
        touched = record.servers.get(server.name)
        found = touched.units.get(unit, Found()) if touched else Found()
        original_management.put_back(Services(host), unit, found)
        if not found.active and facts.get("accounts"):
            raise StepFailed(f"{unit} on {server.name} did not run before it was fenced", "its accounts are locked", f"start {unit} there")
    locks = [AccountLock.of(each) for each in facts.get("accounts", [])]
    if not locks:
        return

    def up() -> bool:
        try:
            account_locks.closed(host, locks, timeout=LIFT_LIMIT)
        except (ConnectionFailed, CommandFailed):
            if unit is None:
                raise
            return False  # it was started a moment ago
        return True

    wait_for(f"the database server on {server.name}", up, timeout=LIFT_LIMIT, cancel=context.cancel)
    before_accounts()
    account_locks.put_back(host, locks, timeout=LIFT_LIMIT)
    context.progress(f"{server.name}: its accounts are as they were found")


def in_words(record: WindowRecord) -> list[str]:
    """What the record has of it, for people."""
    return [
        f"the database on {name} is closed to the new side ({_words(facts)})" for name, facts in record.facts.get(STEP, {}).items() if facts
    ]


def _words(facts: dict[str, Any]) -> str:
    locked = [f"{each['user']}@{each['host']}" for each in facts.get("accounts", []) if not each.get("locked")]
    return facts.get("how") or (f"accounts {', '.join(locked)}" if locked else "it was being fenced")


def _facts(context: Context, server: NewMachine) -> dict[str, Any]:
    return dict(store(context).facts(STEP).get(server.name) or {})


def _note(context: Context, server: NewMachine, **facts: Any) -> None:
    known = _facts(context, server)
    wanted = {key: value for key, value in {**known, **facts}.items() if value is not None}
    if wanted != known:
        store(context).note({STEP: {server.name: wanted}})
