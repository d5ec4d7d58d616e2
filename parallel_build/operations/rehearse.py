"""One rehearsal from an empty, fenced server to a judged upgrade, each part timed, and the server stopped again whatever came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from parallel_build.cloudstack import setup
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.log import LogFollower
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.cloudstack.startup import Expectation, StartFailed, StartWatch
from parallel_build.configuration import NewMachine
from parallel_build.database.copy import copy
from parallel_build.database.server import accounts
from parallel_build.database.server.accounts import PROCESS, USER
from parallel_build.database.server.state import Account, account
from parallel_build.errors import Cancelled, ConfigurationError, ParallelBuildError, StepFailed
from parallel_build.facts.network_targets import targets
from parallel_build.operations import fixes, isolation, rehearsal_server, rehearse_from_dump
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import OpenSession, original_database, schemas, tolerated
from parallel_build.operations.database_key import proved_key
from parallel_build.records.rehearsal import RehearsalRecord, RehearsalStore, checksums, housekeeping_of
from parallel_build.records.rehearsal_times import START, in_words
from parallel_build.records.run_folder import now
from parallel_build.remote.sql import Session, session

ROWS = "SELECT COALESCE(SUM(TABLE_ROWS), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage', 'cloudbridge')"


class RehearsalRun:
    """One rehearsal.

    Args:
        context: of the running step, or of the command.
    Raises:
        ConfigurationError: the stack has no rehearsal.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.configuration = context, context.configuration
        self.machine = machine_of(context)
        self.host = context.host(self.machine)
        self.services = Services(self.host)
        self.store = RehearsalStore(original_database(context), context.site)
        self.schemas = schemas(self.configuration)
        self.facts: dict[str, Any] = {"seconds": {}, "schema": {}, "deleted": {}, "rows": 0, "fingerprint": "", "isolation": {}}
        self.where = "before it began"
        self.began = now()

    def run(self) -> RehearsalRecord:
        """Rehearse, record, stop.

        Raises:
            GuardFailed: the server is not isolated; CloudStack was not started.
            StepFailed: the rehearsal failed; the record has the cause, and the next one imports the copy again.
        """
        self.context.progress(
            f"rehearsing {self.configuration.original.version} -> {self.configuration.new.version} on {self.machine.name}"
        )
        record: RehearsalRecord | None = None
        try:
            self._rehearse()
            record = self._record(passed=True, cause="")
        except (Cancelled, ConfigurationError):
            raise
        except ParallelBuildError as error:
            record = self._record(passed=False, cause=str(error))
            raise
        finally:
            try:
                fence(self.context)
            finally:
                if record is not None:
                    self.store.keep(record)
                    self.context.run.keep("rehearsal", record.document())
        self.context.progress(f"the rehearsal passed: {summary(record)}")
        return record

    def _rehearse(self) -> None:
        fixed = checksums(self.configuration)  # before anything else: a fix without a reason stops here
        self.context.intend("rehearse", server=self.machine.name, fixes=fixed)
        self.where = "in making the server ready"
        fence(self.context)
        rehearsal_server.make_ready(self.context, self.machine)
        self.where = "in isolating the server"
        self._isolate()
        self.where = "in making the copy"
        with self._timed("copy"):
            self._copy()
        with session(self.host) as copy:
            self._account(copy)
            key = proved_key(self.context, copy)
        self.where = "in housekeeping"
        with self._timed("housekeeping"):
            self.facts["deleted"] = fixes.clean(self.context, self.host).get("rows", {})
        self.where = "in the fixes"
        with self._timed("fixes"):
            fixes.run_fixes(self.context, self.host)
        with self._timed("host setting"), session(self.host) as copy:
            self._own(copy)
        self.where = "in setting the management server up"
        with self._timed("setup"):
            self._set_up(key)
        self.where = "in isolating the server"
        self._prove_isolation(network=False)  # once more: what was true before the copy must be true at the start
        self.where = "in its first start"
        self._start()

    def _isolate(self) -> None:
        rehearsal = self.configuration.rehearsal
        self.context.progress(f"{self.machine.name}: raising its firewall")
        isolation.hold(self.host, rehearsal.allow, self.machine.ssh_port)
        self._prove_isolation(network=True)

    def _prove_isolation(self, *, network: bool) -> None:
        rehearsal = self.configuration.rehearsal
        original = original_database(self.context)
        with session(original) as database:
            listed = targets(self.configuration, database, original)
            self.facts["rows"] = self.facts["rows"] or int(database.value(ROWS))
        found = isolation.prove(
            self.host,
            listed,
            rehearsal.allow,
            network=rehearsal.isolated_network,
            network_too=network,
            progress=self.context.progress,
        )
        if network:
            self.facts["isolation"] = found.document()

    def _copy(self) -> None:
        context, rehearsal = self.context, self.configuration.rehearsal
        copy.empty(self.host, self.schemas)
        if rehearsal.dump:
            rehearse_from_dump.read(context, self.host, self.schemas)
            return
        context.progress(f"copying {', '.join(self.schemas)} of the running original, through this machine")
        copy.copy(
            original_database(context),
            self.host,
            self.schemas,
            threads=self.configuration.transfer.threads,
            cancel=context.cancel,
            progress=context.progress,
            bytes_per_second=rehearsal.bytes_per_second,
            through_here=True,
            in_use=True,
        )

    def _account(self, copy: Session) -> None:
        """User `cloud`, from this server only."""
        engine, name = self.configuration.new.database.engine, Account(USER, self.machine.address)
        rights = accounts.everything_on(self.schemas) | PROCESS
        copy.execute("SET SESSION sql_log_off = 1")
        for change in accounts.login(engine, name, self.context.site.secrets.cloud_password, rights, account(copy, name, engine)):
            change.make(copy)

    def _own(self, copy: Session) -> None:
        """The copy's management server is this one, and no other is alive in it."""
        copy.execute("UPDATE cloud.configuration SET value = %s WHERE name = 'host'", [self.machine.address])
        copy.execute("UPDATE cloud.mshost SET state = 'Down' WHERE state <> 'Down'")

    def _set_up(self, key: Any) -> None:
        secrets, port = self.context.site.secrets, self.configuration.new.database.port
        setup.prove_login(self.host, self.machine, port, secrets.cloud_password)
        self.context.progress(f"{self.machine.name}: cloudstack-setup-databases")
        setup.setup_databases(
            self.host, self.machine, self.machine, port, password=secrets.cloud_password, management_key=secrets.management_key, key=key
        )
        self.context.progress(f"{self.machine.name}: cloudstack-setup-management --no-start")
        setup.setup_management(self.host)
        setup.keep_from_downloading(self.host, self.configuration.new.version)

    def _start(self) -> None:
        context, follower = self.context, LogFollower.now(self.host)
        context.intend("start", server=self.machine.name)
        with contextlib.ExitStack() as stack:
            database = OpenSession(self.host, stack)
            expect = Expectation(self.configuration.new.version, upgrade=True)
            watch = StartWatch(self.machine, self.host, database, Cloud.rehearsal(context.site, self.machine), expect, follower)
            self.services.release(MANAGEMENT, enable=False)
            self.services.start(MANAGEMENT)
            context.progress(f"{MANAGEMENT} started on {self.machine.name}, isolated")
            limit = self.configuration.window.start_timeout.total_seconds()
            try:
                with self._timed(START):
                    good = watch.follow(timeout=limit, cancel=context.cancel, progress=context.progress)
            except StartFailed as error:
                self._keep_schema(watch)
                raise self._failed(error, watch) from None
            self._keep_schema(watch)
            self.facts["seconds"][START] = good.seconds  # as the window measures it
            self.facts["fingerprint"] = good.fingerprint

    def _keep_schema(self, watch: StartWatch) -> None:
        reading = watch.reading
        self.facts["schema"] = {each.version: each.seconds for each in reading.steps if each.seconds is not None}
        if reading.views_seconds is not None:
            self.facts["schema"]["views"] = reading.views_seconds

    def _failed(self, error: StartFailed, watch: StartWatch) -> StepFailed:
        reading = watch.reading
        place = "in its first start"
        if reading.steps and reading.steps[-1].seconds is None:
            place = f"in the schema upgrade to {reading.steps[-1].version}"
        elif reading.views_begun and not reading.views_done:
            place = "in making the views again"
        self.where = place
        versions = f"{self.configuration.original.version} -> {self.configuration.new.version}"
        if not reading.touched:
            return StepFailed(f"the rehearsal of {versions} failed {place}: {error.fact}", error.cause, error.remedy)
        folder = self.configuration.rehearsal.fixes
        return StepFailed(
            f"the rehearsal of {versions} failed {place}",
            error.cause,
            f"remove the cause by a fix {folder}/NAME.sql (its first line `-- reason: ...`), then run the rehearsal again: "
            "it imports the copy again",
        )

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.facts["seconds"][part] = round(time.monotonic() - began, 3)

    def _record(self, *, passed: bool, cause: str) -> RehearsalRecord:
        dump = self.configuration.rehearsal.dump
        return RehearsalRecord(
            passed=passed,
            cause=cause,
            old=str(self.configuration.original.version),
            new=str(self.configuration.new.version),
            fixes=checksums(self.configuration),
            housekeeping=housekeeping_of(self.configuration),
            began=self.began,
            ended=now(),
            machine=self.machine.name,
            source=", ".join(str(path) for path in dump.values()) if dump else self.configuration.original.database.source.name,
            **self.facts,
        )


def machine_of(context: Context) -> NewMachine:
    """The rehearsal's server.

    Raises:
        ConfigurationError: none is configured.
    """
    machine = context.configuration.rehearsal.machine
    if machine is None or not context.configuration.rehearsal.enabled:
        raise ConfigurationError(
            f"stack {context.site.stack} has no rehearsal",
            "rehearsal.enabled is not true",
            "set rehearsal.enabled and rehearsal.machine (docs/operate/rehearsal.md), then `pulumi up` in phase prepared",
        )
    return machine


def fence(context: Context) -> None:
    """CloudStack stopped, disabled, masked and never set up on the server; the copy stays for the investigation."""
    host = context.host(machine_of(context))
    with tolerated(context, f"fencing {host.name}"):
        services = Services(host)
        for unit in (USAGE, MANAGEMENT):
            services.stop_and_fence(unit)
        setup.undo_setup(host)


def summary(record: RehearsalRecord) -> str:
    """The times of a rehearsal in one line."""
    steps = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in record.schema.items())
    parts = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in record.seconds.items() if seconds >= 0.05)
    return f"{parts}; schema: {steps}" if steps else parts
