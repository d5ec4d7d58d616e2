"""Closing in the copy what stopping the original's servers cut off: a new server has another msid and would leave it open for a day.

Jobs get the mark that CloudStack gives them when their own server starts again; their places in queues are given back. A VM gets the state that its
hypervisor shows, where KVM hosts can be asked; volumes and snapshots get the state that CloudStack itself gives them when their operation fails.
[CloudStack AsyncJobManagerImpl.cleanupLeftOverJobs, Volume.java, Snapshot.java; shared facts field.md, section 3]
"""

from __future__ import annotations

from parallel_build.cloudstack import work
from parallel_build.cloudstack.kvm_guests import listed
from parallel_build.cloudstack.work import Work
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.remote.sql import Session

CLOSED = "ClosedWork"  # under this name the record has what was closed
FAILED, CODE, WORDS = 2, 530, "job cancelled because of management server restart or shutdown"
VOLUME_AFTER = {
    "Creating": "Allocated", "Resizing": "Ready", "Snapshotting": "Ready", "RevertSnapshotting": "Ready", "Migrating": "Ready",
    "Attaching": "Ready", "Restoring": "Ready", "Copying": "Uploaded",
}  # fmt: skip
SNAPSHOT_AFTER = {"Allocated": "Error", "Creating": "Error", "BackingUp": "Error", "Copying": "BackedUp"}


def close(context: Context, database: Session) -> list[str]:
    """Close what is open in the copy; nothing there is no change. Never on the original: it closes its own when it starts.

    Returns:
        what was closed and what somebody has to look at, in words.
    """
    found = work.read(database)
    # Asked by itself: a server that was stopped in order has set its row Down, and HA work of such a server is waited for by nobody, so not in the list.
    held = int(database.value(f"SELECT COUNT(*) FROM cloud.op_ha_work WHERE {work.HA_AT_WORK}") or 0)
    if not found and not held:
        return []
    known = {(each.kind, each.id): each for each in map(Work.of, store(context).facts(CLOSED).get("work", []))}
    known |= {(each.kind, each.id): each for each in found}
    store(context).note({CLOSED: {"work": [each.document() for each in known.values()]}}, forward=True)
    context.intend("close what was cut off, in the copy", work=[str(each) for each in found])
    _close_jobs(database, [each.id for each in found if each.kind == "job"])
    words = _settle_vms(context, database, [each for each in found if each.kind == "VM"])
    words += _settle(database, "volumes", "state", [each for each in found if each.kind == "volume"], VOLUME_AFTER)
    words += _settle(database, "snapshots", "status", [each for each in found if each.kind == "snapshot"], SNAPSHOT_AFTER)
    database.execute(f"UPDATE cloud.op_ha_work SET mgmt_server_id = NULL, taken = NULL WHERE {work.HA_AT_WORK}")
    lines = [f"closed: {each}" for each in found if each.kind == "job"] + words
    if held:
        lines.append(f"HA: {held} tasks that a server of the original had taken are free for the new ones")
    for line in lines:
        context.progress(line)
    return lines


def _close_jobs(database: Session, jobs: list[int]) -> None:
    if not jobs:
        return
    marks = ", ".join(["%s"] * len(jobs))
    database.execute(f"DELETE FROM cloud.sync_queue_item WHERE content_type = 'AsyncJob' AND content_id IN ({marks})", jobs)
    database.execute(
        "UPDATE cloud.sync_queue AS q SET q.queue_size = "
        "(SELECT COUNT(*) FROM cloud.sync_queue_item AS i WHERE i.queue_id = q.id AND i.queue_proc_msid IS NOT NULL)"
    )
    database.execute(f"DELETE FROM cloud.async_job_join_map WHERE job_id IN ({marks}) OR join_job_id IN ({marks})", [*jobs, *jobs])
    database.execute(
        "UPDATE cloud.async_job SET job_status = %s, job_result_code = %s, job_result = %s, job_complete_msid = "
        "COALESCE(job_executing_msid, job_init_msid), job_executing_msid = NULL, last_updated = UTC_TIMESTAMP(), removed = UTC_TIMESTAMP() "
        f"WHERE id IN ({marks}) AND {work.JOBS}",
        [FAILED, CODE, WORDS, *jobs],
    )


def _settle(database: Session, table: str, column: str, found: list[Work], after: dict[str, str]) -> list[str]:
    """The state that CloudStack gives an object whose operation has failed; one in a state that is not known here is left, and reported."""
    lines = []
    for each in found:
        if each.what not in after:
            lines.append(
                f"LOOK AT {each.kind} {each.object}: it is {each.what}, and no state is known that it should have; id {each.id} in cloud.{table}"
            )
            continue
        database.execute(
            f"UPDATE cloud.`{table}` SET {column} = %s WHERE id = %s AND {column} = %s", [after[each.what], each.id, each.what]
        )
        lines.append(f"{each.kind} {each.object}: {each.what} was cut off, {after[each.what]} now; see on its storage what is there")
    return lines


def _settle_vms(context: Context, database: Session, moving: list[Work]) -> list[str]:
    if not moving:
        return []
    shown = _running_on(context)
    rows = {
        int(row["id"]): row
        for row in database.rows(
            "SELECT id, name, private_ip_address AS address FROM cloud.host WHERE removed IS NULL AND type = 'Routing' AND hypervisor_type = 'KVM'"
        )
    }
    asked = {identity: shown[name] for identity, row in rows.items() for name in (str(row["name"]), str(row["address"])) if name in shown}
    return [_settle_vm(database, each, asked, everywhere=0 < len(rows) == len(asked)) for each in moving]


def _settle_vm(database: Session, vm: Work, asked: dict[int, set[str]], *, everywhere: bool) -> str:
    shown = [identity for identity, names in asked.items() if vm.object in names]
    if len(shown) > 1:  # a migration continues without the server that began it
        return (
            f"LOOK AT VM {vm.object}: {vm.what} was cut off, and {len(shown)} hypervisors show it. Once a single one does: "
            f"UPDATE cloud.vm_instance SET state = 'Running', host_id = ITS_HOST, power_state = 'PowerOn' WHERE id = {vm.id}"
        )
    where = next(iter(shown), None)
    kvm = database.value("SELECT COUNT(*) FROM cloud.vm_instance WHERE id = %s AND hypervisor_type = 'KVM'", [vm.id])
    if where is not None:
        database.execute(
            "UPDATE cloud.vm_instance SET state = 'Running', host_id = %s, last_host_id = %s, power_state = 'PowerOn', "
            "update_time = UTC_TIMESTAMP() WHERE id = %s AND state = %s",
            [where, where, vm.id, vm.what],
        )
        return f"VM {vm.object}: {vm.what} was cut off; it runs on its hypervisor, Running now"
    if kvm and everywhere:
        database.execute(
            "UPDATE cloud.vm_instance SET state = 'Stopped', host_id = NULL, power_state = 'PowerOff', update_time = UTC_TIMESTAMP() "
            "WHERE id = %s AND state = %s",
            [vm.id, vm.what],
        )
        return f"VM {vm.object}: {vm.what} was cut off; it runs on no hypervisor, Stopped now"
    return (
        f"LOOK AT VM {vm.object}: {vm.what} was cut off, and not every hypervisor can be asked where it runs. Where it does not run: "
        f"UPDATE cloud.vm_instance SET state = 'Stopped', host_id = NULL, power_state = 'PowerOff' WHERE id = {vm.id}"
    )


def _running_on(context: Context) -> dict[str, set[str]]:
    """Names of the domains that run, by name and by address of each KVM host that can be asked."""
    hypervisors = context.configuration.original.hypervisors
    answers = listed(hypervisors, context.host, running=True)
    found: dict[str, set[str]] = {}
    for hypervisor in hypervisors:
        names = answers.get(hypervisor.name)
        if names is not None:
            found |= {hypervisor.name: names, hypervisor.address: names}
    return found
