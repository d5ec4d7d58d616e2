"""Users who call while something is done, in threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def calling(callers: Sequence[threading.Thread], done: threading.Event) -> Iterator[None]:
    """They call until the block ends, which `done` says."""
    for each in callers:
        each.start()
    try:
        yield
    finally:
        done.set()
        for each in callers:
            each.join()
