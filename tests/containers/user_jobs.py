"""Users who begin jobs all the time, two a second, from a user's address: VMs of theirs are started and stopped in turn."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle

import cs
import requests

from lab.machines import OLD_MANAGEMENT, USER_ADDRESS
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.resolved_stack import Site
from tests.containers.health_stand import Stand

EVERY = 0.5  # seconds from one job to the next
WORKERS = 24  # calls at the same time: one that takes seconds delays no other
TIMEOUT = 60  # seconds for a call


@dataclass
class Asked:
    """What became of the calls: how often each answer came, and the ids of the jobs that were begun."""

    answers: Counter[str] = field(default_factory=Counter)
    jobs: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _call(site: Site, command: str, vm: str) -> tuple[str, str]:
    """The answer, and the job."""
    url = f"http://{OLD_MANAGEMENT[0].address}:8080/client/api"
    with Endpoint(url).session(USER_ADDRESS) as session:
        client = cs.CloudStack(
            endpoint=url, key=site.secrets.original_api_key.reveal(), secret=site.secrets.original_api_secret.reveal(), timeout=TIMEOUT, retry=0,
            session=session,
        )  # fmt: skip
        try:
            reply = getattr(client, command)(id=vm)
        except cs.CloudStackException as error:
            return (str(error.response.status_code) if error.response is not None else type(error).__name__), ""
        except requests.RequestException as error:
            return type(error).__name__, ""
        return "begun", str(reply["jobid"])


@contextmanager
def working(stand: Stand, vms: Sequence[str]) -> Iterator[Asked]:
    """Begin jobs while the block runs; calls that are under way at its end are awaited."""
    asked, done, turn = Asked(), threading.Event(), threading.Lock()
    calls = cycle([(command, vm) for command in ("startVirtualMachine", "stopVirtualMachine") for vm in vms])
    due = time.monotonic()

    def work() -> None:
        nonlocal due
        while not done.is_set():
            with turn:
                due = max(due + EVERY, time.monotonic())
                command, vm = next(calls)
                done.wait(due - time.monotonic())
            answer, job = _call(stand.site, command, vm)
            with asked.lock:
                asked.answers[answer] += 1
                asked.jobs += [job] if job else []

    def outer() -> None:
        workers = [threading.Thread(target=work) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    thread = threading.Thread(target=lambda: stand.inside(outer))
    thread.start()
    try:
        yield asked
    finally:
        done.set()
        with suppress(RuntimeError):
            thread.join()
