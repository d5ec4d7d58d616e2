"""What was cut off, on a real schema with rows: found, closed as CloudStack closes its own, and each object takes a new job afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cloudstack import work
from parallel_build.cloudstack.work import Work
from parallel_build.operations import close_cut_work
from parallel_build.operations.context import Context
from parallel_build.remote.sql import Session
from tests.contract.harness import DatabaseServer

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]
LIVING, GONE = 90520000000001, 90520000000002


class Opened:
    """A session of the product's kind: values are put in by the driver."""

    def __init__(self, server: DatabaseServer) -> None:
        self.server = server

    def rows(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        with self.server._cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def value(self, statement: str, values: Any = None) -> Any:
        rows = self.rows(statement, values)
        return next(iter(rows[0].values())) if rows else None

    def execute(self, statement: str, values: Any = None) -> int:
        with self.server._cursor() as cursor:
            return int(cursor.execute(statement, values))


class Kept:
    """The record's facts."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def facts(self, name: str) -> dict[str, Any]:
        return self.known.get(name, {})

    def note(self, facts: Mapping[str, dict[str, Any]], *, forward: bool) -> None:
        for name, known in facts.items():
            self.known.setdefault(name, {}).update(known)


@pytest.fixture(params=["generated", "recorded"])
def opened(request: pytest.FixtureRequest, database: DatabaseServer) -> Session:
    database.load(request.getfixturevalue(request.param))
    database.execute("UPDATE cloud.mshost SET state = 'Down'")
    database.execute(
        "INSERT INTO cloud.mshost (msid, runid, name, state, service_ip, service_port, last_update) "
        f"VALUES ({LIVING}, 1, 'oldms9', 'Up', '10.9.9.9', 9090, UTC_TIMESTAMP())"
    )
    return cast(Session, Opened(database))


@pytest.fixture
def busy(opened: Session) -> dict[str, list[int]]:
    """A cloud at work: jobs of several kinds, queued, running and joined, and their objects between two states."""
    users = [
        int(row["id"])
        for row in opened.rows("SELECT id FROM cloud.vm_instance WHERE type = 'User' AND removed IS NULL ORDER BY id LIMIT 4")
    ]
    volumes = [
        int(row["id"]) for row in opened.rows("SELECT id FROM cloud.volumes WHERE removed IS NULL AND state = 'Ready' ORDER BY id LIMIT 3")
    ]
    assert len(users) >= 3 and len(volumes) == 3
    for vm, state in zip(users, ("Starting", "Stopping", "Migrating"), strict=False):
        opened.execute(
            "UPDATE cloud.vm_instance SET state = %s, hypervisor_type = 'KVM', update_time = UTC_TIMESTAMP() - INTERVAL 90 SECOND WHERE id = %s",
            [state, vm],
        )
    for volume, state in zip(volumes, ("Creating", "Snapshotting", "Restarting"), strict=True):
        opened.execute("UPDATE cloud.volumes SET state = %s, updated = UTC_TIMESTAMP() WHERE id = %s", [state, volume])
    jobs = [
        job(opened, "StartVMCmd", "VirtualMachine", users[0], LIVING),
        job(opened, "StopVMCmd", "VirtualMachine", users[1], LIVING),
        job(opened, "CreateVolumeCmd", "Volume", volumes[0], GONE),
        job(opened, "RestartNetworkCmd", "Network", 1, None),
    ]
    job(opened, "VmWorkJobPseudo", "Thread", None, LIVING)
    opened.execute(
        "INSERT INTO cloud.sync_queue (sync_objtype, sync_objid, created, queue_size) VALUES ('volume', 991, UTC_TIMESTAMP(), 1)"
    )
    queue = opened.value("SELECT MAX(id) FROM cloud.sync_queue")
    for number, msid in ((jobs[2], GONE), (jobs[3], None)):
        opened.execute(
            "INSERT INTO cloud.sync_queue_item (queue_id, content_type, content_id, queue_proc_msid, queue_proc_number, created) "
            "VALUES (%s, 'AsyncJob', %s, %s, 1, UTC_TIMESTAMP())",
            [queue, number, msid],
        )
    opened.execute(
        "INSERT INTO cloud.async_job_join_map (job_id, join_job_id, join_status, created) VALUES (%s, %s, 0, UTC_TIMESTAMP())",
        [jobs[0], jobs[1]],
    )
    return {"vms": users, "volumes": volumes, "jobs": jobs, "queue": [int(queue)]}


def job(opened: Session, command: str, kind: str, instance: int | None, msid: int | None) -> int:
    """Enter a job that is in progress; returns its id."""
    pseudo = kind == "Thread"
    opened.execute(
        "INSERT INTO cloud.async_job (user_id, account_id, instance_type, instance_id, job_cmd, job_status, job_init_msid, job_executing_msid, created, "
        "uuid, related, job_type, job_dispatcher) VALUES (2, 2, %s, %s, %s, 0, %s, %s, UTC_TIMESTAMP() - INTERVAL 4 MINUTE, UUID(), '', %s, %s)",
        [
            kind,
            instance,
            f"org.apache.cloudstack.api.command.{command}",
            LIVING,
            msid,
            "x",
            "pseudoJobDispatcher" if pseudo else "ApiAsyncJobDispatcher",
        ],
    )
    return int(opened.value("SELECT MAX(id) FROM cloud.async_job"))


def closing(monkeypatch: pytest.MonkeyPatch, opened: Session, shown: dict[str, set[str]]) -> tuple[list[str], Kept]:
    """Close everything that is open in the copy, where hypervisors show these domains."""
    kept = Kept()
    context = SimpleNamespace(progress=lambda _: None, intend=lambda *_, **__: None)
    monkeypatch.setattr(close_cut_work, "store", lambda _: kept)
    monkeypatch.setattr(close_cut_work, "_running_on", lambda _: shown)
    return close_cut_work.close(cast(Context, context), opened), kept


def test_what_is_not_at_rest_is_found_with_who_is_at_it(opened: Session, busy: dict[str, list[int]]) -> None:
    found = work.read(opened)
    jobs = {each.id: each for each in found if each.kind == "job"}
    assert set(jobs) == set(busy["jobs"]), "a server's own pseudo job is none"
    assert [jobs[each].left for each in busy["jobs"]] == [False, False, True, False]
    assert jobs[busy["jobs"][0]].seconds >= 240 and jobs[busy["jobs"][0]].what == "StartVMCmd"
    assert {(each.kind, each.what) for each in found} >= {("VM", "Starting"), ("VM", "Migrating"), ("volume", "Creating")}
    assert [Work.of(each.document()) for each in found] == found


def test_jobs_are_closed_as_cloudstack_closes_its_own(monkeypatch: pytest.MonkeyPatch, opened: Session, busy: dict[str, list[int]]) -> None:
    _, kept = closing(monkeypatch, opened, {})
    for row in opened.rows("SELECT * FROM cloud.async_job WHERE id >= %s", [busy["jobs"][0]]):
        if row["instance_type"] == "Thread":
            assert row["job_status"] == 0 and row["removed"] is None
        else:
            assert (row["job_status"], row["job_result_code"], row["job_executing_msid"]) == (2, 530, None)
            assert row["removed"] is not None and "cancelled because of management server restart" in row["job_result"]
    assert opened.value("SELECT COUNT(*) FROM cloud.sync_queue_item WHERE queue_id = %s", busy["queue"]) == 0
    assert opened.value("SELECT queue_size FROM cloud.sync_queue WHERE id = %s", busy["queue"]) == 0
    assert not opened.rows("SELECT id FROM cloud.async_job_join_map WHERE job_id IN (%s, %s)", busy["jobs"][:2])
    assert {each["id"] for each in kept.facts(close_cut_work.CLOSED)["work"] if each["kind"] == "job"} == set(busy["jobs"])


def test_each_vm_gets_the_state_that_its_hypervisor_shows(
    monkeypatch: pytest.MonkeyPatch, opened: Session, busy: dict[str, list[int]]
) -> None:
    opened.execute("UPDATE cloud.host SET removed = UTC_TIMESTAMP() WHERE type = 'Routing'")
    opened.execute("UPDATE cloud.host SET removed = NULL, hypervisor_type = 'KVM' WHERE type = 'Routing' ORDER BY id LIMIT 2")
    hosts = opened.rows("SELECT id, name FROM cloud.host WHERE type = 'Routing' AND removed IS NULL ORDER BY id")
    names = [opened.value("SELECT instance_name FROM cloud.vm_instance WHERE id = %s", [each]) for each in busy["vms"][:3]]
    printed, _ = closing(
        monkeypatch, opened, {str(host["name"]): {names[0]} if number == 0 else set() for number, host in enumerate(hosts)}
    )
    rows = [opened.rows("SELECT state, host_id FROM cloud.vm_instance WHERE id = %s", [each])[0] for each in busy["vms"][:3]]
    assert rows[0] == {"state": "Running", "host_id": hosts[0]["id"]}
    assert [row["state"] for row in rows[1:3]] == ["Stopped", "Stopped"] and rows[1]["host_id"] is None
    volumes = [opened.value("SELECT state FROM cloud.volumes WHERE id = %s", [each]) for each in busy["volumes"]]
    assert volumes == ["Allocated", "Ready", "Restarting"]
    assert any(line.startswith("LOOK AT volume") and "Restarting" in line for line in printed)
    left = [each for each in work.read(opened) if each.what != "Restarting"]
    assert left == [], "nothing stands between two states any more"


def test_where_a_hypervisor_is_silent_nothing_is_guessed(
    monkeypatch: pytest.MonkeyPatch, opened: Session, busy: dict[str, list[int]]
) -> None:
    printed, _ = closing(monkeypatch, opened, {})
    assert [opened.value("SELECT state FROM cloud.vm_instance WHERE id = %s", [each]) for each in busy["vms"][:3]] == [
        "Starting",
        "Stopping",
        "Migrating",
    ]
    assert sum(line.startswith("LOOK AT VM") and "UPDATE cloud.vm_instance" in line for line in printed) == 3


def test_nothing_open_is_no_change(monkeypatch: pytest.MonkeyPatch, opened: Session) -> None:
    closing(monkeypatch, opened, {})
    printed, kept = closing(monkeypatch, opened, {})
    assert printed == [] and kept.known == {}


def test_what_schedules_start_soon_is_reported(opened: Session) -> None:
    opened.execute("DELETE FROM cloud.snapshot_schedule")
    policy = (
        "INSERT INTO cloud.snapshot_schedule (uuid, volume_id, policy_id, scheduled_timestamp) "
        "VALUES (UUID(), 7, %s, UTC_TIMESTAMP() + INTERVAL %s MINUTE)"
    )
    opened.execute("SET GLOBAL foreign_key_checks = 0")
    try:
        opened.execute(policy, [901, 5])
        opened.execute(policy, [902, 50])
        assert [line.partition(" at ")[0] for line in work.due(opened, 600)] == ["snapshot of volume 7"]
    finally:
        opened.execute("SET GLOBAL foreign_key_checks = 1")
