"""The usage server.

It reads the management server's db.properties and key through the links that its package made, takes the job in
`usage_job` once nobody else's heartbeat is fresh, and copies events from `cloud` to `cloud_usage`. Where it can't, it
ends, and systemd starts it again ten seconds later.
[CloudStack 4.22 usage/.../UsageManagerImpl.java]
"""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from datetime import timedelta

import pymysql

from ..shared import logs, paths, properties, settings
from ..shared.database import Database, Row, utcnow
from ..shared.encryption import DecryptionFailed, Encryptor, masked
from ..shared.release import Version, code_version

log = logging.getLogger("c.c.u.UsageManagerImpl")
server_log = logging.getLogger("c.c.u.UsageServer")

LOCK = "usage.job.heartbeat.check"
LOCK_SECONDS = 5
#: After this time without a heartbeat another server takes the job over.
ABANDONED = timedelta(seconds=60)
RECURRING = 0
VM_COLUMN_SINCE = Version("4.22.1.0")
FAILED = 1
#: What a JVM ends with after SIGTERM.
STOPPED = 143


class StartFailed(Exception):
    """The usage server can't work; the text is the log's."""


def databases() -> tuple[Database, Database]:
    """Return the databases `cloud` and `cloud_usage` of the usage server's db.properties; raises StartFailed."""
    try:
        values = properties.read(paths.USAGE_CONFIGURATION / "db.properties")
        if values.get("db.cloud.encryption.type", "none") != "none":
            encryptor = Encryptor((paths.USAGE_CONFIGURATION / "key").read_text().strip())
            for name in ("db.cloud.password", "db.usage.password"):
                if properties.is_encrypted(values.get(name, "")):
                    text = properties.ciphertext(values[name])
                    try:
                        values[name] = encryptor.decrypt(text)
                    except DecryptionFailed:
                        raise StartFailed(f"Failed to decrypt value {masked(text)}") from None
    except OSError as failure:
        raise StartFailed(f"{failure.strerror}: {failure.filename}") from failure
    return tuple(
        Database(  # type: ignore[return-value]
            values.get(f"db.{kind}.host", "localhost"),
            int(values.get(f"db.{kind}.port", "3306")),
            values.get(f"db.{kind}.username", "cloud"),
            values.get(f"db.{kind}.password", ""),
            values.get(f"db.{kind}.name", name),
        )
        for kind, name in (("cloud", "cloud"), ("usage", "cloud_usage"))
    )


def own_address(database: Database) -> str:
    """Return the address of this machine towards the database."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((database.host, database.port))
        return str(probe.getsockname()[0])


class UsageServer:
    """One running usage server."""

    def __init__(self, cloud: Database, usage: Database) -> None:
        self._cloud = cloud
        self._usage = usage
        self._settings = settings.load()
        self.stop = threading.Event()
        self._host = f"{socket.gethostname()}/{own_address(cloud)}"
        self._pid = os.getpid()

    def configure(self) -> None:
        """Read the settings of the job; raises StartFailed where the first management server never put them there."""
        values = {row["name"]: row["value"] for row in self._cloud.rows("SELECT name, value FROM configuration WHERE name LIKE 'usage.%%'")}
        time, span = values.get("usage.stats.job.exec.time"), values.get("usage.stats.job.aggregation.range")
        if not time or not span:
            raise StartFailed(
                f"missing configuration values for usage job, usage.stats.job.exec.time = {time}, "
                f"usage.stats.job.aggregation.range = {span}"
            )
        if code_version() >= VM_COLUMN_SINCE and "vm_id" not in self._usage.columns("usage_event"):
            raise StartFailed("Unknown column 'usage_event.vm_id' in 'field list'")
        log.debug("Usage stats aggregation time zone: %s", values.get("usage.aggregation.timezone"))
        log.info("Implementation Version is %s", code_version())

    def run(self) -> None:
        """Beat until stopped."""
        log.info("Starting Usage Manager")
        server_log.info("UsageServer ready...")
        while True:
            logs.new_context()
            self._beat()
            self._copy_events()
            if self.stop.wait(self._settings.usage_heartbeat_seconds):
                break
        log.info("Usage Manager is stopped")

    def _beat(self) -> None:
        with self._usage.lock(LOCK, LOCK_SECONDS) as got:
            if not got:
                log.info("Heartbeat unable to get the lock %s", LOCK)
                return
            job = self._usage.row("SELECT * FROM usage_job WHERE success IS NULL ORDER BY id DESC LIMIT 1")
            if job is None:
                self._usage.insert(
                    "usage_job",
                    host=self._host,
                    pid=self._pid,
                    job_type=RECURRING,
                    scheduled=1,
                    start_millis=0,
                    end_millis=0,
                    exec_time=0,
                    heartbeat=utcnow(),
                )
                log.info("New usage job of %s, pid %d", self._host, self._pid)
            elif self._is_ours(job) or utcnow() - job["heartbeat"] > ABANDONED:
                self._usage.update("usage_job", job["id"], host=self._host, pid=self._pid, heartbeat=utcnow())
            else:
                log.debug("Another usage server, %s with pid %s, owns the job", job["host"], job["pid"])

    def _is_ours(self, job: Row) -> bool:
        return bool(job["host"] == self._host)

    def _copy_events(self) -> None:
        """Bring over the events that the management servers wrote since the last time."""
        last = self._usage.value("SELECT MAX(created) FROM usage_event")
        columns = sorted((self._cloud.columns("usage_event") & self._usage.columns("usage_event")) - {"id"})
        rows = self._cloud.rows("SELECT * FROM usage_event WHERE created > COALESCE(%s, '1970-01-01') ORDER BY id LIMIT 1000", last)
        for row in rows:
            self._usage.insert("usage_event", **{name: row[name] for name in columns})
        if rows:
            log.debug("Copied %d usage events", len(rows))


def main() -> int:
    """Run the usage server until it is asked to stop; returns the exit code."""
    logs.open_log(paths.USAGE_LOG / "usage.log")
    try:
        server = UsageServer(*databases())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: server.stop.set())
        server.configure()
        server.run()
    except (StartFailed, pymysql.MySQLError) as failure:
        log.error("%s", failure if isinstance(failure, StartFailed) else failure.args[-1])
        server_log.error("Unable to start the usage server")
        return FAILED
    return STOPPED
