"""Bringing one new management server up, from whatever an earlier try left: shared by the first server and the additional ones."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from parallel_build.cloudstack import setup
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.keys import prove
from parallel_build.cloudstack.log import LogFollower, Mark
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.cloudstack.startup import (
    Expectation,
    StartFailed,
    StartWatch,
    as_evidence,
    definitions,
)
from parallel_build.configuration import NewMachine
from parallel_build.operations import deadline, known_servers, original_database, prove_original_down, start_gate
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import OpenSession, new_database, only_new_side, store
from parallel_build.operations.database_key import fetch_key
from parallel_build.operations.forensics import FORENSICS
from parallel_build.records.states import COPY, FIRST_START, CopyState, StartState, copy_change, start_change
from parallel_build.records.touched import START
from parallel_build.remote.clock import read_host_clock
from parallel_build.remote.sql import session
from parallel_build.versions import CloudStackVersion

NOT_GOOD = "its upgrade has begun, and was never proved good"
UNUSABLE = "a start on it has begun, and may have changed its schema"


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
        known = self._known()
        with contextlib.ExitStack() as stack:
            database = OpenSession(new_database(self.context), stack)
            if known.good and self.services.state(MANAGEMENT).active:
                watch = self._watch(database, LogFollower.now(self.host), upgrade=False, fingerprint=fingerprint)
                signs = watch.signs()
                if all(signs.values()):
                    return known.good
            if known.mark and not known.failed and self.services.state(MANAGEMENT).active:
                self.context.progress(f"{self.machine.name} was started before, following it on")
                follower = LogFollower(self.host, Mark(*known.mark))
            else:
                self._prepare()
                follower = self._start()
            watch = self._watch(database, follower, upgrade=self.upgrade, fingerprint=fingerprint)
            return self._follow(watch)

    def unusable(self) -> str:
        """Why the copy can't be started on: an earlier start may have changed its schema, or an import into it was cut off; "" where it is whole.

        What the record doesn't know (the operator's machine died) is read from the server's log since that start, and from the copy itself.
        """
        facts = self.records.mine().facts
        copy, start = CopyState.of(facts.get(COPY, {})), StartState.of(facts.get(self.record, {}))
        if start.good:
            return ""
        if not copy.copied:
            return "it is not whole: bringing it over was cut off"
        if original_database.ran_since(self.context, facts.get("OriginalDatabase", {})):
            return "the original's database has run since it was made"
        if not start.mark and self.running():
            return "a start that nobody wrote down runs on it"
        if start.mark and not self._touched(start, start.mark):
            self.records.note(copy_change(spoilt=None) | start_change(self.record, touched=False))
            return self._ahead()
        return copy.spoilt or self._ahead()

    def _touched(self, start: StartState, mark: list[int]) -> bool:
        if start.touched:
            return True
        if start.touched is None and start.boot and start.boot != read_host_clock(self.host).boot:
            # It lost its power: the last lines of its log may be lost, the database server on another machine keeps what they were about.
            return True
        # Also of a start that is known to have failed before it: somebody may have started the server by hand since.
        with contextlib.ExitStack() as stack:
            watch = self._watch(OpenSession(new_database(self.context), stack), LogFollower(self.host, Mark(*mark)), upgrade=True)
            watch.read(self.context.progress)
            return watch.reading.touched

    def _ahead(self) -> str:
        """Whether the copy has a version row that the original never had: of a start that nobody wrote down, such as one by hand."""
        with session(new_database(self.context)) as database:
            versions = [str(row["version"]) for row in database.rows("SELECT version FROM cloud.version ORDER BY id")]
        later = [version for version in versions if self._later(version)]
        return f"its schema has been changed already, to {later[-1]}" if later else ""

    def _later(self, version: str) -> bool:
        try:
            return CloudStackVersion(version) > self.context.configuration.original.version
        except ValueError:
            return False  # a row of long ago, in another notation

    def running(self) -> bool:
        """Whether the service runs (which proves nothing else)."""
        return self.services.state(MANAGEMENT).active

    def under_way(self) -> bool:
        """Whether a start that was written down runs, and is not known to have failed: it is followed on, whatever it has changed."""
        return self._runs_on(self._known())

    def begun(self) -> bool:
        """Whether a start was proved good, so that the copy is the new side's since, or is under way."""
        known = self._known()
        return bool(known.good) or self._runs_on(known)

    def _known(self) -> StartState:
        return StartState.of(self.records.facts(self.record))

    def _runs_on(self, known: StartState) -> bool:
        return bool(known.mark and not known.failed) and self.running()

    def good(self) -> bool:
        """Whether a start was proved good."""
        return bool(self._known().good)

    def fence(self) -> None:
        """Stopped, disabled, masked, and never-set-up again; one that can't be reached is reported.

        Forgotten before it is stopped: what is cut off in between is no good start any more, with half of its files taken away.
        """
        self.forget()
        with only_new_side(self.context, f"fencing {self.machine.name}"):
            self.stop()

    def stop(self) -> None:
        """Stop, disable and mask it, and put its files back as shipped.

        Raises:
            ConnectionFailed: it can't be reached.
        """
        self.context.progress(f"fencing {self.machine.name}")
        for unit in (USAGE, MANAGEMENT):
            self.services.stop_and_fence(unit)
        setup.undo_setup(self.host)

    def forget(self, unusable: str | None = None) -> None:
        """The next start is a first one again. What this one has made of the copy is kept with the copy, in the same write.

        Args:
            unusable: why the copy is about to be imported again.
        Raises:
            GuardFailed: with `unusable`: a rollback has begun.
        """
        record = self.records.read()
        if record is None or record.closed:
            return
        facts: dict[str, dict[str, Any]] = {}
        known = StartState.of(record.facts.get(self.record, {}))
        if record.facts.get(self.record):
            facts |= start_change(self.record, mark=None, good=None, touched=None, failed=None)
        if unusable:
            facts |= copy_change(spoilt=unusable)
        elif self.upgrade and known.mark and known.touched is not False:
            facts |= copy_change(spoilt=CopyState.of(record.facts.get(COPY, {})).spoilt or UNUSABLE)
        if facts:
            self.records.note(facts, forward=unusable is not None)

    def _prepare(self) -> None:
        context, configuration = self.context, self.context.configuration
        pair, secrets = configuration.new.database, context.site.secrets
        context.progress(f"{self.machine.name}: logging in to {pair.source.name} as it will")
        setup.prove_login(self.host, pair.source, pair.port, secrets.cloud_password)
        key = fetch_key(context)
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
        if self.upgrade:
            setup.keep_from_downloading(self.host, configuration.new.version)

    def _start(self) -> LogFollower:
        prove_original_down.prove(self.context)
        deadline.commit(self.context)
        follower = LogFollower.now(self.host)
        mark = [follower.mark.inode, follower.mark.offset]
        boot = read_host_clock(self.host).boot
        facts: dict[str, dict[str, Any]] = {
            FORENSICS: {
                "kept": None,
                **({"failed": NOT_GOOD} if self.upgrade else {}),
            },  # what was kept of an earlier start says nothing of this one
            **start_change(self.record, mark=mark, good=None, touched=None, failed=None, boot=boot, began=time.time()),
        }
        if self.upgrade:
            facts |= copy_change(spoilt=UNUSABLE)
        # On record before the start: whoever comes next must know that the schema may have been touched. Refused once a rollback has begun.
        # With its database, which a rollback closes to it.
        servers = [self.machine, *known_servers.new_databases(self.context.configuration, None)]
        self.records.note(facts, forward=True, servers=[known_servers.touch(self.context, server, START) for server in servers])
        self.context.intend("start", server=self.machine.name, log_mark=mark)
        start_gate.release(self.context, self.host, MANAGEMENT, enable=False)
        self.services.start(MANAGEMENT)
        self.context.progress(f"{MANAGEMENT} started on {self.machine.name}")
        return follower

    def _follow(self, watch: StartWatch) -> dict[str, Any]:
        timeout = self.context.configuration.window.start_timeout.total_seconds()
        try:
            proof = watch.follow(timeout=timeout, cancel=self.context.cancel, progress=self.context.progress)
        except StartFailed as error:
            facts = start_change(self.record, touched=error.touched, failed=str(error))
            if self.upgrade and not error.touched:
                facts |= copy_change(spoilt=None)
            if self.upgrade:
                facts |= {FORENSICS: {"failed": str(error) if error.touched else None}}
            self.records.note(facts)
            self.context.note(failed=str(error), touched=error.touched)
            raise
        evidence = as_evidence(proof)
        if self.upgrade:
            setup.let_download(self.host, self.context.configuration.new.version)
        # Enabled only now: a server whose start was not proved must not come back by a reboot.
        start_gate.release(self.context, self.host, MANAGEMENT, enable=True)
        self.records.note(start_change(self.record, good=evidence, failed=None) | ({FORENSICS: {"failed": None}} if self.upgrade else {}))
        return evidence

    def _watch(self, database: OpenSession, follower: LogFollower, *, upgrade: bool, fingerprint: str | None = None) -> StartWatch:
        configuration = self.context.configuration
        version = configuration.new.version
        expect = Expectation(version, upgrade, fingerprint, exact=configuration.move or bool(version.build))
        return StartWatch(self.machine, self.host, database, Cloud.new(self.context.site, self.machine), expect, follower)


def first_start(context: Context) -> ManagementStart:
    """The first new management server's start, which upgrades the schema, unless the cloud only moves."""
    return ManagementStart(context, context.configuration.new.management[0], FIRST_START, upgrade=not context.configuration.move)


def present_fingerprint(context: Context) -> str:
    """The fingerprint of the views and procedures that are on the new source now."""
    with session(new_database(context)) as database:
        return definitions(database)
