"""Stopping the original's management servers for good, proving it, and letting them serve again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import api, endpoint, last_start, web
from parallel_build.cloudstack.api import ApiNotTrusted, ApiRefused, ApiUnavailable, Cloud
from parallel_build.cloudstack.log import MANAGEMENT_LOG
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.cloudstack.startup import ANSWERING, FAILED_FOR_GOOD
from parallel_build.configuration import OriginalManagement as OriginalServer
from parallel_build.configuration import Server
from parallel_build.configuration.values import usual_address
from parallel_build.errors import Cancelled, ConnectionFailed, Fenced, ParallelBuildError, RollbackIncomplete, StepFailed
from parallel_build.operations import known_servers, original_replica
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.confirmed_down import is_lost
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store, tolerated, units_of
from parallel_build.records.touched import STOP, Found
from parallel_build.records.window import NAMES_SERVERS
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Row, Session, session
from parallel_build.versions import is_version

BEATS_WITHIN = 6.0  # seconds; a management server writes its row every 1.5 s [cluster.heartbeat.interval]
LOOK_AGAIN = 1.0  # seconds

# By number: two servers that were set up with 127.0.0.1 have one address.
ROWS = "SELECT id, name, service_ip, state, CAST(last_update AS CHAR) AS beat FROM cloud.mshost WHERE removed IS NULL"


def stop(context: Context, server: Server) -> None:
    """Stop a management server, or a host of usage's own, for good, and prove it; what its units were is on record before that."""
    services = Services(context.host(server))
    remember_units(context, [server])
    ports: set[int] = set()
    if isinstance(server, OriginalServer):
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


class Servers:
    """The original's management servers in a rollback, all started at the same time: the first that answers is enough for users.

    Those that are configured, and those that the window's record has. Used as a block: what has not come back at its end is not waited for.

    Attributes:
        missing: servers that do not serve, and why.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._record = store(context).read()
        self._left = threading.Event()
        self.missing: dict[str, ParallelBuildError] = {}
        self.servers = known_servers.original_management(context.configuration, self._record)
        found = {server.name: known_servers.as_found(self._record, server.name, MANAGEMENT) for server in self.servers}
        # What was down on purpose stays down, unless then nothing would serve.
        self._resting = {name for name, unit in found.items() if not unit.active} if any(unit.active for unit in found.values()) else set()
        self._pool = Workers(len(self.servers))
        self._starting: dict[Future[bool], OriginalServer] = {}

    def __enter__(self) -> Servers:
        self._starting = {self._pool.submit(self._bring, server): server for server in self.servers}
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._pool.shutdown(wait=False)

    def first(self) -> None:
        """Wait until one of them answers a signed call.

        Raises:
            RollbackIncomplete: none does.
        """
        waiting = set(self._starting)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            if any(self._serves(future) for future in done):
                return
        unreachable = all(isinstance(error, ConnectionFailed) for error in self.missing.values())
        raise RollbackIncomplete(
            f"no management server of the original {'can be reached' if unreachable else 'serves'}",
            "; ".join(f"{name}: {error}" for name, error in self.missing.items()),
            "switch one on, then run the same command again" if unreachable else "fix one of them, then run the same command again",
        )

    def settle(self) -> None:
        """Let every start that was begun come to its end, without waiting until it answers: the next run would cut it short."""
        self._left.set()
        self._pool.shutdown(wait=True)

    def rest(self) -> list[str]:
        """Start the usage servers, and wait for the other management servers.

        Returns:
            what is missing, and why; it keeps no user out.
        """
        alone = known_servers.original_usage(self.context.configuration, self._record)
        words = [self._usage(server) for server in (*(each for each in self.servers if USAGE in self._units(each)), *alone)]
        for future in self._starting:
            self._serves(future)
        servers = {server.name: server for server in self.servers}
        lost = {name for name, error in self.missing.items() if is_lost(self.context, servers[name], error)}
        words += [f"management server {name}: {error}" for name, error in self.missing.items() if name not in lost]
        return [each for each in [*words, self._elsewhere()] if each]

    def _units(self, server: OriginalServer) -> set[str]:
        touched = self._record.servers.get(server.name) if self._record else None
        return {*units_of(server), *(touched.units if touched else ())}

    def _serves(self, future: Future[bool]) -> bool:
        server = self._starting[future]
        try:
            return future.result()
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            if server.name not in self.missing:
                self.context.progress(f"{server.name} can't be brought back yet: {error}")
            self.missing[server.name] = error
            return False

    def _bring(self, server: OriginalServer) -> bool:
        """Have its management service as it was; whether it serves."""
        context, services = self.context, Services(self.context.host(server))
        found = known_servers.as_found(self._record, server.name, MANAGEMENT)
        if server.name in self._resting:
            context.progress(f"{MANAGEMENT} on {server.name} did not run when the window opened, and stays down")
            put_back(services, MANAGEMENT, found)
            return False
        original_replica.point(context, server, self._record)
        started = services.bring_up(MANAGEMENT, enable=found.enabled)
        if not started and _failed_for_good(context, server):
            # What an earlier try started without its database, say, stays active for ever and serves nobody.
            context.progress(f"{MANAGEMENT} runs on {server.name} but its start has failed (HTTP 503): starting it again")
            services.stop_and_fence(MANAGEMENT)
            started = services.bring_up(MANAGEMENT, enable=found.enabled)
        if started:
            context.progress(f"{MANAGEMENT} started on {server.name}")
        _await_answer(context, server, self._left)
        return True

    def _usage(self, server: Server) -> str:
        if isinstance(self.missing.get(server.name), ConnectionFailed):
            return ""  # it is missing whole
        try:
            if not isinstance(server, OriginalServer):
                original_replica.point(self.context, server, self._record)
            put_back(Services(self.context.host(server)), USAGE, known_servers.as_found(self._record, server.name, USAGE))
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            self.context.progress(f"{USAGE} on {server.name} can't be brought back yet: {error}")
            return "" if is_lost(self.context, server, error) else f"usage server on {server.name}: {error}"
        return ""

    def _elsewhere(self) -> str:
        """Whether the configured address, which may be a balancer's, leads to another side."""
        cloud = Cloud.original(self.context.site)
        try:
            answered = _version(cloud)
        except (ApiRefused, ApiUnavailable, ApiNotTrusted):
            return ""
        if is_version(answered, self.context.configuration.original.version):
            return ""
        return f"{cloud.url} answers as {answered}: it leads to another side"


def put_back(services: Services, unit: str, found: Found) -> bool:
    """Have a unit as the window found it; return whether it was started."""
    if found.active and found.masked:  # it ran all the same
        now = services.state(unit)
        started = not (now.active and now.masked) and services.bring_up(unit, enable=found.enabled)
        services.mask(unit)
        return started
    if found.masked:
        return False
    if found.active:
        return services.bring_up(unit, enable=found.enabled)
    services.release(unit, enable=found.enabled)
    return False


def answering(context: Context) -> Cloud:
    """The original's API: at the configured address, which may be a balancer's, else at the first of its servers that answers a signed call."""
    configured = Cloud.original(context.site)
    servers = [Cloud.original(context.site, server) for server in context.configuration.original.management]
    # In a move both sides answer with one version: the configured address may be a balancer's that still leads to the new one.
    for cloud in (*servers, configured) if context.configuration.move else (configured, *servers):
        try:
            if is_version(_version(cloud), context.configuration.original.version):
                return asked(context, cloud)
        except (ApiRefused, ApiUnavailable, ApiNotTrusted):
            continue
    return asked(context, configured)


def _version(cloud: Cloud) -> str:
    found = cloud.call("listCapabilities")
    return str(found.get("capability", found).get("cloudstackversion"))


def _await_answer(context: Context, server: OriginalServer, left: threading.Event) -> None:
    """Wait until a server answers a signed call as the original, or nobody waits for it any more.

    Raises:
        RollbackIncomplete: it answers as something else, or will never answer. StepFailed: it does not answer in time.
    """
    wanted, timeout = context.configuration.original.version, context.configuration.window.start_timeout.total_seconds()
    what = f"the API on {server.name}"
    wait_for(
        what,
        lambda: left.is_set() or _answers(context, server),
        timeout=timeout,
        cancel=context.cancel,
        interval=0.5,
        progress=context.progress,
    )
    cloud = Cloud.original(context.site, server)

    def version() -> str | None:
        if left.is_set():
            return wanted.full
        try:
            return _version(cloud)
        except (ApiRefused, ApiUnavailable):
            return None

    answered = wait_for(f"a signed call to {server.name}", version, timeout=120, cancel=context.cancel, progress=context.progress)
    if not is_version(answered, wanted):
        raise RollbackIncomplete(
            f"{cloud.url} answers as {answered}, not {wanted}",
            "another side answers at this address",
            "stop cloudstack-management on the new management servers, or power them off; then run the same command again",
        )
    if not left.is_set():
        context.progress(f"{server.name} of the original serves again: {answered}")


def _closed(services: Services, ports: set[int]) -> bool:
    return not services.listening(sorted(ports))


def _failed_for_good(context: Context, server: Server) -> bool:
    try:
        return api.status(endpoint.of_original(context.configuration, server)) == FAILED_FOR_GOOD
    except ApiNotTrusted:
        return False  # it has a web server, and what is wrong with it is reported when its answer is waited for


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


def remember_units(context: Context, servers: Sequence[Server]) -> None:
    """What the units of these servers are is known only before the first change; of a server that can't be reached it is not.

    Of a window that an earlier version opened the states are those that it noted: what is down by now, it may have stopped.
    """
    records = store(context)
    record = records.mine()
    enabled: dict[str, bool] = dict(record.facts.get("OriginalManagement", {}).get("enabled", {}))
    if record.version < NAMES_SERVERS and "enabled" in record.facts.get("OriginalManagement", {}):
        return
    fresh = []
    for server in servers:
        if server.name in record.servers and {*units_of(server)} <= record.servers[server.name].units.keys():
            continue
        with tolerated(context, f"looking at the units of {server.name}"):
            services = Services(context.host(server))
            states = [services.state(unit) for unit in units_of(server)]
            fresh.append(known_servers.touch(context, server, STOP, units={state.name: known_servers.found(state) for state in states}))
            enabled |= {f"{server.name}/{state.name}": state.enabled for state in states}
    if fresh:
        records.note({"OriginalManagement": {"enabled": enabled}}, forward=True, servers=fresh)


def prove_at_rest(context: Context, lost: Sequence[OriginalServer] = ()) -> dict[str, str]:
    """State of each management server's row; one left Up by a crash is set Down in the copy, never here.

    Args:
        lost: servers that could not be stopped and are confirmed down.
    Raises:
        StepFailed: one of those, or a server that the stack does not know, writes its heartbeat.
    """
    stopped = {server.address for server in context.configuration.original.management} - {server.address for server in lost}
    with session(original_database(context)) as database:
        rows = database.rows(ROWS)
        watched = [row for row in rows if row["state"] == "Up" and usual_address(str(row["service_ip"])) not in stopped]
        alive = _beating(context, database, watched)
    if alive:
        names = ", ".join(f"{row['name']} ({row['service_ip']})" for row in rows if row["id"] in alive)
        raise StepFailed(
            f"management servers that this step has not stopped write to the original's database: {names}",
            "the stack does not know them, or window.confirmedDown names them as switched off",
            "add them to original.management, or stop them",
        )
    return {str(row["service_ip"]): str(row["state"]) for row in rows}


def _beating(context: Context, database: Session, watched: Sequence[Row]) -> set[int]:
    """Numbers of those of these rows that are still written.

    By watching, not by the age of the last heartbeat: that is the difference of two servers' clocks, and either may have jumped.
    """
    first = {int(row["id"]): str(row["beat"]) for row in watched}
    names = ", ".join(sorted(str(row["service_ip"]) for row in watched))
    beating: set[int] = set()
    end = time.monotonic() + BEATS_WITHIN
    while first.keys() - beating and time.monotonic() < end:
        context.progress(f"watching whether {names} still write")
        context.cancel.wait(LOOK_AGAIN)
        beating |= {int(row["id"]) for row in database.rows(ROWS) if first.get(int(row["id"]), str(row["beat"])) != str(row["beat"])}
    return beating
