"""Whether a XenServer pool has high availability on, as its hosts' own `xe` prints it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import CommandFailed
from parallel_build.health import pool_ha
from parallel_build.health.pool_ha import Pool
from tests.fast.local_host import LocalHost

# What xe of XenServer 8 prints: UUIDs alone, parted by commas, with --minimal; the bare value of one parameter.
XE = """#!/bin/sh
case "$*" in
  "pool-list --minimal") echo 6f3c1d1e-9a61-4a7e-8a6e-0d5f1f5c2b11 ;;
  "pool-param-get uuid=6f3c1d1e-9a61-4a7e-8a6e-0d5f1f5c2b11 param-name=name-label") echo "%s" ;;
  "pool-param-get uuid=6f3c1d1e-9a61-4a7e-8a6e-0d5f1f5c2b11 param-name=ha-enabled") echo "%s" ;;
  *) echo "Error: unknown command $*" >&2; exit 1 ;;
esac
"""
Host = Callable[[str], LocalHost]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A XenServer host with that program as its xe."""

    def make(program: str) -> LocalHost:
        (tmp_path / "xe").write_text(program)
        (tmp_path / "xe").chmod(0o755)
        return LocalHost("xen1", tmp_path)

    return make


@pytest.mark.parametrize(("label", "shown", "on"), [("lab pool", "true", True), ("", "false", False)])
def test_what_xe_prints_is_read(host: Host, label: str, shown: str, on: bool) -> None:
    assert pool_ha.read(host(XE % (label, shown))) == Pool("xen1", label, on)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (XE % ("lab pool", "<not in database>"), "did not say"),
        ("#!/bin/sh\nexit 0\n", "did not say"),
        ("#!/bin/sh\necho 'The host is still booting' >&2; exit 1\n", "still booting"),
    ],
)
def test_what_is_not_known_is_not_taken_for_off(host: Host, program: str, words: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        pool_ha.read(host(program))
    assert "xen1" in failed.value.fact
    assert words in str(failed.value)


def test_a_host_without_xe_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(CommandFailed, match="xen1"):
        pool_ha.read(LocalHost("xen1", tmp_path))
