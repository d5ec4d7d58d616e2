"""`plan STACK`: the path to the target, its needs and templates, its scripts' work on this cloud's tables, known faults that would hit. Reads only."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED
from parallel_build.cloudstack import upgrade_guide
from parallel_build.plan import facts, report, target
from parallel_build.plan.stack_templates import write
from parallel_build.plan.times import Rehearsed
from parallel_build.records import rehearsal_times
from parallel_build.remote.host import Connections
from parallel_build.stack.file import read_stack

NAME = "plan"
HELP = "print the plan of an upgrade: path, needs, system VM templates, work on tables, known faults that would hit this cloud; reads only"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, the target and its package."""
    parser.add_argument("stack")
    parser.add_argument("--to", metavar="VERSION", help="the target (default: new.version of the stack)")
    parser.add_argument(
        "--package",
        type=Path,
        metavar="FILE",
        help="the target's cloudstack-management package, .deb (default: a new server where it is installed)",
    )
    parser.add_argument(
        "--mirror", metavar="URL", default="", help="folder that has the templates' files, in place of the package's addresses"
    )
    parser.add_argument(
        "--write-templates", action="store_true", help="write the templates next to the stack file, for a stack that has no `templates`"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(given: argparse.Namespace) -> int:
    """Ask, print; 1 when a known fault would end the upgrade."""
    wanted = target.version(given.to) if given.to else None
    package = target.read_package(given.package)
    reading = read_stack(given.stack, config_file=given.config_file)
    site, configuration = reading.site, reading.site.configuration
    new = wanted or configuration.new.version
    target.refuse(configuration.original.version, new, package)
    connections = Connections(site, CancelToken())
    try:
        plan = facts.gather(site, connections, new, package, given.mirror)
    finally:
        connections.close()
    target.refuse(plan.old, new, package)
    planned = configuration.model_copy(update={"new": configuration.new.model_copy(update={"version": new})})
    hypervisors = upgrade_guide.unconfigured(planned)
    record = rehearsal_times.passed_here(planned, site.stack)
    measured = Rehearsed(record.schema, record.rows) if record else None
    if given.json:
        print(json.dumps(report.as_document(plan, hypervisors, measured), indent=1))
    else:
        print(report.as_text(plan, hypervisors, rehearsal_times.rehearsed(planned, site.stack, "FirstManagement"), measured), end="")
    if given.write_templates:
        print(write(plan, reading.file))
    return FAILED if report.blocked(plan) else DONE
