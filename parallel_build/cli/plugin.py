"""`plugin install`: the provider of this library in Pulumi's plugin cache. Contacts nothing."""

from __future__ import annotations

import argparse
import os
import re

from parallel_build.cli import DONE
from parallel_build.errors import ConfigurationError
from parallel_build.release import plugin_version
from parallel_build.stack import plugin

NAME = "plugin"
HELP = "put the provider into Pulumi's plugin cache, under the library's version; once after each `pip install`. Contacts nothing."
VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and under which version."""
    parser.add_argument("action", choices=("install", "where"), help="install: write it where it is missing; where: print its place")
    parser.add_argument(
        "--as", dest="version", metavar="VERSION", help="under this version: for a state that an earlier version of the library wrote"
    )


def run(given: argparse.Namespace) -> int:
    """Install it, or print where it belongs."""
    if given.version is not None and not VERSION.fullmatch(given.version):
        raise ConfigurationError(
            f"{given.version!r} is not a version", "a version is written like 1.2.3", "give the version that the engine's message names"
        )
    target = plugin.place(os.environ, given.version)
    if given.action == "where":
        print(target)
    else:
        fresh = plugin.install(os.environ, given.version)
        print(f"{plugin.PROVIDER} {given.version or plugin_version()} {'installed' if fresh else 'is there already'}: {target}")
    return DONE
