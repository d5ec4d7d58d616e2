"""The folder of a process's sessions: made when needed, gone afterwards, also when its owner was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from parallel_build.private_folder import UNLOCKED, PrivateFolder, sweep

OWNER = (
    "import sys, time; from pathlib import Path; from parallel_build.private_folder import PrivateFolder\n"
    "folder = PrivateFolder(Path(sys.argv[1])); print(folder.path, flush=True); time.sleep(600)"
)


def test_nothing_is_made_before_it_is_needed_and_nothing_left(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (folder.path / "socket").touch()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    owners = [subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        first, second = (Path(owner.stdout.readline().strip()) for owner in owners if owner.stdout)
        owners[0].send_signal(signal.SIGKILL)
        owners[0].wait()
        sweep(tmp_path)
        assert (first.exists(), second.exists()) == (False, True)
    finally:
        for owner in owners:
            owner.kill()
            owner.communicate()


def test_a_folder_without_a_lock_may_just_be_being_made(tmp_path: Path) -> None:
    young, old, other = tmp_path / "cutover-young", tmp_path / "cutover-old", tmp_path / "else"
    for folder in (young, old, other):
        folder.mkdir()
    long_ago = time.time() - UNLOCKED - 60
    for folder in (old, other):
        os.utime(folder, (long_ago, long_ago))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cutover-young", "else"]
