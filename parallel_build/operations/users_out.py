"""How long users are out: from the first refused call to the first served one, by the user probe's clock; without a probe by the record's host's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parallel_build.cloudstack.user_probe import Answer
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database, store
from parallel_build.remote.clock import read_host_clock

STEP = "UsersOut"  # under this name the window's record has the times
EVIDENCE = "users-out"
PROBES, HOSTS = "the user probe's", "the original database host's"


def note_out(context: Context, answers: Sequence[Answer] = ()) -> None:
    """Users are out: the earliest refusal counts, and of several notes the first."""
    _note(context, "out", answers)


def note_in(context: Context, answers: Sequence[Answer] = (), *, side: str) -> None:
    """Users are in again: the earliest served call counts.

    Args:
        side: which side serves them.
    """
    _note(context, "in", answers, side=side)


def _note(context: Context, what: str, answers: Sequence[Answer], side: str = "") -> None:
    """A time that can't be written down keeps nobody out."""
    try:
        record = store(context).read()
        if record is None or record.closed:
            return
        times: list[dict[str, Any]] = [dict(each) for each in record.facts.get(STEP, {}).get("times", [])]
        open_ = bool(times) and "in" not in times[-1]
        if (what == "in") != open_:
            return
        asked = [each.at for each in answers if each.at]
        if asked and (what == "out" or times[-1]["clock"] == PROBES):
            moment, clock = min(asked), PROBES
        else:  # no probe, or an outage that began without one: both ends by one clock
            moment, clock = read_host_clock(original_database(context)).time, HOSTS
        if what == "out":
            times.append({"out": moment, "clock": clock})
        else:
            times[-1] |= {"in": moment, "side": side}
            if times[-1]["clock"] == clock:
                times[-1]["seconds"] = round(moment - times[-1]["out"], 3)
                context.progress(f"users were out for {times[-1]['seconds']:.1f} s, by {clock} clock")
        store(context).remember(STEP, times=times)
        context.run.keep(EVIDENCE, {"times": times})
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"when users were {what} can't be noted: {error}")
