"""The window's record asked right before each call to a CloudStack API that changes something: such a call can't be fenced on a server.

A call that is on its way when another run takes over, and a job that the cloud has begun, still come to their end (docs/understand/provider.md).
"""

from __future__ import annotations

from functools import partial

from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import GuardFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import going_back


def asked(context: Context, cloud: Cloud) -> Cloud:
    """The same API, with every call that changes something allowed by the window's record first."""
    cloud.before_write = partial(may_write, context)
    return cloud


def may_write(context: Context) -> None:
    """Rule: a call that changes something is made only in an open window of this stack, by the latest run, and forward only while no rollback is under way.

    Raises:
        GuardFailed: it is not. Fenced: a later run has taken over.
    """
    records = store(context)
    record = records.read()
    if record is None or record.closed:
        raise GuardFailed(
            f"no window of stack {context.site.stack} is open any more",
            "it was rolled back and closed while this step ran; the call was not made",
            f"see where the cloud stands: parallel-build recover {context.site.stack}",
        )
    records.check_owner(record)
    records.check_run(record)
    if record.returning and not context.undoing:
        raise going_back(record)
