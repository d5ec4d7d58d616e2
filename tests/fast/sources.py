"""The product's own sources, as tests look through them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from parallel_build.project import PROJECT

ROOMS = ("parallel_build", "components", "provider")


@functools.cache
def texts() -> dict[Path, str]:
    """Every module of the product."""
    return {path: path.read_text() for room in ROOMS for path in sorted((PROJECT / room).rglob("*.py"))}


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node below one, as `ast.walk` has them in another order: several times as fast, and there are half a million."""
    left: list[object] = [tree]
    while left:
        each = left.pop()
        if isinstance(each, ast.AST):
            yield each
            left.extend(vars(each).values())
        elif isinstance(each, list):
            left.extend(each)
