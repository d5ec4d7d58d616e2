"""`routers STACK`: the router waves that `pulumi up` had no time for; also for a timer."""

from __future__ import annotations

import argparse
import contextlib

from parallel_build.cli import DONE, FAILED
from parallel_build.cli.back import undoing
from parallel_build.cli.recover import with_recorded_keys
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Phase
from parallel_build.errors import Cancelled, GuardFailed
from parallel_build.operations import deadline, router_waves, users_in
from parallel_build.operations.claim import claim
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import OpenSession, new_database, store
from parallel_build.operations.router_plan import PlannedWave
from parallel_build.records.waves import ROUTERS, WaveState
from parallel_build.stack.file import read_stack

NAME = "routers"
HELP = "renew routers wave by wave, users in meanwhile; needs the window's record, not the state. A first ^C begins nothing new."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and one of what else may be wanted."""
    parser.add_argument("stack")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--plan", action="store_true", help="print the waves and how they stand; changes nothing")
    kinds.add_argument(
        "--wave", type=int, metavar="N", help="only this wave (--plan numbers them); the canary first where it was not good yet"
    )
    kinds.add_argument("--pause", action="store_true", help="have no run begin anything more, until the next `routers` without it")
    kinds.add_argument("--retry", action="store_true", help="try failed networks again, and continue after a stopped wave")


def run(given: argparse.Namespace) -> int:
    """Do what was asked for. 0 where nothing is left that this run could do, 1 where a wave is stopped or networks have failed."""
    reading = read_stack(given.stack, config_file=given.config_file)
    with undoing(with_recorded_keys(reading), NAME) as context:
        _may_run(context)
        if given.plan:
            _print_plan(context)
            return DONE
        if given.pause:
            router_waves.pause(context, on=True)
            print(f"paused: what runs comes to its end, nothing new is begun. Continue: parallel-build routers {given.stack}")
            return DONE
        claim(context)
        deadline.not_going_back(context)
        if given.retry:
            router_waves.retry(context)
        router_waves.pause(context, on=False)
        try:
            result = router_waves.run(context, only=given.wave)
        except Cancelled:
            print(
                f"stopped as asked: nothing new is begun; restarts that CloudStack has begun continue. Continue: parallel-build routers {given.stack}"
            )
            return FAILED
        if given.wave is None:
            router_waves.let_users_in(context, result)
        print(result.words(given.stack))
        return FAILED if result.failed or "is stopped" in result.why else DONE


def _may_run(context: Context) -> None:
    """Raises GuardFailed where there is nothing to renew: no open window of this stack, or users are not in yet."""
    if context.configuration.move:
        raise GuardFailed(
            "this stack moves the cloud to new servers, and a move leaves routers alone",
            "new.version is original.version, so no router has to be renewed",
            "nothing is left to do",
        )
    record = store(context).mine()
    if users_in.earlier_version(record):
        raise GuardFailed(
            "the routers are no part of this window",
            "an earlier version of this project opened it, and renewed all routers before users were in",
            "nothing is left to do",
        )
    if context.configuration.phase not in (Phase.SWITCHED, Phase.RETIRED) or users_in.wait_still(record):
        raise GuardFailed(
            "users are not in on the new side yet",
            "routers are renewed after that, and `pulumi up` begins with them",
            f"run `pulumi up` with phase switched (or parallel-build switch {context.site.stack}) to its end first",
        )


def _print_plan(context: Context) -> None:
    cloud = Cloud.new(context.site)
    state = WaveState.of(store(context).facts(ROUTERS))
    with contextlib.ExitStack() as stack:
        found = router_waves.look(context, cloud, OpenSession(new_database(context), stack))
    old = {each.key for each in found.old}
    for wave in router_waves.planned(context, found):
        print(_line(wave, sum(each.key in old for each in wave.networks), state))
    print(f"{len(found.idle)} networks are idle and left alone")
    for text in filter(None, (state.stopped, f"paused since {state.paused}" if state.paused else "")):
        print(text)
    print(router_waves.standing(context).words(context.site.stack))


def _line(wave: PlannedWave, left: int, state: WaveState) -> str:
    failed = [each.name for each in wave.networks if each.label in state.failed]
    text = f"{wave.number:>4}  {wave.title}: {len(wave.networks)} networks, {left} left, {wave.allowed} may fail"
    return text + (f"; failed: {', '.join(failed[:5])}" if failed else "")
