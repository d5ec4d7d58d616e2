"""`completion SHELL`: what makes a shell complete the commands and their options. Contacts nothing."""

from __future__ import annotations

import argparse

import shtab

from parallel_build.cli import DONE

NAME = "completion"
HELP = 'print the script that makes a shell complete commands and options: eval "$(parallel-build completion bash)". Contacts nothing.'


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)


def run(given: argparse.Namespace) -> int:
    """Print it, for the console script: a shell completes words after a program's name."""
    given.parser.prog = "parallel-build"
    print(shtab.complete(given.parser, given.shell))
    return DONE
