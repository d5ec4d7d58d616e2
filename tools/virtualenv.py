"""The virtual environment of pinned packages: in the cache, one for each requirements.txt and Python, linked as .venv."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from tools.cache import build_once, cache_directory, checksum, remove
from tools.errors import ToolError
from tools.pins import MINIMUM_PYTHON
from tools.progress import piece, run


def ensure_virtualenv(checkout: Path) -> Path:
    """Make the environment if it isn't in the cache, and let `.venv` of the checkout point to it.

    Args:
        checkout: the project's root, with requirements.txt.

    Returns:
        Path of `.venv/bin/python`, absolute.

    Raises:
        ToolError: this Python is too old, or a package can't be had.
    """
    if sys.version_info < MINIMUM_PYTHON:
        raise ToolError(
            f"Python {platform.python_version()} is too old",
            f"{'.'.join(map(str, MINIMUM_PYTHON))} or newer is needed",
            "install a newer python3, or name one: PYTHON=/path/to/python3 scripts/setup",
        )
    requirements = checkout / "requirements.txt"
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    key = checksum(requirements.read_bytes(), sys.version, str(python), platform.machine())
    target = cache_directory() / "venv" / f"python-{platform.python_version()}-{key}"
    with piece("Python packages") as this:
        built = build_once(target, "Python packages", lambda temporary: _build(python, requirements, temporary, target))
        link(checkout / ".venv", target)
        this.outcome = "installed" if built else "cached"
    return checkout / ".venv" / "bin" / "python"


def _build(python: Path, requirements: Path, temporary: Path, target: Path) -> None:
    remedy = "see the last lines above; on Debian python3-venv is needed, and the package index that pip is configured with"
    run([python, "-m", "venv", temporary], "making the virtual environment", remedy=remedy, limit=300)
    pip: list[str | Path] = [temporary / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    command = [*pip, "--require-hashes", "--requirement", requirements]
    run(command, "installing Python packages", remedy=remedy, usual_seconds=60, limit=1800)
    move_scripts(temporary / "bin", temporary, target)


def move_scripts(folder: Path, old: Path, new: Path) -> None:
    """Let the text files in `folder` (interpreter lines, activate) name the environment's final place."""
    for file in folder.iterdir():
        if file.is_symlink() or not file.is_file():
            continue
        data = file.read_bytes()
        if b"\0" not in data and os.fsencode(old) in data:
            file.write_bytes(data.replace(os.fsencode(old), os.fsencode(new)))


def link(path: Path, target: Path) -> None:
    """Let the symbolic link `path` point to `target`, atomically.

    Raises:
        ToolError: there is something at `path` that is no link and so not ours to remove.
    """
    if path.is_symlink() and path.readlink() == target:
        return
    if path.exists() and not path.is_symlink():
        raise ToolError(f"{path} is in the way", "a link to the cached environment belongs there", f"move {path} away")
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    remove(temporary)
    temporary.symlink_to(target)
    temporary.replace(path)
