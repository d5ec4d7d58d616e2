"""Networks restarted wave by wave, some at a time: the order, the limits and the counting; what a restart is, and what is on record, is the caller's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.router_networks import Key, RouterNetwork
from parallel_build.errors import Cancelled, GuardFailed, ParallelBuildError
from parallel_build.operations.router_plan import PlannedWave
from parallel_build.remote.parallel import Workers

ASK_AGAIN = 3.0  # seconds between two looks at which networks users wait for
POLL = 1.0


class Orders(Protocol):
    """What is done with a network, and whether the next may be begun. All but `restart` is called by one thread."""

    def may_begin(self, usual: float) -> str:
        """Why nothing may be begun any more; empty where the next may.

        Args:
            usual: seconds that one has taken so far.
        Raises:
            GuardFailed: a rollback has begun, or a later run has taken over.
        """

    def wanted(self) -> Collection[Key]:
        """Networks that users wait for: they come first."""

    def beginning(self, network: RouterNetwork, following: Sequence[RouterNetwork]) -> None:
        """Write down that it is about to be restarted."""

    def restart(self, network: RouterNetwork) -> None:
        """Restart it and prove it. Raises ParallelBuildError with the cause."""

    def ended(self, network: RouterNetwork, cause: str) -> None:
        """It was restarted, or `cause` says why not."""


@dataclass
class Outcome:
    """What has become of the waves.

    Attributes:
        done: keys of networks that were restarted by this run.
        failed: causes by key.
        names: of the failed ones.
        why: why this run has ended before the last wave.
        stopped: a wave has failed too often: no run continues before the operator says so.
        passed: numbers of the waves that came to their end.
    """

    done: set[Key] = field(default_factory=set)
    failed: dict[Key, str] = field(default_factory=dict)
    names: dict[Key, str] = field(default_factory=dict)
    why: str = ""
    stopped: bool = False
    passed: list[int] = field(default_factory=list)


class WaveRun:
    """One run over the waves.

    Args:
        waves: in order; networks that are not `open` are left out.
        open_: keys of those that are to be restarted.
        at_once: networks at the same time.
        tries: of one network; the canary has one.
    """

    def __init__(
        self,
        waves: Sequence[PlannedWave],
        open_: Collection[Key],
        orders: Orders,
        *,
        at_once: int,
        tries: int,
        cancel: CancelToken,
        progress: Callable[[str], None],
    ) -> None:
        self.waves, self.orders, self.at_once, self.tries = waves, orders, at_once, tries
        self.cancel, self.progress = cancel, progress
        self._networks = {each.key: each for wave in waves for each in wave.networks if each.key in set(open_)}
        self._total = len(self._networks)
        self._open = dict(self._networks)  # not begun yet
        self._postponed: list[RouterNetwork] = []  # of the canary, where a network that users wait for was taken in its place
        self._seconds: list[float] = []
        self._asked, self._wanted = 0.0, set[Key]()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Go through the waves until one stops, or nothing may be begun any more."""
        for wave in self.waves:
            self._wave(wave)
            if self.outcome.why:
                break
            self.outcome.passed.append(wave.number)
        return self.outcome

    def _wave(self, wave: PlannedWave) -> None:
        todo = [each for each in (*self._postponed, *wave.networks) if each.key in self._open]
        self._postponed = []
        for attempt in range(1, (self.tries if wave.number else 1) + 1):
            if not todo:
                return
            if attempt > 1:
                self.progress(f"{wave}: {len(todo)} once more, which could not be restarted: {', '.join(each.name for each in todo[:5])}")
            todo = self._round(wave, todo, attempt)
            if self.outcome.why:
                return

    def _round(self, wave: PlannedWave, todo: Sequence[RouterNetwork], attempt: int) -> list[RouterNetwork]:
        """Restart each once; those that failed."""
        queue, running, failed = deque(todo), dict[Future[float], RouterNetwork](), list[RouterNetwork]()
        with Workers(self.at_once, self.cancel) as pool:
            while queue or running:
                while queue and len(running) < self.at_once and not self._halted(wave, failed, attempt):
                    self.cancel.check()
                    network = self._next(queue, wave)
                    self._open.pop(network.key, None)
                    self.orders.beginning(network, list(queue)[: self.at_once])
                    running[pool.submit(self._timed, network)] = network
                if not running:
                    break
                for future in wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done:
                    network = running.pop(future)
                    if not self._ended(network, future):
                        failed.append(network)
                self._halted(wave, failed, attempt)
        return failed

    def _next(self, queue: deque[RouterNetwork], wave: PlannedWave) -> RouterNetwork:
        """The next one: one that users wait for, wherever it stands."""
        if time.monotonic() - self._asked > ASK_AGAIN:
            self._wanted, self._asked = set(self.orders.wanted()), time.monotonic()
        first = next((each for key, each in self._open.items() if key in self._wanted), None)
        if first is None:
            return queue.popleft()
        if first in queue:
            queue.remove(first)
        elif wave.number == 0:
            self._postponed.append(queue.pop())  # a canary is no larger for it
        return first

    def _timed(self, network: RouterNetwork) -> float:
        began = time.monotonic()
        self.orders.restart(network)
        return time.monotonic() - began

    def _ended(self, network: RouterNetwork, future: Future[float]) -> bool:
        outcome, cause = self.outcome, ""
        try:
            self._seconds.append(future.result())
        except (Cancelled, GuardFailed):
            raise
        except ParallelBuildError as error:
            cause = error.cause or error.fact
        if cause:
            outcome.failed[network.key], outcome.names[network.key] = cause, network.name
        else:
            outcome.done.add(network.key)
            outcome.failed.pop(network.key, None)
        self.orders.ended(network, cause)
        self.progress(
            f"networks restarted: {len(outcome.done)} of {self._total}" + (f", {len(outcome.failed)} failed" if outcome.failed else "")
        )
        return not cause

    def _halted(self, wave: PlannedWave, failed: Sequence[RouterNetwork], attempt: int) -> bool:
        """Whether nothing may be begun any more, and why."""
        outcome = self.outcome
        if not outcome.why and attempt == 1 and len(failed) > wave.allowed:
            cause = outcome.failed.get(failed[-1].key, "")
            outcome.stopped = True
            outcome.why = f"{wave} is stopped: {len(failed)} of {len(wave.networks)} could not be restarted, {wave.allowed} may; {failed[-1].name}: {cause}"
        if not outcome.why:
            usual = sum(self._seconds) / len(self._seconds) if self._seconds else 0.0
            outcome.why = self.orders.may_begin(usual)
        return bool(outcome.why)
