"""Trying a failed job again, and only where a host that is still connecting, or another job's lock in the database, made it fail.

A management server that has lost its database for a moment is away from its agents: they dial again by themselves [seen on the lab's stand-in], and a
host may be Up by the API while the server that is asked has no connection to it yet. Jobs that are sent side by side may also meet in the database,
which ends one of them and takes back what it wrote. Nothing else passes by itself: each restart of a network that fails for want of capacity leaves
another router behind [seen on a real cloud].
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud, JobFailed

AGENTS_RETURN = 60.0  # seconds since the first failure of any job
AGAIN = 5.0
INSUFFICIENT_CAPACITY = 533  # [CloudStack ApiErrorCode.java]
# What CloudStack writes about a host that it has no connection to [AgentManagerImpl, AgentUnavailableException, OperationTimedoutException].
CONNECTING = re.compile(
    r"not connected|AgentUnavailable|Resource \[Host:\d+\] is unreachable|Host \d+: .*(state|reach|connect)|"
    r"agent .*(unavailable|disconnected|not (responding|reachable))|OperationTimedout|Commands \d+ to Host \d+ timed out",
    re.IGNORECASE,
)
# What is left of the database's errors 1205 and 1213 in a job's result [MySQL error reference; GenericDaoBase wraps them as "DB Exception on: ..."].
LOCKED = re.compile(r"Deadlock found|Lock wait timeout exceeded|try restarting transaction|DB Exception on:", re.IGNORECASE)

Progress = Callable[[str], None]


def nobody() -> list[str]:
    """No host is away."""
    return []


def hosts_away(cloud: Cloud) -> Callable[[], list[str]]:
    """Asks for the enabled hosts that are not Up: their capacity is not there yet."""

    def ask() -> list[str]:
        return sorted(
            str(host.get("name"))
            for host in cloud.list("listHosts", type="Routing")
            if host.get("resourcestate", "Enabled") == "Enabled" and host.get("state") != "Up"
        )

    return ask


class Patience:
    """Begins a failed job again, for as long as hosts may take to connect since the first failure of any job. Thread safe.

    Args:
        away: the hosts that are not Up now; a job that failed for another reason waits for them, and is not begun meanwhile.
    """

    def __init__(self, cancel: CancelToken, progress: Progress, away: Callable[[], list[str]] = nobody) -> None:
        self.cancel, self.progress, self.away = cancel, progress, away
        self._since: float | None = None

    def run(self, job: Callable[[], Any]) -> None:
        """Run a job to its success.

        Raises:
            JobFailed: it fails for another reason than a host that connects or a lock, or still fails after AGENTS_RETURN seconds; the last failure.
        """
        while True:
            try:
                job()
                return
            except JobFailed as error:
                self._since = self._since or time.monotonic()
                if not self._may_pass(error):
                    raise
            self.cancel.wait(AGAIN)

    def _may_pass(self, error: JobFailed) -> bool:
        """Whether it is worth another try; waits for the hosts that are away."""
        if self._over():
            return False
        if error.code != INSUFFICIENT_CAPACITY and CONNECTING.search(error.cause):
            self.progress(f"{error.fact}: {error.cause}; again, since a host may just be connecting")
            return True
        if LOCKED.search(error.cause):
            self.progress(f"{error.fact}: {error.cause}; again, since it met another job in the database")
            return True
        missing = self.away()
        if not missing:
            return False
        self.progress(f"{error.fact}: {error.cause}; again when hosts are Up: {', '.join(missing)}")
        while not self._over():
            self.cancel.wait(AGAIN)
            if not self.away():
                return True
        return False

    def _over(self) -> bool:
        return self._since is not None and time.monotonic() - self._since > AGENTS_RETURN
