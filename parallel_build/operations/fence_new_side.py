"""Fencing the new side: every management server of it proved down before the original's is started."""

from __future__ import annotations

from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.configuration import NewMachine
from parallel_build.errors import Cancelled, Fenced, ParallelBuildError, RollbackIncomplete, StepFailed
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import MadeGuest
from parallel_build.operations import known_servers, new_strangers, prove_original_down, start_gate
from parallel_build.operations.confirmed_down import command
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import Workers


def fence_new_side(context: Context, *, insist: bool = True) -> None:
    """Every new management server down and masked, all at the same time: those that are configured, and those that the window's record has.

    A server that can't be reached over SSH has its power cut through its platform. Where that can't be done from here, silence proves nothing: it may
    be cut off from here alone. Then the operator who has switched it off says so in `window.confirmedDown`, which counts unless it answers.
    One that this window has never started, and that does not answer, is down: it was masked when the window opened, or its guards would not have held.
    Args:
        insist: False only reports one that can't be fenced: it is asked for again before the original's management starts.
    Raises:
        RollbackIncomplete: one can't be fenced, and nothing proves that it is down; or one that nobody knows is at work on the new database.
    """
    record = store(context).read()
    machines = known_servers.new_management(context.configuration, record)
    # Only a rollback shuts the gates: up to a hold point the window goes on after this.
    leaving = record if record is not None and record.returning and not record.closed else None
    with Workers(len(machines) + 1) as pool:
        strange = pool.submit(new_strangers.at_work, context, record) if insist and leaving else None
        for future in [pool.submit(_fence, context, machine, insist, record, leaving) for machine in machines]:
            future.result()
    if strange is not None and (found := strange.result()):
        raise new_strangers.refused(context, found, RollbackIncomplete)


def _fence(context: Context, machine: NewMachine, insist: bool, record: WindowRecord | None, leaving: WindowRecord | None) -> None:
    try:
        services = Services(context.host(machine))
        if leaving is not None:
            start_gate.shut(services.host, leaving)
        with Workers(2) as pool:  # each is masked before it is stopped: neither brings the other back
            fenced = [(unit, pool.submit(services.stop_and_fence, unit)) for unit in (USAGE, MANAGEMENT)]
        for unit, changed in fenced:
            if changed.result():
                context.progress(f"fenced {unit} on {machine.name}")
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        if insist:
            _prove_down(context, machine, record, error)
        else:
            context.progress(f"{machine.name} can't be fenced yet: {error}")


def _prove_down(context: Context, machine: NewMachine, record: WindowRecord | None, error: ParallelBuildError) -> None:
    runs = isinstance(error, StepFailed)  # it was reached, and does not stop
    going_back = record is not None and record.returning and not record.closed
    again = f"python -m parallel_build back {context.site.stack}" if going_back else "run the same command again"
    if not runs and not known_servers.ever_started(context.configuration, record, machine) and not _answers(context, machine):
        context.progress(f"{machine.name} can't be reached and does not answer; this window has never started it, and found it masked")
        context.run.record("never started", server=machine.name, error=str(error))
        return
    try:
        made = MadeGuest.of(store(context).facts("Window").get("machines", {}).get(machine.name))
        how = power.cut(context.site, machine, made) if made else power.cut(context.site, machine)
    except MachineFailed as refused:
        why = refused
    else:
        context.progress(f"{machine.name} can't be reached, and is off: {how}")
        context.run.record("powered off", server=machine.name, by=how, error=str(error))
        return
    if runs or _answers(context, machine):
        raise RollbackIncomplete(
            f"{machine.name} ({machine.address}) can't be fenced, and still {'runs' if runs else 'answers'}",
            f"{error.reason}; {why.reason}",
            f"power it off by hand, then {again}",
        ) from None
    if machine.name in context.configuration.window.confirmed_down:
        context.progress(
            f"{machine.name} can't be reached and does not answer; window.confirmedDown says that the operator has switched it off"
        )
        context.run.record("confirmed down", server=machine.name, error=str(error))
        return
    raise RollbackIncomplete(
        f"{machine.name} ({machine.address}) can't be reached, and nothing proves that it is down",
        f"{error.reason}. It does not answer, but if it is only unreachable from here, it may still be managing the hypervisors; {why.reason}",
        "restore the connection to it; or power it off for good and confirm it: "
        f"{command(context.configuration, context.site.stack, machine.name)}; then {again}",
    ) from None


def _answers(context: Context, machine: NewMachine) -> bool:
    """Whether its API or one of its ports answers."""
    ports = context.configuration.new.api.served.every_port
    return api.answers(endpoint.of_new(context.configuration, machine)) or prove_original_down.answers(context, machine, ports)
