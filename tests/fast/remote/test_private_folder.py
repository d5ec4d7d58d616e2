"""The folder of a process's sessions: made when needed, gone afterwards, also when its owner was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from parallel_build.remote.private_folder import PrivateFolder, sweep

OWNER = (
    "import sys, time; from pathlib import Path; from parallel_build.remote.private_folder import PrivateFolder\n"
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


def test_a_folder_without_our_lock_is_an_operators_own(tmp_path: Path) -> None:
    for name in ("cutover-young", "cutover-old", "else"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    long_ago = time.time() - 30 * 86400
    os.utime(tmp_path / "cutover-old", (long_ago, long_ago))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cutover-old", "cutover-young", "else"]
