"""Bringing one new management server up, from whatever an earlier try left: shared by the first server and the additional ones."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import api, endpoint, setup
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.keys import DatabaseKey, database_key, prove
from parallel_build.cloudstack.log import LogFollower, Mark
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.cloudstack.startup import (
    ANSWERING,
    FAILED_FOR_GOOD,
    Expectation,
    StartFailed,
    StartWatch,
    as_evidence,
    definitions,
)
from parallel_build.configuration import NewMachine
from parallel_build.database.session import session
from parallel_build.errors import StepFailed
from parallel_build.forensics import FORENSICS
from parallel_build.steps import deadline
from parallel_build.steps.base import Context
from parallel_build.steps.common import OpenSession, new_database, store, tolerated
from parallel_build.window_record import read_host_clock


class ManagementStart:
    """One start of one new management server.

    Args:
        context: of the running step.
        machine: the server.
        record: name under which this start is remembered in the window's record.
        upgrade: whether it has to upgrade the schema.
    """

    def __init__(self, context: Context, machine: NewMachine, record: str, *, upgrade: bool) -> None:
        self.context, self.machine, self.record, self.upgrade = context, machine, record, upgrade
        self.host = context.host(machine)
        self.services = Services(self.host)
        self.records = store(context)

    def run(self, fingerprint: str | None = None) -> dict[str, Any]:
        """Set up, start and follow; a start that runs already is followed on, a good one is only proved again.

        Args:
            fingerprint: of the views and procedures that a good first start left.
        Raises:
            StartFailed: not good; the record then says whether the schema was touched.
        """
        facts = self.records.facts(self.record)
        with contextlib.ExitStack() as stack:
            database = OpenSession(new_database(self.context), stack)
            if facts.get("good") and self.services.state(MANAGEMENT).active:
                watch = self._watch(database, LogFollower.now(self.host), upgrade=False, fingerprint=fingerprint)
                signs = watch.signs()
                if all(signs.values()):
                    good: dict[str, Any] = facts["good"]
                    return good
            if facts.get("mark") and not facts.get("failed") and self.services.state(MANAGEMENT).active:
                self.context.progress(f"{self.machine.name} was started before, following it on")
                follower = LogFollower(self.host, Mark(*facts["mark"]))
            else:
                self._prepare()
                follower = self._start()
            watch = self._watch(database, follower, upgrade=self.upgrade, fingerprint=fingerprint)
            return self._follow(watch)

    def touched(self) -> bool:
        """Whether an earlier start of this server may have changed the schema without coming to a good end.

        What the record doesn't know (the operator's machine died) is read from the server's log since that start.
        """
        facts = self.records.facts(self.record)
        if not facts.get("mark") or facts.get("good"):
            return False
        if facts.get("touched") is not None:
            return bool(facts["touched"])
        if facts.get("boot") and facts["boot"] != read_host_clock(self.host).boot:
            # It lost its power: the last lines of its log may be lost, the database server on another machine keeps what they were about.
            return True
        with contextlib.ExitStack() as stack:
            watch = self._watch(OpenSession(new_database(self.context), stack), LogFollower(self.host, Mark(*facts["mark"])), upgrade=True)
            watch.read(self.context.progress)
            return watch.reading.touched

    def running(self) -> bool:
        """Whether the service runs (which proves nothing else)."""
        return self.services.state(MANAGEMENT).active

    def failed(self) -> bool:
        """Whether its last start is known to have failed."""
        return bool(self.records.facts(self.record).get("failed"))

    def fence(self) -> None:
        """Stopped, disabled, masked, and never-set-up again."""
        with tolerated(self.context, f"fencing {self.machine.name}"):
            self.context.progress(f"fencing {self.machine.name}")
            for unit in (USAGE, MANAGEMENT):
                self.services.stop_and_fence(unit)
            setup.undo_setup(self.host)
        self.forget()

    def forget(self) -> None:
        """The next start is a first one again."""
        record = self.records.read()
        if record is not None and not record.closed and self.record in record.facts:
            self.records.remember(self.record, mark=None, good=None, touched=None, failed=None)

    def _prepare(self) -> None:
        context, configuration = self.context, self.context.configuration
        pair, secrets = configuration.new.database, context.site.secrets
        context.progress(f"{self.machine.name}: logging in to {pair.source.name} as it will")
        setup.prove_login(self.host, pair.source, pair.port, secrets.cloud_password)
        key = self._key()
        with session(new_database(context)) as database:
            prove(key, database)
        self.services.stop_and_fence(MANAGEMENT)
        context.intend("cloudstack-setup-databases, cloudstack-setup-management", server=self.machine.name)
        context.progress(f"{self.machine.name}: cloudstack-setup-databases")
        setup.setup_databases(
            self.host,
            self.machine,
            pair.source,
            pair.port,
            password=secrets.cloud_password,
            management_key=secrets.management_key,
            key=key,
        )
        context.progress(f"{self.machine.name}: cloudstack-setup-management --no-start")
        setup.setup_management(self.host)

    def _key(self) -> DatabaseKey:
        return database_key(self.context.site, self.context.host(self.context.configuration.original.management[0]))

    def _start(self) -> LogFollower:
        deadline.commit(self.context)
        follower = LogFollower.now(self.host)
        mark = [follower.mark.inode, follower.mark.offset]
        boot = read_host_clock(self.host).boot
        # On record before the start: whoever comes next must know that the schema may have been touched.
        self.records.remember(FORENSICS, kept=None)  # what was kept of an earlier start says nothing of this one
        self.records.remember(self.record, mark=mark, good=None, touched=None, failed=None, boot=boot, began=time.time())
        self.context.intend("start", server=self.machine.name, log_mark=mark)
        self.services.release(MANAGEMENT, enable=False)
        self.services.start(MANAGEMENT)
        self.context.progress(f"{MANAGEMENT} started on {self.machine.name}")
        return follower

    def _follow(self, watch: StartWatch) -> dict[str, Any]:
        timeout = self.context.configuration.window.start_timeout.total_seconds()
        try:
            proof = watch.follow(timeout=timeout, cancel=self.context.cancel, progress=self.context.progress)
        except StartFailed as error:
            self.records.remember(self.record, touched=error.touched, failed=str(error))
            self.context.note(failed=str(error), touched=error.touched)
            raise
        evidence = as_evidence(proof)
        # Enabled only now: a server whose start was not proved must not come back by a reboot.
        self.services.release(MANAGEMENT, enable=True)
        self.records.remember(self.record, good=evidence, failed=None)
        return evidence

    def _watch(self, database: OpenSession, follower: LogFollower, *, upgrade: bool, fingerprint: str | None = None) -> StartWatch:
        expect = Expectation(self.context.configuration.new.version, upgrade, fingerprint)
        return StartWatch(self.machine, self.host, database, Cloud.new(self.context.site, self.machine), expect, follower)


def ensure_running(context: Context) -> None:
    """Have the management servers that were proved good running and answering: one that lost its database ends itself, and its unit has no restart.

    Asked by the steps that come after a start, which may go on hours after it was proved.
    Raises:
        StepFailed: one does not answer in time, or its web application has failed.
        ApiNotTrusted: what answers can't be proved to be that server.
    """
    records = store(context)
    first, *others = context.configuration.new.management
    for machine, record in [(first, "FirstManagement"), *((other, f"AdditionalManagement/{other.name}") for other in others)]:
        if not records.facts(record).get("good"):
            continue
        services = Services(context.host(machine))
        if not services.state(MANAGEMENT).active:
            context.progress(f"{MANAGEMENT} on {machine.name} has ended since it was proved good: starting it")
            context.intend("start", server=machine.name)
            services.release(MANAGEMENT)
            services.start(MANAGEMENT)
        _await_answer(context, machine, services)


def _await_answer(context: Context, machine: NewMachine, services: Services) -> None:
    def answers() -> bool:
        status = api.status(endpoint.of_new(context.configuration, machine))
        if status == FAILED_FOR_GOOD or not services.state(MANAGEMENT).active:
            raise StepFailed(
                f"{MANAGEMENT} on {machine.name} does not serve any more",
                f"HTTP {status}" if status else "it has ended",
                "look for the first ERROR in its management-server.log, mend it, and run the same command again",
            )
        return status == ANSWERING

    timeout = context.configuration.window.start_timeout.total_seconds()
    wait_for(f"the API on {machine.name}", answers, timeout=timeout, cancel=context.cancel, progress=context.progress)


def present_fingerprint(context: Context) -> str:
    """The fingerprint of the views and procedures that are on the new source now."""
    with session(new_database(context)) as database:
        return definitions(database)


def start_usage(context: Context) -> str:
    """Start the usage server on the new side: on one management server only, after it has populated its settings.

    Returns:
        name of the server.
    Raises:
        StepFailed: it does not stay up.
    """
    machine = context.configuration.usage_server
    services = Services(context.host(machine))
    if not services.state(USAGE).known and not services.state(USAGE).masked:
        raise StepFailed(
            f"{machine.name} has no {USAGE}", "the package is not installed", "see step ManagementInstalled and new.packages.usageNames"
        )
    setup.link_usage(services.host)
    services.release(USAGE)
    services.start(USAGE)
    first = services.state(USAGE).main_pid
    # The unit restarts itself every ten seconds, so "active" alone would hide a usage server that dies at each start.
    context.cancel.wait(3)
    state = services.state(USAGE)
    if not state.active or (first and state.main_pid != first):
        raise StepFailed(f"{USAGE} on {machine.name} does not stay up", "", "see /var/log/cloudstack/usage/usage.log there")
    return machine.name
