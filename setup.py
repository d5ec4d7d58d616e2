"""The version of a build: the tag's, else what an unpacked source distribution was made as, else the fallback. Everything else is in pyproject.toml."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """The version of this tree."""
    release = runpy.run_path(str(HERE / "parallel_build/release.py"))
    if (HERE / ".git").exists():
        words = ["git", "-C", str(HERE), "describe", "--tags", "--long", "--match", "v[0-9]*"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError:
            return str(release["FALLBACK"])
        return str(release["of_tag"](done.stdout))
    made = HERE / "PKG-INFO"
    found = re.search(r"^Version: (\S+)$", made.read_text(), re.MULTILINE) if made.exists() else None
    return found[1] if found else str(release["FALLBACK"])


setup(version=version())
