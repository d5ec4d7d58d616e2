"""`parallel-build health STACK`: is the original fit to be upgraded? While a window is open: where the stack stands instead. Reads only."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from parallel_build import health
from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED, recovery_advice, run_state, screen
from parallel_build.cli.recover import with_recorded_keys
from parallel_build.cli.recovery_advice import Explanation
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError
from parallel_build.operations import record_hosts
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.rules import Severity
from parallel_build.stack.file import read_stack
from parallel_build.stack.state import StackState
from parallel_build.steps.health_check import check_names

NAME = "health"
HELP = "examine the original and report what blocks, warns and notes; while a window is open, where the stack stands; reads only"
OUT_OF_SERVICE = (
    "Health judges an original that is in service, before its upgrade. This one has a window open, so its rules are not applied:"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and the form."""
    parser.add_argument("stack")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(given: argparse.Namespace) -> int:
    """Examine and print; 1 when something blocks that is not accepted, or no side serves while a window is open."""
    reading = read_stack(given.stack, config_file=given.config_file)
    site = with_recorded_keys(reading)
    accepted = check_names(site.configuration)
    connections = Connections(site, CancelToken())
    try:
        standing = where_it_stands(site, connections, reading.state)
        if standing is not None:
            print(
                json.dumps({"windowOpen": True, **asdict(standing)}, indent=1) if given.json else f"{OUT_OF_SERVICE}\n\n{standing.text()}"
            )
            return DONE if standing.serving in ("original", "new") else FAILED
        facts = health.gather(site, connections)
    finally:
        connections.close()
    report = health.examine(facts)
    if given.json:
        print(json.dumps(health.as_document(facts, report), indent=1))
    else:
        terminal = screen.console()
        if terminal is not None and len(report):
            screen.findings(terminal, f"Health of the original of stack {site.stack}", report)
        else:
            print(health.as_text(facts, report), end="")
    blocked = any(each.severity is Severity.BLOCKS and each.rule not in accepted for each in report)
    return FAILED if blocked else DONE


def where_it_stands(site: Site, connections: Connections, state: StackState) -> Explanation | None:
    """Where the stack stands while the original is out of service by this tool's doing; None where its health can be judged.

    The original's source may be switched off for good after a switch: then the stack's phase says what its record can't.
    """
    try:
        record = record_hosts.looked_at(site, connections).look()
    except (ParallelBuildError, ValueError, TypeError):
        if site.configuration.phase not in (Phase.SWITCHED, Phase.RETIRED):
            return None  # the rules say that it can't be read
    else:
        if record is None or record.closed:
            return None
    return recovery_advice.explain(run_state.gather(site, connections, state))
