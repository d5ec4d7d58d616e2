"""`parallel-build facts STACK`: what a cloud is made of, for a comparison with another. Reads only."""

from __future__ import annotations

import argparse
import json

from parallel_build import parity
from parallel_build.cli import DONE
from parallel_build.stack.file import read_site

NAME = "facts"
HELP = "print what a stack's cloud is made of as JSON, to be compared by `parity`; reads only, holds no secrets"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack."""
    parser.add_argument("stack")


def run(given: argparse.Namespace) -> int:
    """Read and print."""
    print(json.dumps(parity.read(read_site(given.stack, config_file=given.config_file)), indent=1, sort_keys=True))
    return DONE
