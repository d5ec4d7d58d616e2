"""`back STACK`: the original serves again; the new servers stay for the investigation."""

from __future__ import annotations

import argparse
import signal
import time

from parallel_build.cancel import CancelToken
from parallel_build.commands import DONE
from parallel_build.commands.recover import with_recorded_keys
from parallel_build.configuration import Phase
from parallel_build.connection import Connections
from parallel_build.driving import Driver
from parallel_build.evidence import RunFolder, now
from parallel_build.site import Site
from parallel_build.stack_file import read_stack
from parallel_build.steps.base import Context
from parallel_build.steps.common import store
from parallel_build.steps.window import Window

NAME = "back"
HELP = "pulumi up to phase prepared: the original serves again. Also where the state has been lost. A first ^C stops where it is safe."
STEP = "Window"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and whether Pulumi is left out."""
    parser.add_argument("stack")
    parser.add_argument(
        "--without-pulumi",
        action="store_true",
        help="undo the window from its record on the original's database host, with the stack file alone: where the state is lost or does not know of it",
    )


def run(given: argparse.Namespace) -> int:
    """Through Pulumi, then whatever the state did not know of."""
    go_back(given, None if given.without_pulumi else Driver(given.stack, given.config_file))
    print("the original serves")
    return DONE


def go_back(given: argparse.Namespace, driver: Driver | None) -> None:
    """Undo the window.

    Args:
        driver: drives Pulumi; None leaves it out.
    Raises:
        UpFailed: Pulumi's undo failed. GuardFailed: going back is not allowed, or another stack holds the window.
    """
    if driver is not None:
        driver.configure(Phase.PREPARED)
        driver.up()
    site = with_recorded_keys(read_stack(given.stack, config_file=given.config_file))
    converge(site)


def converge(site: Site) -> bool:
    """Undo an open window of this stack directly, from its record; whether there was one.

    Raises:
        GuardFailed: another stack holds it, or going back is not allowed any more.
    """
    cancel = CancelToken()
    connections = Connections(site, cancel)
    run = RunFolder(site.configuration.runs, site.stack, site.secrets.all())
    context = Context(site, connections, run, cancel, lambda text: print(f"{time.strftime('%H:%M:%S')} {STEP}: {text}"), STEP)
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel.set("^C"))
    try:
        record = store(context).read()
        if record is None or record.closed:
            return False
        store(context).check_owner(record)
        step = Window()
        step.before_revert(context)
        started, clock, outcome = now(), time.monotonic(), "done"
        run.record("begin", step=STEP, operation="undo")
        try:
            step.revert(context)
        except BaseException as error:
            outcome = str(error)
            raise
        finally:
            seconds = round(time.monotonic() - clock, 3)
            run.record("end", step=STEP, operation="undo", outcome=outcome, seconds=seconds)
            run.keep(f"{STEP}.undo", {"step": STEP, "outcome": outcome, "timing": {"started": started, "ended": now(), "seconds": seconds}})
        return True
    finally:
        signal.signal(signal.SIGINT, before)
        connections.close()
