"""Whether the window in which a state's steps were done still stands: a rollback that leaves Pulumi out changes the record, and no state.

Asked while the engine compares a step with its state, in a preview too. So nothing here waits long, and nothing is changed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, get_args

from parallel_build.cancel import wait_for
from parallel_build.configuration import Phase, SwitchedStepName
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, ParallelBuildError, TimedOut
from parallel_build.operations import record_hosts
from parallel_build.records.states import FIRST_START
from parallel_build.records.window import WindowRecord, WindowStore, going_back
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site

LIMIT = 20.0  # seconds for both hosts of the record together
ASKED_FOR = 8.0  # seconds for each look at one of them
RETIREMENT = "Retirement"


@dataclass(frozen=True)
class Seen:
    """What the window's record says.

    Attributes:
        records: where it was looked for.
        record: it, as far as it can be read; None where there is none.
        unusable: why it can't be used: torn, of another machine, or missing on a host that has to have it.
        unknown: why a host that may know more could not be asked; empty where nothing is missing.
    """

    records: WindowStore
    record: WindowRecord | None = None
    unusable: GuardFailed | None = None
    unknown: str = ""


def look(site: Site, connections: Connections, limit: float = LIMIT) -> Seen:
    """Ask both hosts of the record at the same time, and wait no longer than `limit` seconds.

    Raises:
        Cancelled: stopping was asked for.
    """
    records = record_hosts.looked_at(site, connections, limit=ASKED_FOR)
    answer: Future[Seen] = Future()

    def ask() -> None:
        try:
            answer.set_result(_asked(site, records))
        except BaseException as error:  # whatever it is, it belongs to who waits
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        wait_for("an answer about the window's record", answer.done, timeout=limit, cancel=connections.cancel, interval=0.05)
    except TimedOut as error:
        return Seen(records, unknown=error.fact)
    return answer.result()


def _asked(site: Site, records: WindowStore) -> Seen:
    def confirmed(host: Access, error: ParallelBuildError, returning: bool) -> None:
        if host.name not in site.configuration.confirmed_down:
            raise error

    copies = records.copies
    assert copies is not None, "looked_at knows both hosts"
    record = None
    try:
        both = copies.look()
        record = records.of(both)
        if record is not None and record.retired and not record.closed:
            return Seen(records, record)  # it can't be undone any more, and its original may have been taken away
        copies.proof = confirmed
        copies.settle(both, returning=bool(record and record.returning))
        silent = [copy for copy in both.copies if isinstance(copy.problem, (ConnectionFailed, CommandFailed))]
        if record is None and silent and silent[0].problem is not None:
            return Seen(records, unknown=silent[0].problem.reason)
    except (ConnectionFailed, CommandFailed) as error:
        return Seen(records, record, unknown=error.reason)
    except GuardFailed as error:
        return Seen(records, record, unusable=error)
    return Seen(records, record)


def check(seen: Seen, site: Site, step: str, result: Mapping[str, Any]) -> str:
    """Rule: a step that the state has as done is left as it is only where the record says that its window stands.

    Args:
        step: its type.
        result: its evidence in the state.
    Returns:
        what could not be asked, in words; empty where the window stands.
    Raises:
        GuardFailed: the window is closed, or a rollback is under way, or another window is open, or the record can't be used.
    """
    if seen.unusable is not None:
        raise seen.unusable
    record, opened = seen.record, result.get("opened")
    if seen.unknown and not (record is not None and opened and record.opened == opened):
        return _unasked(seen.unknown, step)
    if record is None:
        return _missing(seen, site, step)
    # What is written of a window is never taken back: that it is closed or rolled back holds whatever a silent host knows.
    if record.closed:
        raise _closed(seen, site, record, step)
    seen.records.check_owner(record)
    if record.returning:
        raise going_back(record)
    if seen.unknown:
        return _unasked(seen.unknown, step)
    if (opened and record.opened != opened) or (record.switched is None and _needs_switch(step)):
        raise _of_another(seen, site, record, step)
    return ""


def _needs_switch(step: str) -> bool:
    """Whether a step is done only where a new management server has been started."""
    order = get_args(SwitchedStepName)
    return step == RETIREMENT or (step in order and order.index(step) >= order.index(FIRST_START))


def follow(stack: str) -> str:
    """The command that rolls a switch back, or has the state follow a rollback that left Pulumi out."""
    return f"pulumi config set phase prepared --stack {stack} && pulumi up --stack {stack}"


def _unasked(why: str, step: str) -> str:
    return (
        f"whether the window is still open can't be asked: {why.rstrip('.')}. The state alone says that {step} is done: a rollback that was made "
        "without Pulumi would not show here"
    )


def _missing(seen: Seen, site: Site, step: str) -> str:
    records, pair = seen.records, site.configuration.new.database
    fact = f"the state has {step} as done, and there is no record of a window on {records.host.name} or {pair.source.name}"
    if site.configuration.phase is Phase.RETIRED:  # an original that is history may have been built again
        return fact
    raise GuardFailed(
        fact,
        f"{records.path} was removed, or these are not the machines of that window",
        f"see which side is in service: parallel-build recover {site.stack}. Where it is the original: {follow(site.stack)}. Where it is the new side: put "
        "the record back from a backup of that file",
    )


def _closed(seen: Seen, site: Site, record: WindowRecord, step: str) -> GuardFailed:
    return GuardFailed(
        f"the state has {step} as done, and by the record on {seen.records.host.name} no window is open: the last one, of stack {record.stack}, was "
        f"opened {record.opened} and closed {record.closed}",
        "it was rolled back without Pulumi (`back --without-pulumi`, `back --window`, or with another copy of this state), and the original has been "
        "in service since. Nothing was changed now",
        f"have the state follow: {follow(site.stack)}; after that phase switched opens a new window",
    )


def _of_another(seen: Seen, site: Site, record: WindowRecord, step: str) -> GuardFailed:
    switched = "" if record.switched else ", and the new side has not been started in it"
    return GuardFailed(
        f"the state has {step} as done in an earlier window than the one that is open on {seen.records.host.name}: that was opened {record.opened} by "
        f"{record.holder or 'somebody'}{switched}",
        "the earlier one was rolled back without Pulumi, and the present one opened with another copy of this state. Nothing was changed now",
        f"continue with the state that opened it; or roll it back: parallel-build back {site.stack} --without-pulumi; then {follow(site.stack)}",
    )
