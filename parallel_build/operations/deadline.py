"""The window's deadline: by when the first new management server must start, since from then on new data is at stake.

Before that point going back loses nothing and takes no longer than starting the original; so a window that runs late stops by itself, where it is
safe, and says so. The time is measured on the original's database host, by its uptime: it is the same for whoever asks, and neither a
workstation's clock that jumps nor a correction of the host's own moves it.
"""

from __future__ import annotations

import time
from datetime import timedelta

from parallel_build.cancel import CancelToken
from parallel_build.durations import duration
from parallel_build.errors import DeadlinePassed, GuardFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowRecord, going_back
from parallel_build.remote.clock import HostClock, read_host_clock


def passed(limit: timedelta, elapsed: float) -> DeadlinePassed:
    """The error that says so.

    Args:
        limit: `window.deadline`.
        elapsed: seconds since the window was opened.
    """
    return DeadlinePassed(
        f"the window's deadline has passed: the new side had to start within {duration(limit)}, and {duration(elapsed)} are over",
        "window.deadline; the new side has not started, so going back loses nothing",
        "go back: `pulumi config set phase prepared && pulumi up`; or set a longer window.deadline, then `pulumi up` resumes from here",
    )


class LimitedToken(CancelToken):
    """A cancel token that is set by itself when the deadline has passed, so that every wait and loop of a step ends then.

    Args:
        inner: the engine's own.
        seconds: until the deadline, counted by a clock that also runs while this machine sleeps.
        error: what is raised then.
    """

    def __init__(self, inner: CancelToken, seconds: float, error: DeadlinePassed) -> None:
        super().__init__()
        self.inner, self._error = inner, error
        self._end = _clock() + seconds

    def set(self, reason: str) -> None:
        """Ask to stop, as the engine does."""
        self.inner.set(reason)

    @property
    def is_set(self) -> bool:
        """Whether to stop, for either reason."""
        return self.inner.is_set or _clock() >= self._end

    def check(self) -> None:
        """Raises Cancelled, or DeadlinePassed."""
        self.inner.check()
        if _clock() >= self._end:
            raise self._error

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than to the deadline."""
        self.inner.wait(max(0.0, min(seconds, self._end - _clock())))
        self.check()


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def left(record: WindowRecord, limit: timedelta, now: HostClock) -> float:
    """Seconds until the deadline of an open window, negative past it."""
    return limit.total_seconds() - now.since(HostClock(**record.clock))


def check(context: Context) -> float | None:
    """Ask whether the new side may still be started.

    Returns:
        seconds left; None when no window is open, or one that was opened without a clock.
    Raises:
        DeadlinePassed: it should have started by now. GuardFailed: see `not_going_back`.
    """
    record = not_going_back(context)
    if record is None or record.closed or not record.clock:
        return None
    limit = context.configuration.window.deadline
    seconds = left(record, limit, store(context).clock(read_host_clock))
    if seconds <= 0:
        raise passed(limit, limit.total_seconds() - seconds)
    return seconds


def not_going_back(context: Context, *, opening: bool = False) -> WindowRecord | None:
    """Rule: a step goes forward only in the window that it belongs to, and not while a rollback is under way: the original may serve already.

    Args:
        opening: the step is the one that opens the window: there may be none yet.
    Returns:
        the window's record.
    Raises:
        GuardFailed: a rollback has begun, or the window is closed, or it is another stack's. Fenced: a later run has taken over.
    """
    records = store(context)
    record = records.read()
    if record is None or record.closed:
        if opening:
            return record
        raise GuardFailed(
            f"no window of stack {context.site.stack} is open on {records.host.name}",
            "it was rolled back and closed since this step was declared" if record else f"{records.path} is not there",
            "pulumi config set phase prepared && pulumi up, which brings the state up to date; after that a new window can be opened",
        )
    records.check_owner(record)
    records.check_run(record)
    if record.returning:
        raise going_back(record)
    return record


def hold(context: Context) -> None:
    """Check, and from here on end every wait and loop of this step at the deadline."""
    seconds = check(context)
    if seconds is not None and not isinstance(context.cancel, LimitedToken):
        limit = context.configuration.window.deadline
        context.cancel = LimitedToken(context.cancel, seconds, passed(limit, limit.total_seconds()))


def commit(context: Context) -> None:
    """The last look before the point of no return; after it nothing is cut short by the deadline any more.

    Raises:
        DeadlinePassed: it is too late to begin.
    """
    if isinstance(context.cancel, LimitedToken):
        context.cancel.check()
        context.cancel = context.cancel.inner
