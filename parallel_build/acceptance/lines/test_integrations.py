"""Integrated systems - billing, portals, monitoring: each by a command of the operator's that must succeed."""

from __future__ import annotations

import shlex
import subprocess

import pytest

LIMIT = 600.0  # seconds


def test_every_integrated_system_works(pytestconfig: pytest.Config) -> None:
    commands = pytestconfig.getoption("--cloud-integration")
    if not commands:
        pytest.skip("no integrated system is named: give its command with --cloud-integration")
    failed = []
    for command in commands:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode:
            failed.append(f"{command}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}")
    assert failed == []
