"""A sample of the fault matrix on a lab of its own, in one journey there and back. All of it: `scripts/chaos --all`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.chaos import cells, results
from parallel_build.machines.commands import PROJECT

# How many faults, and which: a run of CI takes the default, others set more, or another seed.
NUMBER = int(os.environ.get("CUTOVER_CHAOS_CELLS", "20"))
SEED = int(os.environ.get("CUTOVER_CHAOS_SEED", "1"))
LIMIT = 3600

pytestmark = [pytest.mark.containers, pytest.mark.timeout(LIMIT)]


def test_a_sample_of_faults_leaves_one_side_serving_and_nothing_lost(tmp_path: Path) -> None:
    name = f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:14]}-chaos"
    file = tmp_path / "results.jsonl"
    words = [sys.executable, "-m", "lab.chaos", "--name", name, "--sample", str(NUMBER), "--seed", str(SEED), "--json", str(file)]
    try:
        done = subprocess.run(words, cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=LIMIT - 120, check=False)
        found = results.read(file)
        assert set(found) == {cell.name for cell in cells.sample(NUMBER, SEED)}
        # A fault whose moment did not come, tried three times, proves nothing: it counts as failed.
        assert [results.line(each) for each in found.values() if each["verdict"] != results.PASSED] == []
        assert done.returncode == 0
    finally:
        subprocess.run(
            [sys.executable, "-m", "lab", "--name", name, "down"], cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=300, check=False
        )
