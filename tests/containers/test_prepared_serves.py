"""Phase `prepared` from nothing to done, and once more with nothing to do, while a user asks the original's API every 100 ms: no call fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from lab.machines import OLD_MANAGEMENT, USER_ADDRESS
from parallel_build.cloudstack.api import NEW_API
from parallel_build.cloudstack.user_probe import Probe
from parallel_build.configuration import UserProbe
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

EVERY = 0.1  # seconds


@dataclass
class Client:
    """A user of the cloud who asks one management server all the time.

    Attributes:
        seconds: how long each call took.
        failed: (when, what) of each that was not served.
    """

    url: str
    seconds: list[float] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def run(self, probe: Probe, done: threading.Event) -> None:
        """Ask until told to stop; a call that takes longer than the pace is followed at once by the next."""
        due = time.monotonic()
        while not done.is_set():
            began = time.monotonic()
            answer = probe.ask(self.url)
            self.seconds.append(time.monotonic() - began)
            if not answer.served:
                self.failed.append((time.strftime("%H:%M:%S"), answer.words))
            due = max(due + EVERY, time.monotonic())
            done.wait(due - time.monotonic())


@contextmanager
def clients(stand: Stand) -> Iterator[list[Client]]:
    """A client at each of the original's management servers, from the user's address."""
    found = [Client(NEW_API.format(address=machine.address)) for machine in OLD_MANAGEMENT]
    done = threading.Event()

    def ask() -> None:
        with stand.connections() as opened:
            probe = Probe(stand.site, opened, UserProbe(source=USER_ADDRESS))
            threads = [threading.Thread(target=client.run, args=(probe, done)) for client in found]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    outer = threading.Thread(target=lambda: stand.inside(ask))
    outer.start()
    try:
        yield found
    finally:
        done.set()
        outer.join()


def test_prepared_from_nothing_to_done_is_not_noticed_by_a_user(lab: LabRunner) -> None:
    stand = Stand(lab)
    tell("back to phase built")
    lab.run("pulumi", "config", "set", "phase", "built")
    lab.run("pulumi", "up", "--yes", "--skip-preview")
    lab.run("pulumi", "config", "set", "phase", "prepared")
    with clients(stand) as asking:
        tell("pulumi up: prepared, from nothing")
        began = time.monotonic()
        shown = lab.run("pulumi", "up", "--yes", "--skip-preview").stdout
        first = time.monotonic() - began
        assert "cutover:index:HealthCheck" in shown and "cutover:index:SystemVmTemplate" in shown
        tell(f"{first:.0f} s; again")
        began = time.monotonic()
        again = lab.run("pulumi", "up", "--yes", "--skip-preview", "--expect-no-changes").stdout
        second = time.monotonic() - began
        assert " unchanged" in again and " created" not in again and " updated" not in again
    for client in asking:
        tell(
            f"{client.url}: {len(client.seconds)} calls in {first + second:.0f} s, {len(client.failed)} failed, "
            f"slowest {max(client.seconds) * 1000:.0f} ms, middle {sorted(client.seconds)[len(client.seconds) // 2] * 1000:.0f} ms"
        )
        assert client.failed == []
        assert len(client.seconds) > (first + second) / EVERY / 4, "a busy machine may slow the client down, but not that far"
    report = stand.lab.folder / "runs/lab/evidence/health.txt"
    assert "0 blocks, 0 warns" in report.read_text()
