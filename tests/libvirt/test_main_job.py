"""README's first command on libvirt guests: built, switched, verified, rolled back by `destroy`. Slow where guests are emulated."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from parallel_build.machines.commands import PROJECT
from tests.containers.conftest import LabRunner

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(2700)]

DEMO_LIMIT = 2400.0


@pytest.fixture
def guests() -> Iterator[LabRunner]:
    """A lab of its own for libvirt guests."""
    runner = LabRunner("virt-test")
    runner.run("down")
    yield runner
    runner.run("down", check=False)


def test_demo_on_guests_and_back_by_destroy(guests: LabRunner) -> None:
    began = time.monotonic()
    # Not captured: whoever waits for emulated guests wants to see where they are.
    subprocess.run(
        [sys.executable, "-m", "lab", "--name", guests.name, "demo"], cwd=PROJECT, stdin=subprocess.DEVNULL, timeout=DEMO_LIMIT, check=True
    )
    print(f"  demo on libvirt guests: {time.monotonic() - began:.0f} s", flush=True)
    assert guests.status()["serving"] == "new"
    guests.run("pulumi", "preview", "--expect-no-changes")
    domains = guests.run("shell", "newms1", "systemd-detect-virt").stdout.strip()
    assert domains in ("qemu", "kvm"), "the new servers are virtual machines"
    began = time.monotonic()
    guests.run("destroy")
    print(f"  destroy: {time.monotonic() - began:.0f} s", flush=True)
    assert guests.status()["serving"] == "original"
