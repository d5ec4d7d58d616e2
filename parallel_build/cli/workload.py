"""`workload STACK create|status|remove`: a workload for tests of the upgrade on a cloud: made by a profile, resumed, removed again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from parallel_build.cancel import CancelToken
from parallel_build.cli import DIFFERENT, DONE
from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import ConfigurationError
from parallel_build.operations import record_hosts, workload_window
from parallel_build.parity import load as load_facts
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections
from parallel_build.stack.file import Reading, read_stack
from parallel_build.workload import kept
from parallel_build.workload.profile import BUILT_IN, Profile, like, load
from parallel_build.workload.run import Workload

NAME = "workload"
HELP = (
    "make, show or remove a workload for tests of the upgrade: accounts, networks, VPCs, VMs, disks, snapshots, rules, by a profile, through the API. "
    "Run create again to resume; remove takes exactly what create made"
)


POLL = 0.25  # seconds between two questions how a job stands: there are many short ones


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, what to do, and how much."""
    parser.add_argument("stack")
    parser.add_argument("action", choices=("create", "status", "remove"))
    parser.add_argument("--profile", default="small", metavar="NAME|FILE", help=f"{', '.join(BUILT_IN)}, or a file (default: small)")
    parser.add_argument("--like", metavar="FACTS", help="in proportion to a cloud's facts, as `facts` wrote them; with --share")
    parser.add_argument("--share", type=float, default=0.1, help="part of that cloud's numbers (default: 0.1)")
    parser.add_argument("--zone", default="", help="name of the zone (default: the first that is enabled)")
    parser.add_argument("--side", choices=("original", "new"), default="original", help="whose API is called (default: original)")


def run(given: argparse.Namespace) -> int:
    """Do it; status exits with 3 where something of the workload is missing."""
    profile = _profile(given)
    reading = read_stack(given.stack, config_file=given.config_file)
    site = reading.site
    folder = RunFolder(site.configuration.runs, site.stack, site.hidden()).path
    if given.action != "status":
        _refuse_open_window(reading, given.action)
    cloud = Cloud.original(site) if given.side == "original" else Cloud.new(site)
    cloud.poll = POLL
    workload = Workload(cloud, CancelToken(), print)
    if given.action == "status":
        return _status(workload, profile)
    if given.action == "remove":
        return _remove(workload, folder)
    left_out = workload.create(profile, kept.passwords(folder, profile), given.zone)
    for kind, why in left_out.items():
        print(f"left out: {kind}: {why}")
    print(f"the workload is there; passwords of its users: {folder / kept.FILE}")
    return DONE


def _profile(given: argparse.Namespace) -> Profile:
    if not given.like:
        return load(given.profile)
    if not 0 < given.share <= 1:
        raise ConfigurationError(
            "--share is no part of a cloud", f"a share is above 0 and at most 1; {given.share:g} is not", "give one such as --share 0.1"
        )
    return like(load_facts(given.like), given.share)


def _refuse_open_window(reading: Reading, action: str) -> None:
    """Rule: no workload is made or removed while a window is open: what is made then is lost by a rollback, what is removed comes back.

    Raises:
        GuardFailed: one is open.
    """
    connections = Connections(reading.site, CancelToken())
    try:
        record = record_hosts.looked_at(reading.site, connections).look()
    finally:
        connections.close()
    workload_window.refuse_open(record, action)


def _status(workload: Workload, profile: Profile) -> int:
    shown = workload.status()
    domain = workload.domain()
    missing = None if domain is None else [f"{thing.kind.name} {thing.name}" for thing in workload.missing(profile, domain)]
    print(json.dumps({"there": domain is not None, "kinds": {kind: {"there": of[0], "ours": of[1]} for kind, of in shown.items()},
                      "missing": missing}, indent=1))  # fmt: skip
    return DIFFERENT if domain is None or missing else DONE


def _remove(workload: Workload, folder: Path) -> int:
    left = workload.remove()
    if left:
        print("not the workload's, so they stay:")
        for line in left:
            print(f"  - {line}")
        return DIFFERENT
    kept.forget(folder)
    print("the workload is removed")
    return DONE
