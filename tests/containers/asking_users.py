"""Users who ask the original's management servers all the time, for tests of what must not be noticed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from lab.machines import USER_ADDRESS
from parallel_build.cloudstack.endpoint import Endpoint, of_original
from parallel_build.cloudstack.user_probe import Probe
from parallel_build.configuration import UserProbe
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand

EVERY = 0.1  # seconds from one call to the next, whether or not that one has been answered
ON_THEIR_WAY = 20  # calls of one client at the same time, so that answers may take two seconds before the pace suffers
PREPARED_LIMIT = 1800.0
PACE = 0.5  # share of the calls that are due; a client that could not ask has seen nothing
GAP = 3.0
"""Seconds without any answer that pass for a busy computer. With twenty calls on their way one slow answer makes no gap, only a service that answers
nobody does: one that waits for a locked table, or stands still. (One that is restarting refuses calls, and a refused call is a failed one.)"""


@dataclass(frozen=True)
class Call:
    """One call: when it was made and answered (monotonic seconds), and with what."""

    began: float
    ended: float
    served: bool
    words: str = ""
    at: str = ""


@dataclass
class Client:
    """A user of the cloud who asks one management server all the time.

    Attributes:
        calls: each call, in the order of the answers.
        began, ended: between which it asked (monotonic seconds).
    """

    where: Endpoint
    calls: list[Call] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _due: float = 0.0

    def run(self, probe: Probe, done: threading.Event) -> None:
        """Ask until asked to stop."""
        self.began = self._due = time.monotonic()
        workers = [threading.Thread(target=self._ask, args=(probe, done)) for _ in range(ON_THEIR_WAY)]
        for worker in workers:
            worker.start()
        done.wait()
        self.ended = time.monotonic()
        for worker in workers:
            worker.join()

    def _ask(self, probe: Probe, done: threading.Event) -> None:
        while True:
            with self._turn:  # a call that is late is not made up for by a crowd of them
                due = max(self._due, time.monotonic())
                self._due = due + EVERY
            if done.wait(due - time.monotonic()):
                return
            at, began = time.strftime("%H:%M:%S"), time.monotonic()
            answer = probe.ask(self.where)
            self.calls.append(Call(began, time.monotonic(), answer.served, answer.words, at))

    @property
    def failed(self) -> list[tuple[str, str]]:
        """When and what, of each call that was not served."""
        return [(call.at, call.words) for call in self.calls if not call.served]

    @property
    def pace(self) -> float:
        """Share of the calls that were due which it made."""
        return len(self.calls) * EVERY / (self.ended - self.began)

    @property
    def gap(self) -> float:
        """The longest time in which no call was served, in seconds."""
        served = sorted(call.ended for call in self.calls if call.served and call.ended <= self.ended)
        moments = [self.began, *served, self.ended]
        return max(later - earlier for earlier, later in pairwise(moments))

    def in_words(self) -> str:
        """For the reader of the test."""
        took = sorted(call.ended - call.began for call in self.calls) or [0.0]
        return (
            f"{self.where.url}: {len(self.calls)} calls in {self.ended - self.began:.0f} s, one every "
            f"{(self.ended - self.began) / max(1, len(self.calls)) * 1000:.0f} ms ({self.pace:.0%} of the pace), {len(self.failed)} failed; answers took "
            f"{took[len(took) // 2] * 1000:.0f} ms in the middle, {took[-1] * 1000:.0f} ms at most; longest time without one {self.gap:.2f} s"
        )


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


def prove_unnoticed(asking: list[Client], *, pace: float = PACE, gap: float = GAP) -> None:
    """No call of any client failed, each asked all along, and none was without an answer for long; what they saw is printed.

    Args:
        pace: the least share of the calls that were due.
        gap: the longest time without an answer, in seconds.
    """
    for client in asking:
        tell(client.in_words())
    for client in asking:
        assert not client.failed, f"{client.where.url}: {len(client.failed)} calls failed: {client.failed[:5]}"
        assert client.pace >= pace, f"{client.where.url}: it hardly asked"
        assert client.gap <= gap, f"{client.where.url}: nobody was answered for {client.gap:.1f} s"


def prepare_while_asked(lab: LabRunner, stand: Stand, *, pace: float = PACE, gap: float = GAP) -> None:
    """Bring the lab from `built` to `prepared`, and once more with nothing to do; users ask all along, and no call of theirs fails.

    Args:
        pace, gap: as `prove_unnoticed` takes them.
    """
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
        again = lab.run("pulumi", "up", "--yes", "--skip-preview", "--expect-no-changes", timeout=PREPARED_LIMIT).stdout
        assert " unchanged" in again and " created" not in again and " updated" not in again
    prove_unnoticed(asking, pace=pace, gap=gap)
