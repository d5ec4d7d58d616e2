"""Integrated systems - billing, portals, monitoring: each by a command of the operator's that must succeed."""

from __future__ import annotations

import shlex
import subprocess

import pytest


def test_every_integrated_system_works(pytestconfig: pytest.Config) -> None:
    commands, limit = pytestconfig.getoption("--cloud-integration"), pytestconfig.getoption("--cloud-command-timeout")
    if not commands:
        pytest.skip("no integrated system is named: give its command with --cloud-integration")
    failed = []
    for command in commands:
        try:
            done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=limit, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            failed.append(f"{command}: {error}")
            continue
        if done.returncode:
            failed.append(f"{command}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}")
    assert failed == []
