"""On libvirt guests: prepared without a user noticing, README's first command (switched, verified), and back by `destroy`. Slow where emulated."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from parallel_build.project import PROJECT
from tests.containers.asking_users import prepare_while_asked
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand
from tests.containers.original_proof import assert_original_serves, keep_reading

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(3300)]

UP_LIMIT = 2400.0


@pytest.fixture
def guests() -> Iterator[LabRunner]:
    """A lab of its own for libvirt guests."""
    runner = LabRunner("virt-test")
    runner.run("down")
    yield runner
    runner.run("down", check=False)


def test_prepared_unnoticed_then_demo_on_guests_and_back_by_destroy(guests: LabRunner) -> None:
    # A further management server would be a fourth emulated guest; containers show it.
    _watched(guests, "up", "--management", "1")
    # Emulated guests take every processor that there is, the clients' and the original's too.
    prepare_while_asked(guests, Stand(guests), pace=0.25, gap=5.0)
    before = keep_reading(guests)
    _watched(guests, "demo")
    assert guests.status()["serving"] == "new"
    guests.run("pulumi", "preview", "--expect-no-changes")
    domains = guests.run("shell", "newms1", "systemd-detect-virt").stdout.strip()
    assert domains in ("qemu", "kvm"), "the new servers are virtual machines"
    _watched(guests, "destroy")
    assert_original_serves(guests, before, destroyed=True)


def _watched(guests: LabRunner, command: str, *options: str) -> None:
    """Run a command of the lab without capturing what it prints: whoever waits for emulated guests wants to see where they are."""
    began = time.monotonic()
    argv = [sys.executable, "-m", "lab", "--name", guests.name, command, *options]
    subprocess.run(argv, cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=UP_LIMIT, check=True)
    tell(f"{command} on libvirt guests: {time.monotonic() - began:.0f} s")
