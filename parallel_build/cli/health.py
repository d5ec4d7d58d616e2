"""`python -m parallel_build health STACK`: is the original fit to be upgraded? Reads only."""

from __future__ import annotations

import argparse
import json

from parallel_build import health
from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED
from parallel_build.health.finding import Severity
from parallel_build.remote.host import Connections
from parallel_build.stack.file import read_site
from parallel_build.steps.health_check import check_names

NAME = "health"
HELP = "examine the original and report what blocks, warns and notes; reads only"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and the form."""
    parser.add_argument("stack")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(given: argparse.Namespace) -> int:
    """Examine and print; 1 when something blocks that is not accepted."""
    site = read_site(given.stack, config_file=given.config_file)
    accepted = check_names(site.configuration)
    connections = Connections(site, CancelToken())
    try:
        facts = health.gather(site, connections)
    finally:
        connections.close()
    findings = health.examine(facts)
    if given.json:
        print(json.dumps(health.as_document(facts, findings), indent=1))
    else:
        print(health.as_text(facts, findings), end="")
    blocked = any(each.severity is Severity.BLOCKS and each.rule not in accepted for each in findings)
    return FAILED if blocked else DONE
