"""`recover STACK`: where a broken run stands, which side serves, and what goes forward and back. Changes nothing."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace

from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED, recovery_advice, run_state
from parallel_build.errors import GuardFailed, ParallelBuildError
from parallel_build.operations import record_hosts
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.stack.automation import Driver
from parallel_build.stack.file import Reading, read_stack

NAME = "recover"
HELP = (
    "explain where a broken run stands, which side serves, and which command goes forward and which back. Changes nothing on any server; "
    "--adopt ties this stack's state to a window that another state opened."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack."""
    parser.add_argument("stack")
    parser.add_argument("--json", action="store_true", help="as JSON: serving, headline, findings, servers, forward, back, first")
    parser.add_argument(
        "--adopt", metavar="ID", help="continue or roll back this open window with this stack's state; recover prints its identity"
    )
    parser.add_argument(
        "--restore-record",
        metavar="HOST",
        help="put the other host's copy of the window's record on this one, whose own was lost or can't be used; what was there is kept next to it",
    )


def run(given: argparse.Namespace) -> int:
    """Ask everything, explain it; 0 when exactly one side serves."""
    reading = read_stack(given.stack, config_file=given.config_file)
    if given.adopt:
        return _adopt(given, reading)
    if given.restore_record:
        return _restore(given, reading)
    site = with_recorded_keys(reading)
    connections = Connections(site, CancelToken())
    try:
        found = run_state.gather(site, connections, reading.state)
    finally:
        connections.close()
    explanation = recovery_advice.explain(found)
    print(json.dumps(asdict(explanation), indent=1) if given.json else explanation.text())
    return DONE if explanation.serving in ("original", "new") else FAILED


def _adopt(given: argparse.Namespace, reading: Reading) -> int:
    """Tie the state to an open window.

    Raises:
        GuardFailed: no window of that identity is open.
    """
    site = with_recorded_keys(reading)
    connections = Connections(site, CancelToken())
    try:
        records = record_hosts.looked_at(site, connections)
        record = records.look()
    finally:
        connections.close()
    if record is None or record.closed or record.identity != given.adopt:
        found = "no window is open there" if record is None or record.closed else f"the window that is open there is {record.identity}"
        raise GuardFailed(
            f"window {given.adopt} can't be adopted from {records.host.name}",
            found,
            f"parallel-build recover {given.stack} prints the identity of the window that is open",
        )
    Driver(given.stack, given.config_file).adopt(given.adopt)
    print(
        f"window.adopt is set in the stack file: the next `pulumi up` ties this state to window {given.adopt}, opened {record.opened} by "
        f"{record.holder}.\nForward: pulumi up in phase switched\nBack: parallel-build back {given.stack} --window {given.adopt}"
    )
    return DONE


def _restore(given: argparse.Namespace, reading: Reading) -> int:
    """Put the copy of the record that is left in the place of one that is not.

    Raises:
        GuardFailed: there is none, or the host is none of the record's.
    """
    site = with_recorded_keys(reading)
    connections = Connections(site, CancelToken())
    try:
        copies = record_hosts.looked_at(site, connections).copies
        assert copies is not None, "looked_at knows both hosts"
        if given.restore_record not in (copies.first.host.name, copies.second.host.name):
            raise GuardFailed(
                f"{given.restore_record} has no copy of the window's record",
                "they are on the sources of both sides",
                f"name {copies.first.host.name} or {copies.second.host.name}",
            )
        copies.restore(given.restore_record)
    finally:
        connections.close()
    print(f"the window's record is on {given.restore_record} again; parallel-build recover {given.stack} shows both copies")
    return DONE


def with_recorded_keys(reading: Reading) -> Site:
    """The site; where the state has no host keys, with those that the window's record holds, if it can be read."""
    site = reading.site
    if site.host_keys:
        return site
    connections = Connections(site, CancelToken())
    try:
        record = record_hosts.looked_at(site, connections).look()
    except ParallelBuildError:
        return site
    finally:
        connections.close()
    return replace(site, host_keys=record.host_keys) if record is not None and not record.closed else site
