"""`switch STACK`: the window, with progress, up to the end or a hold point; on a failure it stops, or goes back by itself."""

from __future__ import annotations

import argparse
from typing import get_args

from parallel_build.cli import DONE, FAILED, board
from parallel_build.cli.back import go_back
from parallel_build.cli.recovery_advice import ORDER
from parallel_build.configuration import Phase, SwitchedStepName
from parallel_build.errors import GuardFailed
from parallel_build.secret import mask, remembered
from parallel_build.stack.automation import Driver, StoppedByOperator, UpFailed
from parallel_build.stack.file import read_stack

NAME = "switch"
HELP = "pulumi up to phase switched, with progress. A first ^C stops where it is safe."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, the hold point, and what a failure means."""
    parser.add_argument("stack")
    parser.add_argument(
        "--on-failure", choices=("stop", "back"), default="stop", help="back: go back to the original by itself (default: stop)"
    )
    parser.add_argument(
        "--stop-before", choices=get_args(SwitchedStepName), metavar="STEP", help=f"a hold point: {', '.join(get_args(SwitchedStepName))}"
    )


def run(given: argparse.Namespace) -> int:
    """Configure, drive, and on a failure do what `on_failure` asks for."""
    reading = read_stack(given.stack, config_file=given.config_file)
    if reading.site.configuration.phase is Phase.RETIRED:
        raise GuardFailed(
            f"stack {given.stack} is retired", "it was switched, and its window is closed for good", "there is nothing to switch"
        )
    shown = board.of_window(reading.site)
    driver = Driver(given.stack, given.config_file, shown.line, shown.hear)
    driver.configure(Phase.SWITCHED, given.stop_before)
    try:
        with shown.live():
            seconds = driver.up()
    except StoppedByOperator as error:
        print(f"stopped where it was safe.\n{error}\n{_ways(given.stack)}")
        return FAILED
    except UpFailed as error:
        print(f"error: {mask(str(error), remembered())}")
        if not _begun(given):
            # Nothing of the window is there: the stack file must not say that it is.
            driver.configure(Phase.PREPARED)
            print("the window was not opened, nothing was changed; the original is in service")
            return FAILED
        if given.on_failure == "stop":
            print(_ways(given.stack))
            return FAILED
        print("rolling back to the original")
        go_back(given, lambda: driver, shown)
        print("the switch failed, see above; the original is in service again")
        return FAILED
    if given.stop_before:
        print(f"holding before {given.stop_before} after {seconds:.0f} s; `switch` without --stop-before resumes, `back` rolls back")
    else:
        print(f"switched in {seconds:.0f} s; `back` rolls back within the rollback window")
    return DONE


def _ways(stack: str) -> str:
    return f"Forward: parallel-build switch {stack}\nBack:    parallel-build back {stack}"


def _begun(given: argparse.Namespace) -> bool:
    """Whether the state has anything of the window, finished or cut off; a state that can't be read counts as that."""
    state = read_stack(given.stack, config_file=given.config_file).state
    return bool(state.problem) or any(name in state.steps for name in ORDER) or any(text.split()[-1] in ORDER for text in state.pending)
