"""`back STACK`: the original serves again; the new servers stay for the investigation."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, board
from parallel_build.cli.recover import with_recorded_keys
from parallel_build.cli.recovery_advice import has_window_steps
from parallel_build.configuration import Phase
from parallel_build.errors import Cancelled, GuardFailed, ParallelBuildError
from parallel_build.operations import original_replica, serve_original
from parallel_build.operations.claim import claim
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.rollback_window import check_allowed
from parallel_build.operations.window_standing import follow
from parallel_build.records.run_folder import RunFolder, now
from parallel_build.records.window import WindowRecord
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.secret import mask
from parallel_build.stack.automation import Driver
from parallel_build.stack.file import Reading, read_stack
from parallel_build.steps.window import Window

NAME = "back"
HELP = "the original serves again, the quickest way; then pulumi up to phase prepared. Also where the state has been lost. A first ^C stops where it is safe."
STEP = "Window"
BACK = "Back"  # the journal's name for what is done ahead of the state


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and whether Pulumi is left out."""
    parser.add_argument("stack")
    parser.add_argument(
        "--without-pulumi",
        action="store_true",
        help="undo the window from its record on the original's database host, with the stack file alone: where the state is lost or does not know of it",
    )
    parser.add_argument(
        "--window",
        metavar="ID",
        help="roll back this window, whoever the state names as its owner; `recover` prints its identity. Leaves Pulumi out",
    )
    parser.add_argument(
        "--from-replica",
        action="store_true",
        help="the original's source is gone for good: have its replica take its place, where it is on record that it has everything",
    )


def run(given: argparse.Namespace) -> int:
    """The original first; then Pulumi, and whatever the state did not know of."""
    reading = read_stack(given.stack, config_file=given.config_file)
    shown = board.of_window(reading.site)
    alone = given.without_pulumi or given.window
    go_back(given, None if alone else lambda: Driver(given.stack, given.config_file, shown.line, shown.hear), shown)
    print("the original serves")
    if alone and (reading.state.problem or has_window_steps(reading.state)):
        print(
            "a state that has the window's steps does not know of it, and `pulumi up` in phase switched is refused; have it follow: "
            + follow(given.stack)
        )
    return DONE


def go_back(given: argparse.Namespace, drive: Callable[[], Driver] | None, shown: board.Show | None = None) -> None:
    """Undo the window: the original serves before Pulumi has started, then the state follows.

    Args:
        drive: makes what drives Pulumi; None leaves it out.
        shown: shows what Pulumi does.
    Raises:
        UpFailed: Pulumi's undo failed. GuardFailed: going back is not allowed, or another stack holds the window.
        RollbackIncomplete: a new management server can't be proved down.
    """
    reading = read_stack(given.stack, config_file=given.config_file)
    with undoing(_acting(given, reading)) as context:
        # A run that is under way holds the state's lock. Where such a lock can't be seen from here Pulumi, which asks for it, comes first; it can't
        # choose the replica.
        from_replica = bool(getattr(given, "from_replica", False))
        if drive is None or from_replica or (reading.state.file and not reading.state.locks):
            try:
                _serve(context, from_replica=from_replica)
            except (GuardFailed, Cancelled):
                raise
            except ParallelBuildError:
                if drive is not None:
                    drive().configure(Phase.PREPARED)
                raise
    if drive is not None:
        driver = drive()
        driver.configure(Phase.PREPARED)
        with shown.live() if shown else contextlib.nullcontext():
            driver.up()
    with undoing(_acting(given, read_stack(given.stack, config_file=given.config_file))) as context:
        if _record(context) is not None:
            step = Window()
            step.before_revert(context)
            _recorded(context, step.type, lambda: step.revert(context))


def _acting(given: argparse.Namespace, reading: Reading) -> Site:
    """The stack that acts: for the window that was named, whoever opened it."""
    site = with_recorded_keys(reading)
    window = getattr(given, "window", None)
    return replace(site, known_as=(window,)) if window else site


@contextlib.contextmanager
def undoing(site: Site, step: str = STEP) -> Iterator[Context]:
    """What an undo outside of Pulumi works with; a ^C stops it where it is safe.

    Args:
        step: under which its lines are shown and logged.
    """
    cancel = CancelToken()
    connections = Connections(site, cancel)
    run = RunFolder(site.configuration.runs, site.stack, site.hidden())

    def tell(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {step}: {mask(text, site.hidden())}", flush=True)

    context = Context(site, connections, run, cancel, tell, step, undoing=step == STEP)
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel.set("^C"))
    try:
        yield context
    finally:
        signal.signal(signal.SIGINT, before)
        connections.close()


def _serve(context: Context, *, from_replica: bool = False) -> None:
    """Have the original serve, ahead of the state, where a window of this stack is open."""
    record = _record(context)
    if record is None or record.retired:
        return  # a retired stack is led back in Pulumi's order: the new side has something to tell the agents before it goes
    claim(context)
    check_allowed(context, promoting=from_replica)
    if from_replica:
        original_replica.choose(context)
    _recorded(context, BACK, lambda: serve_original.serve_at_once(context))


def _record(context: Context) -> WindowRecord | None:
    """The open window's record, None where there is none.

    Raises:
        GuardFailed: another stack holds it.
    """
    record = store(context).look()  # a silent host of the record is proved down by the first write, which marks the rollback
    if record is None or record.closed:
        return None
    store(context).check_owner(record)
    return record


def _recorded(context: Context, name: str, act: Callable[[], None]) -> None:
    """Do it, with its lines in the journal and its evidence, as the provider would."""
    run = context.run
    started, clock, outcome = now(), time.monotonic(), "done"
    run.record("begin", step=name, operation="undo")
    try:
        act()
    except BaseException as error:
        outcome = str(error)
        raise
    finally:
        seconds = round(time.monotonic() - clock, 3)
        run.record("end", step=name, operation="undo", outcome=outcome, seconds=seconds)
        run.keep(f"{name}.undo", {"step": name, "outcome": outcome, "timing": {"started": started, "ended": now(), "seconds": seconds}})
