"""Fencing the new side: every management server of it proved down before the original's is started."""

from __future__ import annotations

from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.configuration import NewMachine
from parallel_build.errors import CommandFailed, ConnectionFailed, RollbackIncomplete
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.operations import prove_original_down, start_gate
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.states import StartState, start_of
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import Workers


def fence_new_side(context: Context, *, insist: bool = True) -> None:
    """Every new management server down and masked, all at the same time.

    A server that can't be reached over SSH has its power cut through its platform. Where that can't be done from here, silence proves nothing: it may
    be cut off from here alone. Then the operator who has switched it off says so in `window.confirmedDown`, which counts unless it answers.
    One that this window has never started is down in any case: it was masked when the window opened, or its guards would not have held.
    Args:
        insist: False only tells of one that can't be reached: it is asked for again before the original's management starts.
    Raises:
        RollbackIncomplete: one can't be reached, and nothing proves that it is down.
    """
    machines = context.configuration.new.management
    record = store(context).read()
    # Only a way back shuts the gates: up to a hold point the window goes on after this.
    leaving = record if record is not None and record.returning and not record.closed else None
    with Workers(len(machines)) as pool:
        for future in [pool.submit(_fence, context, machine, insist, leaving) for machine in machines]:
            future.result()


def _fence(context: Context, machine: NewMachine, insist: bool, leaving: WindowRecord | None) -> None:
    try:
        services = Services(context.host(machine))
        if leaving is not None:
            start_gate.shut(services.host, leaving)
        with Workers(2) as pool:  # each is masked before it is stopped: neither brings the other back
            fenced = [(unit, pool.submit(services.stop_and_fence, unit)) for unit in (USAGE, MANAGEMENT)]
        for unit, changed in fenced:
            if changed.result():
                context.progress(f"fenced {unit} on {machine.name}")
    except (ConnectionFailed, CommandFailed) as error:
        if insist:
            _prove_down(context, machine, error)
        else:
            context.progress(f"{machine.name} can't be fenced yet: {error}")


def _prove_down(context: Context, machine: NewMachine, error: Exception) -> None:
    if not ever_started(context, machine):
        context.progress(f"{machine.name} can't be reached; this window has never started it, and found it masked")
        context.run.record("never started", server=machine.name, error=str(error))
        return
    try:
        how = power.cut(context.site, machine)
    except MachineFailed as refused:
        why = refused
    else:
        context.progress(f"{machine.name} can't be reached, and is off: {how}")
        context.run.record("powered off", server=machine.name, by=how, error=str(error))
        return
    ports = context.configuration.new.api.served.every_port
    if api.answers(endpoint.of_new(context.configuration, machine)) or prove_original_down.answers(context, machine, ports):
        raise RollbackIncomplete(
            f"{machine.name} ({machine.address}) can't be fenced, and still answers",
            str(error),
            "power it off through its platform, then run the same command again",
        ) from None
    if machine.name in context.configuration.window.confirmed_down:
        context.progress(
            f"{machine.name} can't be reached and does not answer; window.confirmedDown says that the operator has switched it off"
        )
        context.run.record("confirmed down", server=machine.name, error=str(error))
        return
    raise RollbackIncomplete(
        f"{machine.name} ({machine.address}) can't be reached, and nothing proves that it is down",
        f"{error} It does not answer, but a machine that is only cut off from here would go on giving orders to the hypervisors; {why}",
        "mend the way to it; or switch it off yourself, so that nobody switches it on again, and say so: "
        f"pulumi config set --path 'window.confirmedDown[0]' {machine.name}; then run the same command again",
    ) from None


def ever_started(context: Context, machine: NewMachine) -> bool:
    """Whether this window has begun a start of a new management server, by its record: written down before each start."""
    first = context.configuration.new.management[0].name == machine.name
    return bool(StartState.of(store(context).facts(start_of(machine.name, first=first))).began)
