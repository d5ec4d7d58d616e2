"""Letting the original's work come to its end once users are out, and letting it take jobs again.

From 4.21 on the servers are asked to take no more jobs (`prepareForShutdown`), one after the other: the next is refused while one is still at it.
What waits in a queue is let begin first: nobody would take it up any more, and it would be waited for until the limit.
Before, the same call makes child jobs of running jobs fail, so there the barrier before the users is all, and the job table says when it is quiet.
What the servers begin by themselves (schedules, HA, usage) is in that table as well. Calls that they have received are answered before it is looked at:
such a call may begin its job only then, and nobody would know of it. [shared facts field.md, section 3]
"""

from __future__ import annotations

from typing import Any

from parallel_build.cloudstack import work
from parallel_build.cloudstack.api import ApiRefused, ApiUnavailable, Cloud
from parallel_build.cloudstack.services import MANAGEMENT as UNIT
from parallel_build.cloudstack.services import Services
from parallel_build.cloudstack.work import Work
from parallel_build.configuration import Server
from parallel_build.durations import duration
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.operations import open_calls
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import original_database, store
from parallel_build.operations.let_users_out import let_users_out
from parallel_build.operations.original_management import answering
from parallel_build.operations.user_firewall import barrier, let_users_in
from parallel_build.records.touched import MANAGEMENT, ORIGINAL, STOP
from parallel_build.remote.sql import Session, session
from parallel_build.versions import CloudStackVersion

DRAIN = "Drain"  # under this name the record has what is noted here
ASKS_FROM = CloudStackVersion("4.21")
READY = "ReadyToShutDown"
NO_MORE_JOBS = ("PreparingForShutDown", "PreparingToShutDown", READY)
BETWEEN = 2.0  # seconds from one look to the next


def asks_servers(context_version: CloudStackVersion) -> bool:
    """Whether servers of that version can be asked to take no more jobs without making those that run fail."""
    return context_version >= ASKS_FROM


def drain(context: Context) -> Outputs:
    """Wait until nothing runs and nothing is in transition, at most `window.drain`.

    Returns:
        what was waited for, and what was cut off or is left behind by servers that are gone.
    Raises:
        StepFailed: the limit has passed and `window.drainThen` is `back`; users are in again.
    """
    if _stopped_already(context):
        context.progress("the original's management has been stopped by this window: nothing is left to wait for")
        return {"adopted": True}
    context.intend("drain the original")
    if store(context).facts(DRAIN).get("users in again"):
        context.progress("an earlier try let users in again: they are let out")
        let_users_out(context)
        store(context).note({DRAIN: {"users in again": False, "began": None}}, forward=True)
    with session(original_database(context)) as database:
        return Draining(context, database).run()


def _stopped_already(context: Context) -> bool:
    """Whether this window has stopped the original's management servers, so that neither they nor, later, their database can be asked."""
    record = store(context).mine()
    begun = any(each.side == ORIGINAL and each.role == MANAGEMENT and STOP in each.done for each in record.servers.values())
    return begun and not any(_may_work(context, server) for server in context.configuration.original.management)


def _may_work(context: Context, server: Server) -> bool:
    try:
        state = Services(context.host(server)).state(UNIT)
    except ConnectionFailed:
        return False  # its jobs are in the job table, and the next step proves that it is down
    return state.active or not state.masked


class Draining:
    """One try.

    Args:
        context: the step's.
        database: the original's source.
    """

    def __init__(self, context: Context, database: Session) -> None:
        self.context, self.database = context, database
        window = context.configuration.window
        self.limit, self.then = window.drain.total_seconds(), window.drain_then
        self.most = 0

    def run(self) -> Outputs:
        """Ask the servers, wait, and decide at the limit."""
        self.began = self._began()
        self._await_answers()
        for each in work.due(self.database, self.limit):
            self.context.progress(f"due by the cloud's own schedule while the original is being stopped: {each}")
        if asks_servers(self.context.configuration.original.version):
            self._await_queues()
            self._take_no_more_jobs()
        left = self._await_rest()
        running = [each for each in left if not each.left]
        if running and self.then == "back":
            self._back(running)
        if left:
            store(self.context).note({DRAIN: {"cut": [each.document() for each in left]}}, forward=True)
            self.context.progress(f"cut off, on record, and closed in the copy: {work.in_words(left)}")
        return {"seconds": round(self._now() - self.began), "most at once": self.most, "cut": [str(each) for each in left]}

    def _now(self) -> float:
        return float(self.database.value("SELECT UNIX_TIMESTAMP(SYSDATE(3))"))

    def _began(self) -> float:
        """By the database server's clock, so that a step that is begun again elsewhere does not wait twice as long."""
        known = store(self.context).facts(DRAIN).get("began")
        if known is None:
            known = self._now()
            store(self.context).note({DRAIN: {"began": known}}, forward=True)
        return float(known)

    def _remaining(self) -> float:
        return self.limit - (self._now() - self.began)

    def _await_answers(self) -> None:
        """Until calls that were received before users were out are answered; the packet filter has waited for them itself."""
        configuration, within = self.context.configuration, min(open_calls.ANSWERED_WITHIN, self._remaining())
        if configuration.window.user_access.method == "firewall":
            return
        hosts = [self.context.host(server) for server in configuration.original.management]
        open_calls.await_answered(hosts, barrier(configuration).users, within, self.context.cancel, self.context.progress)

    def _await_queues(self) -> None:
        """Until queued jobs are taken up, at most half of the limit: servers that take no more jobs take none from a queue, and wait for none in it."""
        while self._remaining() > self.limit / 2 and (waiting := work.queued(self.database)):
            self.context.progress(f"{waiting} jobs wait in queues; once they are taken up no more are taken")
            self.context.cancel.wait(BETWEEN)

    def _take_no_more_jobs(self) -> None:
        cloud = asked(self.context, Cloud.original(self.context.site))
        for server in cloud.list("listManagementServers"):
            if self._remaining() <= 0:
                return
            identity, name = str(server["id"]), str(server.get("name"))
            if server.get("state") == "Up":
                before = store(self.context).facts(DRAIN).get("asked", {})
                store(self.context).note({DRAIN: {"asked": {**before, identity: name}}}, forward=True)
                self.context.progress(f"{name} takes no more jobs (prepareForShutdown)")
                cloud.call("prepareForShutdown", managementserverid=identity)
            if server.get("state") in ("Up", *NO_MORE_JOBS):
                self._await_ready(cloud, identity, name)

    def _await_ready(self, cloud: Cloud, identity: str, name: str) -> None:
        """Until its jobs have ended; at the limit what runs is in the job table, which decides."""
        while _state(cloud, identity) in NO_MORE_JOBS[:2] and self._remaining() > 0:
            self._show(name, self._look())
            self.context.cancel.wait(BETWEEN)

    def _await_rest(self) -> list[Work]:
        """What has not come to its end: nothing, or what only servers that are gone could end, or everything at the limit."""
        while True:
            found = self._look()
            if all(each.left for each in found) or self._remaining() <= 0:
                return found
            self._show("the cloud", found)
            self.context.cancel.wait(BETWEEN)

    def _look(self) -> list[Work]:
        found = work.read(self.database)
        self.most = max(self.most, sum(not each.left for each in found))
        return found

    def _show(self, where: str, found: list[Work]) -> None:
        running = [each for each in found if not each.left]
        if running:
            self.context.progress(f"{where} is still at work: {work.in_words(running)}; at most {duration(max(1, self._remaining()))} more")

    def _back(self, running: list[Work]) -> None:
        """Jobs allowed, users in, and the step has failed: the next try begins with users out again."""
        refused = allow_jobs(self.context)
        store(self.context).note({DRAIN: {"users in again": True}}, forward=True)
        refused += let_users_in(self.context)
        raise StepFailed(
            f"after {duration(self.limit)} {work.in_words(running)}; users are in again" + "".join(f"; {each}" for each in refused),
            "what is cut off in the middle leaves objects between two states; window.drainThen is back",
            "wait for their end or cancel them, then run the same command again; or set a longer window.drain, or window.drainThen to cut; "
            "to close the window: pulumi config set phase prepared && pulumi up",
        )


def allow_jobs(context: Context) -> list[str]:
    """Let servers that were asked to take no more jobs take them again; one that was stopped since takes them from its next start on.

    Any of the original's servers is asked: the configured address may be one that has not come back.
    Returns:
        servers that still refuse jobs, and why.
    """
    asked: dict[str, str] = store(context).facts(DRAIN).get("asked") or {}
    if not asked:
        return []
    problems: list[str] = []
    try:
        cloud = answering(context)
        states = {str(each["id"]): each.get("state") for each in cloud.list("listManagementServers")}
    except (ApiRefused, ApiUnavailable) as error:
        return [f"{', '.join(asked.values())}: nobody can tell whether jobs are taken again: {error}"]
    for identity, name in asked.items():
        if states.get(identity) not in NO_MORE_JOBS:
            continue
        context.progress(f"{name} takes jobs again (cancelShutdown)")
        try:
            cloud.call("cancelShutdown", managementserverid=identity)
        except (ApiRefused, ApiUnavailable) as error:
            if _state_or_none(cloud, identity) in NO_MORE_JOBS:
                problems.append(f"{name} still refuses jobs: {error} (cancelShutdown managementserverid={identity})")
    return problems


def _state(cloud: Cloud, identity: str) -> Any:
    return next((each.get("state") for each in cloud.list("listManagementServers") if str(each["id"]) == identity), None)


def _state_or_none(cloud: Cloud, identity: str) -> Any:
    try:
        return _state(cloud, identity)
    except (ApiRefused, ApiUnavailable):
        return NO_MORE_JOBS[0]  # unknown is not taken for allowed
