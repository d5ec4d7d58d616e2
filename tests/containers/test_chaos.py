"""A sample of the fault matrix on a lab of its own: a journey there and back, turns from a fault, and what nobody repairs. All: `scripts/chaos --all`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lab.chaos import cells, results
from parallel_build.project import PROJECT

# How many faults, and which. Without a seed every run draws others, so that in time all are hit: a cell that fails is a finding, whichever run meets it.
NUMBER = int(os.environ.get("CUTOVER_CHAOS_CELLS", "18"))
TURNS = int(os.environ.get("CUTOVER_CHAOS_TURNS", "2"))
KINDS = int(os.environ.get("CUTOVER_CHAOS_KINDS", "4"))  # lost, edited and asleep, in turn
SEED = int(os.environ.get("CUTOVER_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
LIMIT = 5400  # a lab of its own is recreated after each loss

pytestmark = [pytest.mark.containers, pytest.mark.timeout(LIMIT)]


def test_a_sample_of_faults_leaves_one_side_serving_and_nothing_lost(tmp_path: Path) -> None:
    name = f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:14]}-chaos"
    file = tmp_path / "results.jsonl"
    again = f"--sample {NUMBER} --turns {TURNS} --kinds {KINDS} --seed {SEED}"
    print(f"\nthe same faults again: scripts/chaos {again}, or CUTOVER_CHAOS_SEED={SEED} with this test", flush=True)
    words = [sys.executable, "-m", "lab.chaos", "--name", name, *again.split(), "--json", str(file)]
    try:
        done = subprocess.run(words, cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=LIMIT - 120, check=False)
        found = results.read(file)
        drawn = [*cells.sample(NUMBER, SEED), *cells.some_turns(TURNS, SEED), *cells.some_kinds(KINDS, SEED)]
        assert set(found) == {cell.name for cell in drawn}
        # A fault whose moment did not come in three tries proves nothing: it counts as failed.
        assert [results.line(each) for each in found.values() if each["verdict"] != results.PASSED] == [], again
        assert done.returncode == 0
    finally:
        subprocess.run(
            [sys.executable, "-m", "lab", "--name", name, "down"], cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=300, check=False
        )
