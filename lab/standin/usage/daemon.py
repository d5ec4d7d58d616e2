"""Owns the usage job: one server has the row of `cloud_usage.usage_job`, another takes it over when its heartbeat stops.

[CloudStack 4.22 usage/.../UsageManagerImpl.java]
"""
from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from pathlib import Path

import pymysql

from ..shared import logs, paths, properties, settings
from ..shared.database import Database, utcnow
from ..shared.encryption import DecryptionFailed, Encryptor
from ..shared.release import code_version

log = logging.getLogger("c.c.u.UsageManagerImpl")

SETTINGS_NEEDED = ("usage.stats.job.exec.time", "usage.stats.job.aggregation.range")
HEARTBEATS_MISSED = 3


class UsageFailed(Exception):
    """The usage server can't start; says why."""


def databases(folder: Path) -> tuple[Database, Database]:
    """The databases `cloud` and `cloud_usage` of db.properties in the usage server's folder; raises UsageFailed."""
    try:
        values = properties.read(folder / "db.properties")
        encryptor = Encryptor((folder / "key").read_text().strip()) if values.get("db.cloud.encryption.type") == "file" else None
    except OSError as failure:
        raise UsageFailed(f"Unable to read {failure.filename}: {failure.strerror}") from failure
    found = []
    for kind, name in (("cloud", "cloud"), ("usage", "cloud_usage")):
        password = values.get(f"db.{kind}.password", "")
        if properties.is_encrypted(password):
            if encryptor is None:
                raise UsageFailed(f"db.{kind}.password is encrypted and the encryption type is not file")
            try:
                password = encryptor.decrypt(properties.ciphertext(password))
            except DecryptionFailed as failure:
                raise UsageFailed(f"Failed to decrypt db.{kind}.password") from failure
        found.append(Database(
            values.get(f"db.{kind}.host", "localhost"), int(values.get(f"db.{kind}.port", "3306")),
            values.get(f"db.{kind}.username", "cloud"), password, values.get(f"db.{kind}.name", name)))
    return found[0], found[1]


def check_settings(cloud: Database) -> None:
    """The management server must have populated its settings before; raises UsageFailed."""
    names = ", ".join(["%s"] * len(SETTINGS_NEEDED))
    rows = cloud.rows(f"SELECT name, value FROM configuration WHERE name IN ({names})", *SETTINGS_NEEDED)
    values = {row["name"]: row["value"] for row in rows}
    missing = [f"{name} = {values.get(name)}" for name in SETTINGS_NEEDED if not values.get(name)]
    if missing:
        raise UsageFailed(f"missing configuration values for usage job, {', '.join(missing)}")


class Job:
    """This server's claim of the job."""

    def __init__(self, usage: Database, host: str, heartbeat: float) -> None:
        self._usage, self._host, self._heartbeat = usage, host, heartbeat

    def beat(self) -> bool:
        """Write the heartbeat; take the job over where nobody's is fresh. Returns whether it is this server's."""
        with self._usage.lock("usage.job.heartbeat.check", 5) as got:
            if not got:
                return False
            row = self._usage.row("SELECT id, host, pid, heartbeat FROM usage_job ORDER BY id DESC LIMIT 1")
            if row is not None and (row["host"], row["pid"]) == (self._host, os.getpid()):
                self._usage.update("usage_job", row["id"], heartbeat=utcnow())
                return True
            age = (utcnow() - row["heartbeat"]).total_seconds() if row is not None else None
            if age is not None and age < self._heartbeat * HEARTBEATS_MISSED and row is not None and row["host"] != self._host:
                return False
            self._usage.insert(
                "usage_job", host=self._host, pid=os.getpid(), job_type=0, scheduled=0, heartbeat=utcnow(), success=None)
            log.info("Usage job is now owned by %s, pid %d", self._host, os.getpid())
            return True


def main() -> int:
    """Run the usage server until it is told to stop; returns the exit code."""
    logs.open_log(paths.USAGE_LOG / "usage.log")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    chosen = settings.load()
    log.info("Usage server %s is starting", code_version())
    try:
        cloud, usage = databases(paths.USAGE_CONFIGURATION)
        check_settings(cloud)
        name = socket.gethostname()
        job = Job(usage, f"{name}/{socket.gethostbyname(name)}", chosen.usage_heartbeat_seconds)
        log.info("Done Starting UsageServer")
        while not stop.is_set():
            job.beat()
            stop.wait(chosen.usage_heartbeat_seconds)
    except UsageFailed as failure:
        log.error("Unable to configure UsageServer: %s", failure)
        return 1
    except (pymysql.MySQLError, OSError) as failure:
        log.error("Unable to run the usage job: %s", failure)
        return 1
    return 0
