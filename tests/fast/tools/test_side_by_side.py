"""Tests in several forked processes: each runs once, and what is reported is what a run in one process reports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_build.project import PROJECT

pytestmark = pytest.mark.processes

CONFTEST = """
import pytest
from tests import side_by_side

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    side_by_side.run(session, 3)
    return True
"""
SHARED = """
import os, pytest
from pathlib import Path

@pytest.fixture(scope="module")
def made():
    yield os.getpid()
    with open({log!r}, "a") as log:
        print("gone", __name__, file=log)

@pytest.mark.parametrize("number", range(5))
def test_one(number, made, tmp_path):
    assert made == os.getpid(), "what a file's tests share is made once"
    assert not list(tmp_path.iterdir())
    with open({log!r}, "a") as log:
        print("ran", __name__, number, file=log)
"""
OUTCOMES = """
import os, signal, time, warnings, pytest

def test_fails():
    print("said before")
    assert 1 == 2

def test_warns():
    warnings.warn("take care", UserWarning)

@pytest.mark.skip(reason="not now")
def test_skipped():
    raise AssertionError

@pytest.mark.xfail(strict=True)
def test_expected():
    raise AssertionError

@pytest.mark.timeout(1, method="signal")
def test_hangs():
    time.sleep(60)
"""


def run(folder: Path, *words: str) -> tuple[int, str]:
    """Run pytest on a folder; how it ended and what it printed."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", *words]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_test_runs_once_and_a_files_tests_stay_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in "abcdefg":
        (tmp_path / f"test_{name}.py").write_text(SHARED.format(log=str(log)))
    code, printed = run(tmp_path, "-q")
    assert code == 0 and "35 passed" in printed, printed
    assert sorted(log.read_text().splitlines()) == sorted(
        line for name in "abcdefg" for line in (*(f"ran test_{name} {number}" for number in range(5)), f"gone test_{name}")
    )


def test_outcomes_and_what_was_printed_are_reported(tmp_path: Path) -> None:
    (tmp_path / "test_outcomes.py").write_text(OUTCOMES)
    code, printed = run(tmp_path, "-v", f"--junitxml={tmp_path / 'report.xml'}")
    assert code == 1, printed
    assert "2 failed, 1 passed, 1 skipped, 1 xfailed, 1 warning" in printed, printed
    assert "said before" in printed and "take care" in printed and "Timeout" in printed
    assert re.search(r"test_fails FAILED", printed)
    report = (tmp_path / "report.xml").read_text()
    assert 'tests="5"' in report and 'failures="2"' in report


def test_no_more_is_run_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_fails.py").write_text("def test_fails():\n    assert False\n")
    (tmp_path / "test_waits.py").write_text(
        f"import time, pathlib\ndef test_a():\n    pass\ndef test_b():\n    time.sleep(90)\n    pathlib.Path({str(tmp_path / 'end')!r}).touch()\n"
    )
    code, printed = run(tmp_path, "-x")
    assert code == 1 and "stopping after 1 failures" in printed, printed
    assert not (tmp_path / "end").exists()


def test_a_process_that_dies_fails_the_run_by_the_tests_name(tmp_path: Path) -> None:
    (tmp_path / "test_dies.py").write_text("import os, signal\ndef test_dies():\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    code, printed = run(tmp_path, "-q")
    assert code == 1, printed
    assert "ended in the middle of test_dies.py::test_dies" in printed, printed
