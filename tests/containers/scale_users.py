"""Users of many networks at the moment when they are let in: a VM of theirs in each, started at once, and again while CloudStack refuses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from lab.machines import NEW_MANAGEMENT, USER_ADDRESS
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused, ApiUnavailable, Cloud, JobFailed, Reply
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.cloudstack.user_probe import signed
from parallel_build.resolved_stack import Site
from tests.containers.health_stand import Stand

AGAIN = 2.0  # seconds after which a refused user tries again
LOOK = 0.1  # seconds between two calls of the user who waits to be let in
JOB = 120.0  # seconds for one job
REFUSAL = "outer requires upgrade"


@dataclass
class Started:
    """What became of one VM's start.

    Attributes:
        refused: when each refused try began, and its words (seconds since 1970).
        began, served: the try that was served.
    """

    network: str
    refused: list[tuple[float, str]] = field(default_factory=list)
    began: float = 0.0
    served: float = 0.0


@dataclass
class Starts:
    """All of them; `users_in` is when the new side served the first call of a user."""

    each: list[Started]
    users_in: float = 0.0

    def words(self) -> str:
        """As figures."""
        waits = sorted(one.served - self.users_in for one in self.each)
        tries = [len(one.refused) for one in self.each]
        return (
            f"{len(self.each)} VMs started at once when users were in: {sum(not number for number in tries)} at the first try, "
            f"{max(tries)} refusals at most, served after {waits[len(waits) // 2]:.1f} s in the middle, {waits[-1]:.1f} s at most"
        )


def deploy(cloud: Cloud, network: Mapping[str, Any], name: str, *, start: bool) -> Reply:
    """Begin to make a VM in a network; the reply has its id and the job's."""
    templates = cloud.list("listTemplates", templatefilter="all", hypervisor="KVM")
    template = next(each for each in templates if each.get("isready") and each.get("templatetype") == "USER")
    offering = next(each for each in cloud.list("listServiceOfferings") if not each.get("iscustomized"))
    return cloud.call(
        "deployVirtualMachine", zoneid=network["zoneid"], serviceofferingid=offering["id"], templateid=template["id"], networkids=network["id"],
        startvm=str(start).lower(), name=name,
    )  # fmt: skip


def make_vms(stand: Stand, networks: Sequence[str], prefix: str = "vm") -> dict[str, str]:
    """A stopped VM in each network of the original; their ids by network."""

    def work() -> dict[str, str]:
        cloud = Cloud.original(stand.site)
        listed = {str(each["name"]): each for each in cloud.list("listNetworks", listall="true")}
        made = {}
        for name in networks:
            reply = deploy(cloud, listed[name], f"{prefix}-{name}", start=False)
            cloud.await_job("deployVirtualMachine", str(reply["jobid"]), timeout=JOB, cancel=CancelToken())
            made[name] = str(reply["id"])
        return made

    return stand.inside(work)


def _await_users_in(site: Site, done: threading.Event) -> float:
    """When the new side serves a user."""
    url = f"http://{NEW_MANAGEMENT[0].address}:8080/client/api"
    with Endpoint(url).session(USER_ADDRESS) as session:
        while not done.is_set():
            try:
                if session.get(signed(url, site.secrets.original_api_key, site.secrets.original_api_secret), timeout=5).status_code == 200:
                    return time.time()
            except requests.RequestException:
                pass  # nobody is there yet
            done.wait(LOOK)
    raise AssertionError("users were never let in")


def _start(site: Site, one: Started, vm: str, done: threading.Event) -> None:
    cloud = Cloud.new(site)
    while not done.is_set():
        began = time.time()
        try:
            cloud.job("startVirtualMachine", id=vm, timeout=JOB, cancel=CancelToken())
        except (JobFailed, ApiRefused, ApiUnavailable) as error:
            one.refused.append((began, error.cause))
            done.wait(AGAIN)
        else:
            one.began, one.served = began, time.time()
            return


@contextmanager
def starting(stand: Stand, vms: Mapping[str, str], patience: float) -> Iterator[Starts]:
    """Have each VM started as soon as users are in while the block runs, and until all run.

    Args:
        patience: seconds for the last of them once the block has ended.
    """
    starts, done = Starts([Started(name) for name in vms]), threading.Event()

    def work() -> None:
        starts.users_in = _await_users_in(stand.site, done)
        with ThreadPoolExecutor(len(vms)) as pool:
            list(pool.map(lambda one: _start(stand.site, one, vms[one.network], done), starts.each))

    errors: list[Exception] = []

    def outer() -> None:
        try:
            stand.inside(work)
        except Exception as error:  # Shown by the test's own thread.
            errors.append(error)

    thread = threading.Thread(target=outer)
    thread.start()
    try:
        yield starts
        thread.join(patience)
    finally:
        done.set()
        thread.join()
    if errors:
        raise errors[0]
    assert all(one.served for one in starts.each), [(one.network, one.refused[-3:]) for one in starts.each if not one.served]


def refused_after(one: Started, moment: float) -> list[Any]:
    """Tries that were refused though they began after a moment."""
    return [(round(began - moment, 1), words) for began, words in one.refused if began > moment]
