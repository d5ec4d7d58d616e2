"""The stand-in's API has the calls that somebody makes, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from parallel_build.project import CODE

API = CODE / "lab/standin/management/api"
RECORDED = {"listCAProviders", "listCaCertificate", "listManagementServersMetrics", "readyForShutdown"}
"""Calls that a real CloudStack's answers are recorded of, so that the stand-in's are compared with them (tests/contract)."""


def calls() -> set[str]:
    """What it answers."""
    return {name for file in API.glob("*.py") for name in re.findall(r'@command\(\s*"(\w+)"', file.read_text())}


def words(folder: Path) -> set[str]:
    """Every word of a folder's programs, the stand-in's own calls left out."""
    files = (file for file in folder.rglob("*.py") if not file.is_relative_to(API))
    return {word for file in files for word in re.findall(r"\w+", file.read_text())}


def test_every_call_is_made_by_the_product_the_lab_a_test_or_a_recording() -> None:
    used = set[str]().union(*(words(CODE / folder) for folder in ("parallel_build", "components", "provider", "lab", "bench", "tests")))
    assert len(calls()) > 50
    assert sorted(calls() - used) == []
    others = set[str]().union(*(words(CODE / folder) for folder in ("parallel_build", "lab", "bench")))
    assert sorted(RECORDED & others) == [], "these are made by more than the recordings' test"
