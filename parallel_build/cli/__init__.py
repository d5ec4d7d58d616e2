"""The commands of `parallel-build`, one module each.

A command is a module with `NAME`, `HELP`, `arguments(parser)` and `run(given) -> int`; `given.config_file` is the stack file where it is not
the checkout's own. Exit codes: 0 holds or done, 1 a guard or step failed, 2 usage or configuration, 3 different.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Protocol, cast

DONE, FAILED, UNUSABLE, DIFFERENT = 0, 1, 2, 3

# One line a command, in the order of an upgrade.
MODULES: tuple[str, ...] = (
    "check_cloud",
    "plan",
    "check",
    "health",
    "facts",
    "parity",
    "workload",
    "acceptance",
    "points",
    "rehearse",
    "forecast",
    "switch",
    "back",
    "after_rollback",
    "routers",
    "recover",
    "report",
    "plugin",
    "schema",
    "completion",
)  # fmt: skip


NEED_ALL = ("completion",)
"""What looks at the whole command line."""


class Command(Protocol):
    """What each module of `MODULES` has."""

    NAME: str
    HELP: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def run(self, given: argparse.Namespace) -> int:
        """Do it; the exit code."""


def load(words: Sequence[str] = ()) -> list[Command]:
    """The commands, in order: the one that the words ask for, which starts in two thirds of the time, or every one."""
    asked = _first(words)
    alone = [name for name in MODULES if name.replace("_", "-") == asked and name not in NEED_ALL]
    return [cast(Command, importlib.import_module(f"{__name__}.{name}")) for name in alone or MODULES]


def _first(words: Sequence[str]) -> str | None:
    """The first word that is neither an option nor the stack file's name."""
    left = iter(words)
    for word in left:
        if word == "--config-file":
            next(left, None)
        elif not word.startswith("-"):
            return word
    return None
