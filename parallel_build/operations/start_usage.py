"""The usage server on the new side: started on one management server, and proved to have come up by what this very start says."""

from __future__ import annotations

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import setup, unit_end
from parallel_build.cloudstack.log import LogFollower
from parallel_build.cloudstack.services import USAGE, Services
from parallel_build.errors import StepFailed
from parallel_build.operations import known_servers, prove_original_down, start_gate
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.touched import START

USAGE_LOG = "/var/log/cloudstack/usage/usage.log"
READY = "UsageServer ready"  # once its settings, key and database are good [CloudStack usage/.../UsageServer.java]
UP_WITHIN = 300.0  # seconds


def start_usage(context: Context) -> str | None:
    """Start the usage server on one management server, after that one has populated its settings, and wait until it says that it is ready.

    Its heartbeat is no sign for the window: another server's job is taken over only minutes after that one's last heartbeat. One that runs already,
    of an earlier try, is restarted: the unit restarts itself every ten seconds, and lines of several starts can't be distinguished.
    Returns:
        name of the server; None where there is to be none (`new.usage`).
    Raises:
        StepFailed: it ended before it was ready, or the original is not down.
        GuardFailed: a rollback has begun.
    """
    machine = context.configuration.usage_server
    if machine is None:
        return None
    services = Services(context.host(machine))
    state = services.state(USAGE)
    if not state.known and not state.masked:
        raise StepFailed(
            f"{machine.name} has no {USAGE}",
            "the package is not installed",
            f"install it on {machine.name}, or correct new.packages.usageNames; then run the same command again",
        )
    services.stop_and_fence(USAGE)
    setup.link_usage(services.host)
    prove_original_down.prove(context)
    log = LogFollower.now(services.host, USAGE_LOG)
    store(context).note({}, forward=True, servers=[known_servers.touch(context, machine, START)])
    start_gate.release(context, services.host, USAGE, enable=True)
    services.start(USAGE)
    _await_ready(context, services, log)
    return machine.name


def _await_ready(context: Context, services: Services, log: LogFollower) -> None:
    started, last = _this_start(services), ""

    def ready() -> bool:
        nonlocal last
        # Asked before the log is read: a start that has ended since has written its last words by then.
        alive = _this_start(services) == started
        lines = log.lines()
        last = next((line for line in reversed(lines) if " ERROR " in line), last)
        if not alive:
            end = unit_end.read(services.host, USAGE)
            by_itself = end.cause[0] if end.cause else ""  # a signal or want of memory: the log knows nothing of it
            raise StepFailed(
                f"{USAGE} on {services.host.name} does not stay up: it {end.words}",
                by_itself or (f"its log says: {last[:300]}" if last else "its log says no reason"),
                f"see {log.path} there, and `journalctl -u {USAGE}`; then run the same command again",
            )
        return any(READY in line for line in lines)

    wait_for(
        f"{USAGE} on {services.host.name} to be ready",
        ready,
        timeout=UP_WITHIN,
        cancel=context.cancel,
        progress=context.progress,
        remedy=f"see {log.path} there",
    )


def _this_start(services: Services) -> tuple[str, int]:
    """What tells this start from the next one; between the two the unit counts as active, but has no process."""
    state = services.state(USAGE)
    return services.invocation(USAGE) if state.active else "", state.main_pid
