"""`check STACK`: every guard, now, without Pulumi and without changing anything."""

from __future__ import annotations

import argparse
import contextlib

from parallel_build import guards
from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED, screen
from parallel_build.errors import GuardFailed, ParallelBuildError
from parallel_build.facts import new as new_facts
from parallel_build.facts import original as original_facts
from parallel_build.operations import record_hosts
from parallel_build.operations.context_helpers import schemas
from parallel_build.records.rehearsal import in_review
from parallel_build.remote.host import Connections
from parallel_build.stack.file import Reading, read_stack

NAME = "check"
HELP = "ask every guard on both sides, now; all that fail are listed together. Changes nothing."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and whether the new side is there to be asked."""
    parser.add_argument("stack")
    parser.add_argument(
        "--side", choices=("both", "original"), default="both", help="original: before the new servers are built (default: both)"
    )


def run(given: argparse.Namespace) -> int:
    """Read the facts, apply the guards, print each."""
    reading = read_stack(given.stack, config_file=given.config_file)
    both = given.side == "both"
    if both and (missing := _unaskable(reading)):
        raise GuardFailed(
            f"the new side can't be asked: no host key of {', '.join(missing)} is known",
            reading.state.problem or f"{reading.state.found} has none: the machines have not been built",
            f"log in to the backend that holds the state of stack {given.stack}, or ask the original alone: --side original",
        )
    connections = Connections(reading.site, CancelToken())
    try:
        opened = _window(reading, connections)
        old = original_facts.gather(reading.site, connections)
        fresh = new_facts.gather(reading.site, connections, schemas(reading.site.configuration)) if both else new_facts.NewFacts()
    finally:
        connections.close()
    asked = guards.GUARDS if both else (*guards.original.GUARDS, *guards.world.GUARDS)
    report = guards.report(reading.site, old, fresh, asked)
    failed = report.errors()
    if opened:
        print(f"a window is open since {opened}: the guards are for before it. `recover` shows where it stands.")
    for line in guards.notices(reading.site, old):
        print(line)
    if failed:
        print(f"{len(failed)} of {len(asked)} guards do not hold:")
        terminal = screen.console()
        if terminal is not None:
            screen.findings(terminal, f"{len(failed)} of {len(asked)} guards", report)
            return FAILED
        for error in failed:
            print(f"  - {error}")
        return FAILED
    print(f"{len(asked)} guards hold" + ("" if both else "; the new side was not asked"))
    for line in in_review(reading.site.configuration):
        print(line)
    return DONE


def _window(reading: Reading, connections: Connections) -> str:
    """Since when a window is open; "" when none is, or nobody can say (which the guards then do)."""
    with contextlib.suppress(ParallelBuildError):
        record = record_hosts.looked_at(reading.site, connections).look()
        if record is not None and not record.closed:
            return record.opened or ""
    return ""


def _unaskable(reading: Reading) -> list[str]:
    """New machines whose key is known nowhere; those of platform `existing` may be in ssh.knownHosts."""
    configuration = reading.site.configuration
    return [machine.name for machine in reading.unknown_keys() if configuration.platform_of(machine) != "existing"]
