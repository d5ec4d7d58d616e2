"""Databases drawn at random come over whole: a few of the day's, more with PARALLEL_BUILD_RANDOM=N; `random_run` takes as many as one likes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.containers.case_files import PAIRS
from tests.containers.conftest import tell
from tests.containers.database_stand import combination, roots
from tests.containers.random_run import RandomRun

pytestmark = [pytest.mark.databases, pytest.mark.timeout(3600)]
SEED = int(os.environ.get("PARALLEL_BUILD_RANDOM_SEED") or time.strftime("%Y%m%d"))
WANTED = int(os.environ.get("PARALLEL_BUILD_RANDOM", "4"))


@pytest.mark.parametrize("pair", PAIRS[:2])
def test_random_databases_come_over_whole(pair: str, tmp_path: Path) -> None:
    old, new = pair.split(" to ")
    if missing := {old, new} - roots().keys():
        pytest.skip(f"no root file system with {', '.join(sorted(missing))}")
    with combination(old, new) as servers:
        made = RandomRun(servers, SEED, tmp_path, tell)
        for _ in range(WANTED):
            made.next()
    reasons = [(tmp_path / name / "reason.txt").read_text() for name in made.state.failed]
    assert not reasons, f"seed {SEED}: {reasons}"
