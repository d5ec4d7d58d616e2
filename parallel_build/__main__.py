"""`parallel-build`: what can be done without a Pulumi program, from any machine that has the stack file and the keys."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from parallel_build import cli, core_files
from parallel_build.errors import ConfigurationError, ParallelBuildError
from parallel_build.secret import mask, remembered


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The command line, as `parallel_build.cli` makes it up.

    Args:
        words: what it is for; without them it knows every command.
    """
    found = argparse.ArgumentParser(prog="parallel-build", description=__doc__)
    found.add_argument(
        "--config-file", type=Path, metavar="FILE", help="the stack file (default: stacks/Pulumi.STACK.yaml of the checkout)"
    )
    subs = found.add_subparsers(required=True, metavar="COMMAND")
    for command in cli.load(words):
        sub = subs.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        # After the command as well; without a default, or it would overwrite what stood before it.
        sub.add_argument("--config-file", type=Path, metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        command.arguments(sub)
        sub.set_defaults(run=command.run, parser=found)
    return found


def main(words: list[str] | None = None) -> int:
    """Run one command; its exit code (see `parallel_build.cli`)."""
    words = sys.argv[1:] if words is None else words
    given = parser(words).parse_args(words)
    try:
        code: int = given.run(given)
    except ConfigurationError as error:
        print(f"error: {mask(str(error), remembered())}", file=sys.stderr)
        return cli.UNUSABLE
    except ParallelBuildError as error:
        print(f"error: {mask(str(error), remembered())}", file=sys.stderr)
        return cli.FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return cli.FAILED
    return code


def script() -> int:
    """The console script `parallel-build`."""
    core_files.refuse()
    return main()


if __name__ == "__main__":
    sys.exit(script())
