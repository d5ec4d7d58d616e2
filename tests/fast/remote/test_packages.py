"""Packages of a server behind one interface: what is asked, what is done, and that nobody guesses where no known program handles them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parallel_build.errors import StepFailed
from parallel_build.remote.apt import Apt
from parallel_build.remote.packages import Packages, faults, file_mode, packages_of
from parallel_build.versions import CloudStackVersion
from tests.fast.local_host import LocalHost

RELEASE = CloudStackVersion("4.22.1.0")
DPKG = r"""#!/bin/sh
for name; do :; done
case $name in
  cloudstack-management) echo "installed 4.22.1.0" ;;
  cloudstack-usage) echo "installed 4.20.3.0" ;;
  half-there) echo "half-configured 1.0" ;;
  mariadb-server) echo "installed 1:10.11.6" ;;
  *) exit 1 ;;
esac
"""
APT = r"""#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
  *"-s purge one two"*) printf 'Reading package lists...\nPurg one [1.0]\nRemv needs-one:amd64 [2.0]\nPurg two [3]\n' ;;
  *"-s autoremove"*) echo "Remv came-along [1.0]" ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHost:
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    for name, text in (("dpkg-query", DPKG), ("apt-get", APT), ("dpkg", APT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return LocalHost("newms1", programs=tmp_path)


def packages(host: LocalHost) -> Packages:
    return packages_of(host)


def test_a_server_of_the_debian_family_is_handled_by_apt(host: LocalHost) -> None:
    assert isinstance(packages(host), Apt) and packages(host).program == "apt-get"


def test_where_no_known_program_is_nothing_is_installed(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sh", "echo"):
        (bare / name).symlink_to(f"/bin/{name}")
    host = LocalHost("newms1")
    host._environment = {**os.environ, "PATH": str(bare)}
    with pytest.raises(StepFailed, match="newms1: packages are handled by no program that is known here"):
        packages(host)


def test_what_is_not_as_wanted_is_reported_with_what_it_is(host: LocalHost) -> None:
    wanted = ["cloudstack-management", "cloudstack-usage", "mariadb-server", "half-there", "absent"]
    assert faults(packages(host), wanted, RELEASE) == {
        "cloudstack-usage": "4.20.3.0", "half-there": "not installed", "absent": "not installed",
    }  # fmt: skip


def test_what_would_go_is_asked_before_anything_goes(host: LocalHost, tmp_path: Path) -> None:
    assert packages(host).going_with(["one", "two"]) == ["one", "needs-one", "two"]
    assert packages(host).unneeded() == ["came-along"]
    asked = (tmp_path / "log").read_text().splitlines()
    assert len(asked) == 2 and all(" -s " in line for line in asked), "only simulated"
    packages(host).remove(["one"])
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("purge one")


def test_a_release_is_held_and_a_repository_named_by_files(host: LocalHost) -> None:
    (held,) = packages(host).hold_files(RELEASE).values()
    assert "Pin: version 4.22.1.0*" in held
    files = packages(host).source_files("deb http://packages.example/ jammy 4.22", "KEY", RELEASE)
    assert [sorted(text.splitlines()) for text in files.values()] == [
        ["deb [signed-by=/etc/apt/keyrings/cloudstack-parallel-build.asc] http://packages.example/ jammy 4.22"], ["KEY"],
    ]  # fmt: skip
    assert {file_mode(text) for text in files.values()} == {0o644}
    sealed = packages(host).source_files("deb https://customer:word@packages.example/ jammy 4.22", "KEY", RELEASE)
    assert sorted(file_mode(text) for text in sealed.values()) == [0o600, 0o644]
    assert packages(host).exact("cloudstack-common", "4.22.1.0~jammy") == "cloudstack-common=4.22.1.0~jammy"
