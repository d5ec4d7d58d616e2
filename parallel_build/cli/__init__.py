"""The commands of `parallel-build`, one module each.

A command is a module with `NAME`, `HELP`, `arguments(parser)` and `run(given) -> int`; `given.config_file` is the stack file where it is not
the checkout's own. Exit codes: 0 holds or done, 1 a guard or step failed, 2 usage or configuration, 3 different.
"""

from __future__ import annotations

import argparse
import importlib
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


class Command(Protocol):
    """What each module of `MODULES` has."""

    NAME: str
    HELP: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def run(self, given: argparse.Namespace) -> int:
        """Do it; the exit code."""


def load() -> list[Command]:
    """Every command, in order."""
    return [cast(Command, importlib.import_module(f"{__name__}.{name}")) for name in MODULES]
