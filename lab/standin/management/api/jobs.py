"""Asynchronous jobs."""

from __future__ import annotations

from ...shared.database import Row
from ..jobs import FAILED, decode
from .core import Call, Response, command, present, when

#: Tables in which the objects of jobs have their UUIDs.
INSTANCES = {
    "SystemVm": "vm_instance",
    "DomainRouter": "vm_instance",
    "VirtualMachine": "vm_instance",
    "Network": "networks",
    "Vpc": "vpc",
    "Volume": "volumes",
    "Snapshot": "snapshots",
    "Domain": "domain",
    "Account": "account",
    "Template": "vm_template",
}


def _job(call: Call, row: Row) -> Response:
    user, account = call.look_up("user", row["user_id"]), call.look_up("account", row["account_id"])
    values: Response = {
        "accountid": account.get("uuid"),
        "account": account.get("account_name"),
        "userid": user.get("uuid"),
        "cmd": row["job_cmd"],
        "jobstatus": row["job_status"],
        "jobprocstatus": row["job_process_status"] or 0,
        "jobresultcode": row["job_result_code"] or 0,
    }
    if row["job_status"]:
        values["jobresulttype"] = "text" if row["job_status"] == FAILED and decode(row) is None else "object"
        values["jobresult"] = decode(row)
    if row["instance_type"]:
        table = INSTANCES.get(row["instance_type"])
        values["jobinstancetype"] = row["instance_type"]
        values["jobinstanceid"] = call.look_up(table, row["instance_id"]).get("uuid") if table else None
    values |= {"created": when(row["created"]), "completed": when(row["removed"]) if row["job_status"] else None, "jobid": row["uuid"]}
    return present(values)


@command("queryAsyncJobResult")
def query_async_job_result(call: Call) -> Response:
    """Return how a job stands."""
    return _job(call, call.find("async_job", "jobid", removed=True))


@command("listAsyncJobs")
def list_async_jobs(call: Call) -> Response:
    """Return the jobs that are not done."""
    rows = call.cloud.rows(
        "SELECT * FROM async_job WHERE removed IS NULL AND job_status = 0 "
        # Threads that wait are jobs too, but nobody's.
        "AND COALESCE(job_dispatcher, '') <> 'pseudoJobDispatcher' ORDER BY id"
    )
    mine = [row for row in rows if call.caller.is_admin or row["account_id"] == call.caller.account_id]
    return call.page([_job(call, row) for row in mine], "asyncjobs")
