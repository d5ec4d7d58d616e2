"""A lab with many networks that the tests of scale share, and its sizes.

`CUTOVER_SCALE_NETWORKS` is how many networks there are, 40 by default; 500 have the numbers of docs/start/lab.md. `CUTOVER_SCALE_WINDOWS` is how many
windows are opened while users work, 6 by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.containers.conftest import LabRunner
from tests.containers.whole_stack import own_lab

NETWORKS = int(os.environ.get("CUTOVER_SCALE_NETWORKS", "40"))
WINDOWS = int(os.environ.get("CUTOVER_SCALE_WINDOWS", "6"))
IDLE, FAILING, STARTS = NETWORKS // 5, max(2, NETWORKS // 100), min(50, NETWORKS // 4)
CALLS = min(5000, 25 * NETWORKS)
LIMIT = 3600.0  # seconds for a command, at the largest size on a busy machine
NAMES = [f"many{number + 1:04}" for number in range(NETWORKS)]
CANARY, BAD, WORKED_IN, UNUSED = NAMES[0], NAMES[1 : 1 + FAILING], NAMES[1 + FAILING : 1 + FAILING + STARTS], NAMES[-IDLE:]


@contextmanager
def scale_lab() -> Iterator[LabRunner]:
    """The lab, seeded, in phase `prepared`."""
    with own_lab("scale", "--transfer", "replicate", "--networks", str(NETWORKS), "--rows", "200") as runner:
        yield runner


def configure(lab: LabRunner, **values: str) -> None:
    """Set keys of the stack; `window__drain` is `window.drain`."""
    for key, value in values.items():
        lab.run("pulumi", "config", "set", "--path", key.replace("__", "."), value)
