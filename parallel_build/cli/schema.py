"""`schema`: the stack file's JSON schema, for editors. Contacts nothing."""

from __future__ import annotations

import argparse
import json

from parallel_build.cli import DONE
from parallel_build.configuration import schema

NAME = "schema"
HELP = "print the stack file's JSON schema, with which an editor completes and checks it. Contacts nothing."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whose keys they are."""
    parser.add_argument("--project", default="cloudstack-parallel-build", help="name of the Pulumi project (default: %(default)s)")


def run(given: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(schema.document(given.project), indent=1))
    return DONE
