"""The virtual environments: pinned packages in the cache, one for each requirements.txt and Python; over it the checkout's own `.venv`.

`.venv` has nothing but this project, installed editable, and a line that adds the packages of the cache: it is made in seconds, and two checkouts
that share the cache never meet each other's code.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from tools.cache import build_once, cache_directory, checksum, remove
from tools.errors import ToolError
from tools.pins import MINIMUM_PYTHON
from tools.progress import piece, run

STAMP = "made-for"
"""File in `.venv` with what it was made for; where that is still so, nothing is done."""

SHARED = "shared-packages.pth"


def ensure_virtualenv(checkout: Path) -> Path:
    """Make the environment if it isn't in the cache, and the checkout's own over it.

    Args:
        checkout: the project's root, with requirements.txt and pyproject.toml.

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
        this.outcome = "installed" if built else "cached"
    with piece("this project, editable") as this:
        this.outcome = "installed" if install_editable(checkout, python, target) else "there already"
    return checkout / ".venv" / "bin" / "python"


def install_editable(checkout: Path, python: Path, packages: Path) -> bool:
    """Make `.venv` of the checkout: the project itself over `packages`, the environment of pinned packages.

    Returns:
        whether it had to be made.
    Raises:
        ToolError: there is something at `.venv` that set-up has not made.
    """
    own = checkout / ".venv"
    wanted = f"{packages}\n{checkout}\n{checksum((checkout / 'pyproject.toml').read_bytes())}\n"
    if own.is_symlink():
        own.unlink()  # an earlier version's link into the cache
    if (own / STAMP).is_file():
        if (own / STAMP).read_text() == wanted:
            return False
    elif own.exists():
        raise ToolError(f"{own} is in the way", "set-up has not made it, and its own belongs there", f"move {own} away")
    with tempfile.TemporaryDirectory(dir=checkout, prefix=".venv.") as folder:
        fresh = Path(folder) / "venv"
        _over(python, packages, fresh, own)
        (fresh / STAMP).write_text("")
        remove(own)
        fresh.rename(own)
    remedy = "see the last lines above; `scripts/setup` again recreates it"
    command: list[str | Path] = [own / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--editable", checkout]
    run(command, "installing this project", remedy=remedy, limit=300)
    (own / STAMP).write_text(wanted)
    return True


def _over(python: Path, packages: Path, fresh: Path, place: Path) -> None:
    """An environment of its own that also has what `packages` has, programs included; it will be moved to `place`."""
    run(
        [python, "-m", "venv", "--without-pip", fresh],
        "making the checkout's environment",
        remedy="on Debian python3-venv is needed",
        limit=300,
    )
    library = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (fresh / library / SHARED).write_text(f"{packages / library}\n")
    for program in sorted((packages / "bin").iterdir()):
        if not (fresh / "bin" / program.name).exists() and not program.name.startswith(("activate", "Activate")):
            shutil.copy2(program, fresh / "bin", follow_symlinks=False)
    move_scripts(fresh / "bin", packages, place)
    move_scripts(fresh / "bin", fresh, place)


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
