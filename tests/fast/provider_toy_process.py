"""The provider's own main with the toy steps: a process of its own for tests that kill things.

The window's record is a file next to the toys' own: `record.json`, or `silent` where its hosts can't be asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from parallel_build.operations import window_standing
from parallel_build.provider.handlers import token
from parallel_build.provider.identity_handler import StackIdentityHandler
from parallel_build.provider.server import main
from parallel_build.provider.step_handler import StepHandler
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.steps.base import Step
from tests.fast.provider_harness import EarlyToy, Toy, WindowToy

TOYS: tuple[type[Step], ...] = (Toy, EarlyToy, WindowToy)


def look_at(folder: Path) -> Callable[[Site, Connections], window_standing.Seen]:
    """What is seen of the record."""

    def look(site: Site, connections: Connections) -> window_standing.Seen:
        with (folder / "looks").open("a") as looks:
            looks.write(".")
        store, text = WindowStore(connections.host(site.configuration.original.database.source), site), (folder / "record.json").read_text()
        if text == "silent":
            return window_standing.Seen(store, unknown="olddb1 can't be reached")
        return window_standing.Seen(store, replace(WindowRecord.from_json(text), identity=site.identity))

    return look


if __name__ == "__main__":
    pid_file = Path(sys.argv.pop(1))
    pid_file.write_text(str(os.getpid()))
    window_standing.look = look_at(pid_file.parent)  # type: ignore[assignment]
    sys.exit(main({token("StackIdentity"): StackIdentityHandler(), **{token(toy.type): StepHandler(toy) for toy in TOYS}}))
