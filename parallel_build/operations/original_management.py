"""Stopping the original's management servers for good, proving it, and letting them serve again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import api, endpoint, last_start, web
from parallel_build.cloudstack.api import ApiNotTrusted, ApiRefused, ApiUnavailable, Cloud
from parallel_build.cloudstack.log import MANAGEMENT_LOG
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.cloudstack.startup import ANSWERING, FAILED_FOR_GOOD
from parallel_build.configuration import OriginalManagement as OriginalServer
from parallel_build.configuration import Server
from parallel_build.errors import ConnectionFailed, RollbackIncomplete, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store, tolerated, units_of
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Session, session

BEATS_WITHIN = 6.0  # seconds; a management server writes its row every 1.5 s [cluster.heartbeat.interval]

ROWS = "SELECT name, service_ip, state, CAST(last_update AS CHAR) AS beat FROM cloud.mshost WHERE removed IS NULL"


def stop(context: Context, server: OriginalServer) -> None:
    services = Services(context.host(server))
    ports = {*context.configuration.original.served.own_ports, *web.read(services.host).ports}
    for unit in units_of(server):
        context.progress(f"stopping {unit} on {server.name}")
        services.stop_and_fence(unit)
    wait_for(
        f"ports of {server.name} to close",
        partial(_closed, services, ports),
        timeout=60,
        cancel=context.cancel,
    )


def bring_back(context: Context) -> list[str]:
    """Start every server that can be reached, all at once, and wait until the API answers on each; usage after that.

    Returns:
        what is missing: servers that can't be reached, and why.
    Raises:
        RollbackIncomplete: none can be reached.
    """
    missing = serve(context)
    remembered = store(context).facts("OriginalManagement").get("enabled", {})
    for server in context.configuration.original.management:
        if server.usage and server.name not in missing:
            services = Services(context.host(server))
            services.bring_up(USAGE, enable=remembered.get(f"{server.name}/{USAGE}", True))
    return [f"management server {name}: {reason}" for name, reason in missing.items()]


def serve(context: Context) -> dict[str, str]:
    """Start the management service of every server that can be reached, all at once, and wait until the API answers on each.

    Returns:
        servers that can't be reached, and why.
    Raises:
        RollbackIncomplete: none can be reached.
    """
    servers = context.configuration.original.management
    remembered = store(context).facts("OriginalManagement").get("enabled", {})
    missing: dict[str, str] = {}

    def start(server: OriginalServer) -> None:
        services = Services(context.host(server))
        enable = remembered.get(f"{server.name}/{MANAGEMENT}", True)
        started = services.bring_up(MANAGEMENT, enable=enable)
        if not started and _failed_for_good(context, server):
            # What an earlier try started without its database, say, stays active for ever and serves nobody.
            context.progress(f"{MANAGEMENT} runs on {server.name} but its start has failed (HTTP 503): starting it anew")
            services.stop_and_fence(MANAGEMENT)
            started = services.bring_up(MANAGEMENT, enable=enable)
        if started:
            context.progress(f"{MANAGEMENT} started on {server.name}")

    with Workers(len(servers)) as pool:
        for server, future in [(server, pool.submit(start, server)) for server in servers]:
            try:
                future.result()
            except ConnectionFailed as error:
                context.progress(f"{server.name} can't be brought back yet: {error}")
                missing[server.name] = str(error)
    there = [server for server in servers if server.name not in missing]
    if not there:
        raise RollbackIncomplete(
            "no management server of the original can be reached",
            next(iter(missing.values())),
            "switch one on, then run the same command again",
        )
    _await_api(context, there)
    return missing


def _await_api(context: Context, servers: list[OriginalServer]) -> None:
    configuration = context.configuration
    timeout = configuration.window.start_timeout.total_seconds()
    for server in servers:
        wait_for(
            f"the API on {server.name}",
            partial(_answers, context, server),
            timeout=timeout,
            cancel=context.cancel,
            interval=0.5,
            progress=context.progress,
        )
    # At the configured address first: it may be a balancer's. Where the server behind it is lost, another one's word counts.
    clouds = [Cloud.original(context.site), *(Cloud.original(context.site, server) for server in servers)]
    cloud = clouds[0]

    def version() -> str | None:
        for cloud in clouds:
            try:
                found = cloud.call("listCapabilities")
                break
            except (ApiRefused, ApiUnavailable):
                continue
        else:
            return None
        return str(found.get("capability", found).get("cloudstackversion"))

    said = wait_for("a signed call to the original", version, timeout=120, cancel=context.cancel, progress=context.progress)
    if said != str(configuration.original.version):
        raise RollbackIncomplete(
            f"{cloud.url} answers as {said}, not {configuration.original.version}",
            "another side answers at this address",
            "see that the new management servers are fenced",
        )
    context.progress(f"the original serves again: {said}")


def _closed(services: Services, ports: set[int]) -> bool:
    return not services.listening(sorted(ports))


def _failed_for_good(context: Context, server: Server) -> bool:
    try:
        return api.status(endpoint.of_original(context.configuration, server)) == FAILED_FOR_GOOD
    except ApiNotTrusted:
        return False  # it has a web server, and what is wrong with it is told when its answer is waited for


def _answers(context: Context, server: Server) -> bool:
    try:
        status = api.status(endpoint.of_original(context.configuration, server))
    except ApiNotTrusted as error:
        raise RollbackIncomplete(
            f"{MANAGEMENT} runs on {server.name}, and it can't be proved that it serves: {error.fact}",
            error.cause,
            f"{error.remedy}; then run the same command again",
        ) from None
    if status == FAILED_FOR_GOOD:
        _, cause = last_start.why(context.host(server))
        raise RollbackIncomplete(
            f"the web application on {server.name} failed (HTTP 503), and the server does not try again by itself",
            cause.cause,
            f"remove that cause on {server.name} ({MANAGEMENT_LOG}), then run the same command again: it starts the server again",
        )
    return status == ANSWERING


def remember_units(context: Context) -> None:
    """Which units were enabled is known only before the first of them is disabled; of a server that can't be reached it is not."""
    records = store(context)
    if "enabled" in records.facts("OriginalManagement"):
        return
    enabled: dict[str, bool] = {}
    for server in context.configuration.original.management:
        with tolerated(context, f"looking at the units of {server.name}"):
            services = Services(context.host(server))
            enabled |= {f"{server.name}/{unit}": services.state(unit).enabled for unit in units_of(server)}
    records.remember("OriginalManagement", enabled=enabled)


def prove_at_rest(context: Context, lost: Sequence[OriginalServer] = ()) -> dict[str, str]:
    """State of each management server's row; one left Up by a crash is set Down in the copy, never here.

    Args:
        lost: servers that could not be stopped and are said to be down.
    Raises:
        StepFailed: one of those, or a server that the stack does not know, writes its heartbeat.
    """
    stopped = {server.address for server in context.configuration.original.management} - {server.address for server in lost}
    with session(original_database(context)) as database:
        rows = database.rows(ROWS)
        watched = {str(row["service_ip"]): str(row["beat"]) for row in rows if row["state"] == "Up" and row["service_ip"] not in stopped}
        alive = _beating(context, database, watched)
    if alive:
        names = ", ".join(f"{row['name']} ({row['service_ip']})" for row in rows if str(row["service_ip"]) in alive)
        raise StepFailed(
            f"management servers that this step has not stopped write to the original's database: {names}",
            "the stack does not know them, or window.confirmedDown says of them that they are off",
            "add them to original.management, or stop them",
        )
    return {str(row["service_ip"]): str(row["state"]) for row in rows}


def _beating(context: Context, database: Session, watched: dict[str, str]) -> set[str]:
    """Which of these rows are still written.

    By watching, not by the age of the last heartbeat: that is the difference of two servers' clocks, and either may have jumped.
    """
    beating: set[str] = set()
    end = time.monotonic() + BEATS_WITHIN
    while watched.keys() - beating and time.monotonic() < end:
        context.progress(f"watching whether {', '.join(sorted(watched))} still write")
        context.cancel.wait(1)
        beating |= {
            str(row["service_ip"]) for row in database.rows(ROWS) if watched.get(str(row["service_ip"]), row["beat"]) != str(row["beat"])
        }
    return beating
