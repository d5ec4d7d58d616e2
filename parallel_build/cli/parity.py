"""`parallel-build parity REHEARSED REAL`: how far a rehearsal on one cloud says something about another. Reads only."""

from __future__ import annotations

import argparse
import json

from parallel_build import parity
from parallel_build.cli import DIFFERENT, DONE
from parallel_build.parity.compare import Rank

NAME = "parity"
HELP = "compare the cloud that is rehearsed on with the one that is meant; reads only. Exit code 3: different beyond the threshold"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The two sides, the form and the threshold."""
    parser.add_argument("rehearsed", help="a stack, or a file that `facts` wrote")
    parser.add_argument("real", help="the same of the cloud that the upgrade is meant for")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    parser.add_argument(
        "--threshold",
        choices=[rank.value for rank in Rank],
        default=Rank.MEDIUM.value,
        help="the least rank that counts as different (medium)",
    )


def run(given: argparse.Namespace) -> int:
    """Compare and print."""
    rehearsed, real = (parity.load(where, given.config_file) for where in (given.rehearsed, given.real))
    report = parity.compare(rehearsed, real)
    if given.json:
        print(json.dumps(parity.as_document(rehearsed, real, report), indent=1))
    else:
        print(parity.as_text(rehearsed, real, report), end="")
    return DIFFERENT if report.beyond(Rank(given.threshold)) else DONE
