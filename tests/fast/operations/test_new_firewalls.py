"""firewalld of new management servers: ports that it does not open are named with the command, by a shell's own words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.operations.context import Context
from parallel_build.operations.new_firewalls import warn_of_closed_ports
from tests.fast.sites import site

FIREWALL_CMD = """#!/bin/sh
case "$*" in
  --state) exit %d ;;
  *--query-port=8250/tcp) exit 0 ;;
  *) exit 1 ;;
esac
"""


@pytest.mark.parametrize(("runs", "closed"), [(True, ["8080", "9090"]), (False, []), (None, [])])
def test_what_firewalld_does_not_open_is_named(runs: bool | None, closed: list[str], tmp_path: Path) -> None:
    if runs is not None:
        (tmp_path / "firewall-cmd").write_text(FIREWALL_CMD % (not runs))
        (tmp_path / "firewall-cmd").chmod(0o755)

    def run(words: list[str], **_: Any) -> Any:
        found = subprocess.run(
            words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False, timeout=30
        )
        return SimpleNamespace(stdout=found.stdout)

    reported: list[str] = []
    configuration = site().configuration
    context = SimpleNamespace(configuration=configuration, host=lambda server: SimpleNamespace(run=run), progress=reported.append)
    found = warn_of_closed_ports(cast(Context, context))
    assert len(found) == len(reported) == (len(configuration.new.management) if closed else 0)
    for words in found:
        assert f"does not list {', '.join(closed)} as open" in words
        assert "firewall-cmd --permanent --add-port=8080/tcp --add-port=9090/tcp && firewall-cmd --reload" in words
