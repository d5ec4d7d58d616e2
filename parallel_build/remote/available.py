"""A version of a package that can be had."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Available:
    """A version that can be had, and where from."""

    version: str
    source: str
