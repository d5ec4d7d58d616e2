"""The barrier's scripts, run by a shell with stand-ins for the packet filters, and its question to ss by ss itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from parallel_build.operations.packet_filter import Barrier

BARRIER = Barrier(["192.0.2.0/24", "198.51.100.7", "2001:db8::/64", "2001:db8:1::7"], [80, 443, 8080], [80, 8080])


@pytest.mark.skipif(shutil.which("ss") is None, reason="no ss (iproute2) on this machine")
def test_ss_takes_the_question_for_users_connections() -> None:
    asked = subprocess.run(["ss", "-Htn", "state", "established", BARRIER.users], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")


def test_every_address_in_the_question_has_its_prefix() -> None:
    networks = [words.split()[0].rstrip(")") for words in BARRIER.users.split("dst ")[1:]]
    assert networks == ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/64", "2001:db8:1::7/128", "127.0.0.0/8", "::1/128"]
