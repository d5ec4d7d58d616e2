"""A note that this tool keeps on a server as JSON: one that nobody can read is an error, never a note that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access

T = TypeVar("T")


def read(host: Access, path: str, understood: Callable[[Any], T], *, cause: str, remedy: str) -> T | None:
    """What a note says; None where there is none.

    Args:
        understood: makes it of the parsed document; a ValueError, KeyError or TypeError says that it is a different one.
        cause, remedy: of the error, in words.
    Raises:
        StepFailed: there is one, and nobody can read it.
    """
    content = host.read(path)
    if content is None:
        return None
    try:
        return understood(json.loads(content))
    except (ValueError, KeyError, TypeError):
        raise StepFailed(f"{host.name}: {path} can't be read", cause, remedy) from None
