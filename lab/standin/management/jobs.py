"""Asynchronous jobs: rows of `async_job`, worked off by the server that took them.

[CloudStack 4.22 framework/jobs/AsyncJobManagerImpl]
"""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql

from ..shared import logs
from ..shared.database import Row, utcnow
from .server import ManagementServer

log = logging.getLogger("o.a.c.f.j.i.AsyncJobManagerImpl")

IN_PROGRESS, SUCCEEDED, FAILED = 0, 1, 2
WORKERS = 16
SHUTTING_DOWN = ("PreparingForShutDown", "PreparingToShutDown", "ReadyToShutDown", "ShuttingDown")
# What a server that starts again makes of objects whose job it has left behind, by type of the job's object; a snapshot's volume goes with it.
AFTER_FAILURE = {
    "VirtualMachine": ("vm_instance", "j.instance_id", "state", {"Starting": "Stopped", "Stopping": "Running", "Migrating": "Running"}),
    "Volume": ("volumes", "j.instance_id", "state", {"Attaching": "Ready"}),
    "Snapshot": ("snapshots", "j.instance_id", "status", {"Allocated": "Error", "Creating": "Error"}),
}
OF_SNAPSHOT = ("volumes", "(SELECT s.volume_id FROM snapshots s WHERE s.id = j.instance_id)", "state", {"Snapshotting": "Ready"})
INTERNAL_ERROR = 530
INTERRUPTED = "job cancelled because of management server restart or shutdown"
Work = Callable[[], dict[str, Any]]


class JobFailed(Exception):
    """A job's work failed; carries the API's error code."""

    def __init__(self, text: str, code: int = INTERNAL_ERROR) -> None:
        super().__init__(text)
        self.code = code


class Jobs:
    """The jobs of this server."""

    def __init__(self, server: ManagementServer) -> None:
        self._server = server
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="API-Job-Executor")

    def fail_interrupted(self) -> None:
        """Fail the jobs that this server left behind when it ended, and bring their objects out of the state between two states.

        [CloudStack 4.20 AsyncJobManagerImpl.cleanupResources and cleanupLeftOverJobs]
        """
        for kind, of in [*AFTER_FAILURE.items(), ("Snapshot", OF_SNAPSHOT)]:
            self._bring_out(kind, *of)
        self._server.cloud.execute(
            "UPDATE async_job SET job_status = %s, job_result_code = %s, job_result = %s, removed = %s, "
            "last_updated = %s, job_complete_msid = %s WHERE job_status = 0 AND removed IS NULL AND "
            "(job_init_msid = %s OR job_executing_msid = %s)",
            FAILED,
            INTERNAL_ERROR,
            encode("Exception", "null", {"errorcode": INTERNAL_ERROR, "errortext": INTERRUPTED}),
            utcnow(),
            utcnow(),
            self._server.msid,
            self._server.msid,
            self._server.msid,
        )

    def _bring_out(self, kind: str, table: str, of: str, column: str, after: dict[str, str]) -> None:
        for row in self._server.cloud.rows(
            f"SELECT o.id, o.{column} AS state FROM async_job j JOIN {table} o ON o.id = {of} WHERE j.instance_type = %s "
            "AND j.job_status = 0 AND j.removed IS NULL AND (j.job_init_msid = %s OR j.job_executing_msid = %s)",
            kind,
            self._server.msid,
            self._server.msid,
        ):
            if row["state"] in after:
                changed = {"update_time": utcnow()} if table == "vm_instance" else {}
                self._server.cloud.update(table, row["id"], **{column: after[row["state"]]}, **changed)

    def submit(
        self,
        command: str,
        parameters: dict[str, str],
        user_id: int,
        account_id: int,
        kind: str | None,
        instance_id: int | None,
        work: Work,
        begin: Callable[[], None] | None = None,
    ) -> str:
        """Enter a job and begin it; returns its UUID.

        Args:
            command: name of the API command.
            parameters: what it was called with; secrets are left out.
            user_id: who called.
            account_id: whose account.
            kind: type of the object it works on.
            instance_id: the object's id.
            work: does it; returns the response object under its name, for instance {"systemvm": {...}}.
            begin: puts the object into the state in which it is while the job runs.

        Raises JobFailed where this server takes no more jobs.
        """
        time.sleep(self._server.settings.call_seconds)
        state = self._server.cloud.value("SELECT state FROM mshost WHERE id = %s", self._server.mshost_id)
        if state in SHUTTING_DOWN:
            raise JobFailed("A shutdown has been triggered. Can not accept new jobs")
        name = str(uuid.uuid4())
        shown = {key: value for key, value in parameters.items() if key.lower() not in ("signature", "password")}
        now = utcnow()
        job_id = self._server.cloud.insert(
            "async_job",
            user_id=user_id,
            account_id=account_id,
            instance_type=kind,
            instance_id=instance_id,
            job_cmd=f"org.apache.cloudstack.api.command.{command[0].upper()}{command[1:]}Cmd",
            job_cmd_info=json.dumps(shown),
            job_cmd_ver=0,
            job_status=IN_PROGRESS,
            job_process_status=0,
            job_result_code=0,
            job_init_msid=self._server.msid,
            created=now,
            last_updated=now,
            uuid=name,
            related="",
            job_type="ApiAsyncJobDispatcher",
            job_dispatcher="ApiAsyncJobDispatcher",
            job_executing_msid=self._server.msid,
            job_pending_signals=0,
        )
        if begin is not None:
            begin()
        self._pool.submit(self._run, job_id, command, work)
        return name

    def _run(self, job_id: int, command: str, work: Work) -> None:
        logs.new_context()
        time.sleep(self._server.settings.job_seconds)
        log.debug("Executing AsyncJob {id:%d, cmd: %s}", job_id, command)
        try:
            result = work()
            name, response = next(iter(result.items()))
            self._finish(job_id, SUCCEEDED, 0, encode(name.capitalize() + "Response", name, response))
        except JobFailed as failure:
            self._fail(job_id, str(failure), failure.code)
        except Exception as failure:
            log.exception("Unexpected exception while executing %s", command)
            self._fail(job_id, str(failure), INTERNAL_ERROR)
        finally:
            self._server.cloud.close()

    def _fail(self, job_id: int, text: str, code: int) -> None:
        log.debug("Complete async job-%d, jobStatus: FAILED, resultCode: %d, result: %s", job_id, code, text)
        self._finish(job_id, FAILED, code, encode("ExceptionResponse", "null", {"errorcode": code, "errortext": text}))

    def _finish(self, job_id: int, status: int, code: int, result: str) -> None:
        try:
            self._server.cloud.update(
                "async_job",
                job_id,
                job_status=status,
                job_result_code=code,
                job_result=result[:60_000],
                last_updated=utcnow(),
                removed=utcnow(),
                job_complete_msid=self._server.msid,
                job_executing_msid=None,
            )
        except pymysql.MySQLError as failure:
            log.error("Unable to complete job-%d: %s", job_id, failure.args[-1])


def encode(response: str, name: str, value: dict[str, Any]) -> str:
    """Return a result in the form of the column: class/name/JSON."""
    return f"org.apache.cloudstack.api.response.{response}/{name}/{json.dumps(value)}"


def decode(row: Row) -> Any:
    """Return the `jobresult` of a row."""
    parts = (row["job_result"] or "").split("/", 2)
    if len(parts) != 3:
        return None
    try:
        value = json.loads(parts[2])
    except ValueError:
        return {"text": parts[2]}
    return value if parts[1] == "null" else {parts[1]: value}
