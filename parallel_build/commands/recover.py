"""`recover STACK`: where a broken run stands, which side serves, and what goes forward and back. Changes nothing."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace

from parallel_build import recovery
from parallel_build.cancel import CancelToken
from parallel_build.commands import DONE, FAILED
from parallel_build.connection import Connections
from parallel_build.errors import ParallelBuildError
from parallel_build.facts import situation
from parallel_build.site import Site
from parallel_build.stack_file import Reading, read_stack
from parallel_build.window_record import WindowStore

NAME = "recover"
HELP = "explain where a broken run stands, which side serves, and which command goes forward and which back. Changes nothing."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack."""
    parser.add_argument("stack")
    parser.add_argument("--json", action="store_true", help="as JSON: serving, findings, servers, forward, back, first")


def run(given: argparse.Namespace) -> int:
    """Ask everything, explain it; 0 when exactly one side serves."""
    reading = read_stack(given.stack, config_file=given.config_file)
    site = with_recorded_keys(reading)
    connections = Connections(site, CancelToken())
    try:
        found = situation.gather(site, connections, reading.state)
    finally:
        connections.close()
    explanation = recovery.explain(found)
    print(json.dumps(asdict(explanation), indent=1) if given.json else explanation.text())
    return DONE if explanation.serving in ("original", "new") else FAILED


def with_recorded_keys(reading: Reading) -> Site:
    """The site; where the state has no host keys, with those that the window's record holds, if it can be read."""
    site = reading.site
    if site.host_keys:
        return site
    connections = Connections(site, CancelToken())
    try:
        record = WindowStore(connections.host(site.configuration.original.database.source), site).read()
    except ParallelBuildError:
        return site
    finally:
        connections.close()
    return replace(site, host_keys=record.host_keys) if record is not None and not record.closed else site
