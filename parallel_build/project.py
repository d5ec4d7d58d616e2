"""Where the Pulumi project is: the folder that relative paths of a stack begin at, and that holds its stack files.

The package itself may lie elsewhere: in a checkout that is the project, or installed for a project of the user's own.
"""

from __future__ import annotations

import os
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
"""The folder that this package is imported from."""

VARIABLE = "PARALLEL_BUILD_PROJECT"
FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")


def find(working: Path, named: str = "", code: Path = CODE) -> Path:
    """The project's folder.

    Args:
        working: the current folder.
        named: value of `PARALLEL_BUILD_PROJECT`: it is right whatever the current folder is.
        code: the folder that the package is imported from.
    Returns:
        What is named; else the project that the current folder is in; else the checkout; else the current folder, where nothing has been made yet.
    """
    if named:
        return Path(named).expanduser().resolve()
    return next((folder for folder in (working, *working.parents, code) if _is_project(folder)), working)


def _is_project(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES)


PROJECT = find(Path.cwd(), os.environ.get(VARIABLE, ""))
