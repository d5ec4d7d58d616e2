"""A wheel of this tree, and an environment that has it and what it runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_build.project import CODE

PACKAGES = Path(pytest.__file__).parents[1]
PARTS = ("parallel_build", "components", "provider", "pyproject.toml", "setup.py", "README.md", "LICENSE")
OFFLINE = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]


def run(words: list[str], cwd: Path) -> str:
    """What a command prints, with no folder of this run to import from."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(*patterns: str) -> list[str]:
    """The checkout's own files."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(words, cwd=CODE, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in listed if name and (CODE / name).exists()]


def build_wheel(folder: Path, keep: Path | None = None) -> Path:
    """Build a wheel in `folder`; the sources that it is built from are removed, or kept at `keep`."""
    source = keep or folder / "source"
    for name in files(*PARTS):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CODE / name, source / name, follow_symlinks=False)
    run([sys.executable, "-m", "pip", "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", str(folder), str(source)], folder)
    (wheel,) = folder.glob("*.whl")
    if keep is None:
        shutil.rmtree(source)
    return wheel


def environment_with(wheel: Path, home: Path) -> Path:
    """An environment with the wheel; the packages that it runs on are this run's own."""
    run([sys.executable, "-m", "venv", "--without-pip", str(home)], home.parent)
    run([sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "install", *OFFLINE, str(wheel)], home.parent)
    (library,) = home.glob("lib/python*/site-packages")
    (library / "dependencies.pth").write_text(f"{PACKAGES}\n")
    return home
