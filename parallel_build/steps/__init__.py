"""The steps, one module each. `load_all` fills `parallel_build.steps.base.REGISTRY`."""

from __future__ import annotations

import functools
import importlib
import pkgutil


@functools.cache
def load_all() -> None:
    """Import every step module, so that each registers its step; a second call does nothing."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
