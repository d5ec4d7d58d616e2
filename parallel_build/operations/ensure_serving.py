"""Steps after the first start: the management servers that were proved good still run, or are started again."""

from __future__ import annotations

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import api, endpoint, last_start
from parallel_build.cloudstack.log import MANAGEMENT_LOG
from parallel_build.cloudstack.services import MANAGEMENT, Services
from parallel_build.cloudstack.startup import ANSWERING, FAILED_FOR_GOOD
from parallel_build.configuration import NewMachine
from parallel_build.errors import StepFailed
from parallel_build.operations import known_servers, prove_original_down, start_gate
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.states import FIRST_START, start_of
from parallel_build.records.touched import START


def ensure_running(context: Context) -> None:
    """Have the management servers that were proved good running and answering: one that lost its database ends itself, and its unit has no restart.

    Asked by the steps that come after a start, which may resume hours after it was proved.
    Raises:
        StepFailed: one does not answer in time, or its web application has failed.
        ApiNotTrusted: what answers can't be proved to be that server.
    """
    records = store(context)
    records.keep_copy()  # a window that an earlier version has opened has one copy
    first, *others = context.configuration.new.management
    for machine, record in [(first, FIRST_START), *((other, start_of(other.name, first=False)) for other in others)]:
        if not records.facts(record).get("good"):
            continue
        services = Services(context.host(machine))
        if not services.state(MANAGEMENT).active:
            context.progress(f"{MANAGEMENT} on {machine.name} has ended since it was proved good: starting it")
            context.intend("start", server=machine.name)
            prove_original_down.prove(context)
            records.note({}, forward=True, servers=[known_servers.touch(context, machine, START)])
            start_gate.release(context, services.host, MANAGEMENT, enable=True)
            services.start(MANAGEMENT)
        _await_answer(context, machine, services)


def _await_answer(context: Context, machine: NewMachine, services: Services) -> None:
    def answers() -> bool:
        status = api.status(endpoint.of_new(context.configuration, machine))
        if status == FAILED_FOR_GOOD or not services.state(MANAGEMENT).active:
            words, cause = last_start.why(services.host)
            raise StepFailed(
                f"{MANAGEMENT} on {machine.name} {words}" + (f" (HTTP {status})" if status else ""),
                cause.cause,
                f"remove that cause on {machine.name} ({MANAGEMENT_LOG}), then run the same command again",
            )
        return status == ANSWERING

    timeout = context.configuration.window.start_timeout.total_seconds()
    wait_for(f"the API on {machine.name}", answers, timeout=timeout, cancel=context.cancel, progress=context.progress)
