"""The package tools' shell functions on this machine, where it is of the Debian family: what they say against the tools themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from parallel_build.remote.families import DEBIAN, parse
from parallel_build.remote.package_shell import SHELL

HERE = Path("/etc/os-release")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        not (HERE.exists() and parse(HERE.read_text()).family is DEBIAN and shutil.which("dpkg-query")),
        reason="this machine is not of the Debian family",
    ),
]


def _run(text: str, given: str = "") -> list[str]:
    done = subprocess.run(["sh", "-euc", SHELL + text], input=given, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_every_package_is_listed_with_version_and_state() -> None:
    listed = {line.split("\t")[0].split(":")[0]: line.split("\t")[1:] for line in _run("packages")}
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "dpkg"], capture_output=True, text=True, check=True).stdout
    assert listed["dpkg"] == [version, "installed"]


def test_files_and_scripts_of_a_package_are_found_with_or_without_an_architecture_in_their_names() -> None:
    assert "/bin/bash" in _run("files_of bash") or "/usr/bin/bash" in _run("files_of bash")
    assert any("libc.so.6" in line for line in _run("files_of libc6"))
    assert any("#!" in line for line in _run("scripts_of bash"))
    assert _run("scripts_of no-such-package; files_of no-such-package") == []


def test_only_paths_that_a_package_owns_are_named() -> None:
    assert _run("owned", "/etc/nobody's file\0/usr/bin/env\0") == ["/usr/bin/env"]
    assert _run("owned", "/etc/nobody's file\0") == [] == _run("owned", "")


def test_what_was_asked_for_has_no_architecture() -> None:
    assert not [name for name in _run("asked") if ":" in name]


@pytest.mark.skipif(not shutil.which("apt-mark"), reason="apt is not there")
def test_asking_leaves_no_cache_behind_where_there_was_none(tmp_path: Path) -> None:
    """A server without apt's caches is left without them; `apt-mark` alone makes them."""
    cache, settings = tmp_path / "cache", tmp_path / "apt.conf"
    (cache / "archives").mkdir(parents=True)
    settings.write_text(f'Dir::Cache "{cache}";\nDir::Etc::parts "/dev/null";\n')
    environment = {**os.environ, "APT_CONFIG": str(settings)}
    subprocess.run(["sh", "-euc", SHELL + "asked"], capture_output=True, check=True, timeout=60, env=environment)
    assert [path.name for path in cache.iterdir()] == ["archives"]
