"""Users who ask the original's management servers all the time, for tests of what must not be noticed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.machines import USER_ADDRESS
from parallel_build.cloudstack.endpoint import Endpoint, of_original
from parallel_build.cloudstack.user_probe import Probe
from parallel_build.configuration import UserProbe
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand

EVERY = 0.1  # seconds
PREPARED_LIMIT = 1800.0


@dataclass
class Client:
    """A user of the cloud who asks one management server all the time.

    Attributes:
        seconds: how long each call took.
        failed: (when, what) of each that was not served.
    """

    where: Endpoint
    seconds: list[float] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def run(self, probe: Probe, done: threading.Event) -> None:
        """Ask until told to stop; a call that takes longer than the pace is followed at once by the next."""
        due = time.monotonic()
        while not done.is_set():
            began = time.monotonic()
            answer = probe.ask(self.where)
            self.seconds.append(time.monotonic() - began)
            if not answer.served:
                self.failed.append((time.strftime("%H:%M:%S"), answer.words))
            due = max(due + EVERY, time.monotonic())
            done.wait(due - time.monotonic())


@contextmanager
def clients(stand: Stand) -> Iterator[list[Client]]:
    """A client at each of the original's management servers, from the user's address."""
    found = [Client(of_original(stand.site.configuration, server)) for server in stand.site.configuration.original.management]
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


def prove_unnoticed(asking: list[Client], seconds: float) -> None:
    """No call of any client failed, in so many seconds; what they saw is told."""
    for client in asking:
        tell(
            f"{client.where.url}: {len(client.seconds)} calls in {seconds:.0f} s, {len(client.failed)} failed, "
            f"slowest {max(client.seconds) * 1000:.0f} ms, middle {sorted(client.seconds)[len(client.seconds) // 2] * 1000:.0f} ms"
        )
        assert client.failed == []
        assert len(client.seconds) > seconds / EVERY / 10, "it asked all along; a busy machine may slow it down"


def prepare_while_asked(lab: LabRunner, stand: Stand) -> None:
    """Bring the lab from `built` to `prepared`, and once more with nothing to do; users ask all along, and no call of theirs fails."""
    tell("back to phase built")
    lab.run("pulumi", "config", "set", "phase", "built")
    lab.run("pulumi", "up", "--yes", "--skip-preview", timeout=PREPARED_LIMIT)
    lab.run("pulumi", "config", "set", "phase", "prepared")
    with clients(stand) as asking:
        tell("pulumi up: prepared, from nothing")
        began = time.monotonic()
        shown = lab.run("pulumi", "up", "--yes", "--skip-preview", timeout=PREPARED_LIMIT).stdout
        first = time.monotonic() - began
        assert "cutover:index:HealthCheck" in shown and "cutover:index:SystemVmTemplate" in shown
        tell(f"{first:.0f} s; again")
        began = time.monotonic()
        again = lab.run("pulumi", "up", "--yes", "--skip-preview", "--expect-no-changes", timeout=PREPARED_LIMIT).stdout
        second = time.monotonic() - began
        assert " unchanged" in again and " created" not in again and " updated" not in again
    prove_unnoticed(asking, first + second)
