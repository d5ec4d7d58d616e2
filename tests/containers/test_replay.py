"""A sample of drawn sequences on a lab of its own: what became of it is what became of the in-memory world. More: `python -m tests.containers.replay`."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_build.project import PROJECT

NUMBER = int(os.environ.get("CUTOVER_REPLAYED", "3"))
SEED = int(os.environ.get("CUTOVER_REPLAY_SEED") or random.SystemRandom().randrange(8_000_000, 9_000_000))
LIMIT = 3000

pytestmark = [pytest.mark.containers, pytest.mark.timeout(LIMIT)]


def test_drawn_sequences_end_on_a_lab_as_they_end_in_the_world(tmp_path: Path) -> None:
    name, file = f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:12]}-replay", tmp_path / "replay.json"
    words = ["--from", str(SEED), "--number", str(NUMBER), "--lab", name]
    print(f"\nthe same again: python -m tests.containers.replay {' '.join(words)} --file FILE", flush=True)
    try:
        command = [sys.executable, "-m", "tests.containers.replay", *words, "--file", str(file)]
        done = subprocess.run(command, cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=LIMIT - 120, check=False)
        found = json.loads(file.read_text())
        assert found["different"] == []
        assert len(found["agreed"]) == NUMBER and found["compared"] >= NUMBER
        assert done.returncode == 0
    finally:
        down = [sys.executable, "-m", "lab", "--name", name, "down"]
        subprocess.run(down, cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=300, check=False)
