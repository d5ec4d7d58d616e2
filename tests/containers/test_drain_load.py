"""Windows on a busy cloud: users begin two jobs a second, and no job is cut off that is not listed; jobs that are cut off keep no object from the next.

Steps are applied one by one, as the provider does, and taken back; `CUTOVER_SCALE_WINDOWS` is how often.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.machines import USER_ADDRESS
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack.api import Cloud, Reply, answers
from parallel_build.cloudstack.endpoint import of_original
from parallel_build.cloudstack.work import JOBS
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.run_folder import RunFolder
from parallel_build.steps.drain import Drain
from parallel_build.steps.user_access import UserAccess
from tests.containers import scale_users, user_jobs
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand
from tests.containers.scale_stand import LIMIT, NAMES, UNUSED, WINDOWS, configure
from tests.containers.test_health import with_changes
from tests.containers.whole_stack import evidence

pytestmark = [pytest.mark.containers, pytest.mark.timeout(5400)]

BUSY, CALL, JOB = 20, 5, 3  # VMs of users; seconds of a call before its job is there, and of a job
WITHIN = 60.0  # seconds for a new job of an object whose job was cut off
OPEN_JOBS = f"SELECT COUNT(*) FROM cloud.async_job WHERE {JOBS}"
STATES = "SELECT job_status, COUNT(*) FROM cloud.async_job WHERE uuid IN ({}) GROUP BY job_status"


@pytest.fixture(scope="module")
def lab(scale: LabRunner) -> LabRunner:
    """The lab of many networks."""
    return scale


def restarted(lab: LabRunner, stand: Stand, **faults: float) -> None:
    """The original's management server, with other settings of the stand-in; it answers again."""
    for key, value in faults.items():
        lab.run("fault", "oldms1", key, json.dumps(value))
    lab.shell("oldms1", "systemctl restart cloudstack-management")
    where = of_original(stand.site.configuration)
    wait_for("the original to answer", lambda: stand.inside(lambda: answers(where)), timeout=120, cancel=CancelToken(), interval=0.5)


@contextmanager
def window(stand: Stand) -> Iterator[Callable[[str], Context]]:
    """A window that has been opened, and contexts for its steps; call it inside the lab's network."""
    run = RunFolder(stand.lab.folder / "drain-load", "lab", [])
    access = {"administrators": ["10.91.0.1/32"], "probe": {"source": USER_ADDRESS}, "method": "firewall"}
    site = with_changes(stand, window={"userAccess": access, "drain": "60s"})
    with stand.connections(site) as opened:

        def context(step: str) -> Context:
            return Context(site, opened, run, opened.cancel, lambda line: None, step)

        store(context("Window")).open()
        try:
            yield context
        finally:
            store(context("Window")).close()


def one_window(stand: Stand, lab: LabRunner) -> dict[str, Any]:
    """Users out, drained, held there for a moment, and back."""
    with window(stand) as context:
        began = time.monotonic()
        UserAccess().apply(context("UserAccess"))
        out = time.monotonic()
        try:
            found = Drain().apply(context("Drain"))
            open_ = [lab.sql("olddb1", OPEN_JOBS)]
            time.sleep(1.0)  # a job that is begun later would be in no list
            open_.append(lab.sql("olddb1", OPEN_JOBS))
        finally:
            Drain().revert(context("Drain"))
            UserAccess().revert(context("UserAccess"))
    return {**found, "out after": round(out - began, 1), "open": open_}


def test_no_job_of_users_is_cut_off_unlisted_and_no_window_is_refused(lab: LabRunner) -> None:
    stand = Stand(lab)
    vms = list(scale_users.make_vms(stand, NAMES[:BUSY], "busy").values())
    restarted(lab, stand, call_seconds=CALL, job_seconds=JOB)
    results: list[dict[str, Any]] = []
    try:
        with user_jobs.working(stand, vms) as asked:
            for number in range(WINDOWS):
                before = len(asked.jobs)
                wait_for("users at work", lambda: len(asked.jobs) >= before + 10, timeout=120, cancel=CancelToken(), interval=0.2)  # noqa: B023
                results.append(stand.inside(lambda: one_window(stand, lab)))
                tell(f"window {number + 1} of {WINDOWS}: {results[-1]}; users: {dict(asked.answers)}")
        wait_for("the last jobs", lambda: lab.sql("olddb1", OPEN_JOBS) == "0", timeout=60, cancel=CancelToken())
    finally:
        for key in ("call_seconds", "job_seconds"):
            lab.run("fault", "oldms1", key, check=False)
        restarted(lab, stand)
    if "CUTOVER_SCALE_FILE" in os.environ:
        Path(os.environ["CUTOVER_SCALE_FILE"]).write_text(
            json.dumps({"windows": results, "users": dict(asked.answers), "jobs": len(asked.jobs)})
        )
    assert [each for each in results if each["cut"] or each["open"] != ["0", "0"]] == []
    assert max(each["most at once"] for each in results) > 0, "they were opened while jobs ran"
    states = lab.sql("olddb1", STATES.format(", ".join(f"'{job}'" for job in asked.jobs)))
    assert states == f"1\t{len(asked.jobs)}", "every job that was begun came to its good end"
    assert not {"ConnectionError", "ReadTimeout", "ConnectTimeout"} & asked.answers.keys(), asked.answers


@dataclass
class Job:
    """A job that is to be cut off, and the next one of the same object.

    Attributes:
        kind: the command.
        begin: begins it, and is given what `again` needs.
        again: begins the next; both by the API of whichever side serves.
    """

    kind: str
    begin: Callable[[Cloud], Reply]
    again: Callable[[Cloud], Reply]


def started_or_stopped(cloud: Cloud, vm: str) -> Reply:
    """Whichever its state allows."""
    state = cloud.list("listVirtualMachines", id=vm, listall="true")[0]["state"]
    return cloud.call("stopVirtualMachine" if state == "Running" else "startVirtualMachine", id=vm)


def jobs_to_cut(stand: Stand) -> list[Job]:
    """Twenty of eight kinds, on objects of their own; call it inside the lab's network."""
    cloud = Cloud.original(stand.site)
    vms = list(scale_users.make_vms(stand, NAMES[:12], "cut").values())
    for vm in vms[4:8]:
        done(cloud, cloud.call("startVirtualMachine", id=vm))
    networks = {str(each["name"]): each for each in cloud.list("listNetworks", listall="true")}
    roots = [str(cloud.list("listVolumes", virtualmachineid=vm, listall="true")[0]["id"]) for vm in vms[8:10]]
    offering = str(cloud.list("listDiskOfferings")[0]["id"])
    zone = networks[NAMES[0]]["zoneid"]
    disks = [
        done(cloud, cloud.call("createVolume", zoneid=zone, diskofferingid=offering, size="1", name=f"cut{n}"))["volume"]["id"]
        for n in range(2)
    ]
    address = next(each for each in cloud.list("listPublicIpAddresses", listall="true") if each.get("associatednetworkid"))["id"]

    def with_id(command: str, identity: str, **more: str) -> Callable[[Cloud], Reply]:
        return lambda api: api.call(command, id=identity, **more)

    def opened(port: int) -> Callable[[Cloud], Reply]:
        return lambda api: api.call("createFirewallRule", ipaddressid=address, protocol="tcp", startport=str(port))

    def deployed(name: str) -> Job:
        made: dict[str, str] = {}

        def begin(api: Cloud) -> Reply:
            reply = scale_users.deploy(api, networks[name], f"new-{name}", start=True)
            made["id"] = str(reply["id"])
            return reply

        return Job("deployVirtualMachine", begin, lambda api: started_or_stopped(api, made["id"]))

    def either(vm: str) -> Callable[[Cloud], Reply]:
        return lambda api: started_or_stopped(api, vm)

    def snapshot(volume: str) -> Callable[[Cloud], Reply]:
        return lambda api: api.call("createSnapshot", volumeid=volume)

    def attached(disk: str, vm: str) -> Callable[[Cloud], Reply]:
        return lambda api: api.call("attachVolume", id=disk, virtualmachineid=vm)

    return [
        *(Job("startVirtualMachine", with_id("startVirtualMachine", vm), either(vm)) for vm in vms[:4]),
        *(Job("stopVirtualMachine", with_id("stopVirtualMachine", vm), either(vm)) for vm in vms[4:8]),
        *(deployed(name) for name in NAMES[14:16]),
        *(Job("createSnapshot", snapshot(volume), snapshot(volume)) for volume in roots),
        *(Job("attachVolume", attached(disk, vm), attached(disk, vm)) for disk, vm in zip(disks, vms[8:10], strict=True)),
        *(Job("destroyVirtualMachine", with_id("destroyVirtualMachine", vm), with_id("destroyVirtualMachine", vm)) for vm in vms[10:12]),
        *(
            Job("restartNetwork", restart := with_id("restartNetwork", networks[name]["id"], cleanup="false"), restart)
            for name in NAMES[20:22]
        ),
        *(Job("createFirewallRule", opened(port), opened(port + 100)) for port in (7001, 7003)),
    ]


def done(cloud: Cloud, reply: Reply) -> Reply:
    """The end of a job that was begun."""
    return cloud.await_job("the job", str(reply["jobid"]), timeout=WITHIN, cancel=CancelToken())


def again(stand: Stand, cloud: Callable[[], Cloud], jobs: Sequence[Job]) -> float:
    """A new job on each object, all at the same time; seconds until the last was done.

    Raises:
        StepFailed: one was refused, or failed.
    """

    def work() -> float:
        began = time.monotonic()
        with ThreadPoolExecutor(len(jobs)) as pool:
            api = [cloud() for _ in jobs]
            list(pool.map(lambda pair: done(pair[0], pair[1].again(pair[0])), zip(api, jobs, strict=True)))
        return time.monotonic() - began

    return stand.inside(work)


def test_jobs_that_are_cut_off_keep_no_object_from_its_next_job(lab: LabRunner) -> None:
    assert not {*NAMES[:22]} & {*UNUSED}
    stand = Stand(lab)
    jobs = stand.inside(lambda: jobs_to_cut(stand))
    assert (len(jobs), len({job.kind for job in jobs})) == (20, 8)
    configure(
        lab, window__drain="5s", window__drainThen="cut", window__usersIn="first", routers__untilRenewed="allow", routers__withUp="1s"
    )
    restarted(lab, stand, job_seconds=3000)
    try:
        begun = stand.inside(lambda: [str(job.begin(Cloud.original(stand.site))["jobid"]) for job in jobs])
        tell(f"{len(begun)} jobs run; switch, which cuts them off")
        lab.run("switch", timeout=LIMIT)
        cut = evidence(lab, "Drain")["result"]["cut"]
        tell(f"cut: {cut}")
        listed = {name for job in jobs for name in [f"{job.kind[0].upper()}{job.kind[1:]}Cmd"] if any(name in words for words in cut)}
        assert sum(words.startswith("job ") for words in cut) == 20 and len(listed) == 8
        marks = ", ".join(f"'{job}'" for job in begun)
        assert lab.sql("newdb1", STATES.format(marks)) == "2\t20"
        seconds = again(stand, lambda: Cloud.new(stand.site), jobs)
        tell(f"each object has had a new job on the new side, {seconds:.1f} s")
        assert seconds < WITHIN
    finally:
        lab.run("fault", "oldms1", "job_seconds", check=False)
    for key in ("window.drain", "window.drainThen"):
        lab.run("pulumi", "config", "rm", "--path", key)
    lab.run("back", timeout=LIMIT)
    assert lab.sql("olddb1", STATES.format(marks)) == "2\t20", "its own server has closed them"
    seconds = again(stand, lambda: Cloud.original(stand.site), jobs)
    tell(f"and on the original after the rollback, {seconds:.1f} s")
    assert seconds < WITHIN
