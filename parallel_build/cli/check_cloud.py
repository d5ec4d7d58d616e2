"""`check-cloud URL`: health, plan and parity as far as a cloud's API shows them. No stack, no login to a server, only commands that list."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from parallel_build import parity
from parallel_build.cli import DIFFERENT, DONE, FAILED
from parallel_build.cloudstack.lists import CloudLists
from parallel_build.errors import ConfigurationError
from parallel_build.parity.compare import Facts, Rank
from parallel_build.plan import target
from parallel_build.plan.cloud import access, report
from parallel_build.plan.cloud.check import check

NAME = "check-cloud"
HELP = (
    "check a cloud by its API alone, with the keys of cloudstack.ini or the environment: health, path and known faults, parity. "
    "Calls only commands that list"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The cloud, the target, and what it is compared with."""
    parser.add_argument("url", metavar="URL", help="the API, such as https://cloud.example.org:8443/client/api")
    parser.add_argument("--to", metavar="VERSION", help="the target (default: the newest release that is known)")
    parser.add_argument("--against", metavar="FILE", help="facts of the cloud that the upgrade was rehearsed on, as `facts` wrote them")
    parser.add_argument("--region", help="section of cloudstack.ini (default: CLOUDSTACK_REGION, else cloudstack)")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="authorities to check https against (default: the system's)")
    parser.add_argument("--json", action="store_true", help="print the check as JSON; its `facts` are a file for `parity`")


def run(given: argparse.Namespace) -> int:
    """Ask, judge, print; 1 when something would end the upgrade, 3 when the cloud differs from the one rehearsed on."""
    begun = time.monotonic()
    wanted = target.version(given.to) if given.to else None
    against = _facts(given.against) if given.against else None
    cloud = access.open_cloud(given.url, given.region, given.ca_file)
    found = check(CloudLists(cloud), cloud.url, wanted, against)
    seconds = time.monotonic() - begun
    if given.json:
        print(json.dumps(report.as_document(found, seconds, against), indent=1))
    else:
        print(report.as_text(found, seconds), end="")
    if report.blocked(found):
        return FAILED
    return DIFFERENT if found.differences is not None and found.differences.beyond(Rank.MEDIUM) else DONE


def _facts(where: str) -> Facts:
    """Facts out of a file: a stack's name would have its servers asked.

    Raises:
        ConfigurationError: there is no such file.
    """
    if not Path(where).expanduser().is_file():
        raise ConfigurationError(
            f"--against: there is no file {where}",
            "this command asks no stack's servers",
            "write it with: parallel-build facts STACK > FILE; nothing has been contacted",
        )
    return parity.load(where)
