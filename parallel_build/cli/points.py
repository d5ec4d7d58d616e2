"""`points STACK`: rollback points of a stack of virtual machines, so that a test upgrade can be run again and again."""

from __future__ import annotations

import argparse
import json

from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE
from parallel_build.cli.recover import with_recorded_keys
from parallel_build.errors import ConfigurationError
from parallel_build.operations.rollback_points import Points
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections
from parallel_build.stack.file import read_stack

NAME = "points"
HELP = (
    "take, list, restore or remove rollback points of the stack's new machines (libvirt, vSphere; storage by --hook), which are off meanwhile. "
    "Refused while users may work on them. For a lab: scripts/lab snapshot"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, what to do, and which point."""
    parser.add_argument("stack")
    parser.add_argument("action", choices=("take", "list", "restore", "remove"))
    parser.add_argument("point", nargs="?", default="", help="the point's name")
    parser.add_argument(
        "--hook",
        default="",
        metavar="COMMAND",
        help="has a SAN or NAS take, restore or remove its own snapshots: run with the action, the point and the machines' names, while these are off",
    )


def run(given: argparse.Namespace) -> int:
    """Do it."""
    site = with_recorded_keys(read_stack(given.stack, config_file=given.config_file))
    if given.action != "list" and not given.point:
        raise ConfigurationError(f"`points {given.action}` needs a point's name", "points are known by their names", "name one")
    connections = Connections(site, CancelToken())
    try:
        points = Points(site, connections, RunFolder(site.configuration.runs, site.stack, site.hidden()), print, given.hook)
        if given.action == "list":
            print(json.dumps(points.names(), indent=1))
        else:
            {"take": points.take, "restore": points.restore, "remove": points.remove}[given.action](given.point)
    finally:
        connections.close()
    return DONE
