"""Telling a good start of a management server from one that only looks so.

"active", an open port and an API that answers 401 prove nothing: the signs below do, all together [observed on 4.20.3.0 and 4.22.1.0].
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import api, start_causes, unit_end
from parallel_build.cloudstack.api import ApiRefused, ApiUnavailable, Cloud
from parallel_build.cloudstack.log import LogFollower, StartReading
from parallel_build.cloudstack.services import MANAGEMENT, Services
from parallel_build.cloudstack.unit_end import UnitEnd
from parallel_build.configuration import AGENTS, Server
from parallel_build.errors import ParallelBuildError, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.full_disks import full, says_so
from parallel_build.remote.sql import Session
from parallel_build.versions import CloudStackVersion, is_version

FAILED_FOR_GOOD = 503
ANSWERING = 401
HEARTBEAT_FRESH = 60  # seconds; a management server writes its mshost row every 1.5 s [cluster.heartbeat.interval]


@dataclass(frozen=True)
class Expectation:
    """What a good start must show.

    Attributes:
        version: of the code, and of the database after it.
        upgrade: whether this start has to upgrade the schema (the first server's does).
        fingerprint: of views and procedures as a good start left them, when known.
        exact: the build counts too, not the numbers alone.
    """

    version: CloudStackVersion
    upgrade: bool
    fingerprint: str | None = None
    exact: bool = False


@dataclass(frozen=True)
class GoodStart:
    """The proof of a good start."""

    seconds: float
    signs: dict[str, bool]
    steps: list[dict[str, Any]]
    fingerprint: str
    views_seconds: float | None = None


class StartFailed(StepFailed):
    """A start that is not good.

    Attributes:
        touched: the schema may have been changed, so the copy must be imported again before another start.
    """

    def __init__(self, fact: str, cause: str, remedy: str, touched: bool) -> None:
        super().__init__(fact, cause, remedy)
        self.touched = touched


def definitions(database: Session) -> str:
    """A fingerprint of every view's and routine's definition in `cloud` and `cloud_usage`, without their DEFINER."""
    digest = hashlib.sha256()
    rows = database.rows(
        "SELECT 'view' AS kind, TABLE_SCHEMA AS s, TABLE_NAME AS n, VIEW_DEFINITION AS body FROM information_schema.VIEWS "
        "WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage') UNION ALL "
        "SELECT 'routine', ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA IN ('cloud', 'cloud_usage') ORDER BY 1, 2, 3"
    )
    for row in rows:
        digest.update("\0".join(str(value) for value in row.values()).encode() + b"\n")
    return f"{len(rows)}:{digest.hexdigest()[:32]}"


class StartWatch:
    """Follows one start of one management server until it is good or has failed.

    Args:
        server: the management server.
        host: session to it.
        database: opens a session to the database it serves.
        cloud: its API with an administrator's keys.
        expect: what a good start shows.
    """

    def __init__(
        self,
        server: Server,
        host: Access,
        database: Callable[[], Session],
        cloud: Cloud,
        expect: Expectation,
        follower: LogFollower,
    ) -> None:
        self.server, self.host, self.database, self.cloud, self.expect = server, host, database, cloud, expect
        self.follower, self.reading = follower, StartReading()
        self.services = Services(host)

    def read(self, progress: Callable[[str], None]) -> None:
        """Take in what the log has got since the last time."""
        for line in self.follower.lines():
            told = self.reading.take(line)
            if told:
                progress(told)

    def follow(self, *, timeout: float, cancel: CancelToken, progress: Callable[[str], None]) -> GoodStart:
        """Wait for a good start.

        Raises:
            StartFailed: it failed, or is not good after `timeout` seconds; says why and whether the schema was touched.
            ApiNotTrusted: what answers can't be proved to be this server; it keeps running, and another apply follows it again.
            Cancelled: the engine asked to stop; the server continues to start, and another apply follows it again.
        """
        began = told = time.monotonic()
        while True:
            cancel.check()
            self.read(progress)
            state = self.services.state(MANAGEMENT)
            status = api.status(self.cloud.endpoint)
            if not state.active:
                self.read(progress)
                end = unit_end.read(self.host, MANAGEMENT)
                raise self._failed(f"{MANAGEMENT} on {self.server.name} {end.words}", end)
            if status == FAILED_FOR_GOOD:
                # The web application writes its reasons before it gives up; what came with them is read too.
                self.read(progress)
                raise self._failed(f"the web application on {self.server.name} failed (HTTP 503)")
            if self.reading.failed_modules:
                raise self._failed(
                    f"{self.server.name}: {len(self.reading.failed_modules)} modules failed to start, "
                    f"{', '.join(self.reading.failed_modules[:3])} first"
                )
            if status == ANSWERING:
                proof = self._judge(time.monotonic() - began)
                if proof is not None:
                    return proof
            waited = time.monotonic() - began
            if waited > timeout:
                raise self._failed(f"{self.server.name} was not up {timeout:.0f} s after its start; missing: {self._missing()}")
            if time.monotonic() - told >= 5:
                told = time.monotonic()
                progress(f"{self.server.name} is starting: {waited:.0f} s, {self._where()}")
            cancel.wait(0.5)

    def signs(self) -> dict[str, bool]:
        """Every sign of a good start, each true or false, looked at now."""
        expect = self.expect
        with_database = self.database()
        versions = with_database.rows("SELECT version, step FROM cloud.version ORDER BY id")
        newest = versions[-1] if versions else {"version": "", "step": ""}
        row = with_database.row(
            "SELECT state, version, TIMESTAMPDIFF(SECOND, last_update, UTC_TIMESTAMP()) AS age FROM cloud.mshost "
            "WHERE service_ip = %s AND removed IS NULL ORDER BY id DESC LIMIT 1",
            [self.server.address],
        )
        fingerprint = definitions(with_database)
        return {
            "unit active": self.services.state(MANAGEMENT).active,
            "newest version row complete": newest["step"] == "Complete" and is_version(newest["version"], expect.version),
            "no version step unfinished": all(each["step"] == "Complete" for each in versions),
            "views and procedures of the new version": (
                (not expect.upgrade or self.reading.views_done) and (expect.fingerprint is None or expect.fingerprint == fingerprint)
            ),
            "no module failed": not self.reading.failed_modules,
            "own mshost row Up": bool(row and row["state"] == "Up" and self._runs(row["version"]) and abs(row["age"]) < HEARTBEAT_FRESH),
            "signed call gives the version": self._capabilities(),
            "agent port open": bool(self.services.listening([AGENTS])),
        }

    def _judge(self, seconds: float) -> GoodStart | None:
        signs = self.signs()
        if self.expect.upgrade and self.reading.unneeded and not self.reading.planned:
            raise StartFailed(
                f"{self.server.name} found no upgrade to do on a copy that had to be upgraded",
                "an earlier start ended after the last version step, and CloudStack never repeats the views after it",
                "run `pulumi up` again: the copy is imported again",
                touched=True,
            )
        if self.reading.planned and not self.expect.upgrade:
            raise StartFailed(
                f"{self.server.name} has upgraded the schema from {self.reading.planned[0]} to {self.reading.planned[1]}",
                "its packages are of a later version than the databases, and this start had nothing to upgrade",
                "roll back (parallel-build back STACK), install the packages of new.version there, then switch again",
                touched=True,
            )
        if not all(signs.values()):
            return None
        steps = [{"version": s.version, "seconds": s.seconds} for s in self.reading.steps]
        return GoodStart(round(seconds, 1), signs, steps, definitions(self.database()), self.reading.views_seconds)

    def _capabilities(self) -> bool:
        try:
            found = self.cloud.call("listCapabilities")
        except (ApiRefused, ApiUnavailable):
            return False
        capability = found.get("capability", found)
        return self._runs(capability.get("cloudstackversion", ""))

    def _runs(self, version: object) -> bool:
        """Whether what a server reports about its code is what was expected."""
        return is_version(version, self.expect.version, exact=self.expect.exact)

    def _missing(self) -> str:
        try:
            return ", ".join(sign for sign, good in self.signs().items() if not good) or "nothing any more"
        except StepFailed as error:
            return str(error)

    def _where(self) -> str:
        reading = self.reading
        if reading.steps and reading.steps[-1].seconds is None:
            return f"in the schema upgrade to {reading.steps[-1].version}"
        if reading.views_begun and not reading.views_done:
            return "making the views again"
        return "the API does not answer yet" if reading.locked else "before the database lock"

    def _failed(self, fact: str, end: UnitEnd | None = None) -> StartFailed:
        """The failure with its cause: a full disk, how the process was ended, what was logged - in this order, since each explains what comes after it."""
        touched, journal = self.reading.touched, self._journal()
        if spaceless := self._full(journal):
            return StartFailed(fact, spaceless, "make room there, then run `pulumi up`, which resumes from here", touched)
        if end is not None and end.cause is not None:
            cause, remedy = end.cause
            return StartFailed(fact, cause, f"{remedy}, then run `pulumi up`", touched)
        found = start_causes.find(self.reading, journal, self.follower.path) or start_causes.unknown(self.reading, journal)
        return StartFailed(fact, found.cause, found.remedy, touched)

    def _full(self, journal: str) -> str:
        """Whether a disk is full, or the start has met one that was, in words: everything else in the log then follows from it."""
        found = full(self.host)
        with contextlib.suppress(ParallelBuildError):
            database = self.database()
            found += full(database.host, (str(database.value("SELECT @@datadir")), str(database.value("SELECT @@tmpdir"))))
        # A full disk takes no log line; what the unit writes to the journal may still be there.
        disk_full = self.reading.no_space or next((line.strip() for line in journal.splitlines() if says_so(line)), "")
        if not found and not disk_full:
            return ""
        return "; ".join(filter(None, [", ".join(dict.fromkeys(found)), f"it says: {disk_full[:300]}" if disk_full else ""]))

    def _journal(self) -> str:
        """What this very start has written to its unit's journal: a JVM that never comes to CloudStack's log complains there."""
        script = (
            'i=$(systemctl show "$1" -p InvocationID | cut -d= -f2-); '
            '[ -z "$i" ] || journalctl -q --no-pager -o cat "_SYSTEMD_INVOCATION_ID=$i" -n 200'
        )
        with contextlib.suppress(ParallelBuildError):
            return self.host.run(["sh", "-c", script, "sh", MANAGEMENT], ok=None).stdout
        return ""


def as_evidence(proof: GoodStart) -> dict[str, Any]:
    """The proof as plain values."""
    return asdict(proof)
