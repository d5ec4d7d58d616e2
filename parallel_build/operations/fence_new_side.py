"""Fencing the new side: every management server of it proved down, and its database closed to it, before the original's is started."""

from __future__ import annotations

from concurrent.futures import Future

from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.configuration import NewMachine
from parallel_build.errors import Cancelled, Fenced, ParallelBuildError, RollbackIncomplete, StepFailed
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import MadeGuest
from parallel_build.operations import fence_new_database, known_servers, new_strangers, original_locks, prove_original_down, start_gate
from parallel_build.operations.confirmed_down import command
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import Workers

OFF = "SwitchedOff"  # and those that are down because their power is off: nothing on them is masked
PATIENCE = 15.0
"""Seconds in which a server that is left may end by itself. One whose database is closed to it does not: a real one was killed by systemd after 90 s, with
the original's users waiting for it. What it could still write is fenced at the database."""
CUT_OFF = "CutOff"  # under this name the window's record has the management servers that are fenced at their database alone


def fence_new_side(context: Context, *, insist: bool = True) -> None:
    """Every new management server down and masked, all at the same time: those that are configured, and those that the window's record has.

    A server that can't be reached over SSH has its power cut through its platform. Where that can't be done from here, silence proves nothing: it may
    be cut off from here alone. Then the operator who has switched it off says so in `window.confirmedDown`, which counts unless it answers.
    One that this window has never started, and that does not answer, is down: it was masked when the window opened, or its guards would not have held.
    In a rollback the new database is closed as well (`fence_new_database`): a server that is fenced there alone can do nothing, and is on record.
    Args:
        insist: False only reports one that can't be fenced: it is asked for again before the original's management starts.
    Raises:
        RollbackIncomplete: one can't be fenced, and it may still be running; or one that nobody knows is at work on the new database.
    """
    record = store(context).read()
    machines = known_servers.new_management(context.configuration, record)
    # Only a rollback shuts the gates, and closes the database: up to a hold point the window continues after this.
    leaving = record if record is not None and record.returning and not record.closed else None
    database = _Database(context) if insist and leaving else None
    with Workers(len(machines) + 2) as pool:
        strange = pool.submit(new_strangers.at_work, context, record) if insist and leaving else None
        if database and strange and known_servers.any_started(record):
            pool.submit(database.begin, strange)
        fencing = [(machine, pool.submit(_fence, context, machine, leaving)) for machine in machines]
        failed = [(machine, error) for machine, future in fencing if (error := future.result())]
    if strange is not None and (found := strange.result()):
        raise new_strangers.refused(context, found, RollbackIncomplete)
    if database:
        database.settle()
    cut_off = [machine for machine, error in failed if not _down(context, machine, record, error, insist, database)]
    if database:
        _note(context, CUT_OFF, cut_off)
        off = [each for each, _ in failed if each not in cut_off and known_servers.ever_started(context.configuration, record, each)]
        _note(context, OFF, off)


def cut_off(context: Context) -> dict[str, str]:
    """Management servers that the last fence has closed the database to and could not prove down: address by name."""
    return dict(store(context).facts(CUT_OFF).get("servers") or {})


def in_words(record: WindowRecord) -> list[str]:
    """What the record has of fences at databases, for people."""
    names = record.facts.get(CUT_OFF, {}).get("servers") or {}
    alone = [f"{', '.join(names)} could not be proved down, and is fenced at its database alone"] if names else []
    return [*original_locks.in_words(record), *fence_new_database.in_words(record), *alone]


def switched_off(context: Context) -> dict[str, str]:
    """Management servers that are only down because they are off: switched on they would start again; address by name."""
    return dict(store(context).facts(OFF).get("servers") or {})


def _note(context: Context, name: str, servers: list[NewMachine]) -> None:
    now = {server.name: server.address for server in servers}
    if now != dict(store(context).facts(name).get("servers") or {}):
        store(context).remember(name, servers=now)


class _Database:
    """The fence at the database: begun next to that of the management servers, or when one of those needs it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._how: dict[str, str] | None = None
        self._error: BaseException | None = None

    def begin(self, strange: Future[list[str]]) -> None:
        """Unless somebody unknown works there, who is named first: locked out he could not be found any more."""
        try:
            if not strange.result():
                self.close()
        except BaseException as error:  # handed over to who waits
            self._error = error

    def settle(self) -> None:
        """Raises what kept it from being closed."""
        if self._error is not None:
            raise self._error

    def close(self) -> dict[str, str]:
        """By server how it was closed."""
        if self._how is None:
            self._how = fence_new_database.fence(self._context)
        return self._how


def _fence(context: Context, machine: NewMachine, leaving: WindowRecord | None) -> ParallelBuildError | None:
    """Fence one; what kept it from that. Its units are stopped also where the gate can't be shut: then the gate is tried once more behind them."""
    open_ = leaving if leaving is not None and _shut(context, machine, leaving) is not None else None
    failed: ParallelBuildError | None = None
    try:
        services = Services(context.host(machine))
        with Workers(2) as pool:  # each is stopped once more when it is masked: neither brings the other back
            patience = PATIENCE if leaving is not None else None
            fenced = [(unit, pool.submit(services.stop_and_fence, unit, patience=patience)) for unit in (USAGE, MANAGEMENT)]
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        return error
    for unit, changed in fenced:
        try:
            if changed.result():
                context.progress(f"fenced {unit} on {machine.name}")
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            failed = failed or error
    return failed or (_shut(context, machine, open_) if open_ is not None else None)


def _shut(context: Context, machine: NewMachine, leaving: WindowRecord) -> ParallelBuildError | None:
    """Shut its gate; what kept it from that."""
    try:
        start_gate.shut(context.host(machine), leaving)
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        context.progress(f"the gate on {machine.name} can't be shut: {error}")
        return error
    return None


def _down(
    context: Context, machine: NewMachine, record: WindowRecord | None, error: ParallelBuildError, insist: bool, database: _Database | None
) -> bool:
    """Whether one that could not be fenced is down all the same; False where it is only kept from its database.

    Raises:
        RollbackIncomplete: neither.
    """
    if not insist:
        context.progress(f"{machine.name} can't be fenced yet: {error}")
        return True
    runs = isinstance(error, StepFailed)  # it was reached, and does not stop
    if not runs and not known_servers.ever_started(context.configuration, record, machine) and not _answers(context, machine):
        context.progress(f"{machine.name} can't be reached and does not answer; this window has never started it, and found it masked")
        context.run.record("never started", server=machine.name, error=str(error))
        return True
    try:
        made = MadeGuest.of(store(context).facts("Window").get("machines", {}).get(machine.name))
        how = power.cut(context.site, machine, made) if made else power.cut(context.site, machine)
    except MachineFailed as refused:
        why = refused
    else:
        context.progress(f"{machine.name} can't be reached, and is off: {how}")
        context.run.record("powered off", server=machine.name, by=how, error=str(error))
        return True
    if machine.name in context.configuration.confirmed_down and not runs and not _answers(context, machine, off=True):
        context.progress(
            f"{machine.name} can't be reached and does not answer; window.confirmedDown says that the operator has switched it off"
        )
        context.run.record("confirmed down", server=machine.name, error=str(error))
        return True
    if database is None:
        raise _refused(context, machine, record, error, why)
    try:
        closed = database.close()
    except RollbackIncomplete as open_:
        raise _refused(context, machine, record, error, open_) from None
    by = "; ".join(f"{name}: {how}" for name, how in closed.items())
    context.progress(
        f"{machine.name} can't be proved down; its database is closed to it, and it can do nothing without ({by}): {error.reason}"
    )
    context.run.record("fenced at its database", server=machine.name, by=by, error=str(error))
    return False


def _refused(
    context: Context, machine: NewMachine, record: WindowRecord | None, error: ParallelBuildError, why: ParallelBuildError
) -> RollbackIncomplete:
    runs = isinstance(error, StepFailed)
    going_back = record is not None and record.returning and not record.closed
    again = f"parallel-build back {context.site.stack}" if going_back else "run the same command again"
    if runs or _answers(context, machine, off=True):
        return RollbackIncomplete(
            f"{machine.name} ({machine.address}) can't be fenced, and still {'runs' if runs else 'answers'}",
            f"{error.reason}; {why.reason}",
            f"power it off by hand, then {again}",
        )
    return RollbackIncomplete(
        f"{machine.name} ({machine.address}) can't be reached, and it may still be running",
        f"{error.reason}. It does not answer, but if it is only unreachable from here, it may still be managing the hypervisors; {why.reason}",
        "restore the connection to it; or power it off for good and confirm it: "
        f"{command(context.configuration, context.site.stack, machine.name)}; then {again}",
    )


def _answers(context: Context, machine: NewMachine, *, off: bool = False) -> bool:
    """Whether its API or one of its ports answers.

    Args:
        off: it is confirmed to be off: then no database server of it answers either.
    """
    ports = context.configuration.new.api.served.every_port
    if off:
        ports = sorted({*ports, *context.configuration.ports_of(machine)})
    return api.answers(endpoint.of_new(context.configuration, machine)) or prove_original_down.answers(context, machine, ports)
