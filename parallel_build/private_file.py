"""Files of the operator's own machine that only the operator reads."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all: next to it, on the disk, then renamed.

    Args:
        path: in a folder that is there; a file NAME.new next to it is overwritten.
    Raises:
        OSError: it can't be written; what was there is still there.
    """
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
